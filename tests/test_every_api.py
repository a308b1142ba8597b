"""Whole runs on every API against the gateway: what the samples say is what the gateway did."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.api.registry import MODULES
from bench.cli import main
from bench.record.samples import CAUSES, Outcome
from tests.support.gateway_process import GatewayProcess

ROWS, TOKENS = 60, 6
SCENARIO = """
description = "faults and downgrades in shares"
[[gateway.model]]
name = "*"
pool = "p"
[[gateway.pool]]
name = "p"
ttft = { fixed = "5ms" }
gap = { fixed = "1ms" }
[[gateway.downgrade]]
asked = "priority"
share = "40%"
[[gateway.timeline]]
fault = "http_500"
share = "15%"
[[gateway.timeline]]
fault = "capacity"
share = "15%"
[[gateway.timeline]]
fault = "stream_overload"
share = "15%"
[truth]
says = "about half of the answers fail"
[[stage]]
name = "s"
targets = ["t.toml"]
profile = "l.toml"
"""
LOAD = f"""
description = "steady"
requests = {ROWS}
prompt_tokens = [{{ fixed = 40 }}]
output_tokens = [{{ fixed = {TOKENS} }}]
arrivals = {{ kind = "constant", rate = "60/s" }}
"""
#: those whose requests ask for a tier
TIERED = ("chat", "responses", "messages", "gemini", "converse")
#: what the gateway calls a trouble -> the cause that docs/apis.md gives it
CAUSE = {"server": "server", "capacity": "capacity", "overload": "overload"}
CAUSE_AT = {
    "messages": {**CAUSE, "capacity": "overload"},
    "converse": {**CAUSE, "overload": "capacity"},
}


def play(folder: Path) -> tuple[Path, dict[str, Any]]:
    """One run of a lane an API, and the gateway's truth by model."""
    (folder / "s.toml").write_text(SCENARIO)
    (folder / "l.toml").write_text(LOAD)
    gateway = GatewayProcess(["--scenarios", str(folder / "s.toml")])
    for api in MODULES:
        tier = 'tier = "priority"\n' if api in TIERED else ""
        (folder / f"{api}.toml").write_text(
            f'description = "d"\nbase_url = "{gateway.ready["url"]}/s/v1"\nauth = "none"\n'
            f'api = "{api}"\nmodel = "{api}"\n{tier}'
        )
    targets = ", ".join(f'"{api}.toml"' for api in MODULES)
    stage = (
        f'description = "d"\n[[stage]]\nname = "all"\nprofile = "l.toml"\ntargets = [{targets}]\n'
    )
    (folder / "suite.toml").write_text(stage)
    out = folder / "run"
    code = main(["run", str(folder / "suite.toml"), "--out", str(out), "--quiet"])
    assert code in (0, 1, 3, 4)
    truth = gateway.truth("/s")["models"]
    gateway.stop()
    return out, truth


@pytest.mark.slow("one run for all APIs, from files to files")
def test_samples_say_what_the_gateway_did(tmp_path: Path) -> None:
    """On each API, over all rows: statuses, ends, causes, tokens and tiers."""
    folder, truths = play(tmp_path)
    for api in MODULES:
        compare(api, folder, truths[api])


def compare(api: str, folder: Path, truth: dict[str, Any]) -> None:
    """Samples of one API beside the truth about it."""
    schedule = np.load(folder / "schedule.npy")
    rows = np.load(folder / "samples" / "rows.npy")[schedule["lane"] == list(MODULES).index(api)]
    words = json.loads((folder / "run.json").read_text())["strings"]["served_tier"]
    assert len(rows) == truth["requests"] == ROWS
    statuses = Counter(str(status) for status in rows["status"])
    assert statuses == truth["by_status"]
    fine = rows[rows["outcome"] == Outcome.ok]
    assert 10 <= len(fine) == truth["by_outcome"]["ok"] < ROWS
    causes = Counter(CAUSES[cause].value for cause in rows["cause"] if cause >= 0)
    expected: Counter[str] = Counter()
    for trouble, number in truth["by_trouble"].items():
        expected[CAUSE_AT.get(api, CAUSE)[trouble]] += number
    assert causes == expected
    without_tokens = api in ("embeddings", "rerank")
    assert set(fine["output_tokens"]) == {0 if without_tokens else TOKENS}
    assert set(fine["prompt_tokens"]) == {40}
    assert (fine["first_token_ns"] == -1).all() == without_tokens
    # not the summary's: it leaves rows out where this machine stood still
    assert (
        Counter(words[word] for word in fine["served_tier"] if word >= 0)
        == (truth["tiers"]["told"])
    )
    assert len(truth["tiers"]["told"]) == (2 if api in TIERED else 0)


@pytest.mark.slow("a run with a gateway of its own")
def test_an_embedded_run_on_bedrocks_api_needs_no_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--api converse` over a scenario: nothing is signed, tokens and tier are read."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    (tmp_path / "s.toml").write_text(SCENARIO)
    (tmp_path / "l.toml").write_text(LOAD)
    (tmp_path / "t.toml").write_text('description = "d"\nbase_url = "embedded"\nmodel = "m"\n')
    out = tmp_path / "run"
    words = ["--api", "converse", "--tier", "priority", "--request-count", "30", "--quiet"]
    main(["run", str(tmp_path / "s.toml"), "--out", str(out), *words])
    (target,) = json.loads((out / "summary.json").read_text())["targets"].values()
    assert target["requests"] == 30
    assert target["tokens"]["output"] >= target["ok"] * TOKENS > 0
