"""What is drawn for one lane: independent seeded streams, and the sizes of its requests.

In: a seed, the stage's number, the target's position in it; the mixes of a profile. Out: a fresh
generator a purpose; whole tokens a row. Must stay true: every purpose begins a stream of its own,
so a further draw for one of them moves no other; targets of a stage share all streams but those
that say when; a row takes the same draws whatever the mix and however many rows follow, so lanes
of one stage hold equal sizes row by row.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from bench.plan.profile import CONTEXT_EDGES, Amount, Profile

Float = npt.NDArray[np.float64]
Tokens = npt.NDArray[np.int32]


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
    STARTS = 10
    OWN_ORDER = 11


_OF_THE_LANE = (Purpose.ARRIVALS, Purpose.STATES)


class Draw:
    """The streams of one lane.

    Arrivals differ between a stage's targets, sizes do not: equal sizes row by row are what lets
    tiers be compared on like prompts.
    """

    def __init__(self, seed: int, stage: int, position: int):
        self._seed = seed
        self._stage = stage
        self._position = position

    def stream(self, purpose: Purpose) -> np.random.Generator:
        """The stream of one purpose, from its beginning."""
        position = self._position if purpose in _OF_THE_LANE else 0
        key = [self._seed, self._stage, position, purpose]
        return np.random.Generator(np.random.PCG64(key))


def random_starts(seed: int, draw: int, count: int, within_ns: int, room_ns: int) -> list[int]:
    """When `count` runs begin, in ns from now, ascending; each has `room_ns` to itself.

    Uniform over all ways in which so many runs fit into the time without overlap: times on the line
    without the rooms are uniform, then each start moves on by the rooms before it. They are not
    stratified, so no law of the day can fall in step with them. `draw`: its number, where starts
    are drawn again.
    """
    free_ns = within_ns - count * room_ns
    assert free_ns >= 0, "that many do not fit"
    stream = np.random.Generator(np.random.PCG64([seed, draw, Purpose.STARTS]))
    at_ns = np.sort(stream.random(count)) * free_ns
    return [int(at) + place * room_ns for place, at in enumerate(at_ns)]


def request_sizes(profile: Profile, rows: int, draw: Draw) -> tuple[Tokens, Tokens]:
    """Prompt and output tokens of `rows` requests. A prompt's shared prefix comes on top."""
    uniform = draw.stream(Purpose.SIZES).random((rows, 4)).T
    normal = draw.stream(Purpose.NORMALS).standard_normal((rows, 2)).T
    prompt = _sizes(profile.prompt_tokens, uniform[0], uniform[1], normal[0])
    output = _sizes(profile.output_tokens, uniform[2], uniform[3], normal[1])
    return prompt, output


def session_turns(profile: Profile, sessions: int, draw: Draw) -> Tokens:
    """How many turns each session has, at least one."""
    assert profile.sessions is not None
    uniform = draw.stream(Purpose.TURNS).random(sessions)
    normal = draw.stream(Purpose.TURN_NORMALS).standard_normal(sessions)
    turns = _sizes([profile.sessions.turns], np.zeros(sessions), uniform, normal)
    return np.maximum(turns, 1)


def prefix_groups(profile: Profile, sessions: int, draw: Draw) -> Tokens:
    """Which shared prefix each session begins with."""
    assert profile.shared_prefix is not None
    groups = profile.shared_prefix.groups
    return draw.stream(Purpose.PREFIX).integers(0, groups, sessions, np.int32)


def buckets(prompt_tokens: Tokens) -> npt.NDArray[np.uint16]:
    """The context bucket of each prompt; a bucket's upper edge belongs to it."""
    edges = np.array(CONTEXT_EDGES)
    return np.searchsorted(edges, prompt_tokens, side="left").astype(np.uint16)


def _sizes(
    mix: list[Amount],
    choice: Float,
    u: Float,
    z: Float,
) -> Tokens:
    """`choice` picks the component of the mix; `u` (uniform) or `z` (standard normal) its size."""
    weights = np.cumsum([amount.weight for amount in mix])
    shares = weights / weights[-1]
    part = np.searchsorted(shares, choice, side="right")
    part = np.minimum(part, len(mix) - 1)
    sizes = np.empty(len(choice))
    for index, amount in enumerate(mix):
        mask = part == index
        drawn = _law(amount, u[mask], z[mask])
        sizes[mask] = np.clip(drawn, amount.min, amount.max)
    return np.rint(sizes).astype(np.int32)


def _law(amount: Amount, u: Float, z: Float) -> Float:
    if amount.fixed is not None:
        return np.full(len(u), float(amount.fixed))
    if amount.lognormal is not None:
        # Beyond 700 exp would overflow; the clamp to `max` decides long before.
        exponent = amount.lognormal.mu + amount.lognormal.sigma * z
        return np.exp(np.minimum(exponent, 700.0))
    percent, tokens = zip(*amount.quantile_points(), strict=True)
    drawn: Float = np.interp(u * 100, percent, tokens)
    return drawn
