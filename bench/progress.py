"""How far a long step is: from whoever works to whom the command line named.

In: the pieces of a step as they are done. Out: calls of the one listener there is, if any. Must
stay true: nothing here draws or asks for the time, and without a listener a step costs a call a
piece; a step within another one is the one that is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
#: What it is called, which part of it is done (0 to 1); None: it is over.
Listener = Callable[[str, float | None], None]

_listeners: list[Listener] = []


@contextmanager
def reported_to(listener: Listener) -> Iterator[None]:
    """Every step within is reported to this listener alone."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextmanager
def step(name: str) -> Iterator[Callable[[float], None]]:
    """A step that says which part of it (0 to 1) is done."""
    listener = _listeners[-1] if _listeners else _nobody
    listener(name, 0.0)
    try:
        yield lambda part: listener(name, part)
    finally:
        listener(name, None)


@contextmanager
def counted(name: str, pieces: int) -> Iterator[Callable[[int], None]]:
    """A step of so many pieces, called with how many more of them are done."""
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        say(done / pieces)

    with step(name) as say:
        yield advance if pieces else lambda _: None


def each(name: str, items: Collection[T]) -> Iterator[T]:
    """The items, each of which is done when the next one is asked for."""
    with counted(name, len(items)) as advance:
        for item in items:
            yield item
            advance(1)


def _nobody(_name: str, _part: float | None) -> None:
    pass
