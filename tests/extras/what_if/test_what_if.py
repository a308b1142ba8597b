"""Policies replayed on recorded rows: tables worked by hand, the live decisions as oracle, what is
assumed and refused.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from bench.extras.what_if.replay import NEVER, Calls, fate, fates
from bench.extras.what_if.settings import Setting, parse_sweep, settings_for
from bench.extras.what_if.what_if import (
    Cells,
    Meeting,
    estimate,
    front,
    meeting,
    what_if,
)
from bench.load.route_decisions import Begin, Cancel, Expire, Finish, LegState, RouteDecisions
from bench.record.samples import Outcome
from bench.units import MS, S
from tests.support.made_arms import arm

OK, FAIL = Outcome.ok, Outcome.http_5xx
Ends = list[tuple[int, Outcome]]
#: What three policies do at 250 ms: the published rule's own timeout is far away.
AT_250 = {policy: Setting(policy, 250 * MS) for policy in ("hedge", "deadline", "sequential")}


def calls(
    name: str,
    ends: Ends,
    *,
    usd: tuple[float, float] = (0.4, 0.6),
    first: float = 0.5,
    size: int = 1,
    run: str = "r",
    **facts: Any,
) -> Calls:
    """(ms, outcome) of each call, one a second; prompt and output cost `usd`, failures nothing;
    tokens from `first` of its time on.
    """
    took = np.array([ms * MS for ms, _ in ends])
    outcome = np.array([int(how) for _, how in ends])
    ok, rows = outcome == OK, len(ends)
    return Calls(
        arm=arm(name, np.arange(rows), np.where(ok, took / MS, np.inf), run=run, **facts),
        wait_ns=np.zeros(rows, np.int64),
        took_ns=took,
        outcome=outcome,
        first_ns=np.where(ok, (first * took).astype(np.int64), 0),
        last_ns=np.where(ok, took, 0),
        paid_usd=np.where(ok, sum(usd), 0.0),
        prompt_usd=np.full(rows, usd[0]),
        output_usd=np.where(ok, usd[1], 0.0),
        unpriced=None,
        place=np.arange(rows),
        sizes=np.full((rows, 2), size),
        where=(run, "stage"),
        timeout_ns=60 * S,
        routed=False,
        attempts=np.ones(rows, np.int64),
    )


def all_with_all(default: Calls, fallback: Calls) -> Meeting:
    """Every pair of rows, in one block."""
    first, second = (grid.ravel() for grid in np.indices((len(default), len(fallback))))
    return Meeting(
        first, second, Cells(np.zeros(len(first), np.int64), np.ones((1, 1)), 1), False, "made"
    )


def by_pair(rows: int) -> Meeting:
    """Row n with row n, in one block."""
    each = np.arange(rows)
    return Meeting(each, each, Cells(np.zeros(rows, np.int64), np.ones((1, 1)), 1), True, "made")


DEFAULT = calls("default", [(100, OK), (300, OK), (900, OK), (50, FAIL)])
FALLBACK = calls("fallback", [(200, OK), (400, OK)], usd=(0.5, 1.5), first=0.0)


@pytest.mark.parametrize(
    ("policy", "p50", "p99", "usd"),
    [
        # 100 100 | 300 300 (cut after 50 of 200, 400 ms) | 450 650 (cut before, 200/450 after its
        # first token) | 250 450
        (
            "hedge",
            300,
            650,
            1
            + 1
            + (1 + 0.5 + 1.5 / 4)
            + (1 + 0.5 + 1.5 / 8)
            + (0.4 + 2)
            + (0.4 + 0.6 * 200 / 450 + 2)
            + 2
            + 2,
        ),
        # 100 100 | 450 650 (cut 100/150 after its first token) | 450 650 (cut before its first) |
        # 250 450
        ("deadline", 450, 650, 1 + 1 + 2 * (0.4 + 0.6 * 100 / 150 + 2) + 2 * (0.4 + 2) + 2 + 2),
        # 100 100 | 500 700 | 1100 1300 | 250 450, every call paid in full
        ("sequential", 450, 1300, 1 + 1 + 4 * (1 + 2) + 2 + 2),
    ],
)
def test_a_table_worked_by_hand(policy: str, p50: int, p99: int, usd: float) -> None:
    """Four calls of the default with two of the fallback: eight pairs, their latencies, calls and
    costs added up on paper.
    """
    found = estimate(DEFAULT, FALLBACK, AT_250[policy].route, all_with_all(DEFAULT, FALLBACK))
    assert (found.p50_ms, found.p99_ms, found.success, found.calls) == (
        p50,
        p99,
        1.0,
        1.75,
    )
    assert found.usd_per_1000 == pytest.approx(1000 * usd / 8)


def test_paired_rows_meet_their_own_partner_only() -> None:
    """Hedged at 250 ms: 100, 300, min(900, 250 + 700), and a failure whose partner fails too: no
    p99, success 3 of 4.
    """
    partner = calls("fallback", [(1, FAIL), (1, OK), (700, OK), (20, FAIL)])
    hedged = estimate(DEFAULT, partner, AT_250["hedge"].route, by_pair(4))
    assert (hedged.p50_ms, hedged.p99_ms, hedged.success) == (251.0, None, 0.75)
    late = estimate(DEFAULT, partner, AT_250["deadline"].route, by_pair(4))
    assert (late.p50_ms, late.success) == (251.0, 0.75)


def test_the_rows_own_timeout_and_the_wait_for_a_slot_count() -> None:
    """A row that waited 30 ms has its calls 30 ms later; an answer after the user's 400 ms is a
    failure, cut and billed till then.
    """
    waited = dataclasses.replace(DEFAULT, wait_ns=np.full(4, 30 * MS), timeout_ns=400 * MS)
    found = estimate(waited, FALLBACK, AT_250["deadline"].route, all_with_all(waited, FALLBACK))
    # 130 130 | 480 680 | 480 680 | 280 480 against 400
    assert (found.p50_ms, found.success) == (None, 3 / 8)
    # the fallback, begun at 280 (or 80 after the failure), is cut at 400: 120 of its 200 and 400
    # ms, or 320 of 400
    cut = 2 * (0.5 + 1.5 * 120 / 200) + 2 * (0.5 + 1.5 * 120 / 400)
    assert found.usd_per_1000 == pytest.approx(
        1000 / 8 * (1 + 1 + 2 * 0.8 + 2 * 0.4 + cut + 2 + 0.5 + 1.5 * 320 / 400)
    )

    late = estimate(waited, FALLBACK, AT_250["sequential"].route, by_pair(2))
    assert (late.p50_ms, late.p99_ms, late.success) == (130.0, None, 0.5)


def test_a_cancelled_plain_answer_is_billed_for_its_prompt_alone() -> None:
    """Without streaming nothing had come when the call was cut at 250 of 900 ms: 0.4, and 2 for the
    fallback.
    """
    plain = calls("default", [(900, OK)])
    plain = dataclasses.replace(
        plain, first_ns=np.zeros(1, np.int64), last_ns=np.zeros(1, np.int64)
    )
    found = estimate(plain, FALLBACK, AT_250["deadline"].route, all_with_all(plain, FALLBACK))
    assert found.usd_per_1000 == pytest.approx(2400)


# ---- held against the live decisions


def played(setting: Setting, own: tuple[int, Outcome], other: tuple[int, Outcome]) -> int:
    """When a row ends well, both its calls driven through the live decisions event by event; NEVER
    if it fails.
    """
    legs = [LegState(None, lambda *_: None) for _ in range(2)]
    decisions = RouteDecisions(setting.route, legs, (NEVER, NEVER), 0, NEVER)
    ends: dict[int, tuple[int, Outcome]] = {}
    outcomes: dict[int, Outcome] = {}
    actions, now = decisions.begin(0), 0
    while True:
        more = []
        for action in actions:
            if isinstance(action, Begin):
                took, how = (own, other)[action.leg]
                ends[action.number] = action.at_ns + took, how
            elif isinstance(action, Expire):
                del ends[action.number]
                more += decisions.ended(action.number, Outcome.timeout_first, now)
            elif isinstance(action, Cancel):
                del ends[action.number]
            elif isinstance(action, Finish):
                return (
                    now
                    if action.number is not None and outcomes.get(action.number) == OK
                    else NEVER
                )
        if more:
            actions = more
            continue
        number, (at, how) = min(ends.items(), key=lambda item: item[1][0])
        wake = decisions.wake_ns()
        if wake is not None and wake < at:
            now, actions = wake, decisions.wake(wake)
        else:
            now, outcomes[number] = at, how
            del ends[number]
            actions = decisions.ended(number, how, at)


ends_of = st.tuples(
    st.integers(1, 8_000), st.sampled_from([OK, OK, FAIL, Outcome.reset, Outcome.timeout_total])
)


@settings(deadline=None)
@given(
    st.sampled_from(["sequential", "deadline", "hedge"]), st.integers(1, 4_999), ends_of, ends_of
)
def test_the_earlier_of_two_answers_is_what_the_live_router_gives(
    policy: str, at_ms: int, own: tuple[int, Outcome], other: tuple[int, Outcome]
) -> None:
    """min(default's answer, fallback's start + its time) of the replay is the row's end when both
    calls are played live.
    """
    setting = Setting(policy, at_ms * MS + 1)  # no tie with an end in whole ms
    (mine, took), (other_ms, how) = (own[1], own[0] * MS), other
    legs = [LegState(None, lambda *_: None) for _ in range(2)]
    second, answer, _ = fate(setting.route, legs, 0, took, mine)
    replayed = min(answer, second + other_ms * MS if how == OK else NEVER)
    assert replayed == played(setting, (took, mine), (other_ms * MS, how))
    whole = fates(setting.route, calls("d", [own]))
    assert (int(whole.second_ns[0]), int(whole.answer_ns[0])) == (second, answer)


@pytest.mark.slow("sums over all pairs, the plain way")
@pytest.mark.parametrize("policy", ["sequential", "deadline", "hedge"])
def test_independent_laws_are_convolved_exactly(policy: str) -> None:
    """Quantiles and success of 60 by 45 rows equal those of all 2,700 pairs played live one by one
    and sorted.
    """
    rng = np.random.default_rng(5)

    def law(rows: int) -> Ends:
        return [
            (int(ms), FAIL if lost else OK)
            for ms, lost in zip(rng.lognormal(6, 1, rows) + 1, rng.random(rows) < 0.2, strict=True)
        ]

    own, other = law(60), law(45)
    default, fallback = calls("d", own), calls("f", other)
    setting = Setting(policy, 500 * MS + 1)
    every = sorted(
        played(setting, (a * MS, how), (b * MS, then)) for a, how in own for b, then in other
    )
    listed = dataclasses.replace(
        by_pair(45), paired=False
    )  # what is exact does not rest on the pairs that are listed
    found = estimate(default, fallback, setting.route, listed)
    assert found.success == sum(end < NEVER for end in every) / 2700
    assert found.p50_ms == every[1349] / MS
    assert found.p99_ms == (every[2672] / MS if every[2672] < NEVER else None)


# ---- pairing and intervals


def slow_together(size: int = 1) -> tuple[Calls, Calls]:
    """400 rows each, both slow in the same twentieth."""
    ends = [(1000 if row % 20 == 0 else 100, OK) for row in range(400)]
    return calls("default", ends), calls("fallback", ends, size=size)


def test_spells_that_meet_both_models_stay_in_where_rows_are_paired() -> None:
    """Hedged at 200 ms: paired, the slow twentieth stays slow (1 s); taken as independent it would
    be mended (300 ms).
    """
    tried = [Setting("hedge", 200 * MS)]
    paired, apart = (what_if(*slow_together(size), [], tried) for size in (1, 2))
    assert (paired.assumption, apart.assumption) == ("paired", "independent")
    assert [record.settings[2].p99_ms for record in (paired, apart)] == [1000.0, 300.0]
    assert any("slow phase that meets both" in warning for warning in apart.warnings)
    elsewhere = dataclasses.replace(slow_together()[1], where=("another run", "stage"))
    assert what_if(slow_together()[0], elsewhere, [], tried).assumption == "independent"


def test_the_interval_of_success_is_as_wide_as_theory_says() -> None:
    """Two runs that fail in 20 % each: se² of 1 - pq is q²p(1-p)/n + p²q(1-q)/m, the limits 2 x
    2.08 of it apart (t, 29 degrees).
    """
    rng = np.random.default_rng(3)
    rows = 1500
    default, fallback = (
        calls(name, [(100, FAIL if lost else OK) for lost in rng.random(rows) < 0.2], run=name)
        for name in ("d", "f")
    )
    found = estimate(
        default, fallback, Setting("hedge", 500 * MS).route, meeting(default, fallback)
    )
    p, q = (float((each.outcome == FAIL).mean()) for each in (default, fallback))
    assert found.success == pytest.approx(1 - p * q, abs=1e-12)
    low, high = found.success_95
    assert low is not None
    assert high is not None
    assert low < 1 - p * q < high
    se = np.sqrt((q * q * p * (1 - p) + p * p * q * (1 - q)) / rows)
    assert (high - low) / (2 * 2.08 * se) == pytest.approx(1, rel=0.3)


def test_blocks_of_one_run_are_drawn_for_both_models_at_once() -> None:
    """A pair of rows due in the same second lies in one block twice, so its weight is a square,
    though one model ended early.
    """
    met = meeting(slow_together()[0], calls("fallback", [(100, OK)] * 310, size=2))
    assert not met.paired
    weights = met.cells.weights[:, met.cells.of_row[met.first == met.second]]
    assert weights.max() > 1
    assert np.array_equal(np.sqrt(weights) % 1, np.zeros_like(weights))


def test_intervals_stand_only_where_rows_allow() -> None:
    """400 rows hold the p50 but have 4 beyond the p99; without a failure no draw tells how rare
    failures are.
    """
    found = what_if(*slow_together(), [], [Setting("hedge", 200 * MS)]).settings[2]
    assert found.p50_95 == (100.0, 100.0)
    assert (found.p99_95, found.p999_95, found.success_95) == (
        (None, None),
        (None, None),
        (None, None),
    )


# ---- the record


def test_the_front_is_what_nothing_beats_in_both() -> None:
    """Cheaper or faster than every other point; equal points share it; a missing number is never on
    it.
    """
    points = [
        (1.0, 9.0),
        (2.0, 5.0),
        (2.0, 6.0),
        (3.0, 5.0),
        (3.0, 4.0),
        (3.0, 4.0),
        (0.5, None),
        (None, 1.0),
    ]
    assert front(points) == [True, True, False, False, True, True, False, False]


def test_the_published_router_comes_first_and_sweeps_follow_the_default() -> None:
    """3 s from its target file; 9 steps from the default's p50 to its p99; a threshold beyond its 5
    s timeout is none.
    """
    default = calls("d", [(ms, OK) for ms in range(1, 1001)])
    found = settings_for(default, ["hedge"], None, None)
    assert found[0] == Setting("sequential", 3 * S, published=True)
    assert [each.at_ns // MS for each in found[1:]] == [
        round(500 * (990 / 500) ** (step / 8)) for step in range(9)
    ]
    asked = settings_for(default, ["sequential", "deadline"], [2 * S, 3 * S, 6 * S], [1])
    assert [(each.policy, each.at_ns // S) for each in asked[1:]] == [
        ("sequential", 2),
        ("deadline", 2),
        ("deadline", 3),
        ("deadline", 6),
    ]


def test_a_sweep_is_read_as_written() -> None:
    """`1s..5s/9` is every half second; one moment is itself."""
    assert parse_sweep("1s..5s/9") == [S + step * S // 2 for step in range(9)]
    assert parse_sweep("800ms") == [800 * MS]


@pytest.mark.parametrize(
    "text", ["1..5s/9", "5s..1s/9", "1s..5s/1", "1s..5s/101", "0s..5s/3", "0s", "9"]
)
def test_a_sweep_that_is_none_is_refused(text: str) -> None:
    """No unit, falling, too few or too many steps, zero."""
    with pytest.raises(ValueError, match=r"duration|rise|zero"):
        parse_sweep(text)


def test_arms_that_carry_no_estimate_are_refused() -> None:
    """Below 300 rows, without any answer, a route, or a harness that was not fit: a sentence, no
    number.
    """
    sound, _ = slow_together()
    dead = dataclasses.replace(sound, outcome=np.full(400, int(FAIL)))
    unfit = dataclasses.replace(
        sound, arm=dataclasses.replace(sound.arm, facts=sound.arm.facts.replace(unfit="it slept"))
    )
    for wrong, said in (
        (calls("few", [(1, OK)] * 299), "299 rows, and 300 are needed"),
        (dead, "no answer at all"),
        (dataclasses.replace(sound, routed=True), "is a route"),
        (unfit, "it slept"),
    ):
        for pair in ((wrong, sound), (sound, wrong)):
            with pytest.raises(UserError, match=said):
                what_if(*pair, [], [])


def test_without_a_price_the_front_is_that_of_calls() -> None:
    """No sum and the reason; the cheapest policy is then the one with the fewest calls."""
    default, fallback = slow_together(2)
    nameless = dataclasses.replace(
        fallback, paid_usd=None, unpriced="target fallback has no prices"
    )
    record = what_if(default, nameless, [], [Setting("hedge", 200 * MS), Setting("hedge", 2 * S)])
    assert (record.cost, record.unpriced) == ("calls", "target fallback has no prices")
    assert [row.usd_per_1000 for row in record.settings[1:]] == [None] * 3
    assert [(row.calls, row.on_front) for row in record.settings] == [
        (1.0, True),
        (1.0, True),
        (pytest.approx(1.05), True),
        (1.0, True),
    ]
