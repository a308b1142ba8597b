"""Is the dearer tier worth it? The answer first, then by how much, where, and for what price.

In: comparisons.json. Out: a section, one pair's nodes. Must stay true: the bound that decided
stands beside every ratio; all pairs of a section have one axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.metrics import METRICS
from bench.quantiles import name_of_key
from bench.record.records.comparisons import Comparison, Exceedance, PartComparison, RatioRecord
from bench.show.comparison import (
    DESIGNS,
    comparison_title,
    how_compared,
    part_tables,
    volume_table,
)
from bench.show.document import (
    Column,
    Drawer,
    Figure,
    Heading,
    Node,
    Pairs,
    Section,
    Table,
    Text,
    Verdict,
)
from bench.show.graphics.ratio import RatioRow, RatioScale
from bench.show.graphics.shift import Shift
from bench.show.ratios import bound_of_ratio, outcome_words, points, ratio_ends, ratio_words
from bench.show.tier_answer import BETTER, SAME, paid_more, short_name, tier_answer, tier_answers
from bench.show.wording import (
    capital,
    count,
    first_answers,
    in_usd,
    milliseconds,
    number,
    per_cent,
    visible,
)
from bench.units import show_usd

#: In a table: short.
_WORDS = {
    "MATERIALLY_BETTER": "materially better",
    "BETTER": "better",
    "EQUIVALENT": "equivalent",
    "NOT_MATERIALLY_BETTER": "not materially better",
    "WORSE": "worse",
    "INCONCLUSIVE": "undecided",
}
#: Of a pair's answer: so many stand in the section's first line, the rest below.
_ANSWERS_MOST = 4


def tiers_section(comparisons: Sequence[Comparison]) -> Section | None:
    """All pairs of a run; None without any."""
    if not comparisons:
        return None
    nodes: list[Node] = []
    ends = [end for record in comparisons for end in _ends(record)]
    scale = RatioScale.around(ends, max(record.margin for record in comparisons))
    for number_of, record in enumerate(comparisons):
        title = f"{comparison_title(record)}: {_WORDS[record.headline]}"
        nodes += [Heading(title), *pair_nodes(record, number_of, scale)]
    answer = first_answers(tier_answers(comparisons), _ANSWERS_MOST)
    return Section("tiers", "Is the dearer tier worth it?", nodes, "tiers", answer)


def pair_section(record: Comparison, number_of: int = 0) -> Section:
    """One pair, under its own names."""
    title = comparison_title(record)
    word = Verdict(outcome_words(record.headline), "")
    nodes = [word, *pair_nodes(record, number_of), pair_drawer(record)]
    return Section("", title, nodes, answer=tier_answer(record))


# ---- one pair


def pair_nodes(
    record: Comparison, number_of: int = 0, scale: RatioScale | None = None
) -> list[Node]:
    """How the two were compared, ratios on an axis of their own or that of several pairs, the
    shift, shares over the limit, price, what to mistrust.
    """
    nodes: list[Node] = [Text(_rested(record), tone="soft")]
    nodes += [Text(visible(said), "warning", "warning") for said in record.warnings]
    if record.shift:
        title = f"How much faster is {short_name(record, 'other')}?"
        picture = Shift(record.shift, _shift_said(record))
        file = f"compare-{number_of:02d}-shift.svg"
        about = f"{title} ms, by quantile; band: 95 %, all at once."
        nodes.append(Figure(title, file, str(picture.markup()), about))
    axis = scale or RatioScale.around(_ends(record), record.margin)
    if rows := _rows(record, replace(axis, margin=record.margin)):
        caption = "Ratio of latencies, logarithmic; left of “same” is faster; band: does not count"
        nodes.append(Table(caption, RATIO_ROW_COLUMNS, rows))
    if record.exceedance is not None:
        nodes.append(Text(_over(record, record.exceedance), tone="soft"))
    nodes += _price(record)
    return nodes


def pair_drawer(record: Comparison) -> Drawer:
    """How the two were compared, and each part of the run by itself."""
    title = f"How {comparison_title(record)} was compared"
    return Drawer(title, [Pairs(how_compared(record)), *part_tables(record)])


def _rested(record: Comparison) -> str:
    rows = " and ".join(
        f"{count(arm.n)} of {short_name(record, side)}"
        for side, arm in (("other", record.other), ("baseline", record.baseline))
    )
    return (
        f"Requests: {rows}, {DESIGNS[record.design]}. Response {METRICS[record.metric].long_label};"
        f" gains under {per_cent(record.margin)} do not count."
    )


@dataclass(frozen=True)
class _Row:
    """A quantile of the whole run, or the p99 of a part of it."""

    label: str
    key: str
    found: RatioRecord
    of: PartComparison
    #: the parts' outcome; of the whole run that of its p99
    outcome: str
    names: tuple[str, str]
    scale: RatioScale


def _rows(record: Comparison, scale: RatioScale) -> list[_Row]:
    names = short_name(record, "baseline"), short_name(record, "other")
    return [
        _Row(label, key, part.ratios[key], part, outcome, names, scale)
        for label, key, part, outcome in _listed(record)
    ]


def _ends(record: Comparison) -> list[float]:
    """All that the axis of a pair must hold."""
    found: list[float] = []
    for _, key, part, _ in _listed(record):
        ratio = part.ratios[key]
        ends = (*ratio_ends(part, key, ratio)[0], ratio.ratio)
        found += [value for value in ends if value]
    return found


def _listed(record: Comparison) -> list[tuple[str, str, PartComparison, str]]:
    """Name, quantile, the part it is of, and an outcome where it has one."""
    listed: list[tuple[str, str, PartComparison, str]] = [
        (name_of_key(key), key, record, record.headline if key == "p99" else "")
        for key in record.ratios
    ]
    parts: Mapping[str, PartComparison] = {
        **{f"p99 in {visible(name, 24)}": part for name, part in record.by_phase.items()},
        **{f"p99 of {visible(name, 24)} tokens": part for name, part in record.by_bucket.items()},
    }
    listed += [
        (label, "p99", part, part.headline) for label, part in parts.items() if "p99" in part.ratios
    ]
    return listed


def _tone(row: _Row) -> str:
    if row.outcome:
        kinds = dict.fromkeys(BETTER, "pass") | dict.fromkeys(SAME, "rep") | {"WORSE": "fail"}
        return kinds.get(row.outcome, "inc")
    low, high = row.found.interval
    if high is not None and high < 1:
        return "pass"
    return "fail" if low is not None and low > 1 else "rep"


def _ratio_row(row: _Row) -> RatioRow | None:
    low, high = ratio_ends(row.of, row.key, row.found)[0]
    if row.found.ratio is None and low is None and high is None:
        return None
    # the other end of a one-sided bound says nothing: the line ends at the ratio
    if row.found.ratio is not None:
        low, high = low or row.found.ratio, high or row.found.ratio
    said = f"{row.label}: ratio {ratio_words(row.found.ratio)}, {bound_of_ratio(row.of, row.key)}"
    return RatioRow(row.found.ratio, low, high, row.scale, _tone(row), said)


def _outcome(row: _Row) -> str:
    return _WORDS[row.outcome] if row.outcome else ""


RATIO_ROW_COLUMNS: list[Column[_Row]] = [
    Column("of", lambda row: row.label, "words"),
    Column(lambda rows: rows[0].names[0], lambda row: number(row.found.baseline_ms), unit="ms"),
    Column(lambda rows: rows[0].names[1], lambda row: number(row.found.other_ms), unit="ms"),
    Column(
        "faster or slower",
        lambda _: "",
        "words",
        formats=("html",),
        graphic=_ratio_row,
        axis=lambda rows: rows[0].scale,
    ),
    Column("ratio", lambda row: ratio_words(row.found.ratio)),
    Column("bound", lambda row: bound_of_ratio(row.of, row.key)),
    Column("outcome", _outcome, "words"),
]


def _shift_said(record: Comparison) -> str:
    """The differences at a few quantiles, in a sentence."""
    chosen = [each for each in record.shift if round(each.q, 3) in (0.5, 0.9, 0.99)]
    said = ", ".join(
        f"p{100 * each.q:g} {'+' if each.shift_ms > 0 else ''}{milliseconds(each.shift_ms)}"
        for each in chosen or record.shift[-1:]
    )
    names = f"{short_name(record, 'other')} less {short_name(record, 'baseline')}"
    return f"{names} in ms at each quantile, band 95 % for all at once: {said}"


def _over(record: Comparison, over: Exceedance) -> str:
    shares = ", ".join(
        f"{per_cent(arm.share)} of {short_name(record, side)} ({count(arm.over)} of {count(arm.n)})"
        for side, arm in (("baseline", over.baseline), ("other", over.other))
    )
    if not over.baseline.over and not over.other.over:
        return f"No request of either was slower than {over.limit_ms:,.6g} ms or failed."
    low, high = (points(end) for end in over.interval)
    return (
        f"Slower than {over.limit_ms:,.6g} ms or failed: {shares}; a difference of"
        f" {points(over.difference)} points ({low} to {high})."
    )


def _price(record: Comparison) -> Iterator[Node]:
    found = record.price
    said = []
    if found.fee_usd_per_request is not None:
        said.append(
            f"the fee comes to {show_usd(1000 * found.fee_usd_per_request)} USD per 1,000 of"
            f" {count(found.requests_per_month)} requests a month"
        )
    if found.usd_per_1000_requests_per_ms is not None:
        said.append(
            f"{show_usd(found.usd_per_1000_requests_per_ms)} USD per 1,000 requests for each ms of"
            " p99 gained"
        )
    if (limits := found.usd_per_avoided_miss_interval) is not None:
        said.append(
            f"{in_usd(found.usd_per_avoided_miss)} ({show_usd(limits[0])} to"
            f" {show_usd(limits[1])}) for each slow answer avoided: it pays where one costs more"
        )
    if found.requests_per_breach is not None:
        said.append(
            f"{found.requests_per_breach:,.0f} requests cost as much more as one breach of the"
            " contract"
        )
    answer = paid_more(record, short_name(record, "other"))
    more = [f"{capital(each)}." for each in said]
    more += [f"Note: {visible(found.reason)}."] if found.reason else []
    yield Text(" ".join([answer, *more]), "Price", "")
    if found.curve:
        table = volume_table(record)
        yield Drawer(table.caption, [table])
