"""An agent and its process: real processes that say little, half a line, or nothing; folders that
are kept, under way or gone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.clock import monotonic_ns, sleep_s
from bench.extras.cluster.agent import Agent
from bench.record.run_folder import RunWriter
from bench.record.samples import SCHEDULE_DTYPE
from bench.units import S
from tests.support.records import manifest_of


class Scripted(Agent):
    """Its process says what a test has it say, then waits for the end of its input, or ends at
    once.
    """

    def __init__(self, said: str, *, stays: bool = False):
        script = (
            f"import sys; sys.stdout.write({said!r}); sys.stdout.flush();"
            f" {'sys.stdin.read()' if stays else ''}"
        )
        super().__init__([sys.executable, "-c", script])

    def ready(self, shared: Path, name: str = "s-1") -> dict[str, Any]:
        """Prepare an empty job."""
        return self.prepare(b"{}", b"", str(shared), name)


def line(**message: Any) -> str:
    """As a process says it."""
    return json.dumps(message) + "\n"


def everything(agent: Agent) -> list[dict[str, Any]]:
    """All that is said until the end."""
    said, deadline = list[dict[str, Any]](), monotonic_ns() + 40 * S
    while True:
        told = agent.report()
        said += told["said"]
        if told["ended"]:
            return said
        assert monotonic_ns() < deadline
        sleep_s(0.01)


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Scripted]:
    """An agent whose process waits to be started with."""
    agent = Scripted(line(pid=1) + line(ready=True), stays=True)
    assert "folder" in agent.ready(tmp_path)
    yield agent
    agent.remove()


def test_a_process_that_is_killed_amid_a_line_has_ended(tmp_path: Path) -> None:
    """Half a line, and one that is none of ours, are nobody's word; the end is told all the
    same.
    """
    agent = Scripted(
        line(pid=7)
        + "a library's own remark\n"
        + line(ready=True)
        + line(warn="w")
        + '{"counters": {"star'
    )
    assert "folder" in agent.ready(tmp_path)
    assert everything(agent) == [{"pid": 7}, {"ready": True}, {"warn": "w"}]
    assert agent.pid == 7
    agent.remove()


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ("", {"refused": "its process ended before it was ready"}),
        (line(refused="no key", unreachable=False), {"refused": "no key", "unreachable": False}),
        (
            line(refused="nobody there", unreachable=True),
            {"refused": "nobody there", "unreachable": True},
        ),
    ],
    ids=["silent", "refused", "unreachable"],
)
def test_a_process_that_is_not_ready_leaves_no_folder(
    said: str, refused: dict[str, Any], tmp_path: Path
) -> None:
    """What it said is the answer, and its folder is gone."""
    assert Scripted(said).ready(tmp_path) == refused
    assert list(tmp_path.iterdir()) == []


def test_two_shards_of_one_name_never_share_a_folder(waiting: Scripted, tmp_path: Path) -> None:
    """What a run left on a shared folder is not found there by the next run of the same suite."""
    again = Scripted(line(ready=True), stays=True)
    found = again.ready(tmp_path)["folder"]
    assert len(list(tmp_path.iterdir())) == 2
    again.remove()
    assert not Path(found).exists()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_process_that_was_never_started_with_is_let_go(waiting: Scripted, tmp_path: Path) -> None:
    """Its input ends, and so does it; a word to it afterwards is lost without harm."""
    assert not waiting.report()["ended"]
    waiting.remove()
    everything(waiting)
    waiting.stop(None)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_refusal(tmp_path: Path) -> None:
    """One sentence, and no process."""
    (tmp_path / "file").write_text("")
    assert "cannot be made" in Scripted("").ready(tmp_path / "file")["refused"]


def test_a_folder_that_a_shard_left_is_kept_once_nobody_writes_to_it(tmp_path: Path) -> None:
    """Missing, under way, there: and then handed over from the start, and removed."""
    folder = tmp_path / "left"
    assert Agent().keep(str(folder)) == "missing"
    writer = RunWriter(folder, manifest_of([]), np.zeros(1, SCHEDULE_DTYPE))
    assert Agent().keep(str(folder)) == "under way"
    writer.let_go()
    keeper = Agent()
    assert keeper.keep(str(folder)) == "there"
    told = keeper.report()
    assert [(name, last) for name, _, _, last in told["files"]] == [("run.json", True)]
    assert (told["more"], told["ended"]) == (True, False)
    assert keeper.report()["ended"]
    keeper.remove()
    assert not folder.exists()


NOBODY_READS = """
import subprocess
import sys
from pathlib import Path
from bench.load.part_process import CounterReports, ToStarter
from bench.load.player import Counters
from dataclasses import replace
to_agent = ToStarter()
reports, zero = CounterReports(to_agent, 1, 1000), Counters.total([], 1)
to_agent.send({"warn": "x" * (1 << 20)})  # more than a pipe holds
for second in range(5):
    reports.tick(second * 1000, lambda: replace(zero, started=[second + 1]))
Path(sys.argv[1]).write_text("went on")
sys.stdin.read()
while not to_agent.all_written:
    pass
reports.tick(9 * 1000, lambda: replace(zero, started=[10]))
to_agent.finish()
"""


def test_a_sender_whose_agent_stands_still_sends_on_and_tells_all_of_it_later(
    tmp_path: Path,
) -> None:
    """With the pipe full nothing waits for it; what was not told in those seconds is in the next
    difference.
    """
    mark = tmp_path / "mark"
    process = subprocess.Popen(
        [sys.executable, "-c", NOBODY_READS, str(mark)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    deadline = monotonic_ns() + 40 * S
    while not mark.exists():
        assert process.poll() is None
        assert monotonic_ns() < deadline
        sleep_s(0.01)
    told = [json.loads(text) for text in process.communicate(timeout=40)[0].splitlines()]
    assert [set(message) for message in told] == [{"warn"}, {"counters"}]
    assert told[1]["counters"]["started"] == [10]
