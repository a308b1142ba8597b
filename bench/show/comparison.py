"""A comparison as a screen, and how it was made.

In: one pair of comparisons.json. Out: nodes. Must stay true: the outcome and its reason come first,
then what to mistrust; what has no number shows its reason; every name has passed through
`wording.visible`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.metrics import METRICS
from bench.quantiles import name_of_key
from bench.record.records.comparisons import (
    AACheck,
    AsServed,
    Comparison,
    Exceedance,
    PartComparison,
    Permutation,
    PriceAt,
    RatioRecord,
    ServedArm,
)
from bench.show.document import Column, Table
from bench.show.ratios import bound_of_ratio, interval_words, points, ratio_words
from bench.show.wording import (
    ABSENT,
    count,
    milliseconds,
    number,
    per_cent,
    visible,
)
from bench.units import show_usd

OUTCOMES = {
    "MATERIALLY_BETTER": "better by more than the margin",
    "EQUIVALENT": "the same within the margin",
    "WORSE": "worse",
    "BETTER": "better",
    "NOT_MATERIALLY_BETTER": "no gain as large as the margin",
    "INCONCLUSIVE": "undecided",
}
DESIGNS = {
    "random": "interleaved in one run, each request sent to an arm at random",
    "abba": "interleaved in one run, in ABBA blocks",
    "side by side": "measured side by side, each with arrivals of its own",
    "one after the other": "measured one after the other",
}


def name_of_arm(record: Comparison, side: str) -> str:
    """The arm's name, with its run where the two come from different ones."""
    arm, several = getattr(record, side), record.baseline.run != record.other.run
    return visible(arm.name, 60) + (f" of {visible(arm.run, 60)}" if several else "")


def comparison_title(record: Comparison) -> str:
    return f"{name_of_arm(record, 'other')} against {name_of_arm(record, 'baseline')}"


def how_compared(record: Comparison) -> list[tuple[str, str]]:
    """Design, reason and checks: what the first lines of a page leave out."""
    return [item for item in _about(record) if item[0] not in ("rows", "price")]


def _about(record: Comparison) -> Iterator[tuple[str, str]]:
    held = [f"{name} ({OUTCOMES[name]})" for name in record.outcomes]
    yield f"outcome{', as bought' if record.as_served else ''}", ", ".join(held)
    yield "because", visible(record.reason)
    yield (
        "design",
        (
            f"{DESIGNS[record.design]}; response {METRICS[record.metric].long_label}, margin "
            f"{per_cent(record.margin)}, {count(record.superblocks)} superblocks"
        ),
    )
    yield (
        "rows",
        "; ".join(
            f"{visible(arm.name, 60)} {count(arm.n)}, {count(arm.failed)} failed"
            + (f", {count(arm.undecided)} cut off and left out" if arm.undecided else "")
            for arm in (record.baseline, record.other)
        ),
    )
    if (over := record.exceedance) is not None:
        yield f"over {over.limit_ms:,.6g} ms", _exceedance(over)
    if record.permutation is not None:
        yield "everywhere", _dominance(record, record.permutation)
    if record.aa is not None:
        yield "A/A check", _aa(record.aa)
    yield "price", price_words(record)
    if (served := record.as_served) is not None:
        yield from as_served_pairs(served, record)


def as_served_pairs(served: AsServed, record: Comparison) -> Iterator[tuple[str, str]]:
    """What was bought and served by another tier, and the comparison without it."""
    for arm, side in ((served.baseline, record.baseline), (served.other, record.other)):
        if arm is not None:
            yield f"served, {visible(side.name, 60)}", _who_served(arm)
    part = served.comparison
    said = f"{part.headline}: {visible(part.reason)}"
    if (p99 := part.ratios.get("p99")) is not None:
        said += f"; p99 ratio {ratio_words(p99.ratio)}, {bound_of_ratio(part, 'p99')}"
    yield "as served", said
    yield "which says less", visible(served.bias, 400)


def _who_served(arm: ServedArm) -> str:
    known = arm.as_asked + arm.elsewhere
    said = (
        f"{visible(arm.asked, 40)} asked for: {count(arm.as_asked)} of {count(known)} answers by"
        f" it, {count(arm.elsewhere)} by another tier ({per_cent(arm.share_elsewhere)})"
    )
    if arm.unknown:
        said += f"; {count(arm.unknown)} name no tier that is known"
    if arm.extra_usd is not None and arm.extra_usd_per_1000_requests is not None:
        return (
            f"{said}; at list prices these cost {show_usd(arm.extra_usd)} USD more than the other"
            f" target would, {show_usd(arm.extra_usd_per_1000_requests)} USD per 1,000 requests"
        )
    return f"{said}; {visible(arm.reason)}" if arm.reason else said


def _exceedance(over: Exceedance) -> str:
    shares = " against ".join(
        f"{per_cent(arm.share)} ({count(arm.over)} of {count(arm.n)})"
        for arm in (over.other, over.baseline)
    )
    low, high = (points(limit) for limit in over.interval)
    fisher = "" if over.fisher_p is None else f", Fisher p {over.fisher_p:.2g}"
    if over.permutation_p is not None:
        fisher += f", superblocks exchanged p {over.permutation_p:.2g}"
    return f"{shares}; difference {points(over.difference)} points ({low} to {high}){fisher}"


def _dominance(record: Comparison, found: Permutation) -> str:
    faster = {"other": name_of_arm(record, "other"), "baseline": name_of_arm(record, "baseline")}
    said = {
        "none": "no latency at which the one is shown to be faster than the other",
        "crosses": (
            f"the distributions cross at {milliseconds(found.crosses_ms)}: each is faster on one"
            " side"
        ),
    }
    verdict = (
        said.get(found.dominance)
        or f"{faster[found.dominance]} is faster in part of the range and slower in none"
    )
    return f"{verdict}; {_by_chance(found)}"


def _by_chance(found: Permutation) -> str:
    """How many labellings, the true one among them, differ as much."""
    return f"{per_cent(found.p_value)} of the shuffled labels gave a difference as large"


def _aa(check: AACheck) -> str:
    if check.rejects is None:
        return visible(check.reason)
    assert check.quantile is not None
    assert check.interval is not None
    interval = f"{interval_words(check.interval)} at {per_cent(check.confidence)}"
    what = f"{name_of_key(check.quantile)} ratio of the same target {interval}"
    return f"{what}: {'REJECTS, so nothing is proven' if check.rejects else 'does not reject'}"


def price_words(record: Comparison) -> str:
    """What the other target costs more, or why that is not known."""
    found = record.price
    said = [] if found.advice is None else [f"{found.advice}: {_for_nothing(record)}"]
    if found.yearly_usd is not None:
        fee = f"{found.yearly_usd:,.0f} USD a year on top of the tokens"
        if found.fee_usd_per_request is not None:
            volume = f"{count(found.requests_per_month)} requests a month"
            fee += f", {show_usd(1000 * found.fee_usd_per_request)} USD per 1,000 of {volume}"
        said.append(fee)
    if (extra := found.extra_usd_per_request) is not None:
        said.append(f"{'+' * (extra > 0)}{show_usd(1000 * extra)} USD per 1,000 requests by tokens")
    if found.usd_per_1000_requests_per_ms is not None:
        said.append(
            f"{show_usd(found.usd_per_1000_requests_per_ms)} USD per 1,000 requests for each ms"
            " of p99 gained"
        )
    if found.usd_per_avoided_miss is not None:
        said.append(
            f"{_per_miss(found.usd_per_avoided_miss, found.usd_per_avoided_miss_interval)} per"
            " avoided miss: it pays where a miss costs more"
        )
    if found.requests_per_breach is not None:
        said.append(
            f"{found.requests_per_breach:,.0f} requests cost as much more as one breach of the"
            " contract"
        )
    return "; ".join([*said, *([visible(found.reason)] if found.reason else [])])


def _for_nothing(record: Comparison) -> str:
    if record.headline == "WORSE":
        return "it costs more and is slower"
    if record.headline == "EQUIVALENT":
        return "it costs more and gains nothing measurable"
    return f"it costs more and gains less than the margin of {per_cent(record.margin)}"


def _per_miss(usd: float | None, interval: tuple[float, float] | None) -> str:
    """`0.12 USD (0.1 to 0.15)`; absent without a share of misses that is avoided."""
    if usd is None:
        return ABSENT
    said = f"{show_usd(usd)} USD"
    if interval is None:
        return said
    return f"{said} ({show_usd(interval[0])} to {show_usd(interval[1])})"


#: In place of a price where the volume that a fee is spread over is not stated.
VOLUME_COLUMNS: list[Column[PriceAt]] = [
    Column("requests a month", lambda row: count(row.requests_per_month)),
    Column("more per 1,000", lambda row: show_usd(1000 * row.usd_per_request), unit="USD"),
    Column(
        "per avoided miss",
        lambda row: _per_miss(row.usd_per_avoided_miss, row.usd_per_avoided_miss_interval),
        show_if=lambda rows: any(row.usd_per_avoided_miss is not None for row in rows),
    ),
]


def volume_table(record: Comparison) -> Table[PriceAt]:
    """A fee by the requests that it is spread over."""
    return Table("What the fee comes to, by volume", VOLUME_COLUMNS, record.price.curve)


def part_tables(record: Comparison) -> Iterator[Table[Any]]:
    """Phases and context buckets, each compared by itself."""
    if record.by_phase:
        caption = "By phase: p99, and how far the shares over the limit lie apart"
        yield _parts(caption, "phase", record.by_phase)
    if record.by_bucket:
        caption = "By context bucket: the same"
        yield _parts(caption, "prompt tokens", record.by_bucket)


@dataclass(frozen=True)
class _Part:
    """A phase or a context bucket, compared by itself."""

    #: what it is one of: heads the column of names
    kind: str
    name: str
    found: PartComparison


def _of_p99(value: Callable[[RatioRecord], str], absent: str = ABSENT) -> Callable[[_Part], str]:
    def cell(row: _Part) -> str:
        p99 = row.found.ratios.get("p99")
        return absent if p99 is None else value(p99)

    return cell


def _misses(row: _Part) -> str:
    over = row.found.exceedance
    return ABSENT if over is None else points(over.difference)


PART_COLUMNS: list[Column[_Part]] = [
    Column(lambda rows: rows[0].kind, lambda row: visible(row.name, 20), "words"),
    Column("outcome", lambda row: row.found.headline, "words"),
    Column("baseline", _of_p99(lambda p99: number(p99.baseline_ms)), unit="ms"),
    Column("other", _of_p99(lambda p99: number(p99.other_ms)), unit="ms"),
    Column("p99 ratio", _of_p99(lambda p99: ratio_words(p99.ratio))),
    Column("bound of the p99 ratio", lambda row: bound_of_ratio(row.found, "p99")),
    Column("misses", _misses, unit="points"),
]


def _parts(caption: str, kind: str, parts: Mapping[str, PartComparison]) -> Table[_Part]:
    rows = [_Part(kind, name, found) for name, found in parts.items()]
    return Table(caption, PART_COLUMNS, rows)
