"""Numbers and foreign text as they are written."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.record.records.verdicts import ClauseVerdict
from bench.show import wording
from tests.support.made_runs import clause_of


@given(st.text(st.characters(), max_size=400))
def test_visible_text_cannot_steer_a_terminal_or_the_reading_direction(text: str) -> None:
    """Whatever comes in, no control, format, surrogate or separator character comes out, and 200 at
    most.
    """
    shown = wording.visible(text)
    assert len(shown) <= 200
    assert not {unicodedata.category(char) for char in shown} & {
        "Cc",
        "Cf",
        "Cs",
        "Co",
        "Cn",
        "Zl",
        "Zp",
    }


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain – ≤ µ 漢字", "plain – ≤ µ 漢字"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("x\u202ey", "x\\u202ey"),
        ("line\nbreak\ttab", "line\\x0abreak\\x09tab"),
        ("\U000e0041", "\\U000e0041"),
        ("z" * 300, "z" * 199 + "…"),
    ],
)
def test_visible_text_by_example(raw: str, shown: str) -> None:
    """Ordinary letters of any script stay; the rest is written out; a cut shows itself."""
    assert wording.visible(raw) == shown


@given(st.floats(0, 1), st.integers(1, 6))
def test_a_share_is_called_whole_or_none_only_where_it_is(share: float, digits: int) -> None:
    """Rounding never turns 99.99999 % into 100 % nor a trace into 0 %."""
    text = wording.per_cent(share, digits)
    assert (text == "100 %") == (share == 1)
    assert (text == "0 %") == (share == 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.0613, "0.061"),
        (0.5, "0.5"),
        (2.018, "2.02"),
        (12.34, "12.3"),
        (99.96, "100.0"),
        (402.13, "402"),
        (3870.4, "3,870"),
    ],
)
def test_numbers_keep_about_three_digits(value: float | None, text: str) -> None:
    """An absent number is a dash, never 0; thousands are parted."""
    assert wording.number(value) == text


def clause(**more: Any) -> ClauseVerdict:
    """A latency clause with nothing measured."""
    plain: dict[str, Any] = {"limit_ms": 800.0, "verdict": "FAIL", "reason": "because", **more}
    return clause_of("a", 1, "response e2e p99 ≤ 800 ms", plain.pop("metric", "e2e"), **plain)


@pytest.mark.parametrize(
    ("verdict", "bounds", "text"),
    [
        ("FAIL", [811.6, 1003.0], "at least 812 ms (95 %)"),
        ("FAIL", [None, None], "beyond any limit"),
        ("PASS", [391.4, 745.0], "at most 745 ms (95 %)"),
        ("INCONCLUSIVE", [690.2, 812.0], "between 690 and 812 ms (90 %)"),
        ("INCONCLUSIVE", [690.2, None], "at least 690 ms (95 %)"),
        ("INCONCLUSIVE", [None, 812.0], "at most 812 ms (95 %)"),
        ("INCONCLUSIVE", [None, None], "too few for a bound"),
        ("REPORTED", [690.2, 812.0], "between 690 and 812 ms (90 %)"),
    ],
)
def test_a_bound_is_said_as_the_verdict_that_it_is(
    verdict: str, bounds: list[float | None], text: str
) -> None:
    """One end beside PASS and FAIL, both beside what is open; an end that does not exist is no
    number.
    """
    assert wording.bound_words(clause(verdict=verdict, bound=bounds, n=9)) == text


def test_a_bound_of_a_floor_is_said_from_below() -> None:
    up = clause(metric="uptime", operator=">=", share=0.999, limit_ms=None, n=9, confidence=0.9)
    said = {
        verdict: wording.bound_words(up.replace(verdict=verdict, bound=(0.9991, 0.9998)))
        for verdict in ("PASS", "FAIL", "INCONCLUSIVE")
    }
    assert said == {
        "PASS": "at least 99.91 % (90 %)",
        "FAIL": "at most 99.98 % (90 %)",
        "INCONCLUSIVE": "between 99.91 and 99.98 % (80 %)",
    }
    assert wording.bound_words(up.replace(n=0)) == "too few for a bound"


def test_shares_are_written_as_per_cent_with_their_direction() -> None:
    """An uptime clause has a floor, an error share a ceiling, both in per cent."""
    up = clause(
        metric="uptime",
        unit="share",
        operator=">=",
        share=0.999,
        limit_ms=None,
        measured=0.9983,
        n=9,
    )
    assert (wording.measured(up), wording.limit(up)) == ("99.83 %", "≥ 99.9 %")
    assert wording.limit(up.replace(metric="error_share", operator="<=", share=0.01)) == "≤ 1 %"


def test_rounding_does_not_lay_a_value_upon_the_limit() -> None:
    """800.2 ms breaks a limit of 800 ms, and 99.8999 % one of 99.9 %: the table shows that
    they do.
    """
    assert wording.measured(clause(measured=800.2, n=9)) == "800.2 ms"
    assert wording.measured(clause(measured=800.0, n=9)) == "800 ms"
    kept = clause(verdict="PASS", bound=[None, 799.9], n=9)
    assert wording.bound_words(kept) == "at most 799.9 ms (95 %)"
    up = clause(
        metric="uptime",
        unit="share",
        operator=">=",
        share=0.999,
        limit_ms=None,
        measured=0.998999,
        n=9,
    )
    assert wording.measured(up) == "99.8999 %"


def test_a_quantile_among_failures_is_named_so() -> None:
    """Without a value the cell says why: no rows at all, or a quantile that lies among failed
    requests.
    """
    assert wording.measured(clause()) == "no requests"
    assert wording.measured(clause(n=10, k=10)) == "no answer"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("response e2e p99 ≤ 800 ms", "response e2e p99"),
        ("uptime, request ratio ≥ 99.9 %", "uptime, request ratio"),
        ("response TTFT p95 ≤ 2 min 30 s (phase burst)", "response TTFT p95 (phase burst)"),
        ("response TTFT p95", "response TTFT p95"),
        ("error share ≤ 1 % (context ≤1K)", "error share (context ≤1K)"),
    ],
)
def test_the_limit_leaves_the_clause_text_for_its_own_column(text: str, name: str) -> None:
    """Only the limit goes; the phase or bucket that restricts the clause stays."""
    assert wording.clause_name(text) == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("response e2e p99 ≤ 800 ms", "end-to-end p99"),
        ("response TTFT p95 ≤ 2 s", "TTFT p95"),
        ("uptime, request ratio ≥ 99.9 %", "uptime"),
    ],
)
def test_in_a_sentence_a_clause_begins_small_but_for_its_capitals(text: str, said: str) -> None:
    """Of TTFT no letter is made small."""
    assert wording.title_in_sentence(clause().replace(text=text)) == said


def test_the_decider_gives_counts_or_the_reason() -> None:
    """A decided clause shows its counts, an undecided one what the judge said."""
    assert (
        wording.decider(clause(k=611, n=12_000, p0=0.01))
        == "611 of 12,000 slow or failed; 120 may be"
    )
    kept = clause(verdict="PASS", k=1, n=900, unknown=2, allowed_k=4, p0=0.01)
    assert wording.decider(kept) == (
        "1 of 900 slow or failed, 2 unknown; up to 4 would still prove it"
    )
    assert wording.decider(clause(verdict="INCONCLUSIVE", reason="too few\x07")) == "too few\\x07"


def test_a_share_of_windows_names_the_other_reading() -> None:
    """Half of the requests in every window may be slow: the share of requests stands beside the
    share of windows.
    """
    kept = clause(
        verdict="PASS",
        statistic="share_of_windows",
        unit="share",
        k=1,
        n=400,
        share_of_requests=0.655,
    )
    said = (
        "1 of 400 windows were over the limit. (The clause counts windows; 65.5 % of single"
        " requests were within it.)"
    )
    assert wording.decider(kept) == said


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ((391.0, 418.0), "391 – 418"),
        ((391.0, None), "≥ 391"),
        ((None, 418.0), "≤ 418"),
        ((None, None), "–"),
        ((0.0, 0.0), "0 – 0"),
    ],
)
def test_an_interval_names_the_bounds_that_exist(
    limits: tuple[float | None, float | None], said: str
) -> None:
    """Both, one with its sign, or none; a bound of zero is a bound."""
    assert wording.between(limits) == said
    assert wording.between((None, None), none="no bound") == "no bound"
    assert wording.between((0.5, 2.0), lambda value: f"{value:.2f}") == "0.50 – 2.00"
