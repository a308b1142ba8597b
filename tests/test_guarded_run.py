"""A whole run under a spending cap: it ends early, within the cap, and says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import main

#: 40 requests of 436 and 100 tokens at 0.001 USD a token: 21.44 USD
FILES = {
    "t": (
        'description = "d"\nbase_url = "embedded"\nmodel = "m"\n[prices]\ninput_usd_per_million ='
        ' 1000\noutput_usd_per_million = 1000\nas_of = 2026-11-23\nsource = "s"\n'
    ),
    "p": (
        'description = "d"\nduration = "1s"\nprompt_tokens = [{ fixed = 436 }]\noutput_tokens = [{'
        ' fixed = 100 }]\n[arrivals]\nkind = "constant"\nrate = "40/s"\n'
    ),
    "s": (
        'description = "d"\n[[stage]]\nname = "one"\ntargets = ["t.toml"]\nprofile ='
        ' "p.toml"\nscenario = "quick.toml"\n'
    ),
    "quick": (
        'description = "d"\n[[gateway.model]]\nname = "*"\npool = "p"\n[[gateway.pool]]\n'
        'name = "p"\ne2e = { fixed = "20ms" }\n[truth]\nsays = "every answer takes 20 ms"\n'
    ),
}
CAP_USD = 21.45


@pytest.mark.slow("a gateway, and a second of requests in real time")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_ends_before_its_cap_is_passed(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan fits, its last row's margin of 64 tokens does not: with all before it billed, it
    stays unsent.
    """
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / f"{name}.toml").write_text(text)
    assert (
        main(
            [
                "run",
                "s.toml",
                "--max-cost",
                str(CAP_USD),
                "--workers",
                str(workers),
                "--quiet",
                "--out",
                "r",
            ]
        )
        == 0
    )
    manifest, summary = (
        json.loads((tmp_path / "r" / name).read_text()) for name in ("run.json", "summary.json")
    )
    (target,) = summary["targets"].values()
    assert target["cost"]["usd"] <= CAP_USD
    assert target["outcomes"]["never_sent"] >= 1
    assert manifest["state"] == "complete"
    assert "the spending cap: " in manifest["ended_early"]
    assert "the spending cap: " in (tmp_path / "r" / "report.md").read_text()
    guards = [worker["guard"] for worker in manifest["harness"]["by_worker"]]
    assert [guard["cap_usd"] for guard in guards] == [CAP_USD / workers] * workers
    assert target["cost"]["usd"] <= sum(guard["spent_usd"] for guard in guards) <= CAP_USD
