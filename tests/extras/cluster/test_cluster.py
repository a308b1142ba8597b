"""A suite on the nodes of a cluster: real shards, a provider that knows what it was asked, nodes
that die, fall silent, come late.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.app.conclude import Finished
from bench.cli import main
from bench.clock import monotonic_ns, wall_ns, wall_offset_ns
from bench.errors import ExitCode, RunFolderError
from bench.extras.cluster.agent import Agent
from bench.extras.cluster.driver import collect
from bench.load.shard import LATE_NS
from bench.plan.schedule import compile_plan
from bench.record.run_folder import Run, read_manifest
from bench.record.samples import Outcome
from bench.units import MS, S
from tests.support.local_cluster import (
    EU,
    US,
    Heard,
    LocalAgent,
    LocalCluster,
    ManyRunsProvider,
    asked,
    conduct_on,
    left_in,
    meanwhile,
    places_of_shards,
    rows_of_shard,
    rows_that,
    serving,
    suite_for,
)
from tests.support.patience import until
from tests.support.pulse import Pulse, some_must_be_kept


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ManyRunsProvider]:
    """A server that writes down what it was asked and what it answered; runs lie beside `nodes`."""
    with serving(tmp_path, monkeypatch) as server:
        yield server


def play(
    cluster: LocalCluster,
    provider: ManyRunsProvider,
    *flags: str,
    screen: Heard | None = None,
    **how: Any,
) -> Finished:
    """A run of the suite in `r`, on as many shards as there are nodes."""
    suite = suite_for(provider, *flags)
    return conduct_on(
        "here",
        suite,
        1,
        repeat_command="tailproof run --cluster here",
        screen=screen or Heard(),
        folder=Path("r"),
        join=cluster.join,
        **{"workers": len(cluster.places), **how},
    )


def of_shard(run: Run, number: int, of: int) -> set[int]:
    """The rows that a shard was to play."""
    return set(rows_of_shard(run, number, of))


def notes(run: Run, those: set[int]) -> set[str]:
    """What is said of them."""
    return {run.strings("note")[number] for number in run.columns.samples["note"][sorted(those)]}


def reasons(done: Finished) -> str:
    """What health has to say."""
    return "\n".join(done.records.summary.health.reasons)


@pytest.mark.parametrize("shared", [False, True], ids=["brought", "shared"])
def test_a_run_on_two_nodes_is_the_plans_run(shared: bool, provider: ManyRunsProvider) -> None:
    """Each row is asked once, all is on record and nothing lies about: not here, not on the nodes,
    not between.
    """
    cluster = LocalCluster(EU, US)
    place = Path("between").resolve()
    done = play(cluster, provider, "--duration", "1s", workers=3, shared=place if shared else None)
    run = Run(Path("r"))
    plan = compile_plan(suite_for(provider, "--duration", "1s"), 1)
    assert run.columns.schedule.tobytes() == plan.schedule.tobytes()
    assert {row: len(moments) for row, moments in provider.asked_of(run).items()} == dict.fromkeys(
        range(len(plan.schedule)), 1
    )
    assert rows_that(run, Outcome.ok) == set(provider.asked_of(run))
    assert run.state == "complete"
    manifest = read_manifest(Path("r"))
    assert places_of_shards(manifest) == [("node-1", "eu"), ("node-2", "us"), ("node-1", "eu")]
    for shard in manifest.shards:
        assert shard.clock is not None
        assert abs(shard.clock.offset_ms) <= shard.clock.bound_ms
        assert shard.start is not None
        assert shard.start.agreed_wall_ns == manifest.started_wall_ns
        assert shard.lost is None
        assert shard.workers is not None
        workers = run.columns.samples["worker"][sorted(of_shard(run, shard.number, 3))]
        assert set(workers.tolist()) == {shard.workers[0]}
    assert "cluster" not in json.loads(Path("r/run.json").read_text())
    assert not Path("r/shards").exists()
    assert left_in(Path("nodes")) == left_in(place) == []
    assert main(["verify", "r"]) == 0
    assert main(["judge", "r"]) == done.exit_code


def test_a_cluster_of_one_is_a_cluster(provider: ManyRunsProvider) -> None:
    """One node and one shard: the run is put together of it as of many, and says where it was sent
    from.
    """
    play(LocalCluster(EU), provider, "--duration", "1s")
    run = Run(Path("r"))
    assert rows_that(run, Outcome.ok) == set(range(len(run.columns))) == set(provider.asked_of(run))
    assert places_of_shards(run.manifest) == [("node-1", "eu")]


def test_a_node_that_dies_takes_its_last_second_and_nothing_else(
    provider: ManyRunsProvider,
) -> None:
    """What it answered earlier is on record, the rest says why; the others play on, and the verdict
    is INVALID and names it.
    """
    cluster = LocalCluster(EU, US)
    moment: list[int] = []
    screen, pulse = Heard(), Pulse()

    def dies() -> None:
        until(lambda: some_must_be_kept(provider, pulse))
        moment.append(cluster.given[1].kill("the power went"))

    with pulse, meanwhile(dies):
        done = play(cluster, provider, "--duration", "3s", screen=screen)
    run = Run(Path("r"))
    ok, theirs = rows_that(run, Outcome.ok), of_shard(run, 2, 2)
    earlier = {
        row for row, at_ns in provider.answered_of(run).items() if at_ns < moment[0] - pulse.loss_ns
    }
    assert earlier & theirs
    assert earlier <= ok <= set(provider.answered_of(run))
    assert of_shard(run, 1, 2) <= ok
    rest = theirs - ok
    assert rest == rows_that(run, Outcome.never_sent, Outcome.censored)
    unsent = rows_that(run, Outcome.never_sent)
    assert unsent
    assert notes(run, unsent) == {"shard 2 of 2 was lost: the power went"}
    assert (
        run.columns.samples["due_ns"][sorted(rest)] == run.columns.schedule["due_ns"][sorted(rest)]
    ).all()
    assert done.exit_code == ExitCode.INVALID
    assert "shard 2 of 2 was lost with node-2 (the power went)" in reasons(done)
    assert any(said.startswith("node-2 was lost") for said in screen.said)
    assert [main([word, "r"]) for word in ("report", "judge", "verify")] == [0, 4, 0]
    assert "shards" not in {path.name for path in Path("r").iterdir()}


def test_a_process_that_dies_alone_loses_nothing_that_was_sealed(
    provider: ManyRunsProvider,
) -> None:
    """The node is there and hands over the rest: a run of which one shard says that its process
    died.
    """
    cluster = LocalCluster(EU, US)
    moment: list[int] = []
    pulse = Pulse()

    def dies() -> None:
        until(lambda: some_must_be_kept(provider, pulse))
        pid = cluster.given[0].agent.pid
        assert pid is not None
        moment.append(monotonic_ns())
        os.kill(pid, signal.SIGKILL)

    with pulse, meanwhile(dies):
        done = play(cluster, provider, "--duration", "3s")
    run = Run(Path("r"))
    ok = rows_that(run, Outcome.ok)
    earlier = {
        row for row, at_ns in provider.answered_of(run).items() if at_ns < moment[0] - pulse.loss_ns
    }
    assert earlier & of_shard(run, 1, 2)
    assert earlier | of_shard(run, 2, 2) <= ok <= set(provider.answered_of(run))
    assert "lost with node-1 (its process died)" in reasons(done)
    assert done.exit_code == ExitCode.INVALID
    assert left_in(Path("nodes")) == []


class Quiet(LocalAgent):
    """Gives no word any more once it is told to be quiet, until it is let go."""

    def __init__(self, *given: Any):
        super().__init__(*given)
        self.quiet, self.over = threading.Event(), threading.Event()

    def _call(self, method: str, *args: Any) -> Any:
        if method == "report" and self.quiet.is_set():
            assert self.over.wait(50)
        return super()._call(method, *args)


def test_a_silent_node_is_given_up(provider: ManyRunsProvider) -> None:
    """An agent that never answers again ends its own part alone; what it keeps stays with it."""
    cluster = LocalCluster(EU, US, make_remote=Quiet)

    def falls_silent() -> None:
        until(lambda: asked(provider) >= 20)
        agent = cluster.given[1]
        assert isinstance(agent, Quiet)
        agent.quiet.set()

    try:
        with meanwhile(falls_silent):
            done = play(cluster, provider, "--duration", "1s", silence_ns=2 * S)
        run = Run(Path("r"))
        assert of_shard(run, 1, 2) <= rows_that(run, Outcome.ok)
        assert "lost with node-2 (was silent for " in reasons(done)
        assert done.exit_code == ExitCode.INVALID
        assert len(left_in(Path("nodes"))) == 1
    finally:
        for agent in cluster.given:
            assert isinstance(agent, Quiet)
            agent.over.set()


def test_a_silent_node_that_goes_on_writing_to_a_shared_folder_is_collected(
    provider: ManyRunsProvider,
) -> None:
    """Given up, its process plays on: the driver leaves the run as it is and says so; collected, no
    answer of anybody is missing.
    """
    cluster = LocalCluster(EU, US, make_remote=Quiet)

    def falls_silent() -> None:
        until(lambda: asked(provider) >= 20)
        for agent in cluster.given:
            assert isinstance(agent, Quiet)
            agent.quiet.set()

    try:
        with (
            meanwhile(falls_silent),
            pytest.raises(
                RunFolderError,
                match=r"is still written to by node-1, which was silent .*; tailproof collect r",
            ),
        ):
            play(
                cluster,
                provider,
                "--duration",
                "30s",
                silence_ns=1 * S,
                shared=Path("between").resolve(),
            )
    finally:
        for agent in cluster.given:
            assert isinstance(agent, Quiet)
            agent.over.set()
    done = collect(Path("r"), cluster.join)
    run = Run(Path("r"))
    assert done.exit_code == ExitCode.INTERRUPTED
    assert (
        rows_that(run, Outcome.ok) == set(provider.answered_of(run)) == set(provider.asked_of(run))
    )
    assert left_in(Path("between")) == []


class Held(LocalAgent):
    """Its process is held from before the start until it is too late to join."""

    def _call(self, method: str, *args: Any) -> Any:
        if method != "start":
            return super()._call(method, *args)
        pid, agreed_ns = self.agent.pid, args[0]
        assert pid is not None

        def go_on() -> None:
            until(lambda: wall_ns() > agreed_ns + LATE_NS + 100 * MS)
            os.kill(pid, signal.SIGCONT)

        os.kill(pid, signal.SIGSTOP)
        threading.Thread(target=go_on).start()
        return super()._call(method, *args)


def first_punctual(*place: Any) -> LocalAgent:
    """Node 1 keeps time, the others do not."""
    return (LocalAgent if place[0] == EU else Held)(*place)


@pytest.mark.parametrize(
    ("agents", "late"), [(first_punctual, [2]), (Held, [1, 2])], ids=["one", "all"]
)
def test_a_node_that_is_late_never_joins(
    agents: Callable[..., LocalAgent], late: list[int], provider: ManyRunsProvider
) -> None:
    """Held over the agreed instant it sends nothing and says why; who was in time is not disturbed,
    and no node keeps anything.
    """
    done = play(LocalCluster(EU, US, make_remote=agents), provider, "--duration", "1s")
    run = Run(Path("r"))
    theirs = set[int]().union(*(of_shard(run, number, 2) for number in late))
    assert rows_that(run, Outcome.never_sent) == theirs
    assert (
        set(provider.asked_of(run))
        == rows_that(run, Outcome.ok)
        == set(range(len(run.columns))) - theirs
    )
    assert all(f"shard {number} of 2 was lost: " in " ".join(notes(run, theirs)) for number in late)
    assert all("a shard never joins late" in note for note in notes(run, theirs))
    assert done.exit_code == (ExitCode.INVALID if len(late) == 1 else ExitCode.INTERRUPTED)
    assert "a shard never joins late" in reasons(done)
    assert left_in(Path("nodes")) == []
    assert main(["verify", "r"]) == 0


class Ahead(Agent):
    """Its clock is a second ahead."""

    def wall(self) -> int:
        """A second more."""
        return super().wall() + S


class Stepped(Agent):
    """Its clock is set by 2 s once the run has begun."""

    started = False

    def start(self, agreed_ns: int, ahead_ns: int) -> None:
        """From now on."""
        self.started = True
        super().start(agreed_ns, ahead_ns)

    def wall(self) -> int:
        """As its clock has it."""
        return super().wall() + 2 * S * self.started


def after(kind: Callable[[], Agent]) -> Callable[[], Agent]:
    """Makes one agent as they are, then one of a kind."""
    kinds = iter([Agent, kind])

    def make() -> Agent:
        return next(kinds)()

    return make


def test_a_clock_that_is_ahead_is_corrected_for(provider: ManyRunsProvider) -> None:
    """The offset is found within its bound; by the one true clock, which that node does not have,
    it begins as much later.
    """
    cluster = LocalCluster(EU, US, make_agent=after(Ahead))
    play(cluster, provider, "--duration", "1s")
    run = Run(Path("r"))
    assert rows_that(run, Outcome.ok) == set(range(len(run.columns)))
    asked_at = provider.asked_of(run)
    began_ns = run.manifest.started_wall_ns - wall_offset_ns()
    for number, ahead_ns in ((1, 0), (2, S)):
        shard = run.manifest.shards[number - 1]
        assert shard.clock is not None
        assert shard.start is not None
        bound_ns = shard.clock.bound_ms * MS
        assert abs(shard.clock.offset_ms * MS - ahead_ns) <= bound_ns
        assert abs(shard.start.ahead_ns - ahead_ns) <= bound_ns
        lags = [
            asked_at[row][0] - int(run.columns.schedule["due_ns"][row]) - began_ns
            for row in of_shard(run, number, 2)
        ]
        # Nothing leaves before it is due, and the quickest of them soon after; 50 ms for what the
        # wall clock was slewed by.
        assert ahead_ns - bound_ns - 50 * MS <= min(lags) < ahead_ns + S


def test_a_clock_that_is_set_during_the_run_is_told(provider: ManyRunsProvider) -> None:
    """Compared before and after: health names the node whose clock moved, and no other."""
    done = play(LocalCluster(EU, US, make_agent=after(Stepped)), provider, "--duration", "1s")
    told = [
        reason
        for reason in done.records.summary.health.reasons
        if "has a clock that drifted by" in reason
    ]
    assert [reason.split()[0] for reason in told] == ["node-2"]
    still, moved = [shard.clock for shard in Run(Path("r")).manifest.shards]
    assert still is not None
    assert moved is not None
    assert abs(moved.drift_ms - 2000) < 1000 > abs(still.drift_ms)
