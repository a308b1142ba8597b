"""The moving parts of one lane while it is played.

In: a planned lane, its sender, its cap. Out: what is under way and what waits. Must stay true: the
queue of deadlines is in the order in which requests began.
"""

from __future__ import annotations

import sys
from array import array
from collections import deque

from bench.load.endpoint import LaneSender
from bench.load.request import Request
from bench.plan.schedule import Lane


class LaneState:
    """One lane in one process."""

    __slots__ = (
        "cap",
        "deadlines",
        "gaps",
        "in_flight",
        "index",
        "sender",
        "started",
        "stops_at_ns",
        "streamed",
        "timeout_ns",
        "waiting",
    )

    def __init__(self, lane: Lane, sender: LaneSender, cap: int | None):
        """`cap` is this process's part of the lane's in-flight cap; None = no cap."""
        profile = lane.profile
        self.index = lane.index
        self.sender = sender
        self.cap = cap if cap is not None else sys.maxsize
        self.timeout_ns = lane.target.timeout
        self.streamed = lane.target.stream
        #: a closed loop bounded by duration begins nothing at or after this instant
        self.stops_at_ns: int | None = None
        if profile.closed_loop and profile.duration is not None:
            self.stops_at_ns = lane.end_ns
        #: rows that came due so far
        self.started = 0
        self.in_flight = 0
        self.waiting: deque[Request] = deque()
        #: requests in the order they began: one timeout a lane keeps this sorted by deadline
        self.deadlines: deque[Request] = deque()
        self.gaps = [array("q") for _ in lane.phases]
