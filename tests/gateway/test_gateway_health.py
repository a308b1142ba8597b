"""Whether the gateway kept to its own plan reaches the run that used it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.app.conduct import gateway_facts
from bench.cli import main
from tests.support.gateway_process import GatewayProcess

SUITE = """
description = "half a second of answers of 20 ms"
[[gateway.model]]
name = "*"
pool = "p"
[[gateway.pool]]
name = "p"
e2e = { fixed = "20ms" }
[truth]
says = "20 ms"
[[stage]]
name = "short"
targets = ["default"]
profile = "steady"
duration = "500ms"
settle = "0s"
"""


def test_the_gateways_own_word_is_fetched(
    start: Callable[..., GatewayProcess], scenario: str
) -> None:
    """The facts are those of /truth, scenario by scenario; a gateway that is gone has not
    kept up.
    """
    gateway = start("--scenarios", f"{scenario},vanity-average")
    gateway.chat("plain", tokens=4, stream=True)
    told = gateway.truth()["timing_error_ms"]
    facts = gateway_facts(gateway.ready["url"], [scenario, "vanity-average"])
    assert facts["menagerie"] == {"kept_up": told.pop("kept_up"), "timing_error_ms": told}
    assert facts["menagerie"]["timing_error_ms"]["writes"] == 4
    assert facts["vanity-average"]["timing_error_ms"]["writes"] == 0
    gateway.stop()
    assert gateway_facts(gateway.ready["url"], [scenario]) == {
        "menagerie": {"kept_up": False, "timing_error_ms": {}}
    }


@pytest.mark.slow("a run in real time, with a gateway of its own")
def test_a_run_keeps_it_in_its_manifest(tmp_path: Path) -> None:
    """run.json of a run on the embedded gateway says of each scenario whether it kept up: here 5
    streams of 16 tokens.
    """
    (tmp_path / "short.toml").write_text(SUITE)
    assert (
        main(["run", str(tmp_path / "short.toml"), "--out", str(tmp_path / "run"), "--quiet"]) == 0
    )
    facts = json.loads((tmp_path / "run" / "run.json").read_text())["harness"]["gateway"]
    assert main(["verify", str(tmp_path / "run")]) == 0
    assert list(facts) == ["short"]
    assert isinstance(facts["short"]["kept_up"], bool)
    assert facts["short"]["timing_error_ms"]["writes"] == 5 * 16
