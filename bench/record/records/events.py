"""What happened beside the requests of a run: drills, and breakers that opened and closed.

In: nothing. Out: `DrillEvent`, `LegChange`. Must stay true: moments are ns after the run's start.
"""

from __future__ import annotations

from bench.record.records.record import Record


class DrillEvent(Record):
    """A drill that was due, and what became of it."""

    name: str
    stage: str
    #: cut, heal, or what else it was called
    do: str = ""
    #: when it was due
    at_ns: int = 0
    #: -1: it never began, or never ended
    begun_ns: int = -1
    done_ns: int = -1
    ok: bool = False
    #: what its command or the gateway said; why it failed
    detail: str = ""


class LegChange(Record):
    """A change of the circuit breaker of a route's leg, as one process saw it."""

    #: the routed lane
    lane: str
    #: counted from 0
    leg: int
    at_ns: int
    #: open, half-open or closed
    state: str
    why: str = ""
    worker: int = 0
