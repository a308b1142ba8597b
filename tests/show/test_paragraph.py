"""The quotable paragraph: right in number and in grammar for every kind of run."""

from __future__ import annotations

import pytest

from bench.show.paragraph import buyers_paragraph
from tests.support.made_runs import Made, MakeRun, verdicts_of


def said(made: Made) -> str:
    """The paragraph of a made run."""
    return buyers_paragraph(made.run.manifest, made.summary, made.verdicts)


def test_terms_are_counted_as_the_verdicts_are_and_named_without_jargon(spoilt: Made) -> None:
    """Kept, broken and undecided terms of each target, the broken one in plain words; a reported
    one is no term.
    """
    text = said(spoilt)
    assert text.startswith(
        "On 23 November 2026 this test sent 2,400 requests to 2 targets in 30 s."
    )
    assert (
        "Of the 2 clauses of its contract that were tested, 1 was broken (promised: the answer"
        " complete within 800 ms for 99 % of requests) and 1 was not decided." in text
    )
    assert "“pro” answered all its 1,200 requests, 99 of 100 of these within" in text
    assert "and kept the 2 clauses of its contract that were tested." in text
    assert "p99" not in text


def test_one_request_is_one(make_run: MakeRun) -> None:
    """No plural for a single request, target or term."""
    made = make_run(["only"], rows=1)
    made.verdicts = made.verdicts.replace(clauses=made.verdicts.clauses[:1])
    text = said(made)
    assert "this test sent 1 request to one target" in text
    assert "“only” answered its one request, at most within" in text
    assert "Of the one clause of its contract that was tested, 1 was broken" in text


@pytest.mark.parametrize(
    ("targets", "said_of_them"),
    [(1, "It was judged by no contract."), (3, "They were judged by no contract.")],
)
def test_without_a_contract_it_says_so(make_run: MakeRun, targets: int, said_of_them: str) -> None:
    """What nobody promised is neither kept nor broken."""
    made = make_run([f"s{number}" for number in range(targets)], rows=100)
    made.verdicts = made.verdicts.replace(clauses=[])
    assert said(made).endswith(said_of_them)
    assert "term" not in said(made)


def test_many_targets_are_counted_and_the_breakers_named(make_run: MakeRun) -> None:
    """Above four targets: one share of answers, terms by verdict, and who broke any."""
    names = [f"s{number}" for number in range(6)]
    made = make_run(names, rows=50)
    made.verdicts = verdicts_of(names)
    text = said(made)
    assert "Together they answered 100 % of them." in text
    assert "Of 12 clauses 10 were kept, 1 broken and 1 not decided. Broken by: s0." in text


def test_an_invalid_run_judges_nobody(spoilt: Made) -> None:
    """Neither praise nor blame where the measuring side was the limit."""
    spoilt.summary = spoilt.summary.replace(overall="INVALID")
    assert said(spoilt).endswith("The harness itself was the limit, so nothing is judged.")
    assert "pro" not in said(spoilt).split("targets in")[1]


def test_broken_off_and_simulated_runs_are_called_so(make_run: MakeRun) -> None:
    """Before any number of a target."""
    made = make_run(["a", "b"], rows=100, state="interrupted")
    made.run.lanes[0] = made.run.lanes[0].replace(simulated=True)
    text = said(made)
    assert (
        "this test sent 100 requests to one target and computed 100 for 1 more."
        " It was interrupted before its end." in text
    )
    made.run.lanes[1] = made.run.lanes[1].replace(simulated=True)
    assert "this test computed 200 requests to 2 targets and sent none." in said(made)
