"""Jobs that wait for a slot of a pool: their order, and those that are given up."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from bench.gateway.pools import Queue


@dataclass
class Waiting:
    """What a queue knows of a job."""

    name: str
    priority: int = 0
    live: bool = True
    queued: bool = False
    model: Any = field(init=False)

    def __post_init__(self) -> None:
        self.model = SimpleNamespace(priority=self.priority)


def test_who_waits_and_who_has_gone() -> None:
    """By priority, then by arrival; a full queue takes no more; one given up makes room at once,
    twice no more than once, and is never the next.
    """
    queue: Any = Queue(3)
    first, urgent, last = Waiting("first"), Waiting("urgent", 1), Waiting("last")
    assert [queue.put(job) for job in (first, urgent, last, Waiting("late"))] == [True] * 3 + [
        False
    ]
    assert queue.head() is urgent
    urgent.live = False
    for _ in range(2):
        queue.give_up(urgent)
    assert (len(queue), queue.head()) == (2, first)
    for job in (first, last):
        job.live = False
        queue.give_up(job)
    assert (len(queue), queue.head()) == (0, None)
