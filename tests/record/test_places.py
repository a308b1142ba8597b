"""Where rows were sent from follows from their session and the manifest alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.record.facts import places_of
from bench.record.samples import SCHEDULE_DTYPE
from bench.units import MS
from tests.support.records import manifest_of

AGREED_NS = 1_800_000_000 * 10**9


def shard(
    number: int,
    of: int,
    node: str | None,
    region: str | None = None,
    *,
    began_ms: int = 0,
    **more: Any,
) -> dict[str, Any]:
    """A shard as a merged manifest keeps it."""
    place = {} if node is None else {"place": {"node": node, "region": region}}
    start = {"agreed_wall_ns": AGREED_NS, "wall_ns": AGREED_NS + began_ms * MS}
    return {
        "number": number,
        "of": of,
        "start": start,
        "workers": [2 * (number - 1), 2],
        **place,
        **more,
    }


def sessions(*numbers: int) -> Any:
    """A schedule with these sessions."""
    table = np.zeros(len(numbers), SCHEDULE_DTYPE)
    table["session"] = numbers
    return table


def test_a_row_is_its_sessions_shards_node() -> None:
    """Session 7 of four shards is shard 4's; two shards of one node are one node; a shard without a
    place is nobody's.
    """
    shards = [
        shard(1, 4, "a", "eu"),
        shard(2, 4, "b", "us"),
        shard(3, 4, None),
        shard(4, 4, "a", "eu"),
    ]
    places = places_of(manifest_of(shards=shards))
    assert places is not None
    assert (places.names, places.regions, places.nodes[0].shards) == (
        ["a", "b"],
        ["eu", "us"],
        (1, 4),
    )
    assert places.nodes[0].workers == (0, 1, 6, 7)
    schedule = sessions(0, 1, 2, 3, 4, 5, 6, 7)
    assert places.node_of(schedule).tolist() == [0, 1, -1, 0, 0, 1, -1, 0]
    assert places.region_of(schedule).tolist() == [0, 1, -1, 0, 0, 1, -1, 0]


def test_regions_are_known_of_nodes_that_say_them() -> None:
    """Where no node says its region there are none; a node without one beside others has none."""
    without = places_of(manifest_of(shards=[shard(1, 2, "a"), shard(2, 2, "b")]))
    assert without is not None
    assert without.regions == []
    assert without.region_of(sessions(0, 1)).tolist() == [-1, -1]
    mixed = places_of(
        manifest_of(shards=[shard(1, 3, "a"), shard(2, 3, "b", "eu"), shard(3, 3, "c", "eu")])
    )
    assert mixed is not None
    assert mixed.region_of(sessions(0, 1, 2)).tolist() == [-1, 0, 0]


def test_a_run_of_one_place_has_none() -> None:
    """Neither a run that was not shared nor one whose shards name no place; a shard's own folder
    knows its node.
    """
    assert places_of(manifest_of()) is None
    assert places_of(manifest_of(shards=[shard(1, 2, None), shard(2, 2, None)])) is None
    alone = places_of(
        manifest_of(shard={"number": 2, "of": 3, "place": {"node": "b", "region": None}})
    )
    assert alone is not None
    assert alone.node_of(sessions(1, 4)).tolist() == [0, 0]


def test_a_node_is_known_by_its_worst_clock_and_start() -> None:
    """Of two shards' clocks the less known one counts, a drift as much as a bound; a lost shard may
    say nothing else.
    """
    clocks = [
        {"offset_ms": 3.0, "bound_ms": bound, "drift_ms": drift, "round_trips": 9}
        for bound, drift in ((2.0, 1.0), (1.0, -7.5))
    ]
    lost = {"number": 3, "of": 3, "place": {"node": "b", "region": None}, "lost": "did not answer"}
    places = places_of(
        manifest_of(
            shards=[
                shard(1, 3, "a", clock=clocks[0], began_ms=-4),
                shard(2, 3, "a", clock=clocks[1], began_ms=90),
                lost,
            ]
        )
    )
    assert places is not None
    one, two = places.nodes
    assert one.clock is not None
    assert (one.clock.drift_ms, one.clock.unsure_ms, one.start_skew_ns, one.lost) == (
        -7.5,
        7.5,
        90 * MS,
        None,
    )
    assert (two.clock, two.start_skew_ns, two.workers, two.lost) == (
        None,
        None,
        (),
        "did not answer",
    )


@pytest.mark.parametrize(
    ("began", "skews"), [((0, 10, 900), (-10, 0, 890)), ((0, 5_000, 5_010), (-5_000, 0, 10))]
)
def test_without_an_agreed_instant_the_middle_start_is_what_was_meant(
    began: tuple[int, ...], skews: tuple[int, ...]
) -> None:
    """A node far ahead of or behind all others is the one that is off, on whichever side."""
    shards = [shard(number, 3, f"n{number}", began_ms=ms) for number, ms in enumerate(began, 1)]
    for each in shards:
        each["start"]["agreed_wall_ns"] = None
    places = places_of(manifest_of(shards=shards))
    assert places is not None
    assert [node.start_skew_ns for node in places.nodes] == [skew * MS for skew in skews]
