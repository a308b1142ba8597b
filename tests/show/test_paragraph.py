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
    assert text.startswith("On 2026-11-23 this test put 2,400 requests to 2 targets, within 30 s.")
    assert (
        "Of the 2 terms of its contract that were tested, 1 was broken (promised: the answer"
        " complete within 800 ms for 99 % of requests) and 1 could not be decided." in text
    )
    assert "“pro” answered all its 1,200 requests, 99 of 100 of these within" in text
    assert "and was shown to keep the 2 terms of its contract that were tested." in text
    assert "p99" not in text


def test_one_request_is_one(make_run: MakeRun) -> None:
    """No plural for a single request, target or term."""
    made = make_run(["only"], rows=1)
    made.verdicts = made.verdicts.replace(clauses=made.verdicts.clauses[:1])
    text = said(made)
    assert "this test put 1 request to one target" in text
    assert "“only” answered its one request, at most within" in text
    assert "Of the one term of its contract that was tested, 1 was broken" in text


@pytest.mark.parametrize(
    ("targets", "said_of_them"),
    [(1, "No contract was held against it."), (3, "No contract was held against them.")],
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
    assert (
        "Of 12 terms tested, 10 were shown to be kept, 1 was broken and 1 could not be decided."
        " Broken by: s0." in text
    )


def test_an_invalid_run_judges_nobody(spoilt: Made) -> None:
    """Neither praise nor blame where the measuring side was the limit."""
    spoilt.summary = spoilt.summary.replace(overall="INVALID")
    assert said(spoilt).endswith(
        "The measuring side was itself the limit, so nothing here judges the targets."
    )
    assert "pro" not in said(spoilt).split("within")[1]


def test_broken_off_and_simulated_runs_are_called_so(make_run: MakeRun) -> None:
    """Before any number of a target."""
    made = make_run(["a", "b"], rows=100, state="interrupted")
    made.run.lanes[0] = made.run.lanes[0].replace(simulated=True)
    text = said(made)
    assert (
        "It was broken off before its end. Those of 1 of the 2 came from a simulation, not from a"
        " server." in text
    )
    made.run.lanes[1] = made.run.lanes[1].replace(simulated=True)
    assert "The answers came from a simulation, not from a server." in said(made)
