"""Another machine's clock: what questions and answers tell of it, and how a start is corrected by
it.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.clock import monotonic_ns, wall_ns, wall_offset_ns
from bench.errors import UserError
from bench.extras.cluster.node import Offset, offset_of
from bench.load.shard import AHEAD_NS, LATE_NS, Start
from bench.units import MS, S

NS = st.integers(0, 10**18)
WAYS = st.lists(
    st.tuples(NS, st.integers(0, 10**11), st.integers(0, 10**11)), min_size=1, max_size=30
)
AHEAD = st.integers(-(10**18), 10**18)


def exchange(ahead_ns: int, asked_ns: int, there_ns: int, back_ns: int) -> tuple[int, int, int]:
    """What is seen of a question that took so long there, and its answer so long back."""
    return asked_ns, asked_ns + there_ns + ahead_ns, asked_ns + there_ns + back_ns


def off_by(found: Offset, ahead_ns: int) -> int:
    """How far the estimate is off."""
    return abs(found.ahead_ns - ahead_ns)


@given(ahead_ns=AHEAD, ways=WAYS)
def test_the_true_offset_lies_within_the_bound(
    ahead_ns: int, ways: list[tuple[int, int, int]]
) -> None:
    """Whatever each way took; and the bound is no wider than half the quickest round trip."""
    found = offset_of([exchange(ahead_ns, *way) for way in ways])
    assert off_by(found, ahead_ns) <= found.bound_ns
    assert 2 * found.bound_ns <= min(there + back for _, there, back in ways) + 1
    assert found.round_trips == len(ways)


@given(ahead_ns=AHEAD, ways=WAYS)
def test_nothing_narrower_is_known(ahead_ns: int, ways: list[tuple[int, int, int]]) -> None:
    """Both ends of the interval would have given the very answers that were seen: no offset in it
    can be ruled out.
    """
    seen = [exchange(ahead_ns, *way) for way in ways]
    found = offset_of(seen)
    for end in (found.ahead_ns - found.bound_ns + 1, found.ahead_ns + found.bound_ns - 1):
        assert found.bound_ns == 0 or all(
            asked <= answered - end <= heard for asked, answered, heard in seen
        )


@given(ahead_ns=AHEAD, step_ns=st.integers(-(10**15), 10**15), before=WAYS, behind=WAYS)
def test_a_clock_that_was_set_between_two_exchanges_is_covered(
    ahead_ns: int,
    step_ns: int,
    before: list[tuple[int, int, int]],
    behind: list[tuple[int, int, int]],
) -> None:
    """Where no offset explains all answers, the old one and the new one both lie within the
    bound.
    """
    seen = [exchange(ahead_ns, *way) for way in before] + [
        exchange(ahead_ns + step_ns, *way) for way in behind
    ]
    found = offset_of(seen)
    explained = max(answered - heard for _, answered, heard in seen) <= min(
        answered - asked for asked, answered, _ in seen
    )
    if not explained:
        assert max(off_by(found, ahead_ns), off_by(found, ahead_ns + step_ns)) <= found.bound_ns


def test_an_offset_by_hand() -> None:
    """Asked at 100, heard at 110, answered at 205: between 95 and 105 ahead; a second one leaves 98
    to 105, its step covers both.
    """
    assert offset_of([(100, 205, 110)]) == Offset(100, 5, 1)
    assert offset_of([(100, 205, 110), (200, 310, 212)]) == Offset(101, 4, 2)
    assert offset_of([(100, 205, 110), (200, 510, 212)]) == Offset(202, 108, 2)
    with pytest.raises(ValueError, match="empty"):
        offset_of([])


def test_drift_is_the_difference_of_two_offsets() -> None:
    """As the manifest keeps it, in ms; 0 where nobody looked again."""
    clock = Offset(3 * MS, MS // 2, 25)
    assert clock.record(Offset(5 * MS, MS, 25)).to_json() == {
        "offset_ms": 3,
        "bound_ms": 0.5,
        "drift_ms": 2,
        "round_trips": 25,
    }
    assert clock.record(None).drift_ms == 0


def test_a_start_is_corrected_by_how_far_the_clock_is_ahead() -> None:
    """A clock that is 2 s ahead shows the agreed instant 2 s too early: time zero is 2 s later by
    it, the record keeps both.
    """
    agreed_ns = wall_ns() + 5 * S
    for ahead_ns in (0, 2 * S, -2 * S):
        start = Start.at(agreed_ns, ahead_ns)
        # Two readings of one pair of clocks: as far apart as the wall clock was slewed meanwhile.
        assert abs(start.t0 - (agreed_ns + ahead_ns - wall_offset_ns())) < 50 * MS
        assert start.record().to_json() == {
            "agreed_wall_ns": agreed_ns,
            "wall_ns": agreed_ns,
            "wall_offset_ns": agreed_ns - start.t0,
            "ahead_ns": ahead_ns,
        }


def test_whether_an_instant_has_passed_is_seen_with_the_correction() -> None:
    """What one clock calls gone by is still ahead by the other, and the reverse; a slip is refused
    whatever its size.
    """
    now = wall_ns()
    assert Start.at(now - 3 * S, ahead_ns=3 * S + S).t0 > monotonic_ns() - S
    with pytest.raises(UserError, match="a shard never joins late"):
        Start.at(now + S, ahead_ns=-2 * S - LATE_NS)
    with pytest.raises(UserError, match="is more than"):
        Start.at(now + AHEAD_NS, ahead_ns=60 * S)
    with pytest.raises(UserError, match="is more than"):
        Start.at(now // MS * S)  # milliseconds, taken for seconds: a year that no calendar has
