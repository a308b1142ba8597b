"""The statement of a claim: who claims what of whom, and the report of the period behind it.

In: census.json of a period that was broken. Out: a document. Must stay true: nothing is claimed
that the contract leaves open; of a run it says that it is a test, not the period's full log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench.record.records.census import CensusRecord, PeriodRecord
from bench.show.census import credit_line
from bench.show.document import Code, Document, Node, Pair, Pairs, Section, Text
from bench.show.month import came_to, claim_deadline, month_document
from bench.show.outages import period_name
from bench.show.wording import visible


def claim_document(record: CensusRecord, run: str = "") -> Document:
    """The statement; `run` names the run that it rests on, empty where that is a full log."""
    month = month_document(record)
    broken = [each for each in record.periods if each.overall == "FAIL"]
    nodes: list[Node] = []
    for period in broken:
        nodes += _claimed(record, period)
    if run:
        nodes.append(
            Text(
                f"This rests on the samples of one test, {visible(run, 80)}, and not on the full"
                " log of a period: it shows what was broken while it ran, and prices nothing."
            )
        )
    nodes.append(Pairs(list(_enclosed(record))))
    named = " to ".join(dict.fromkeys(period_name(each) for each in (broken[0], broken[-1])))
    return replace(
        month,
        commands=[Code("sha256sum -c SHA256SUMS", "In this folder: check its files")],
        title=f"Claim: {visible(record.provider or record.contract, 80)}, {visible(named, 60)}",
        sections=[Section("claim", "", nodes), *month.sections],
    )


def _claimed(record: CensusRecord, period: PeriodRecord) -> Iterator[Node]:
    who = visible(record.customer or "The customer", 80)
    whom = visible(record.provider or "the provider", 80)
    broken = [each for each in period.clauses if each.verdict == "FAIL"]
    terms = "; ".join(came_to(each) for each in broken)
    said = f"{who} claims of {whom} that {period_name(period)} broke the contract: {terms}."
    credit = period.credit
    if credit is not None and credit.share.share:
        said += f" The credit that it gives is {credit_line(credit).removeprefix('due: ')}."
    yield Text(said, tone="quote")
    if last := claim_deadline(record, period):
        yield Text(
            f"To be sent by {last}, {record.claim_within_days} days after the end of the period.",
            label="deadline",
        )


def _enclosed(record: CensusRecord) -> Iterator[Pair]:
    yield "evidence.csv", "each request that broke a clause: time, outcome, line of the log, id"
    yield "census.json", "the computation: every number of this statement, exactly"
    yield "SHA256SUMS", "the digests of these files; those of the log stand in the appendix"
    for name, each in record.documents.items():
        yield f"term {visible(name, 40)}", f"{visible(each.url)}, read on {each.retrieved}"


# ---- a screen


def claimed_screen(record: CensusRecord, files: Sequence[Path]) -> list[Node]:
    """What is claimed, then the files."""
    nodes: list[Node] = []
    for period in record.periods:
        if period.overall == "FAIL":
            nodes += [each for each in _claimed(record, period) if isinstance(each, Text)]
    return [*nodes, Code(f"{files[0].parent}/", "written")]
