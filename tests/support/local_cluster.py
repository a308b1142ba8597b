"""A cluster without an engine: every remote agent is one in this process, its shard a real process
of its own.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.app.conclude import Finished
from bench.app.conduct import Screen
from bench.cli.run import suite_of
from bench.clock import monotonic_ns
from bench.extras.cluster import driver as product
from bench.extras.cluster.agent import Agent
from bench.extras.cluster.driver import Cluster
from bench.extras.cluster.node import AgentLost, Engine
from bench.load.options import RunOptions
from bench.load.player import Counters
from bench.load.shard import Place, Shard
from bench.plan.schedule import Plan, compile_plan
from bench.plan.suite import Suite
from bench.record.parts import Share
from bench.record.records.manifest import Manifest
from bench.record.run_folder import Run
from bench.record.samples import Outcome
from tests.support.flags import run_flags, small_requests
from tests.support.provider import Provider

EU, US = Place("node-1", "eu"), Place("node-2", "us")


class LocalAgent:
    """Calls the agent on a thread of its own, one call at a time, as an engine would."""

    def __init__(self, place: Place, node_id: str, agent: Agent):
        self.place, self.node_id, self.agent = place, node_id, agent
        self._thread = ThreadPoolExecutor(1)
        self.lost: str | None = None

    def ask(self, method: str, *args: Any) -> Future[Any]:
        """The agent's answer; of a lost agent, that it is lost."""
        return self._thread.submit(self._call, method, *args)

    def _call(self, method: str, *args: Any) -> Any:
        if self.lost is None:
            answer = getattr(self.agent, method)(*args)
        if self.lost is not None:
            raise AgentLost(self.lost)
        return answer

    def kill(self, why: str = "the node died") -> int:
        """What a power cut does: the sender and the agent are gone at once. When (monotonic ns)."""
        self.lost = why
        if self.agent.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.agent.pid, signal.SIGKILL)
        return monotonic_ns()


class LocalCluster:
    """So many nodes; agents are dealt to them in turn."""

    def __init__(
        self,
        *places: Place,
        make_agent: Callable[[], Agent] = Agent,
        make_remote: Callable[[Place, str, Agent], LocalAgent] = LocalAgent,
    ):
        self.places, self._make_agent, self._make_remote = places, make_agent, make_remote
        #: those of the run, and all that were made
        self.given: list[LocalAgent] = []
        self._made: list[LocalAgent] = []

    @property
    def nodes(self) -> int:
        """How many there are."""
        return len(self.places)

    def agents(self, count: int) -> list[LocalAgent]:
        """An agent each."""
        self.given = [
            self._agent(self.places[n % self.nodes], f"id-{n % self.nodes}") for n in range(count)
        ]
        return self.given

    def agent_on(self, node_id: str, place: Place) -> LocalAgent:
        """A further agent."""
        return self._agent(place, node_id)

    def _agent(self, place: Place, node_id: str) -> LocalAgent:
        self._made.append(self._make_remote(place, node_id, self._make_agent()))
        return self._made[-1]

    def close(self) -> None:
        """The agents go, and with them what their processes listen to."""
        for agent in self._made:
            process = agent.agent._process
            if process is not None and process.stdin is not None:
                with suppress(OSError):
                    process.stdin.close()

    def join(self, _address: str) -> LocalCluster:
        """Itself, wherever it is said to be."""
        return self


class ManyRunsProvider(Provider):
    """Tells the requests of several shards apart, each of which counts its own rows."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()
        super().__init__()

    def row_of(self, request_id: str) -> int:
        """A number for each request that was ever made."""
        with self._lock:
            return self._numbers.setdefault(request_id, len(self._numbers))

    def asked_of(self, run: Run) -> dict[int, list[int]]:
        """Row of the whole run -> moments at which it was asked for."""
        return {row: self.asked[number] for row, number in self._rows(run).items()}

    def answered_of(self, run: Run) -> dict[int, int]:
        """Row of the whole run -> when it was wholly answered."""
        return {
            row: self.answered[number]
            for row, number in self._rows(run).items()
            if number in self.answered
        }

    def _rows(self, run: Run) -> dict[int, int]:
        shards = run.manifest.shards
        numbered = {shard.run: shard.number for shard in shards if shard.run is not None}
        found = {}
        for request_id, number in self._numbers.items():
            name, _, row = request_id.rpartition("-")
            found[rows_of_shard(run, numbered[name], len(shards))[int(row)]] = number
        assert len(found) == len(self._numbers)
        return found


def rows_of_shard(run: Run, number: int, of: int) -> list[int]:
    """The rows of the whole run that a shard was to play, in their order."""
    rows: list[int] = np.flatnonzero(
        Share(shard=number - 1, shards=of).rows(run.columns.schedule)
    ).tolist()
    return rows


def places_of_shards(manifest: Manifest) -> list[tuple[str, str | None]]:
    """Node and region of each shard that says where it was sent from."""
    return [
        (shard.place.node, shard.place.region)
        for shard in manifest.shards
        if shard.place is not None
    ]


def rows_that(run: Run, *outcomes: Outcome) -> set[int]:
    """Rows that ended so."""
    return set(np.flatnonzero(np.isin(run.columns.samples["outcome"], outcomes)).tolist())


def asked(provider: Provider) -> int:
    """Requests that reached the provider."""
    return sum(len(moments) for moments in provider.asked.values())


def left_in(folder: Path) -> list[str]:
    """What nodes keep there: folders of shards."""
    return sorted(path.name for path in folder.glob("tailproof-*"))


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Do something on another thread; what went wrong there is raised here."""
    wrong: list[BaseException] = []

    def acted() -> None:
        try:
            act()
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=acted)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if wrong:
        raise wrong[0]


class Heard:
    """A screen that keeps the sentences."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def open(self, plan: Plan) -> None:
        """Nothing is drawn."""

    def tick(self, now_ns: int, counters: Callable[[], Counters]) -> None:
        """Nothing is drawn."""

    def warn(self, text: str) -> None:
        """Keep it."""
        self.said.append(text)

    def close(self) -> None:
        """Nothing is drawn."""


def suite_for(provider: Provider, *flags: str) -> Suite:
    """What `tailproof run --url` with these flags plays: 40 requests a second, promised
    within 5 s.
    """
    promised = ("--request-rate", "40", "--slo", "e2e:p50<5s")
    return suite_of(run_flags(*small_requests(provider.server_port, *promised, *flags)))


def conduct_on(
    address: str,
    suite: Suite,
    seed: int,
    *,
    screen: Screen,
    join: Callable[[str], Engine],
    start_at_ns: int | None = None,
    **how: Any,
) -> Finished:
    """The suite on a cluster; `how` are fields of `Cluster` and of `RunOptions`."""
    names = {field.name for field in dataclasses.fields(Cluster)}
    cluster = Cluster(
        address, join=join, **{name: how.pop(name) for name in [*how] if name in names}
    )
    options = RunOptions(shard=Shard(start_at_ns=start_at_ns), **how)
    return product.conduct_on(cluster, compile_plan(suite, seed), options, screen)


def driver(port: int, nodes: Path, *flags: str, out: str = "r") -> subprocess.Popen[str]:
    """A driver as a process of its own, with a cluster of two nodes in it, which keep what they
    have below `nodes`.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.local_cluster", str(port), str(nodes), out, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def main(port: str, nodes: str, out: str, *flags: str) -> int:
    """The driver's side of `driver`."""
    tempfile.tempdir = nodes
    taken = run_flags(*small_requests(int(port), *flags))
    suite = suite_of(taken)
    done = conduct_on(
        "here",
        suite,
        1,
        repeat_command="tailproof run --cluster here",
        screen=Heard(),
        folder=Path(out),
        workers=2,
        shared=taken.elsewhere["shared"],
        join=LocalCluster(EU, US).join,
    )
    return int(done.exit_code)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))


@contextmanager
def serving(place: Path, patch: pytest.MonkeyPatch) -> Iterator[ManyRunsProvider]:
    """A server that writes down what it was asked and answered; `place` is the working folder,
    nodes keep what they have in its `nodes`.
    """
    patch.chdir(place)
    (place / "nodes").mkdir()
    patch.setattr(tempfile, "tempdir", str(place / "nodes"))
    server = ManyRunsProvider()
    yield server
    server.shutdown()
    server.server_close()
