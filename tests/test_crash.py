"""Runs that are killed, that fill their disk, that are gone on with: real processes, and a server
that knows what it answered.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli import main
from bench.clock import monotonic_ns
from bench.errors import UserError
from bench.load.options import RunOptions
from bench.load.sitting import refuse_unless_broken_off
from bench.record.run_folder import LaterSitting, Run, read_manifest, under_way, write_manifest
from bench.record.samples import Outcome
from benchmarks.kills import kill, tree_of
from tests.support.patience import PATIENCE_S, unmeasured, until
from tests.support.provider import Provider
from tests.support.pulse import Pulse, some_must_be_kept
from tests.support.records import lane_record_of, manifest_of

SESSIONS = (
    'description = "d"\nrequests = 120\nprompt_tokens = [{ fixed = 10 }]\noutput_tokens = [{ fixed'
    ' = 3 }]\n[arrivals]\nkind = "poisson"\nrate = "40/s"\n[sessions]\nthink ='
    ' "300ms"\n[sessions.turns]\nfixed = 3\n'
)


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A server that writes down what it answered."""
    server = Provider()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are given where the files lie."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talk.toml").write_text(SESSIONS)


def start(
    provider: Provider, *more: str, out: str = "r", environment: Mapping[str, str] = os.environ
) -> subprocess.Popen[str]:
    """`tailproof run` against the server."""
    command = [
        sys.executable,
        "-m",
        "bench",
        "run",
        "--url",
        f"http://127.0.0.1:{provider.server_port}/v1",
        "--model",
        "m",
        "--slo",
        "e2e:p90<500ms",
        "--out",
        out,
        "--quiet",
        *more,
    ]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


STEADY = ("--request-rate", "60/s", "--isl", "10", "--osl", "3", "--duration", "3s")


def killed(provider: Provider, *flags: str, answers: int = 0, pulse: Pulse | None = None) -> int:
    """A run of which all processes are killed after so many answers, or with `pulse` once some must
    be on disk; when.
    """
    process = start(provider, *flags)
    until(lambda: len(provider.answered) >= answers)
    until(lambda: pulse is None or some_must_be_kept(provider, pulse))
    with process:
        return kill(process, Path("r"))


def rows_of(run: Run, *outcomes: Outcome) -> set[int]:
    """Rows that ended so."""
    return set(np.flatnonzero(np.isin(run.columns.samples["outcome"], outcomes)).tolist())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_run_loses_a_second_and_is_gone_on_with(
    workers: str, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was answered earlier is there and judged, the gap is told; resumed, every row was asked
    for once or cut off.
    """
    with Pulse() as pulse:
        moment = killed(provider, *STEADY, "--workers", workers, pulse=pulse)
    run = Run(Path("r"))
    early = {row for row, at_ns in provider.answered.items() if at_ns < moment - pulse.loss_ns}
    assert early
    assert early <= rows_of(run, Outcome.ok) <= set(provider.answered)
    assert main(["report", "r"]) == 0
    assert main(["judge", "r"]) == 130
    assert "the record ends" in capsys.readouterr().out
    assert "The record ends" in Path("r/report.html").read_text()
    assert main(["resume", "r", "--quiet", "--format", "json"]) in (0, 1, 3, 4)
    assert json.loads(capsys.readouterr().out)["runs"][0]["folder"] == "r"
    assert main(["verify", "r"]) == 0
    whole, asked = Run(Path("r")), set(provider.asked)
    assert whole.state == "complete"
    assert {len(moments) for moments in provider.asked.values()} == {1}
    everything = set(range(len(whole.columns)))
    assert rows_of(whole, Outcome.ok) == everything - rows_of(whole, Outcome.censored) <= asked, (
        whole.texts["note"]
    )
    first, second = whole.manifest.sittings
    assert first.ended == "killed"
    samples, planned = whole.columns.samples, whole.columns.schedule["due_ns"]
    assert not (
        (samples["sent_ns"] > first.until_ns) & (samples["sent_ns"] < second.began_ns)
    ).any()
    late = samples["due_ns"] >= second.began_ns
    assert {*(samples["due_ns"] - planned)[late]} == {second.shift_ns}
    assert {*(samples["due_ns"] - planned)[~late]} == {0}
    assert samples["due_ns"][late].min() == second.began_ns
    assert whole.lanes[0].end_ns == run.lanes[0].end_ns + second.shift_ns
    assert "resumed" in Path("r/report.html").read_text()


def test_ctrl_c_loses_nothing_and_sessions_go_on(provider: Provider) -> None:
    """Interrupted between turns and resumed: every row answered and asked for once, each turn its
    thinking time after the last.
    """
    process = start(provider, "--profile", "talk.toml")
    until(lambda: len(provider.answered) >= 30)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    before = Run(Path("r"))
    kept = sorted(rows_of(before, Outcome.ok))
    assert main(["resume", "r", "--quiet"]) in (0, 1, 3, 4)
    run = Run(Path("r"))
    samples, after = run.columns.samples, run.columns.schedule["after_row"]
    assert rows_of(run, Outcome.ok) == set(range(120)) == set(provider.asked)
    assert {len(moments) for moments in provider.asked.values()} == {1}
    assert samples["done_ns"][kept].tolist() == before.columns.samples["done_ns"][kept].tolist()
    turns = np.flatnonzero(after >= 0)
    pauses = samples["due_ns"][turns] - samples["done_ns"][after[turns]]
    began = run.manifest.sittings[1].began_ns
    across = (samples["due_ns"][turns] >= began) & (samples["due_ns"][after[turns]] < began)
    assert across.any()
    assert {*pauses[~across].tolist()} == {300_000_000}
    assert (pauses[across] > 300_000_000).all()
    assert main(["resume", "r"]) == 2


def test_a_turn_whose_predecessor_was_lost_is_not_sent(provider: Provider) -> None:
    """Killed with sessions open: what waits for a row that was cut off is never sent, and
    says why.
    """
    killed(provider, "--profile", "talk.toml", answers=15)
    assert main(["resume", "r", "--quiet"]) in (0, 1, 3, 4)
    run = Run(Path("r"))
    lost, cut = rows_of(run, Outcome.never_sent), rows_of(run, Outcome.censored)
    after = run.columns.schedule["after_row"]
    assert cut
    assert lost == {row for row in range(120) if after[row] in cut | lost}
    assert not lost & set(provider.asked)
    notes = {run.strings("note")[number] for number in run.columns.samples["note"][sorted(lost)]}
    assert notes <= {"the turn before it was lost when the run broke off"}
    assert rows_of(run, Outcome.ok) == set(range(120)) - lost - cut


def test_what_is_not_the_same_run_any_more_is_refused(
    provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    """An edited schedule, input or manifest, a living writer, a run with an end: exit 2, named, and
    nothing is changed.
    """
    killed(provider, "--profile", "talk.toml", answers=10)
    asked = len(provider.asked)

    def refused(said: str) -> None:
        files = {path: path.read_bytes() for path in Path("r").rglob("*") if path.is_file()}
        assert main(["resume", "r", "--quiet"]) == 2
        assert said in capsys.readouterr().err
        assert {path: path.read_bytes() for path in Path("r").rglob("*") if path.is_file()} == files

    for name, said in (
        ("talk.toml", "talk.toml: has changed"),
        ("r/schedule.npy", "schedule.npy: was edited"),
        ("r/run.json", "run.json: was edited"),
    ):
        whole = Path(name).read_bytes()
        changed = whole.replace(b"300ms", b"200ms").replace(b'"seed": 1', b'"seed": 2')
        Path(name).write_bytes(changed if changed != whole else whole[:-3] + b"\0\0\0")
        refused(said)
        Path(name).write_bytes(whole)
    writer = LaterSitting(Path("r"))
    refused("is still going on")
    del writer
    Path("talk.toml").rename("other.toml")
    refused("talk.toml")
    Path("other.toml").rename("talk.toml")
    assert len(provider.asked) == asked
    assert main(["resume", "r", "--quiet"]) in (0, 1, 3, 4)
    refused("has come to its end")


LANE = lane_record_of()


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"state": "complete", "ended_early": "the cap"}, "ended by its own rule: the cap"),
        ({"lanes": [LANE.replace(simulated=True)]}, "computed by the simulator"),
        (
            {"lanes": [LANE, LANE.replace(name="loop", closed_loop=True)]},
            "'loop' is a closed loop",
        ),
        ({"watch": {}}, "part of a watch"),
        (
            {"shards": [{"number": 1, "of": 2}]},
            "was merged from shards that were sent from elsewhere; run it again",
        ),
        (
            {"cluster": {"address": "here", "shared": False, "seats": []}},
            "its shards lie on the nodes; tailproof collect r",
        ),
        ({"repeat_command": "tailproof run --header 'X: [redacted]'"}, "literal secret"),
    ],
    ids=["ended early", "virtual", "closed loop", "watch", "merged", "cluster", "secret"],
)
def test_what_no_second_sitting_continues_is_refused(facts: dict[str, Any], said: str) -> None:
    """Each with its reason; the same run without that may be resumed."""
    sound = manifest_of([LANE], repeat_command="tailproof run s").replace(state="interrupted")
    folder = Path("r")
    folder.mkdir()
    write_manifest(folder, sound)
    refuse_unless_broken_off(sound, folder)
    with pytest.raises(UserError, match=said):
        refuse_unless_broken_off(sound.replace(**facts), folder)


def test_workers_that_outlive_their_parent_keep_the_folder(
    provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    """The parent alone is killed while its workers hold still: the run cannot be resumed before
    they are gone.
    """
    process = start(provider, "--request-rate", "60/s", "--duration", "20s", "--workers", "2")
    until(lambda: len(provider.answered) >= 30)
    workers = tree_of(process.pid)[1:]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    process.kill()
    try:
        assert main(["resume", "r", "--quiet"]) == 2
        assert "is still going on" in capsys.readouterr().err
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE_S)
    until(lambda: not under_way(Path("r")))
    assert Run(Path("r")).state == "interrupted"


def test_of_two_runs_into_one_folder_one_is_refused(provider: Provider) -> None:
    """Started together: one is carried out, the other ends with exit 2 and has asked for
    nothing.
    """
    flags = ("--request-rate", "40/s", "--request-count", "20", "--isl", "10", "--osl", "3")
    both = [start(provider, *flags, "--seed", seed) for seed in ("1", "2")]
    said = {process.communicate(timeout=PATIENCE_S)[0]: process.returncode for process in both}
    assert sorted(code == 2 for code in said.values()) == [False, True], said
    assert any(
        "r: holds a run already; choose another --out" in text
        for text, code in said.items()
        if code == 2
    )
    assert Run(Path("r")).state == "complete"
    assert {row: len(moments) for row, moments in provider.asked.items()} == dict.fromkeys(
        range(20), 1
    )


@pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="limits of another process are Linux's"
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_ends_the_run_with_a_sentence(workers: str, provider: Provider) -> None:
    """No file may grow any more: exit 2 and what could not be written, no traceback; what was
    sealed is reported.
    """
    process = start(
        provider,
        "--request-rate",
        "60/s",
        "--duration",
        "20s",
        "--workers",
        workers,
        environment=unmeasured(),
    )
    with Pulse() as pulse:
        until(lambda: len(provider.answered) >= 60)
        moment = monotonic_ns()
        for pid in tree_of(process.pid):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (100, 100))
        output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2, output
    assert "cannot be written (File too large)" in output
    assert "Traceback" not in output
    run = Run(Path("r"))
    answered = provider.answered.items()
    assert {row for row, at_ns in answered if at_ns < moment - pulse.loss_ns} <= rows_of(
        run, Outcome.ok
    )
    assert run.state == "interrupted"
    assert main(["report", "r"]) == 0


def test_a_run_that_breaks_off_twice_has_three_sittings(provider: Provider) -> None:
    """Killed, resumed and killed again: two gaps, and no row asked for twice; the folder can be
    copied and read.
    """
    killed(provider, *STEADY, "--duration", "4s", answers=40)
    second = start_resume()
    until(lambda: len(provider.answered) >= 80)
    kill(second, Path("r"))
    shutil.copytree("r", "copy")
    assert [end > begin for begin, end in Run(Path("copy")).gaps_ns] == [True, True]
    assert main(["resume", "r", "--quiet"]) in (0, 1, 3, 4)
    run = Run(Path("r"))
    assert {len(moments) for moments in provider.asked.values()} == {1}
    assert len(run.gaps_ns) == 2
    assert rows_of(run, Outcome.ok, Outcome.censored) == set(range(len(run.columns)))
    assert (
        len(json.loads(Path("r/run.json").read_text())["sittings"])
        == 3
        == len(read_manifest(Path("r")).sittings)
    )
    assert main(["verify", "r"]) == 0


def start_resume() -> subprocess.Popen[bytes]:
    """`tailproof resume r`, as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "bench", "resume", "r", "--quiet"],
        stdout=subprocess.DEVNULL,
    )


def test_a_probe_of_a_ramp_is_run_again_and_not_resumed() -> None:
    """Its own command is a search, of which one probe cannot be gone on with."""
    again = "tailproof ramp s --seed 1"
    with pytest.raises(UserError, match=f"was not begun by `tailproof run`; run it again: {again}"):
        RunOptions(alone=False).refuse_unless_alone(Path("r"), again)
    RunOptions().refuse_unless_alone(Path("r"), again)
