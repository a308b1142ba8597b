"""Which rows count: scope, classes of requests, exclusions, back-off. Rows are written by hand."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from bench.judge.contract.exclusions import Classes, classify
from bench.judge.contract.matching import matching
from bench.plan.contract import Contract
from bench.record.facts import Facts
from bench.record.samples import Columns, Flag, Outcome
from tests.support.rows_by_hand import Row, answered, columns_of, cut, failed

S, MS = 10**9, 10**6
MINUTE = 60_000
#: 2026-10-01T00:00:00Z
START = 1_790_812_800 * S


def classed(rows: list[Row], facts: Facts | None = None, **terms: Any) -> Classes:
    contract = Contract.model_validate({"title": "t", **terms})
    return classify(columns_of(rows), contract, facts or Facts(START))


def labelled(texts: dict[str, list[str | None]], **more: Any) -> Facts:
    """Facts whose labels hold these texts, one a row."""
    kinds = {
        name: sorted({text for text in column if text is not None})
        for name, column in texts.items()
    }
    labels = {
        name: np.array([-1 if text is None else kinds[name].index(text) for text in column])
        for name, column in texts.items()
    }
    return Facts(START, kinds, labels=labels, **more)


def reasons(classes: Classes) -> list[str | None]:
    """The reason of each row, None where it is kept."""
    return [None if index < 0 else classes.reasons[index] for index in classes.excluded.tolist()]


def test_without_terms_every_row_counts_and_what_is_not_ok_failed() -> None:
    """A row cut off is unknown and not failed; nothing is excluded, nothing is unusable."""
    found = classed(
        [
            answered(5),
            failed(Outcome.http_4xx),
            failed(Outcome.reset),
            cut(9),
            {"outcome": Outcome.never_sent},
        ]
    )
    assert found.failed.tolist() == [False, True, True, False, False]
    assert found.unknown.tolist() == [False, False, False, True, True]
    assert found.kept.all()
    assert (found.counts(), found.unusable, found.missing) == ({}, [], [])


@pytest.mark.parametrize(
    ("matcher", "hits"),
    [
        ("status:500", [1]),
        ("status:5xx", [1, 2]),
        ("status:4xx", [3]),
        ("rate_limited", [3]),
        ("http_5xx", [1, 2]),
        ("finish:length", [0]),
        ("finish:stop", [1]),
        ("finish:content_filter", [3]),
        ("code:overloaded", [2]),
        ("code:busy", [1]),
        ("code:rate", [3]),
    ],
)
def test_matchers_name_rows_by_outcome_status_code_or_finish(matcher: str, hits: list[int]) -> None:
    """Each form matches exactly its rows."""
    rows = [
        answered(5, status=200, finish=1),
        failed(Outcome.http_5xx, status=500, finish=2),
        failed(Outcome.http_5xx, status=529),
        failed(Outcome.rate_limited, status=429, finish=0),
    ]
    facts = Facts(
        START,
        {"finish": ["content_filter", "length", "stop"], "code": ["busy", "overloaded", "rate"]},
        labels={"code": np.array([-1, 0, 1, 2])},
    )
    found, _needs = matching(matcher, columns_of(rows), facts)
    assert found is not None
    assert np.flatnonzero(found).tolist() == hits


def test_only_the_listed_classes_are_errors_and_excluded_rows_say_why() -> None:
    """With `failed` named the rest count as served; an excluded class is set aside under its own
    name.
    """
    rows = [
        answered(5, status=200),
        failed(Outcome.http_5xx, status=500),
        failed(Outcome.http_5xx, status=504),
        failed(Outcome.rate_limited, status=429),
    ]
    found = classed(
        rows, requests={"failed": ["status:500", "status:503"], "excluded": ["rate_limited"]}
    )
    assert found.failed.tolist() == [False, True, False, False]
    assert reasons(found) == [None, None, None, "rate_limited"]
    assert found.counts() == {"rate_limited": 1}


def test_terms_without_their_columns_are_named() -> None:
    """An error class that needs a missing column is `missing`; a term that sets rows aside is
    `unusable`.
    """
    rows = [answered(5, tokens=-1), failed(Outcome.http_5xx)]
    found = classed(
        rows,
        requests={"failed": ["code:x", "status:500"]},
        back_off={"first_wait": "1s", "repeat_window": "5min"},
        scope={"endpoints": ["/v1"], "general_availability_only": True},
        exclusion=[
            {"reason": "late", "kind": "short_deadline", "below": "1s"},
            {"reason": "their own", "kind": "label", "label": "x"},
            {"reason": "spill", "kind": "served_elsewhere"},
            {"reason": "bulk", "kind": "above_rate", "tokens_per_min": 5},
        ],
    )
    assert found.missing == ["code:x needs code column", "status:500 needs status column"]
    assert found.kept.all()
    told = " ".join(found.unusable)
    assert len(found.unusable) == 8
    for reason in (
        "late",
        "their own",
        "spill",
        "bulk",
        "endpoint not covered",
        "against the back-off",
        "within 5 min",
        "general availability",
    ):
        assert reason in told


def test_scope_covers_models_by_pattern_regions_endpoints_and_streams() -> None:
    """Names may end in *, case does not matter; a row that does not say is covered; a run's own
    model covers all or none.
    """
    rows = [
        answered(5, served_model=0),
        answered(5, served_model=1),
        answered(5, served_model=-1),
        answered(5, served_region=0),
        answered(5, flags=0),
        failed(Outcome.reset, flags=0),
    ]
    facts = labelled({"endpoint": [None] * 6, "operation": ["chat", *[None] * 4, "embed"]})
    facts = Facts(
        START,
        {**facts.texts, "served_model": ["GPT-4o-mini", "o1"], "served_region": ["us-east1"]},
        labels=facts.labels,
    )
    found = classed(
        rows,
        facts,
        scope={
            "models": ["gpt-4*"],
            "regions": ["eu-*"],
            "operations": ["chat"],
            "streaming_only": True,
        },
    )
    assert reasons(found) == [
        None,
        "model not covered",
        None,
        "region not covered",
        "not streamed",
        "operation not covered",
    ]
    assert not classed(rows, Facts(START, model="o1"), scope={"models": ["gpt-4*"]}).kept.any()
    assert classed(rows, Facts(START, model="gpt-4o"), scope={"models": ["gpt-4*"]}).kept.all()


def test_windows_long_contexts_deadlines_labels_and_tiers() -> None:
    """Each kind of exclusion sets its rows aside; a window holds its start and not its end; the
    first reason stays.
    """
    rows = [
        answered(5, due=0, prompt_tokens=10),
        answered(5, due=1000, prompt_tokens=201),
        answered(5, due=2000, prompt_tokens=200),
        answered(5, due=3000),
        answered(5, due=4000),
        answered(5, due=5000),
    ]
    facts = labelled(
        {
            "label": [None, None, None, "force majeure", None, None],
            "tier": [None, "default", None, None, "default", "priority"],
        }
    )
    facts = Facts(
        START,
        facts.texts,
        labels={**facts.labels, "deadline_ns": np.array([-1, -1, 900 * MS, -1, -1, 1000 * MS])},
    )
    found = classed(
        rows,
        facts,
        scope={"tier": "priority"},
        exclusion=[
            {
                "reason": "maintenance",
                "kind": "window",
                "start": "2026-10-01T02:00:00+02:00",
                "end": "2026-10-01T00:00:01Z",
            },
            {"reason": "long", "kind": "long_context", "above_prompt_tokens": 200},
            {"reason": "impatient", "kind": "short_deadline", "below": "1s"},
            {"reason": "not theirs", "kind": "label", "label": "force majeure"},
            {"reason": "downgraded", "kind": "served_elsewhere"},
        ],
    )
    assert reasons(found) == [
        "maintenance",
        "downgraded",
        "impatient",
        "not theirs",
        "downgraded",
        None,
    ]
    assert classed(
        rows,
        Facts(START, timeout_ns=S - 1),
        exclusion=[{"reason": "r", "kind": "short_deadline", "below": "1s"}],
    ).counts() == {"r": 6}


def test_traffic_above_the_purchased_rate_is_set_aside_minute_by_minute() -> None:
    """Tokens add up within a minute of the wall clock; the row that goes over and those after it do
    not count.
    """
    rows = [
        answered(5, due=at, prompt_tokens=40, tokens=10)
        for at in (0, 1, 2, MINUTE - 1, MINUTE, MINUTE + 1, MINUTE + 2)
    ]
    found = classed(
        rows, exclusion=[{"reason": "over", "kind": "above_rate", "tokens_per_min": 100}]
    )
    assert reasons(found) == [None, None, "over", "over", None, None, "over"]


def test_a_row_without_tokens_is_not_above_the_rate() -> None:
    """A failure that cost nothing, and a row set aside before, take no part of what was purchased
    and are not over it.
    """
    rows = [
        answered(5, due=0, prompt_tokens=90, tokens=9, status=200),
        failed(Outcome.http_5xx, due=1, prompt_tokens=0, output_tokens=0, status=500),
        answered(5, due=2, prompt_tokens=50, tokens=5, status=418),
        answered(5, due=3, prompt_tokens=1, tokens=0, status=200),
        answered(5, due=4, prompt_tokens=1, tokens=0, status=200),
        failed(Outcome.http_5xx, due=5, prompt_tokens=0, output_tokens=0, status=500),
    ]
    found = classed(
        rows,
        requests={"excluded": ["status:418"]},
        exclusion=[{"reason": "over", "kind": "above_rate", "tokens_per_min": 100}],
    )
    assert reasons(found) == [None, None, "status:418", None, "over", None]


@pytest.mark.parametrize(
    "facts",
    [
        Facts(START, {"tier": ["x"]}),
        Facts(START, labels={"tier": np.array([-1, -1])}),
        Facts(START, {"tier": []}, labels={"tier": np.array([-1, -1])}),
    ],
)
def test_a_column_without_texts_is_no_column(facts: Facts) -> None:
    """Where no row names its tier, whether by a missing column or an empty one, the term is told
    not to be applied.
    """
    rule = {"reason": "spill", "kind": "served_elsewhere"}
    found = classed([answered(5)] * 2, facts, scope={"tier": "x"}, exclusion=[rule])
    assert found.unusable[0].startswith("spill: not applied")
    assert found.kept.all()


def test_a_ramp_is_measured_from_the_least_of_the_minutes_before() -> None:
    """More than half above the least of the two minutes before is a ramp; idle minutes set no
    level.
    """
    per_minute = [10, 15, 16, 30, 24, 0, 36]
    rows = [
        answered(5, due=minute * MINUTE, prompt_tokens=tokens, tokens=0)
        for minute, tokens in enumerate(per_minute)
        if tokens
    ]
    found = classed(
        rows, exclusion=[{"reason": "ramp", "kind": "ramp", "above": "50%", "within": "2min"}]
    )
    # 15 ≤ 1.5·10; 16 > 1.5·10; 30 > 1.5·15; 24 ≤ 1.5·16; minute 6 looks back on 24 alone: 36 ≤
    # 1.5·24
    assert reasons(found) == [None, None, "ramp", "ramp", None, None]


def test_repeats_that_ignore_the_back_off_do_not_count() -> None:
    """Waits of 1, 2, 4, 4 s from the end of each failure in a row; another key or a success begins
    anew.
    """
    dues = [0, 900, 3000, 6000, 10_100, 14_000, 14_100, 14_200]
    keys: list[str | None] = ["a", "a", "a", "a", "a", "a", "a", "b"]
    rows = [failed(Outcome.http_5xx, due=due, done=due + 1) for due in dues]
    rows[5] = answered(5, due=14_000)
    # gaps from the end before: 0.899 < 1; 2.099 ≥ 2; 2.999 < 4; 4.099 ≥ 4 (cap); 3.899 < 4, though
    # it succeeded; then anew
    found = classed(rows, labelled({"key": keys}), back_off={"first_wait": "1s", "cap": "4s"})
    early = "repeat against the back-off"
    assert reasons(found) == [None, early, None, early, None, early, None, None]


def test_the_wait_begins_when_the_failure_was_known() -> None:
    """A request that failed after 5 s and was repeated 5.5 s after it began waited half a
    second.
    """
    rows = [
        failed(Outcome.timeout_total, due=0, done=5000),
        answered(5, due=5500),
        failed(Outcome.timeout_total, due=6000, done=11_000),
        answered(5, due=12_000),
    ]
    found = classed(rows, labelled({"key": ["a"] * 4}), back_off={"first_wait": "1s"})
    assert found.kept.tolist() == [True, False, True, True]


def test_a_tier_that_is_not_covered() -> None:
    """Without an exclusion of its own a row of another tier is outside the scope; one that does not
    say is covered.
    """
    facts = labelled({"tier": ["scale", "default", None]})
    found = classed([answered(5)] * 3, facts, scope={"tier": "Scale"})
    assert reasons(found) == [None, "tier not covered", None]


def test_the_same_error_again_within_the_window_is_no_new_attempt() -> None:
    """The window counts from the last attempt kept, so a lasting outage counts again; another error
    counts at once.
    """
    dues = [0, 1, 299, 301, 302, 303, 304]
    rows = [failed(Outcome.http_5xx, due=due * 1000, status=500) for due in dues]
    rows[4] = failed(Outcome.http_5xx, due=302_000, status=503)
    rows[6] = answered(5, due=304_000)
    found = classed(rows, labelled({"key": ["a"] * 7}), back_off={"repeat_window": "5min"})
    again = "repeat within 5 min"
    assert reasons(found) == [None, again, again, None, None, None, None]
    no_keys = classed(rows, labelled({"key": [None] * 7}), back_off={"repeat_window": "5min"})
    assert no_keys.kept.all()


def test_the_same_error_has_its_code_status_and_outcome() -> None:
    """Of every pair of errors, a second within the window is a repeat exactly where all three are
    the first's.
    """
    outcomes = (Outcome.http_4xx, Outcome.rate_limited, Outcome.http_5xx)
    errors = list(itertools.product((None, "a", "b"), (0, 429, 430, 500), outcomes))
    pairs = list(itertools.product(errors, errors))
    rows = [
        failed(outcome, due=at, status=status)
        for at, pair in enumerate(pairs)
        for _, status, outcome in pair
    ]
    facts = labelled(
        {
            "key": [str(at) for at in range(len(pairs)) for _ in (0, 1)],
            "code": [code for pair in pairs for code, _, _ in pair],
        }
    )
    found = classed(rows, facts, back_off={"repeat_window": "5min"})
    assert found.kept.tolist() == [
        kept for first, second in pairs for kept in (True, first != second)
    ]


def test_order_of_files_does_not_matter_to_back_off() -> None:
    """Keys that alternate are followed each for itself."""
    rows = [failed(Outcome.http_5xx, due=due) for due in (0, 10, 500, 2000)]
    found = classed(rows, labelled({"key": ["a", "b", "a", "b"]}), back_off={"first_wait": "1s"})
    assert reasons(found) == [None, None, "repeat against the back-off", None]


def test_streamed_failures_stay_in_a_streaming_scope() -> None:
    """Only an answer that came whole shows that it was not streamed."""
    columns: Columns = columns_of(
        [answered(5, flags=int(Flag.STREAMED)), failed(Outcome.timeout_first)]
    )
    assert classify(
        columns,
        Contract.model_validate({"title": "t", "scope": {"streaming_only": True}}),
        Facts(START),
    ).kept.all()
