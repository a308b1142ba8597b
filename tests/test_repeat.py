"""Runs of one plan at random times: when they begin, what a driver that was killed goes on with,
and the whole once with real runs of a second.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kstest

from bench.app.conclude import Finished, conclude
from bench.app.repeat import LATE_NS, Players, Repeat, Terms, room_ns
from bench.cli import main
from bench.errors import ExitCode, TargetUnreachable, UserError
from bench.plan.draws import random_starts
from bench.plan.schedule import Plan
from bench.record.records.record import read_record
from bench.record.records.runs import RunsRecord
from benchmarks.kills import kill
from tests.support.patience import PATIENCE_S, until
from tests.support.planned import plan
from tests.support.provider import Provider
from tests.support.rows_by_hand import answered, lane_of, run_of

S = 10**9
HOUR = 3600 * S
BEGAN = 1_795_514_651 * S


# ---- when


def test_starts_are_uniform_over_all_ways_to_fit() -> None:
    """Without the rooms before them they are uniform order statistics: each by its beta law."""
    count, within, room = 4, 100 * S, 10 * S
    free = within - count * room
    drawn = np.array([random_starts(seed, 1, count, within, room) for seed in range(400)])
    assert (np.diff(drawn) >= room).all()
    assert drawn.max() <= within - room
    for place in range(count):
        shares = (drawn[:, place] - place * room) / free
        assert kstest(shares, "beta", args=(place + 1, count - place)).pvalue > 1e-4
    assert random_starts(3, 1, 4, within, room) == drawn[3].tolist()
    assert random_starts(3, 2, 4, within, room) != drawn[3].tolist()
    assert random_starts(1, 1, 5, 5 * room, room) == [0, room, 2 * room, 3 * room, 4 * room]


# ---- the driver, on a clock of its own


class World:
    """A wall clock that a wait moves on, and runs that take 100 s of it."""

    def __init__(self, folder: Path):
        self.folder, self.now = folder, BEGAN
        self.begun: list[tuple[str, int, bool]] = []
        self.resumed: list[str] = []
        self.said: list[str] = []
        #: what happens instead of the n-th run
        self.instead: dict[int, Callable[[Path], Finished]] = {}
        self.sleeps_past: set[int] = set()
        self.stop_at = 10**30

    def rest(self, seconds: float) -> None:
        if self.now >= self.stop_at:
            raise KeyboardInterrupt
        self.now += round(seconds * S)

    def finished(self, folder: Path, state: Any = "complete") -> Finished:
        rows = [answered(200, 20, due=row * 100, session=row) for row in range(20)]
        begun: dict[str, Any] = {
            "run": folder.name,
            "started_wall_ns": self.now,
            "ended_wall_ns": self.now + S,
        }
        run_of(folder, rows, lane_of(requests=20), state=state, **begun)
        self.now += 100 * S
        return conclude(folder)

    def begin(self, folder: Path, seed: int, alone: bool) -> Finished:
        self.begun.append((folder.name, seed, alone))
        instead = self.instead.get(len(self.begun))
        return instead(folder) if instead else self.finished(folder)

    def resume(self, folder: Path) -> Finished:
        self.resumed.append(folder.name)
        raise UserError("is a closed loop")

    def repeat(self, made: Plan | None = None, **terms: Any) -> Repeat:
        asked = {"repeat": 5, "over_ns": 10 * HOUR, "seed": 4} | terms
        return Repeat(
            made or plan(arrivals={"kind": "constant", "rate": "1/s"}, duration="20s"),
            Terms(self.folder, **asked, wall=lambda: self.now, rest=self.rest),
            Players(self.begin, self.resume, conclude),
            self.said.append,
        )

    @property
    def record(self) -> RunsRecord:
        return read_record(RunsRecord, self.folder)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "many")


def test_each_run_begins_at_its_time_with_a_seed_of_its_own(world: World) -> None:
    """Two repeats of one seed begin alike; the clock stands at the planned moment."""
    assert world.repeat().go_on()
    record = world.record
    assert [start.state for start in record.starts] == ["complete"] * 5
    assert world.begun == [(f"run-{n:02}", 3 + n, n == 1) for n in range(1, 6)]
    wanted = random_starts(4, 1, 5, 10 * HOUR, 81 * S)
    assert [start.planned_wall_ns - BEGAN for start in record.starts] == wanted
    assert record.draws == 1
    assert world.repeat().go_on()  # nothing is left to do
    assert len(world.begun) == 5


def test_a_start_waits_for_the_run_before(world: World) -> None:
    """Runs of 100 s where 81 s are kept free: each begins when the one before has ended."""
    assert world.repeat(over_ns=5 * 81 * S).go_on()
    assert [start.state for start in world.record.starts] == ["complete"] * 5
    assert world.record.draws == 1


def test_an_interruption_while_waiting_keeps_what_is_there(world: World) -> None:
    world.stop_at = BEGAN + 5 * HOUR
    assert not world.repeat().go_on()
    states = [start.state for start in world.record.starts]
    done = states.count("complete")
    assert 0 < done < 5
    assert states == ["complete"] * done + ["planned"] * (5 - done)
    world.stop_at = 10**30
    assert world.repeat().go_on()
    assert len(world.begun) == 5


def test_starts_that_nobody_was_there_for_are_drawn_again(world: World) -> None:
    """The driver is away from the third run on until 170 s before the end: of the three that are
    left two fit there, of 81 s each.
    """
    planned = random_starts(4, 1, 5, 10 * HOUR, 81 * S)
    world.stop_at = BEGAN + planned[2] - 60 * S
    assert not world.repeat().go_on()
    world.stop_at, world.now = 10**30, BEGAN + 10 * HOUR - 170 * S
    assert world.repeat().go_on()
    starts = world.record.starts
    assert [start.state for start in starts] == ["complete"] * 4 + ["missed"]
    assert [start.draw for start in starts] == [1, 1, 2, 2, 1]
    again = [start.planned_wall_ns - BEGAN - 10 * HOUR for start in starts[2:4]]
    assert -170 * S <= again[0] <= -162 * S
    assert -89 * S <= again[1] <= -81 * S
    assert "1 of the runs no longer fit into what is left of the time" in world.said


def test_a_machine_that_slept_past_a_start_draws_again(world: World) -> None:
    rest = world.rest

    def slept(seconds: float) -> None:
        rest(seconds + (2 * LATE_NS / S if len(world.begun) == 1 else 0))

    world.rest = slept  # type: ignore[method-assign]
    assert world.repeat(over_ns=20 * HOUR).go_on()
    assert world.record.draws > 1
    assert [start.state for start in world.record.starts] == ["complete"] * 5


def test_a_run_that_broke_off_is_finished_first_or_counts_as_it_is(world: World) -> None:
    """Ctrl-C in the third run; its closed loop cannot be resumed: what it sent is what counts."""
    world.instead[3] = lambda folder: world.finished(folder, "interrupted")
    assert not world.repeat().go_on()
    assert world.record.starts[2].state == "interrupted"
    assert world.repeat().go_on()
    assert world.resumed == ["run-03"]
    assert any("run-03 counts as it is" in said for said in world.said)
    assert [start.state for start in world.record.starts] == ["complete"] * 5


def test_a_killed_driver_is_believed_by_what_lies_in_the_folder(world: World) -> None:
    """Killed after the second run had ended and before that was written; and as the third had no
    folder yet.
    """

    def killed(folder: Path) -> Finished:
        if folder.name == "run-02":
            world.finished(folder)
        raise RuntimeError

    for number in (2, 3):
        world.instead[number] = killed
        with pytest.raises(RuntimeError):
            world.repeat().go_on()
        assert world.record.starts[number - 1].state == "running"
    assert world.repeat().go_on()
    assert [name for name, _, _ in world.begun] == [
        *("run-01", "run-02", "run-03", "run-03", "run-04", "run-05")
    ]


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"seed": 5}, "holds runs of another seed"),
        ({"over_ns": 11 * HOUR}, "holds runs of another --over"),
        ({"repeat": 6}, "holds 5 runs, not 6"),
        (
            {"made": plan(arrivals={"kind": "constant", "rate": "2/s"}, duration="20s")},
            "holds runs of another plan",
        ),
    ],
)
def test_another_repeat_does_not_go_on(terms: dict[str, Any], says: str, world: World) -> None:
    world.stop_at = BEGAN
    world.repeat().go_on()
    with pytest.raises(UserError, match=says):
        world.repeat(**terms).go_on()


def test_runs_that_do_not_fit_are_refused(world: World) -> None:
    """5 of 81 s each: 20 s of load, a minute's patience, a second's breath."""
    made = plan(arrivals={"kind": "constant", "rate": "1/s"}, duration="20s")
    assert room_ns(made) == 81 * S
    with pytest.raises(UserError, match="overlap within 6 min 40 s; give at least 6 min 45 s"):
        world.repeat(over_ns=400 * S)


def test_a_first_run_that_finds_nobody_ends_it(world: World) -> None:
    """Nothing was sent: the same command begins again."""

    def nobody(_: Path) -> Finished:
        raise TargetUnreachable("does not answer")

    world.instead[1] = nobody
    with pytest.raises(TargetUnreachable):
        world.repeat().go_on()
    assert world.record.starts[0].state == "planned"


# ---- the command


@pytest.fixture
def provider() -> Iterator[Provider]:
    server = Provider()
    yield server
    server.shutdown()
    server.server_close()


def command(provider: Provider, *more: str) -> list[str]:
    url = f"http://127.0.0.1:{provider.server_port}/v1"
    size = ["--isl", "10", "--osl", "3", "--rate", "60/s", "--request-count", "50"]
    asked = ["run", "--url", url, "--model", "m", "--slo", "e2e:p80<5s", "--timeout", "1s"]
    return [*asked, *size, *more]


@pytest.mark.slow("runs in real time")
def test_a_killed_repeat_is_gone_on_with(
    provider: Provider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All processes killed in the second run; the same command finishes it, plays the third, and
    judges all three, which are too few.
    """
    monkeypatch.chdir(tmp_path)
    asked = command(provider, "--repeat", "3", "--over", "12s", "--out", "many")
    process = subprocess.Popen([sys.executable, "-m", "bench", *asked])
    until(lambda: len(provider.answered) > 0 and Path("many/run-02/run.json").is_file())
    until(lambda: json.loads(Path("many/run-02/run.json").read_text())["state"] == "running")
    with process:
        kill(process, Path("many/run-02"))
    assert main([*asked, "--format", "json"]) == ExitCode.INCONCLUSIVE
    found = json.loads(capsys.readouterr().out)
    record = read_record(RunsRecord, Path("many"))
    assert [start.state for start in record.starts][:2] == ["complete"] * 2
    assert {start.state for start in record.starts} <= {"complete", "missed"}
    played = [start for start in record.starts if start.state == "complete"]
    assert [run["name"] for run in found["runs"]] == [start.folder for start in played]
    assert found["clauses"][0]["open_cause"] == "few_blocks"
    assert json.loads(Path("many/verdicts.json").read_text()) == found
    assert Path("many/report.html").is_file()


@pytest.mark.slow("a process that is interrupted as it waits")
def test_ctrl_c_before_the_first_run_sends_nothing(provider: Provider, tmp_path: Path) -> None:
    asked = command(provider, "--repeat", "3", "--over", "7d", "--out", str(tmp_path / "many"))
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", *asked], stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            if "begins at" in line:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == ExitCode.INTERRUPTED
        assert "nothing was sent" in process.stderr.read()
    assert provider.asked == {}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--over", "1h"], "--over: says within how long, and not how many runs"),
        (["--over", "1h", "--repeat", "10", "--early-stop"], "does not go with --early-stop"),
        (["--over", "1h", "--repeat", "10", "--format", "github"], "does not go with --over"),
        (["--over", "10s", "--repeat", "10"], "overlap within 10 s"),
        (["--over", "soon", "--repeat", "10"], "--over: "),
        (["--over", "1h", "--repeat", "0"], "--repeat"),
        (["--over", "1h", "--repeat", "10", "--shard", "1/2"], "does not go with --repeat"),
    ],
)
def test_what_runs_over_time_cannot_be(
    words: list[str], says: str, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(provider, *words)) == ExitCode.USAGE
    assert says in " ".join(capsys.readouterr().err.split())
    assert provider.asked == {}


def test_the_simulator_has_no_days(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "long-tail", "--repeat", "10", "--over", "7d"]) == ExitCode.USAGE
    assert "the simulator, whose time is no real time" in " ".join(capsys.readouterr().err.split())
