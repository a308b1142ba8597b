"""The terms around the clauses: what may be left out, what contradicts itself, what they mean."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UserError
from bench.plan.contract import Contract
from bench.plan.terms import CreditStep, check_ladder
from bench.userfile import parse_model

UPTIME = {"metric": "uptime", "share": "99.9%"}
MONTH = {"kind": "calendar_month", "time_zone": "America/Los_Angeles"}


def contract(**keys: Any) -> Contract:
    return parse_model(Contract, {"title": "made", "clause": [UPTIME], **keys}, "c.toml")


def refusal(**keys: Any) -> str:
    with pytest.raises(UserError) as caught:
        contract(**keys)
    return str(caught.value)


@pytest.mark.parametrize(
    ("period", "days"),
    [
        (MONTH, 30),
        ({"kind": "quarter", "time_zone": "UTC"}, 90),
        ({"kind": "rolling", "days": 28}, 28),
        ({"kind": "billing_cycle", "time_zone": "Europe/Berlin", "starts_on_day": 15}, 30),
    ],
)
def test_every_kind_of_period_has_a_length_to_plan_with(period: dict[str, Any], days: int) -> None:
    """A month is 30 days, a quarter 90, a rolling period what it says."""
    made = contract(period=period).period
    assert made is not None
    assert made.nominal_ns == days * 24 * 3600 * 10**9
    assert (
        made.longest_ns
        == ({30: 31, 90: 92}.get(days, days) if made.days is None else days) * 24 * 3600 * 10**9
        + 3600 * 10**9
    )


@pytest.mark.parametrize(
    ("period", "text"),
    [
        (
            {"kind": "calendar_month"},
            'period: a calendar month begins at midnight somewhere; add time_zone = "..."',
        ),
        ({"kind": "quarter"}, "a quarter begins at midnight somewhere"),
        (
            {"kind": "billing_cycle", "starts_on_day": 1},
            "a billing cycle begins at midnight somewhere",
        ),
        (
            {**MONTH, "time_zone": "Mars/Olympus"},
            "period.time_zone: 'Mars/Olympus' is no time zone; write an IANA name",
        ),
        ({**MONTH, "time_zone": ""}, "is no time zone"),
        ({**MONTH, "time_zone": "../etc/passwd"}, "is no time zone"),
        ({"kind": "rolling"}, "a rolling period needs them"),
        ({**MONTH, "days": 30}, "days belong to a rolling period"),
        ({"kind": "billing_cycle", "time_zone": "UTC"}, "a billing cycle needs it"),
        ({**MONTH, "starts_on_day": 1}, "starts_on_day belongs to a billing cycle"),
        (
            {"kind": "billing_cycle", "time_zone": "UTC", "starts_on_day": 31},
            "less than or equal to 28",
        ),
        ({"kind": "rolling", "days": 0}, "greater than 0"),
        ({"kind": "month"}, "'month' is not known here; write 'calendar_month'"),
    ],
)
def test_periods_that_no_calendar_has_are_refused(period: dict[str, Any], text: str) -> None:
    """A calendar without its time zone, a length where none belongs: named by key."""
    assert text in refusal(period=period)


def test_all_forms_of_a_matcher_are_known() -> None:
    """Outcomes, one status, a hundred of statuses, a provider's code and a finish reason."""
    failed = [
        "http_5xx",
        "status:500",
        "status:5xx",
        "code:overloaded_error",
        "finish:content_filter",
    ]
    assert (
        contract(requests={"failed": failed, "excluded": ["rate_limited"]}).requests.failed
        == failed
    )


@pytest.mark.parametrize(
    ("requests", "text"),
    [
        (
            {"failed": ["5xx"]},
            "requests.failed[0]: '5xx' matches no request; write an outcome (http_4xx",
        ),
        ({"failed": ["status:99"]}, "matches no request"),
        ({"failed": ["status:6xx"]}, "matches no request"),
        ({"failed": ["ok"]}, "matches no request"),
        ({"excluded": ["code:"]}, "matches no request"),
        ({"failed": ["never_sent"]}, "matches no request"),
        (
            {"failed": ["status:429"], "excluded": ["status:429"]},
            "'status:429' is both failed and excluded",
        ),
    ],
)
def test_request_classes_that_match_nothing_or_clash_are_refused(
    requests: dict[str, Any], text: str
) -> None:
    """A matcher that no request could meet would silently excuse everything."""
    assert text in refusal(requests=requests)


@pytest.mark.parametrize(
    ("back_off", "text"),
    [
        ({}, "back_off: needs first_wait or repeat_window"),
        ({"factor": "2x"}, "needs first_wait or repeat_window"),
        ({"first_wait": "2s", "cap": "1s"}, "cap must be at least first_wait"),
        ({"repeat_window": "5min", "cap": "32s"}, "cap must be at least first_wait"),
    ],
)
def test_back_off_rules_without_a_wait_are_refused(back_off: dict[str, Any], text: str) -> None:
    """A cap or a factor has to be of something."""
    assert text in refusal(back_off=back_off)


#: kind -> what it needs
EXCLUSIONS: dict[str, dict[str, Any]] = {
    "window": {"start": "2026-11-01T02:00:00Z", "end": "2026-11-01T04:00:00+01:00"},
    "long_context": {"above_prompt_tokens": 200_000},
    "short_deadline": {"below": "60s"},
    "above_rate": {"tokens_per_min": 30_000},
    "ramp": {"above": "50%", "within": "15min"},
    "served_elsewhere": {},
    "label": {"label": "customer network"},
    "cause": {"cause": ["quota", "spend"]},
}


def exclusion(kind: str, **keys: Any) -> dict[str, Any]:
    return {"reason": "why", "kind": kind, **keys}


@pytest.mark.parametrize("kind", EXCLUSIONS)
def test_an_exclusion_has_what_its_kind_needs_and_nothing_else(kind: str) -> None:
    """Each kind loads with its keys, and is refused without any one of them or with another
    kind's.
    """
    needs = EXCLUSIONS[kind]
    assert contract(exclusion=[exclusion(kind, **needs)]).exclusions[0].kind == kind
    for key in needs:
        rest = {name: value for name, value in needs.items() if name != key}
        assert f'exclusion[0]: an exclusion of kind "{kind}" needs {key}' in refusal(
            exclusion=[exclusion(kind, **rest)]
        )
    other = "label" if kind != "label" else "below"
    assert f"{other} does not belong" in refusal(
        exclusion=[exclusion(kind, **needs, **{other: "1s"})]
    )


def test_a_window_needs_its_offset_and_runs_forward() -> None:
    """Two o'clock is a different moment in each time zone; an end before its start excludes
    nothing.
    """
    start, end = "2026-11-01T02:00:00", "2026-11-01T01:00:00Z"
    assert "need their offset from UTC" in refusal(
        exclusion=[exclusion("window", start=start, end=end)]
    )
    assert "end must come after start" in refusal(
        exclusion=[exclusion("window", start=start + "Z", end=end)]
    )
    assert "exclusion[0].reason" in refusal(exclusion=[{"kind": "served_elsewhere", "reason": ""}])


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([], "the credit ladder is empty; leave it out or give its steps"),
        ([("99%", "10%"), ("99.5%", "25%")], "99.5 % does not follow 99 %"),
        ([("99%", "10%"), ("99%", "25%")], "99 % does not follow 99 %"),
        ([("99%", "25%"), ("95%", "10%")], "95 % does not follow 99 %"),
        ([("99.95%", "10%")], "pays below 99.95 %, where the clause itself is kept from 99.9 % on"),
    ],
)
def test_ladders_that_contradict_themselves_are_refused(
    steps: list[tuple[str, str]], text: str
) -> None:
    """Empty, out of order, paying less for worse, or paying where nothing was missed."""
    ladder = [{"below": below, "credit": credit} for below, credit in steps]
    assert text in refusal(
        clause=[{**UPTIME, "credit": ladder}], credits={"base": "the month's bill"}
    )


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=5))
def test_a_ladder_is_taken_exactly_when_bounds_fall_and_credits_rise(
    steps: list[tuple[int, int]],
) -> None:
    """The rule, stated the other way: sorted by either column the steps stay as they are, without
    equals.
    """
    ladder = [
        CreditStep(below=Fraction(below, 1000), credit=Fraction(credit, 1000))
        for below, credit in steps
    ]
    bounds, paid = [below for below, _ in steps], [credit for _, credit in steps]
    sound = bounds == sorted(set(bounds), reverse=True) and paid == sorted(set(paid))
    try:
        check_ladder(ladder)
    except ValueError:
        assert not sound
    else:
        assert sound


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (
            {"clause": [{**UPTIME, "credit": [{"below": "99%", "credit": "10%"}]}]},
            "a clause pays credits; add [credits] with their base",
        ),
        (
            {"credits": {"base": "bill", "combine": "sum_capped"}},
            'combine = "sum_capped" needs cap = "..."',
        ),
        ({"credits": {"combine": "sum"}}, "credits.base: is required"),
        ({"credits": {"base": "bill", "minimum_usd": "-1"}}, "is not a sum of at least 0 USD"),
        ({"proof": "census"}, 'proof = "census" needs a [period] to count'),
        ({"attested": [{"term": " "}]}, "attested[0].term: a term needs words"),
        (
            {"clause": [{**UPTIME, "source": "sla"}]},
            "a term names the source 'sla', which is not in [sources] (there: none)",
        ),
        (
            {
                "scope": {"source": "slo"},
                "sources": {"sla": {"url": "https://e.org", "retrieved": "2026-11-23"}},
            },
            "names the source 'slo', which is not in [sources] (there: sla)",
        ),
        ({"sources": {"sla": {"url": "https://e.org"}}}, "sources.sla.retrieved: is required"),
        (
            {
                "sources": {
                    "sla": {"url": "https://e.org", "retrieved": "2026-11-23", "read": "hearsay"}
                }
            },
            "write 'primary' or 'secondary'",
        ),
        ({"scope": {"model": ["m"]}}, "scope.model: unknown key; did you mean 'models'?"),
    ],
)
def test_terms_that_lean_on_nothing_are_refused(keys: dict[str, Any], text: str) -> None:
    """Credits without a base, a census without a period, a source that is not there."""
    assert text in refusal(**keys)
