"""Of which time a PASS speaks, in words: the service only where runs were judged together."""

from __future__ import annotations

from typing import Any

import pytest

from bench.record.records.verdicts import Scope
from bench.show.paragraph import buyers_paragraph
from bench.show.scope import for_window, passes_speak_of
from tests.support.made_runs import MakeRun, clause_of


def scope(
    start: str = "2026-11-06T14:00:00Z", end: str = "2026-11-06T14:10:00Z", **more: Any
) -> Scope:
    """Ten minutes at 50/s, p99."""
    fields = {
        "start_utc": start,
        "end_utc": end,
        "duration_s": 600,
        "rate_per_s": 50.0,
        "blind_spot_s": 2.003,
        "assumed_outage_s": 300,
        "of": "run",
    }
    return Scope.model_validate({**fields, **more})


@pytest.mark.parametrize(
    ("of", "text"),
    [
        (scope(), "for 14:00 to 14:10 UTC on 6 November, at 50/s"),
        (
            scope(end="2026-11-06T14:00:30Z", duration_s=30, rate_per_s=0.1),
            "for 14:00:00 to 14:00:30 UTC on 6 November, at 6/min",
        ),
        (
            scope(end="2026-11-07T00:10:00Z"),
            "for 6 November, 14:00, to 7 November, 00:10 UTC, at 50/s",
        ),
        (scope(start_utc=None, end_utc=None), "for 10 min of simulated time, at 50/s"),
        (
            scope(end="2026-11-13T14:10:00Z", of="runs"),
            "for the runs between 6 November and 13 November, at 50/s",
        ),
        (
            scope(end="2026-11-13T14:10:00Z", of="service"),
            "for the service, by runs at random times between 6 November and 13 November, at 50/s",
        ),
    ],
)
def test_the_window_of_a_verdict_in_words(of: Scope, text: str) -> None:
    """By the clock where it is a run's own time, by days where runs were judged together."""
    assert for_window(of) == text
    assert ("service" in text) == (of.of == "service")


def test_a_pass_says_what_it_could_not_see() -> None:
    """Shorter than the assumed outage: what was missed; long enough: what it would have met; one
    sentence a window, and none of what did not pass.
    """
    short = clause_of("a", 1, "x", "e2e", verdict="PASS").replace(scope=scope())
    tight = clause_of("a", 2, "y", "e2e", verdict="PASS").replace(scope=scope(blind_spot_s=0.2))
    long = clause_of("b", 1, "z", "e2e", verdict="PASS").replace(
        scope=scope(end="2026-11-08T14:00:00Z", blind_spot_s=577)
    )
    failed = clause_of("b", 2, "w", "e2e", verdict="FAIL").replace(scope=scope())
    assert passes_speak_of([short]) == [
        (
            "PASS holds for 14:00 to 14:10 UTC on 6 November, at 50/s; outages or slow stretches"
            " longer than 2 s that come seldom may have been missed."
        )
    ]
    assert passes_speak_of([short, tight, failed, long]) == [
        (
            "PASS of a holds for 14:00 to 14:10 UTC on 6 November, at 50/s; outages or slow"
            " stretches longer than 200 ms to 2 s (by clause) that come seldom may have been"
            " missed."
        ),
        (
            "PASS of b holds for 6 November, 14:00, to 8 November, 14:00 UTC, at 50/s; it was long"
            " enough to meet outages of 5 min that come seldom."
        ),
    ]
    assert passes_speak_of([failed]) == []


def test_the_buyer_reads_of_which_hours_it_is_said(make_run: MakeRun) -> None:
    """After what was kept, when it was kept; a single run says nothing of a service."""
    made = make_run(["only"], rows=100)
    kept = [each.replace(verdict="PASS", scope=scope()) for each in made.verdicts.clauses]
    made.verdicts = made.verdicts.replace(clauses=kept)
    text = buyers_paragraph(made.run.manifest, made.summary, made.verdicts)
    assert text.endswith(
        "That is said for 14:00 to 14:10 UTC on 6 November, at 50/s, and of no other hours."
    )
    assert "service" not in text
