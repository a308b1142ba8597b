"""Ending a run early, and stages in virtual time beside stages over HTTP, on the loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli import main
from bench.record.run_folder import Run, RunWriter
from bench.record.samples import SCHEDULE_DTYPE, empty_samples
from tests.support.in_process import tailproof
from tests.support.records import manifest_of, review_json

ROOT = Path(__file__).resolve().parents[1]
POOL = """
[[gateway.model]]
name = "*"
pool = "p"

[[gateway.pool]]
name = "p"
e2e = { fixed = "20ms" }

[truth]
says = "every answer takes 20 ms"
"""
STAGE = """
[[stage]]
name = "%s"
targets = ["standard"]
profile = "poisson"
contract = "quick.toml"
rate = "50/s"
duration = "%s"
"""
CONTRACT = """
title = "half of the answers within 10 s"
[[clause]]
metric = "e2e"
quantile = "50%"
limit = "10s"
"""


def run(folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """`tailproof run` with these words: its exit code and its manifest."""
    done = tailproof("run", *words, "--quiet", "--out", folder, cwd=ROOT)
    assert (folder / "run.json").is_file(), done.stderr
    return done.returncode, json.loads((folder / "run.json").read_bytes())


def scenario(folder: Path, name: str, duration: str, extra: str = "") -> Path:
    """A scenario file of one stage, its contract beside it."""
    (folder / "quick.toml").write_text(CONTRACT)
    path = folder / f"{name}.toml"
    path.write_text(f'description = "made"\n{extra}{POOL}{STAGE % (name, duration)}')
    return path


def test_a_broken_run_ends_at_a_planned_look(tmp_path: Path) -> None:
    """Half of the requests fail where one in ten may: the rest is never sent, and is no failure."""
    made = scenario(tmp_path, "torn", "12s")
    fault = '[[gateway.timeline]]\nat = "0s"\nfor = "60s"\nfault = "http_503"\nshare = "50%"\n'
    made.write_text(made.read_text().replace("[truth]", f"{fault}\n[truth]"))
    clause = CONTRACT[: CONTRACT.index("metric")] + 'metric = "error_share"\nshare = "10%"\n'
    (tmp_path / "quick.toml").write_text(clause)
    code, manifest = run(tmp_path / "r", str(made), "--early-stop")
    done = Run(tmp_path / "r")
    unsent = int((done.columns.samples["sent_ns"] < 0).sum())
    assert manifest["ended_early"] == "every contract was broken at planned look 1 of 4"
    assert (code, manifest["state"], manifest["early_stop"]) == (1, "complete", 4)
    assert unsent > 50
    _, verdicts = review_json(done)
    assert verdicts["clauses"][0]["n"] == len(done.columns) - unsent
    assert verdicts["clauses"][0]["unknown"] == 0


@pytest.mark.parametrize(("words", "looks"), [((), None), (("--early-stop",), 4)])
def test_a_run_that_breaks_nothing_goes_to_its_end(
    tmp_path: Path, words: tuple[str, ...], looks: int | None
) -> None:
    """However often it is looked at: a quarter of a run holds a quarter of its spells."""
    _, manifest = run(tmp_path / "r", str(scenario(tmp_path, "calm", "1s")), *words)
    assert (manifest["ended_early"], manifest["early_stop"]) == (None, looks)
    assert bool((Run(tmp_path / "r").columns.samples["sent_ns"] >= 0).all())


def test_simulated_stages_stand_beside_those_that_were_sent(tmp_path: Path) -> None:
    """One folder, two lanes: the live one first, the simulated one marked, each with its own rows,
    outcomes and gateway.
    """
    scenario(tmp_path, "live", "1s")
    scenario(tmp_path, "virtual", "15s", "[gateway]\nsimulated = true\n")
    suite = tmp_path / "both.toml"
    suite.write_text('description = "both"\nscenarios = ["virtual.toml", "live.toml"]\n')
    code, manifest = run(tmp_path / "r", str(suite))
    done = Run(tmp_path / "r")
    assert [(lane.name, lane.simulated) for lane in done.lanes] == [
        ("standard/live", False),
        ("standard/virtual", True),
    ]
    live, virtual = done.columns.lane(0), done.columns.lane(1)
    assert bool(live.ok.all())
    assert bool(virtual.ok.all())
    assert len(virtual) > 5 * len(live)
    assert set((virtual.samples["last_token_ns"] - virtual.samples["due_ns"]).tolist()) == {
        20_000_000
    }
    assert len(np.unique(live.samples["last_token_ns"] - live.samples["due_ns"])) > 10
    assert done.strings("served_model")[virtual.samples["served_model"][0]] == done.lanes[1].model
    assert list(manifest["harness"]["gateway"]) == ["live"]
    summary, verdicts = review_json(done)
    assert summary["health"]["facts"]["due"] == len(live)
    assert [clause["verdict"] for clause in verdicts["clauses"]] == ["PASS", "PASS"]
    assert code == 0


def test_a_run_that_goes_on_is_not_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While its writer lives, judge and report refuse; killed, the same folder is judged as far as
    it came.
    """
    rows = np.zeros(3, SCHEDULE_DTYPE)
    writer = RunWriter(tmp_path / "r", manifest_of([]), rows)
    for command in ("judge", "report"):
        assert main([command, str(writer.folder)]) == 2
        assert "is still going on; wait for its end" in capsys.readouterr().err
    writer.finish("interrupted", empty_samples(3), {"harness": {}, "strings": {}})
    assert main(["judge", str(writer.folder)]) == 130
    program = (
        "import os, sys, numpy; from pathlib import Path; from bench.record.run_folder import"
        " RunWriter; from bench.record.records.manifest import Manifest;"
        " from bench.record.samples import SCHEDULE_DTYPE; w ="
        " RunWriter(Path(sys.argv[1]), Manifest.begun('r', []), numpy.zeros(3, SCHEDULE_DTYPE));"
        " os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "killed")], cwd=ROOT, check=False)
    assert main(["judge", str(tmp_path / "killed")]) == 130
