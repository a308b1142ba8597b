"""A comparison on a screen: the outcome, what it means, the ratios as numbers and as a picture.

In: pairs of comparisons.json. Out: a result. Must stay true: the outcome stands first; a ratio
stands beside its interval; what has no number says so.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.metrics import METRICS
from bench.quantiles import name_of_key
from bench.record.records.comparisons import Comparison, PartComparison, RatioRecord
from bench.record.records.verdicts import Expectation
from bench.show.comparison import (
    DESIGNS,
    as_served_pairs,
    comparison_title,
    price_words,
    volume_table,
)
from bench.show.document import Code, Column, Node, Table, Text, Verdict
from bench.show.graphics.mark import shape_of
from bench.show.ratios import interval_words, outcome_words, p99_words, ratio_words
from bench.show.result import Result
from bench.show.wording import (
    NO_ANSWER,
    count,
    number,
    per_cent,
    seconds_for_readers,
    visible,
)
from bench.units import show_list

#: Cells of the picture of the ratios, and ratios that have a mark on its scale.
_CELLS, _TICKS = 30, {0.1: "÷10", 0.2: "÷5", 0.5: "÷2", 1.0: "same", 2.0: "×2", 5.0: "×5"}
#: Parts of a run that have a line.
_PARTS_MOST = 8


def compared_result(
    records: Sequence[Comparison], expects: Sequence[Expectation], folders: Sequence[str] = ()
) -> Result:
    """One pair with its numbers; of several a line each, and the numbers of the first. `folders`
    are those of the baseline's run and of the other's, where commands may name them.
    """
    first, *others = sorted(records, key=_is_check)
    body = [*_ratios(first), Text(""), *_facts(first)]
    more = [Verdict(outcome_words(each.headline), "", f"  {_answer(each)}") for each in others]
    foot = [*expected_nodes(expects), *_why(first, folders)]
    return Result([*_lead(first), *more], body, foot)


def _why(record: Comparison, folders: Sequence[str]) -> Iterator[Node]:
    """The command that says why the slower of the two is slow."""
    if folders and record.headline not in ("EQUIVALENT", "INCONCLUSIVE"):
        worse = record.headline == "WORSE"
        slower = record.other if worse else record.baseline
        run = f"{folders[-1 if worse else 0]}:{slower.name}"
        yield Code(visible(shlex.join(["tailproof", "attribute", run]), 4096), "why")


def _is_check(record: Comparison) -> bool:
    """Whether a target is compared with itself."""
    return record.other.name.partition("#")[0] == record.baseline.name


def expected_nodes(expects: Sequence[Expectation]) -> Iterator[Node]:
    """Whether the outcomes came that a suite rehearses, and which did not."""
    missed = [item for item in expects if not item.met]
    if expects and not missed:
        yield Text(f"all {count(len(expects))} expected outcomes came", "expected")
    for item in missed:
        where = item.phase or item.bucket or "the whole run"
        pair = f"{visible(item.other)} against {visible(item.baseline)} in {visible(where)}"
        yield Text(f"{pair}: {item.expected} expected, got {item.got}", "expected")


def _answer(record: Comparison) -> str:
    return ": ".join(filter(None, [comparison_title(record), p99_words(record)]))


def _lead(record: Comparison) -> Iterator[Node]:
    yield Verdict(outcome_words(record.headline), "", f"  {_answer(record)}")
    yield from (Text(said) for said in _meaning(record))
    same = [visible(name, 30) for name, part in record.by_phase.items() if _is_same(part)]
    if same and not _is_same(record):
        yield Text(f"In {show_list(same[:3])} the two are equivalent.")
    yield from (Text(visible(warning), "warning", "warning") for warning in record.warnings)


def _is_same(part: PartComparison) -> bool:
    return part.headline == "EQUIVALENT"


def _meaning(record: Comparison) -> Iterator[str]:
    """For who does not read ratios; where nothing is gained, what is paid for it."""
    p99 = record.ratios.get("p99")
    if record.headline == "EQUIVALENT":
        yearly = record.price.yearly_usd
        if yearly:
            yield f"The premium costs {yearly:,.0f} USD a year and gains nothing measurable."
        else:
            yield f"No p99 is more than {per_cent(record.margin)} from the other."
    elif record.headline == "INCONCLUSIVE":
        if p99 is not None and p99.mde is not None:
            yield f"This run could find a difference of {per_cent(abs(1 - p99.mde), 0)} in the p99."
        yield visible(record.reason)
    elif p99 is not None and p99.other_ms is not None and p99.baseline_ms is not None:
        ends = "are complete" if record.metric == "e2e" else "begin"
        yield (
            f"99 of 100 answers of {visible(record.other.name, 40)} {ends} within"
            f" {seconds_for_readers(p99.other_ms)}, of {visible(record.baseline.name, 40)} within"
            f" {seconds_for_readers(p99.baseline_ms)}."
        )
    else:
        yield visible(record.reason)


# ---- the ratios


@dataclass(frozen=True)
class _Line:
    """A quantile of both targets in the whole run, or their p99 in a part of it."""

    name: str
    found: RatioRecord
    of: Comparison
    #: of a part its own
    outcome: str
    #: of the picture, as logarithms
    ends: tuple[float, float]


def _lines(record: Comparison) -> list[_Line]:
    found: list[tuple[str, RatioRecord, str]] = []
    for key, ratio in record.ratios.items():
        found.append((name_of_key(key), ratio, record.headline if key == "p99" else ""))
    parts = [*record.by_phase.items(), *record.by_bucket.items()]
    for name, part in parts[:_PARTS_MOST]:
        if (p99 := part.ratios.get("p99")) is not None:
            found.append((f"p99 in {visible(name, 16)}", p99, part.headline))
    ends = _ends([ratio for _, ratio, _ in found])
    return [_Line(name, ratio, record, outcome, ends) for name, ratio, outcome in found]


def _ms(value: float | None) -> str:
    return NO_ANSWER if value is None else number(value)


def _ends(ratios: Sequence[RatioRecord]) -> tuple[float, float]:
    """The ends of the picture's scale, as logarithms: all intervals and 1 lie between."""
    found = [1.0]
    for each in ratios:
        found += [end for end in (each.ratio, *each.interval) if end]
    low, high = math.log(min(found)), math.log(max(found))
    room = max(high - low, 0.1) / 20
    return low - room, high + room


def _place(ratio: float, ends: tuple[float, float]) -> int:
    low, high = ends
    at = round((math.log(ratio) - low) / (high - low) * (_CELLS - 1))
    return min(max(at, 0), _CELLS - 1)


def _scale(lines: Sequence[_Line]) -> str:
    """The marks that have room, each over its place."""
    ends, drawn = lines[0].ends, [" "] * _CELLS
    for ratio, name in _TICKS.items():
        if not ends[0] <= math.log(ratio) <= ends[1]:
            continue
        at = min(_place(ratio, ends), _CELLS - len(name))
        if not "".join(drawn[max(at - 1, 0) : at + len(name) + 1]).strip():
            drawn[at : at + len(name)] = name
    return "".join(drawn).rstrip()


def _picture(line: _Line) -> str:
    """The interval, the ratio within it, and where both targets are the same."""
    ratio, ends = line.found.ratio, line.ends
    drawn = [" "] * _CELLS
    drawn[_place(1.0, ends)] = "│"
    low, high = line.found.interval
    if low and high:
        first, last = _place(low, ends), _place(high, ends)
        drawn[first : last + 1] = "─" * (last - first + 1)
        drawn[first], drawn[last] = "├", "┤"
    if ratio:
        drawn[_place(ratio, ends)] = "●"
    return "".join(drawn).rstrip()


def _named(side: str) -> Column[_Line]:
    def heading(lines: Sequence[_Line]) -> str:
        name = getattr(lines[0].of, side).name
        return f"{visible(name.partition('/')[0], 14)}, ms"

    return Column(heading, lambda row: _ms(getattr(row.found, f"{side}_ms")), "count")


COMPARED_COLUMNS: list[Column[_Line]] = [
    Column("", lambda row: row.name, "words"),
    _named("baseline"),
    _named("other"),
    Column("ratio", lambda row: ratio_words(row.found.ratio), "count"),
    Column("95 % interval", lambda row: interval_words(row.found.interval)),
    Column("", lambda row: shape_of(outcome_words(row.outcome))),
    Column(_scale, _picture),
]


def _ratios(record: Comparison) -> Iterator[Node]:
    lines = _lines(record)
    if not lines:
        return
    yield Table("", COMPARED_COLUMNS, lines, "promises")
    words = dict.fromkeys(outcome_words(line.outcome) for line in lines if line.outcome)
    legend = [f"{shape} {word.lower()}" for word in words if (shape := shape_of(word))]
    if legend:
        yield Text("   ".join(legend), tone="soft")
    if (over := record.exceedance) is not None:
        shares = " against ".join(per_cent(arm.share) for arm in (over.other, over.baseline))
        low, high = (number(100 * end) for end in over.interval)
        difference = f"{number(100 * over.difference)} points ({low} to {high})"
        yield Text(f"over {over.limit_ms:,.6g} ms: {shares}; {difference}")


def _facts(record: Comparison) -> Iterator[Node]:
    yield Text(
        f"a p99 at least {per_cent(record.margin)} lower counts as better, at"
        f" {per_cent(record.confidence)} confidence",
        "margin",
    )
    if record.permutation is not None:
        share = per_cent(record.permutation.p_value)
        yield Text(f"{share} of the shuffled labels gave a difference as large", "chance")
    if record.aa is not None and record.aa.rejects:
        yield Text("the same target differs from itself, so nothing is proven", "A/A check")
    yield Text(price_words(record), "price")
    if record.price.curve:
        yield volume_table(record)
    arms = " and ".join(count(arm.n) for arm in (record.baseline, record.other))
    metric = METRICS[record.metric].long_label
    yield Text(f"{DESIGNS[record.design]}; {arms} requests, {metric}", "design")
    if record.as_served is not None:
        for name, said in as_served_pairs(record.as_served, record):
            yield Text(f"{name}: {said}")
