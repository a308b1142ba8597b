"""What of a broken-off run is left to play, against plain loops over rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.record.pieces import settle
from bench.record.records.manifest import SittingRecord
from bench.record.samples import SCHEDULE_DTYPE, Outcome, Table, empty_samples
from bench.record.sittings import (
    cut_spans,
    gaps_ns,
    in_run_time,
    lost_turns,
    rest_of,
)
from tests.support.records import manifest_of

#: What is on record of a row: nothing, that it came up never, an answer, a failure, cut off, given
#: up.
FATES = ("nothing", "not come up", "ok", "http_5xx", "censored", "given up")


@st.composite
def broken_off(draw: st.DrawFn) -> tuple[Table, Table, int]:
    """Sessions of one to four turns, each turn with a fate; and how much later than planned the
    rows were due.
    """
    shift = draw(st.sampled_from([0, 1000]))
    rows: list[tuple[int, int, int, str]] = []
    for number, turns in enumerate(draw(st.lists(st.integers(1, 4), min_size=1, max_size=8))):
        first = len(rows)
        rows += [
            (
                number * 7 if turn == 0 else -1,
                first + turn - 1 if turn else -1,
                3,
                draw(st.sampled_from(FATES)),
            )
            for turn in range(turns)
        ]
    schedule, samples = np.zeros(len(rows), SCHEDULE_DTYPE), empty_samples(len(rows))
    for row, (due, after, think, fate) in enumerate(rows):
        schedule["due_ns"][row], schedule["after_row"][row], schedule["think_ns"][row] = (
            due,
            after,
            think,
        )
        if fate == "not come up":
            samples["due_ns"][row] = max(due, 0) + shift
        elif fate != "nothing":
            samples["outcome"][row] = Outcome.never_sent if fate == "given up" else Outcome[fate]
            samples["note"][row] = 0 if fate in ("given up", "censored") else -1
            samples["due_ns"][row], samples["done_ns"][row] = row + shift, row + shift + 1
    return schedule, samples, shift


def left_by_hand(schedule: Table, samples: Table) -> tuple[set[int], set[int]]:
    """(rows to play, rows whose turn can never come), row by row: a session's rows follow each
    other.
    """
    play: set[int] = set()
    lost: set[int] = set()
    for row in range(len(schedule)):
        before = int(schedule["after_row"][row])
        settled = samples["outcome"][row] != Outcome.never_sent or samples["note"][row] >= 0
        if settled:
            continue
        gone = before >= 0 and (
            before in lost
            or samples["outcome"][before] == Outcome.censored
            or (samples["outcome"][before] == Outcome.never_sent and samples["note"][before] >= 0)
        )
        (lost if gone else play).add(row)
    return play, lost


@given(broken_off(), st.integers(5_000, 9_000))
def test_what_is_left_is_played_with_its_distances(
    case: tuple[Table, Table, int], begins: int
) -> None:
    """Exactly the rows nothing is on record of are due or wait; the first at the new beginning, the
    others as far apart as before.
    """
    schedule, samples, shift = case
    play, lost = left_by_hand(schedule, samples)
    found = lost_turns(schedule, samples)
    assert {*np.flatnonzero(found).tolist()} == lost
    settle(samples, {}, found, Outcome.never_sent, "lost")
    rest = rest_of(schedule, samples, shift, np.ones(len(schedule), bool), begins)
    if rest is None:
        assert not play
        return
    absolute = {
        row: int(schedule["due_ns"][row]) + shift
        if schedule["after_row"][row] < 0
        else int(samples["done_ns"][schedule["after_row"][row]]) + 3
        for row in play
        if schedule["after_row"][row] < 0 or samples["done_ns"][schedule["after_row"][row]] >= 0
    }
    first = min(absolute.values())
    for row in range(len(schedule)):
        expected = begins + absolute[row] - first if row in absolute else -1
        waits = int(schedule["after_row"][row]) if row in play - absolute.keys() else -1
        assert (rest.table["due_ns"][row], rest.table["after_row"][row]) == (expected, waits), row
    assert (rest.shift_ns, rest.from_planned_ns) == (shift + begins - first, first - shift)
    assert rest.table["think_ns"].tolist() == schedule["think_ns"].tolist()


def test_only_playable_rows_are_left() -> None:
    """Rows of lanes that are played elsewhere are struck out; where no other is left there is no
    rest.
    """
    schedule, samples = np.zeros(3, SCHEDULE_DTYPE), empty_samples(3)
    schedule["due_ns"], schedule["after_row"] = [1, 2, 3], -1
    rest = rest_of(schedule, samples, 0, np.array([False, True, False]), 50)
    assert rest is not None
    assert rest.table["due_ns"].tolist() == [-1, 50, -1]
    assert rest_of(schedule, samples, 0, np.zeros(3, bool), 50) is None


SITTINGS = [
    SittingRecord(
        began_ns=began, started_wall_ns=0, shift_ns=shift, from_planned_ns=planned, until_ns=until
    )
    for began, shift, planned, until in ((0, 0, 0, 38), (140, 100, 40, 170), (475, 400, 75, None))
]


def test_planned_moments_lie_where_their_sitting_played_them() -> None:
    """Before the first break as planned, then later by each sitting's shift; a stretch that a break
    falls into becomes two.
    """
    assert [in_run_time(moment, SITTINGS) for moment in (0, 39, 40, 74, 75, 99)] == [
        0,
        39,
        140,
        174,
        475,
        499,
    ]
    assert in_run_time(7, []) == 7
    assert cut_spans([(0, 10), (10, 60), (60, 100)], SITTINGS) == [
        (0, 0, 10),
        (1, 10, 40),
        (1, 140, 160),
        (2, 160, 175),
        (2, 475, 500),
    ]


def test_gaps_are_between_sittings_and_after_the_records_end() -> None:
    """Each break, and what was planned beyond the last moment on record; lanes in virtual time have
    no part in it.
    """
    lanes = [{"end_ns": 500}, {"end_ns": 9_000, "simulated": True}]
    manifest = manifest_of(lanes, sittings=SITTINGS)
    assert gaps_ns(manifest, None) == [(38, 140), (170, 475)]
    assert gaps_ns(manifest, 480) == [(38, 140), (170, 475), (480, 500)]
    assert gaps_ns(manifest, 500) == [(38, 140), (170, 475)]
    assert gaps_ns(manifest_of(lanes), 10) == [(10, 500)]
