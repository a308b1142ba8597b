"""Independent seeded streams of random numbers for one lane.

In: a seed, the stage's number, the target's position in it. Out: a fresh generator a purpose.
Must stay true: every purpose begins a stream of its own, so a further draw for one of them moves
no other; targets of a stage share all streams but those that say when.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream is drawn for. Adding one at the end leaves every old schedule as it was."""

    ARRIVALS = 0
    SIZES = 1
    STATES = 2
    THINK = 3
    TURNS = 4
    PREFIX = 5
    NORMALS = 6
    TURN_NORMALS = 7
    LEGS = 8
    ARMS = 9


_OF_THE_LANE = (Purpose.ARRIVALS, Purpose.STATES)


class Draw:
    """The streams of one lane.

    Arrivals differ between a stage's targets, sizes do not: equal sizes row by row are what lets
    tiers be compared on like prompts.
    """

    def __init__(self, seed: int, stage: int, position: int):
        self._seed, self._stage, self._position = seed, stage, position

    def stream(self, purpose: Purpose) -> np.random.Generator:
        """The stream of one purpose, from its beginning."""
        position = self._position if purpose in _OF_THE_LANE else 0
        return np.random.Generator(np.random.PCG64([self._seed, self._stage, position, purpose]))
