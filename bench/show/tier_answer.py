"""Whether the dearer tier is worth it, in a sentence or two.

In: comparisons.json. Out: text. Must stay true: a yes names the part of the run that it holds in;
what costs more and gains nothing is not to be bought; a price that is not known is never taken for
none.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.record.records.comparisons import Comparison, PartComparison
from bench.show.comparison import comparison_title, name_of_arm
from bench.show.ratios import bound_of_ratio, ratio_words
from bench.show.wording import in_usd, per_cent, seconds_for_readers, visible
from bench.units import show_list, show_usd

#: Outcomes that are a gain, and those that are none.
BETTER = ("MATERIALLY_BETTER", "BETTER")
SAME = ("EQUIVALENT", "NOT_MATERIALLY_BETTER")


def tier_answers(comparisons: Sequence[Comparison]) -> list[str]:
    """A sentence or two a pair, for the top of a page as well; of several each says which it is
    of.
    """
    if len(comparisons) == 1:
        return [tier_answer(comparisons[0])]
    return [f"{_whose(record)}: {_later(tier_answer(record))}" for record in comparisons]


def _whose(record: Comparison) -> str:
    """The stage that both arms are of, else the two."""
    stages = {arm.name.partition("/")[2] for arm in (record.baseline, record.other)}
    stage = stages.pop() if len(stages) == 1 else ""
    return visible(stage, 60) if stage else comparison_title(record)


def _later(sentence: str) -> str:
    """`no, pro is …`: behind a colon, without one of its own."""
    word, colon, rest = sentence.partition(":")
    return f"{word[0].lower()}{word[1:]}{',' if colon else ''}{rest}"


def tier_answer(record: Comparison) -> str:
    """`Yes in burst: pro is complete within 0.40 s at p99, standard within 4.1 s. In quiet …`."""
    other, baseline = (short_name(record, side) for side in ("other", "baseline"))
    parts = record.by_phase
    better = [name for name, part in parts.items() if part.headline in BETTER]
    rest = [name for name in parts if name not in better]
    if record.headline in BETTER or better:
        sure = record.headline == "MATERIALLY_BETTER" or any(
            parts[name].headline == "MATERIALLY_BETTER" for name in better
        )
        where = f" in {_names(better)}" if better and rest else ""
        part = parts[better[0]] if where else record
        word = "Yes" if sure else f"Faster, by {per_cent(record.margin)} or not is open,"
        said = f"{word}{where}: {_both(part, other, baseline)}"
        if where and all(parts[name].headline in SAME for name in rest):
            said += f"; in {_names(rest)} the two are equivalent"
        return f"{said}. {paid_more(record, other)}"
    ratio = _p99(record)
    if record.headline == "WORSE":
        return f"No: {other} is slower than {baseline}{ratio}. {paid_more(record, other)}"
    if record.headline in SAME:
        same = (
            f"equivalent to {baseline}"
            if record.headline == "EQUIVALENT"
            else f"not better than {baseline} by the margin of {per_cent(record.margin)}"
        )
        return f"No: {other} is {same}{ratio}. {paid_more(record, other)}"
    mde = (record.ratios["p99"].mde if "p99" in record.ratios else None) or 0
    tells = f" This run would have found a p99 ratio of {ratio_words(mde)}." if mde else ""
    return f"Not decided: {other} against {baseline}{ratio}.{tells}"


def short_name(record: Comparison, side: str) -> str:
    """An arm without its stage, where that tells the two apart; with its run where it differs."""
    arms = record.baseline, record.other
    if record.baseline.run != record.other.run:
        return name_of_arm(record, side)
    heads = [arm.name.split("/")[0] for arm in arms]
    name = getattr(record, side).name
    return visible(name.split("/")[0] if heads[0] != heads[1] else name, 40)


def _names(parts: Sequence[str]) -> str:
    return show_list([visible(name, 30) for name in parts])


def _both(part: PartComparison, other: str, baseline: str) -> str:
    """`99 of 100 requests of pro are complete within 0.40 s, of standard within 4.1 s`."""
    p99 = part.ratios.get("p99")
    if p99 is None or p99.baseline_ms is None or p99.other_ms is None:
        return f"{other} against {baseline}, {visible(part.reason)}"
    first, second = (seconds_for_readers(ms) for ms in (p99.other_ms, p99.baseline_ms))
    return f"{other} has a p99 of {first}, {baseline} of {second}"


def _p99(part: PartComparison) -> str:
    ratio = part.ratios.get("p99")
    if ratio is None or ratio.ratio is None:
        return f" ({visible(part.reason)})" if part.reason else ""
    return f" (p99 ratio {ratio_words(ratio.ratio)}, {bound_of_ratio(part, 'p99')})"


def paid_more(record: Comparison, other: str) -> str:
    """What it costs more, as one sentence."""
    found = record.price
    said: list[str] = []
    if found.yearly_usd:
        said.append(f"{found.yearly_usd:,.0f} USD a year on top of its tokens")
    if found.extra_usd_per_request is not None and found.extra_usd_per_request > 0:
        said.append(f"{show_usd(1000 * found.extra_usd_per_request)} USD more per 1,000 requests")
    if not said:
        if found.extra_usd_per_request is not None:
            return f"{other} costs no more."
        return f"Its price is not known.{_buys(record, other)}"
    gains = ""
    if found.usd_per_avoided_miss is not None:
        gains = f", {in_usd(found.usd_per_avoided_miss)} for each slow answer avoided"
    do_not = " Do not buy it." if found.advice == "do not buy" else ""
    return f"{other} costs {show_list(said)}{gains}.{do_not}"


def _buys(record: Comparison, other: str) -> str:
    """What a price would be paid for; empty where no slow answer is shown to be avoided."""
    over = record.exceedance
    if over is None or over.interval[1] >= 0:
        return ""
    baseline = short_name(record, "baseline")
    return (
        f" What it buys: {per_cent(over.other.share)} of {other}'s requests are slow or failed,"
        f" {per_cent(over.baseline.share)} of {baseline}'s."
    )
