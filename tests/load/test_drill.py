"""Drills: what is done when, what is kept of it, and that none of it holds the run up."""

from __future__ import annotations

import dataclasses
import functools
import sys
import threading
from typing import Any

import anyio
import pytest

from bench.load.drill import Timeline, change_url
from bench.load.transport.stock import says_well
from bench.plan.drill import Drill, PlannedDrill
from bench.record.records.events import DrillEvent
from bench.units import MS, S
from tests.support.scripted_server import (
    PATIENCE_S,
    Peer,
    ScriptedServer,
    answer,
    each,
    unused_port,
)
from tests.support.world import plan_for

STEADY = {"kind": "constant", "rate": "10/s"}


def carried_out(
    *drills: dict[str, Any], ticks: tuple[int, ...] = (0,), clean: Any = str
) -> list[DrillEvent]:
    """Events after ticks at these instants (ns); drills are due in the order given."""
    planned = [PlannedDrill(drill.at, "s", drill) for drill in map(Drill.model_validate, drills)]

    async def main() -> list[DrillEvent]:
        timeline = Timeline(planned, (), clean)
        for now in ticks:
            timeline.tick(now)
        return await timeline.finish()

    return anyio.run(main)


def test_a_drill_begins_when_it_is_due_and_not_before() -> None:
    """At 2 s the drills of 1 s and 2 s are done; that of 3 s never happens, and says so."""
    marks = [{"at": f"{at}s", "do": "cut", "name": str(at)} for at in (1, 2, 3)]
    events = carried_out(*marks, ticks=(0, 2 * S))
    assert [event.ok for event in events] == [True, True, False]
    assert all(event.begun_ns >= event.at_ns for event in events[:2])
    assert (events[2].done_ns, events[2].detail) == (-1, "the run ended first")


def test_what_was_begun_and_done_can_be_told_while_the_run_lasts() -> None:
    """Before the first tick nothing; then each drill that was due, begun and how it ended, with its
    moments.
    """
    drills = [
        Drill.model_validate({"at": f"{at}s", "do": "cut", "name": f"n{at}", **more})
        for at, more in ((0, {}), (1, {"command": ["no-such-command-4711"]}), (9, {}))
    ]
    timeline = Timeline([PlannedDrill(drill.at, "s", drill) for drill in drills], (), str)
    assert timeline.events() == []
    timeline.tick(2 * S)
    anyio.run(timeline.finish)
    told = timeline.events()
    assert [said.split(",")[0] for _, said in told] == [
        "drill n0: begun",
        "drill n0: done",
        "drill n1: begun",
        "drill n1: failed",
    ]
    assert all(at_ns >= 2 * S for at_ns, _ in told)


def test_a_change_is_posted_as_it_was_written() -> None:
    """The body arrives as JSON at the URL; a refusal is an event that failed, with the server's
    words.
    """
    bodies: list[bytes] = []

    def reply(peer: Peer, request: bytes) -> None:
        bodies.append(request.partition(b"\r\n\r\n")[2])
        peer.send(
            answer(b'{"error":"no such pool"}', status="400 Bad Request")
            if b"nowhere" in request
            else answer(b"changed")
        )

    with ScriptedServer(each(reply)) as server:
        url = f"http://127.0.0.1:{server.port}/s/change"
        good, bad = carried_out(
            {"at": "0s", "change": {"fault": "reset", "share": "5%"}, "url": url},
            {"at": "0s", "change": {"pool": "nowhere"}, "url": url},
        )
    assert sorted(bodies) == [b'{"fault": "reset", "share": "5%"}', b'{"pool": "nowhere"}']
    assert (good.ok, good.detail) == (True, "changed")
    assert (bad.ok, bad.detail) == (False, 'HTTP 400: {"error":"no such pool"}')


def test_a_command_is_run_without_a_shell_and_its_words_are_kept_clean() -> None:
    """Arguments arrive as they were written; the secret in the output is gone; the exit code
    decides.
    """
    script = "import sys; print(sys.argv[1]); raise SystemExit(int(sys.argv[2]))"
    good, bad = carried_out(
        {"at": "0s", "command": [sys.executable, "-c", script, "$HOME; opaque-4711", "0"]},
        {"at": "0s", "command": [sys.executable, "-c", script, "x", "7"]},
        clean=lambda text: text.replace("opaque-4711", "[redacted]"),
    )
    assert (good.ok, good.detail) == (True, "$HOME; [redacted]")
    assert (bad.ok, bad.detail) == (False, "exit 7: x")


@pytest.mark.parametrize(
    ("drill", "text"),
    [
        (
            {"command": [sys.executable, "-c", "import time; time.sleep(100)"], "timeout": "200ms"},
            "killed after 0.2 s",
        ),
        ({"command": ["no-such-command-4711"]}, "FileNotFoundError"),
        ({"change": {}, "url": f"http://127.0.0.1:{unused_port()}/change"}, "URLError"),
        ({"change": {}}, "no simulator serves this stage"),
    ],
)
def test_a_drill_that_fails_is_an_event(drill: dict[str, Any], text: str) -> None:
    """A hook that hangs is killed at its time; one that is missing, or a gateway that is not there,
    is said.
    """
    (event,) = carried_out({"at": "0s", **drill})
    assert not event.ok
    assert text in event.detail


def test_an_interrupted_run_takes_its_hooks_with_it() -> None:
    """A hook that would run for ten minutes ends with the run, and the event says so."""
    hook = {
        "at": "0s",
        "command": [sys.executable, "-c", "import time; time.sleep(600)"],
        "timeout": "10min",
    }
    timeline = Timeline([PlannedDrill(0, "s", Drill.model_validate(hook))], (), str)
    timeline.tick(0)
    (event,) = anyio.run(functools.partial(timeline.finish, interrupted=True))
    assert (event.ok, event.detail) == (False, "killed when the run was interrupted")


def test_the_gateways_admin_endpoint_follows_from_the_stages_targets() -> None:
    """The first target that the stage's scenario serves names it; a stage without one has none."""
    (lane,) = plan_for(STEADY, {"base_url": "http://127.0.0.1:5/outage/v1"}, duration="1s").lanes
    assert change_url([lane], "s") is None
    served = dataclasses.replace(lane, scenario="some/where/outage.toml")
    assert change_url([served], "s") == "http://127.0.0.1:5/outage/change"
    assert change_url([served], "other") is None


@pytest.mark.parametrize(
    ("status", "body", "well"),
    [
        (200, b"", True),
        (204, b"", True),
        (503, b'{"status":"ok"}', False),
        (301, b"", False),
        (200, b"not json", True),
        (200, b'{"status":"ok"}', True),
        (200, b'{"status":"Operational"}', True),
        (200, b'{"status":"down"}', False),
        (200, b'{"status":{"indicator":"none"}}', True),
        (200, b'{"status":{"indicator":"major"}}', False),
        (200, b"[1]", True),
    ],
)
def test_a_status_feed_is_read_as_such_feeds_are_written(
    status: int, body: bytes, well: bool
) -> None:
    """The status line first, then a bare word or a status page's indicator; what says nothing says
    nothing bad.
    """
    assert says_well(status, body) is well


def test_a_tick_never_waits_for_a_drill() -> None:
    """A gateway that answers only after the tick has returned still gets its change through."""
    returned = threading.Event()

    def reply(peer: Peer, _request: bytes) -> None:
        returned.wait(PATIENCE_S)
        peer.send(answer(b"late"))

    with ScriptedServer(each(reply)) as server:
        drill = Drill.model_validate(
            {
                "at": "0s",
                "change": {},
                "url": f"http://127.0.0.1:{server.port}/change",
                "timeout": "5s",
            }
        )
        timeline = Timeline([PlannedDrill(0, "s", drill)], (), str)
        timeline.tick(5 * MS)
        returned.set()
        (event,) = anyio.run(timeline.finish)
    assert (event.ok, event.detail) == (True, "late")
    assert event.done_ns > event.begun_ns >= 5 * MS
