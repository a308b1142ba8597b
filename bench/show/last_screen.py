"""The last screen of a run: the verdict a tired person can read; of several runs, their spread.

In: summary and verdicts. Out: nodes for a screen. Must stay true: what must be known before the
first number is read stands above it; what broke or is open says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench.judge.summary import Spread, spreads
from bench.metrics import HEADLINES, METRICS
from bench.quantiles import P50, P99, by_key
from bench.record.records.summary import Summary
from bench.record.records.verdicts import Verdicts
from bench.show import wording
from bench.show.document import Code, Column, Node, Table, Text, Verdict
from bench.show.facts import health_line, left_out_sentences
from bench.show.served import served_screen
from bench.show.terminal_tables import HELD, labels
from bench.show.verdicts import verdict_screens
from bench.show.wording import count, milliseconds, number, per_cent, visible


def verdict_screen(
    summary: Summary,
    verdicts: Verdicts,
    further: Sequence[str] = (),
    *,
    below: Iterable[Node] = (),
    report: Path | str | None = None,
    repeat: str = "",
    resume: str = "",
) -> list[Node]:
    """Contract by contract, then key numbers, health, `further` sentences, the report's path and
    what to type next.

    `below` stands below the verdicts. `resume` is the command that goes on with a run that broke
    off.
    """
    nodes: list[Node] = [
        *_before_anything_else(summary, verdicts),
        *verdict_screens(verdicts),
        *(() if verdicts.clauses else _numbers_without_contract(summary)),
        *below,
        Verdict(visible(summary.overall, 20)),
        *served_screen(summary),
        Text(health_line(summary), "harness"),
        *(Text(sentence, " ") for sentence in further),
        *_expected(verdicts),
    ]
    if report is not None:
        nodes.append(Code(visible(report, 4096), "report"))
    if resume:
        nodes.append(Code(visible(resume, 4096), "go on"))
    if (decides := verdicts.next_command) is not None:
        nodes.append(Code(visible(decides, 4096), "next"))
    if repeat:
        nodes.append(Code(visible(repeat, 4096), "again"))
    return nodes


def _before_anything_else(summary: Summary, verdicts: Verdicts) -> Iterator[Node]:
    facts = summary.health.facts
    if summary.overall == "INVALID":
        says = f": {summary.health.why_invalid}; nothing here judges a target"
        yield Verdict("INVALID", "", says)
    virtual = [visible(name, 60) for name, target in summary.targets.items() if target.simulated]
    if virtual:
        computed = f"computed from a model, nothing was sent: {', '.join(virtual)}"
        yield Text(computed, "SIMULATED", "strong")
    if summary.state != "complete":
        yield Text("interrupted: what follows rests on the part that was carried out")
    if shard := facts.get("shard"):
        yield Text(visible(shard), tone="strong")
    yield from (Text(visible(gap, 300), "gap") for gap in facts.get("gaps", []))
    for sentence in left_out_sentences(verdicts):
        yield Text(sentence, "left out", "strong")


def _expected(verdicts: Verdicts) -> Iterator[Node]:
    """How many known answers of a rehearsal came, and which did not."""
    expects = verdicts.expects
    missed = [item for item in expects if not item.met]
    if expects:
        met = len(expects) - len(missed)
        yield Text(f"{met} of {len(expects)} known answers met", "expected")
    for item in missed:
        clause = f"{visible(item.target, 60)}, {visible(item.clause, 90)}"
        yield Text(f"{clause}: expected {item.expected}, got {item.got}", " ")


def _numbers_without_contract(summary: Summary) -> Iterator[Node]:
    """Of each target how many requests succeeded, and its latencies; then its failures."""
    *names, blank = labels([*(visible(name, 30) for name in summary.targets), ""])
    for name, target in zip(names, summary.targets.values(), strict=True):
        came = target.reached
        share = per_cent(target.ok / came, 2) if came else wording.ABSENT
        parts = [f"ok {share} of {count(came)}"]
        for metric in HEADLINES:
            latency = target.response_ms.get(metric)
            if latency is not None:
                quantiles = (
                    f"{key} {milliseconds(getattr(latency, key))}" for key in by_key(P50, P99)
                )
                parts.append(f"{METRICS[metric].label} {' '.join(quantiles)}")
        held = "   ".join(part.replace(" ", HELD) for part in parts)
        yield Text(held, name)
        failed = {outcome: times for outcome, times in target.outcomes.items() if outcome != "ok"}
        if failed:
            yield Text(wording.counts(failed), blank)


# ---- below the screens of several runs


SPREAD_COLUMNS: list[Column[Spread]] = [
    Column("target", lambda row: visible(row.target, 60), "words"),
    Column("latency", lambda row: f"{METRICS[row.metric].label} {row.quantile}", "words"),
    Column("min", lambda row: number(row.values_ms[0])),
    Column("median", lambda row: number(row.median_ms)),
    Column("max", lambda row: number(row.values_ms[-1])),
    Column("spread", lambda row: per_cent(row.share, 1)),
]


def spread_table(summaries: Sequence[Summary]) -> Table[Spread]:
    """Run-to-run spread: the same quantile in each of the repeated runs."""
    caption = f"run-to-run spread over {len(summaries)} runs (response, ms)"
    return Table(caption, SPREAD_COLUMNS, list(spreads(summaries)))
