"""What went on since it was last told: differences that add up to the whole, through JSON too."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.load.player import EVENTS_TOLD, Counters
from bench.record.histogram import Histogram
from bench.record.samples import Outcome
from bench.units import S

LANES = 2
#: Some below a microsecond, some beyond the hour that a histogram holds.
VALUES = st.lists(st.integers(0, 3 * 3600 * S), max_size=20)
COUNTS = st.lists(st.integers(0, 10**9), min_size=LANES, max_size=LANES)


def histogram(values: list[int]) -> Histogram:
    """Of these values."""
    made = Histogram()
    for value in values:
        made.record_ns(value)
    return made


def plain(counters: Counters) -> Any:
    """As JSON carries it."""
    return json.loads(json.dumps(counters.plain()))


@given(earlier=VALUES, later=VALUES)
def test_a_histogram_is_what_it_was_and_what_came_since(
    earlier: list[int], later: list[int]
) -> None:
    """The difference has the later values and no other; added to what was, it is what is, the
    maximum included.
    """
    before, now = histogram(earlier), histogram(earlier + later)
    since = now.since(before)
    assert since.counts.tolist() == histogram(later).counts.tolist()
    assert (since.n, since.overflow) == (len(later), histogram(later).overflow)
    total = Histogram.from_cells(json.loads(json.dumps(before.cells())))
    total.add(Histogram.from_cells(json.loads(json.dumps(since.cells()))))
    assert json.dumps(total.cells()) == json.dumps(now.cells())


@st.composite
def growing(draw: st.DrawFn) -> list[Counters]:
    """Where a run stood at several moments: what is counted grows, what waits or is under way comes
    and goes.
    """
    moments = draw(st.integers(1, 4))
    sums = {
        name: np.zeros(LANES, np.int64)
        for name in ("started", "prompt_tokens", "output_tokens", "without_usage")
    }
    outcomes = np.zeros((LANES, len(Outcome)), np.int64)
    values: dict[str, list[list[int]]] = {
        name: [[] for _ in range(LANES)] for name in ("response", "first_token")
    }
    lags: list[int] = []
    events: list[tuple[int, str]] = []
    found = []
    for _ in range(moments):
        sums = {name: column + draw(COUNTS) for name, column in sums.items()}
        outcomes = outcomes + draw(
            st.lists(COUNTS, min_size=len(Outcome), max_size=len(Outcome)).map(np.transpose)
        )
        values = {name: [each + draw(VALUES) for each in lanes] for name, lanes in values.items()}
        lags = lags + draw(VALUES)
        events = events + [
            (len(events) + n, text)
            for n, text in enumerate(draw(st.lists(st.text(max_size=3), max_size=EVENTS_TOLD)))
        ]
        fields: dict[str, Any] = {name: column.tolist() for name, column in sums.items()}
        fields |= {name: [histogram(each) for each in lanes] for name, lanes in values.items()}
        found.append(
            Counters(
                waiting=draw(COUNTS),
                in_flight=draw(COUNTS),
                outcomes=outcomes.tolist(),
                harness_lag=histogram(lags),
                events=events[-EVENTS_TOLD:],
                **fields,
            )
        )
    return found


@settings(max_examples=40)
@given(moments=growing())
def test_whoever_adds_up_what_is_told_knows_where_the_run_stands(moments: list[Counters]) -> None:
    """From nothing to each moment, told as differences in JSON: the sum is the moment, events and
    all.
    """
    told, sum_of_told = Counters.total([], LANES), Counters.total([], LANES)
    for now in moments:
        difference = Counters.from_plain(plain(now.since(told)))
        sum_of_told, told = Counters.total([sum_of_told, difference], LANES), now.copy()
        assert plain(sum_of_told) == plain(now)
        assert plain(Counters.from_plain(plain(now))) == plain(now)


def test_a_copy_is_not_counted_on() -> None:
    """What is recorded later is not in it."""
    now = Counters.total([], 1)
    kept = now.copy()
    now.response[0].record_ns(5)
    now.started[0] += 1
    assert (kept.response[0].n, kept.started[0], asdict(kept)["waiting"]) == (0, 0, [0])
