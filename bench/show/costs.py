"""What does it cost? What 1,000 answers come to, target by target, and what a breach is priced at.

In: summary.json, routes.json, verdicts.json, the manifest. Out: a section. Must stay true: a price
is what the file of a target says, dated; a target without one is named, not taken for free; a sum
for a breach is the contract's own price, never projected from a sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.judge.review import Records
from bench.record.records.manifest import LaneRecord
from bench.record.records.routes import RouteCost
from bench.record.records.verdicts import Forecast
from bench.show.document import Column, Node, Section, Table, Text
from bench.show.graphics.gauge import Gauge
from bench.show.wording import ABSENT, between, few, in_usd, number, per_cent, usd, visible
from bench.units import show_list, show_usd

_NAMED_MOST = 5


def costs_section(records: Records, lanes: Sequence[LaneRecord]) -> Section | None:
    """All targets that have a price; None without one."""
    found = answer_costs(records)
    bills = records.verdicts.forecasts
    if not found and not bills:
        return None
    nodes: list[Node] = []
    if found:
        rows = _rows(records, found)
        nodes.append(Table("Dearest last; equal targets share a row", COST_ROW_COLUMNS, rows))
        nodes.append(Text(_note(records, lanes, found), tone="soft"))
    if bills:
        nodes.append(Table("Forecasts of a month's bill", BILL_COLUMNS, bills))
    answer = " ".join([*_range(found), *_bills(bills), *_breach(lanes), *_credits(records)])
    return Section("cost", "What does it cost?", nodes, "cost", answer)


def answer_costs(records: Records) -> dict[str, float]:
    """USD per 1,000 answers of each target whose cost is known."""
    found = {}
    for name, target in records.summary.targets.items():
        route = _route_cost(records, name)
        sum_usd = target.cost.usd if target.cost else route.usd if route else None
        if sum_usd is not None and target.ok:
            found[name] = 1000 * sum_usd / target.ok
    return found


def wasted_share(records: Records, name: str) -> float | None:
    """Of what a route cost, the share that was paid for answers that nobody used."""
    cost = _route_cost(records, name)
    if cost is None or not cost.usd or cost.wasted_usd is None:
        return None
    return cost.wasted_usd / cost.usd


def _route_cost(records: Records, name: str) -> RouteCost | None:
    route = records.routes.routes.get(name) if records.routes else None
    return route.cost if route else None


# ---- the answer


def _range(found: Mapping[str, float]) -> list[str]:
    if not found:
        return []
    low, high = (pick(found.items(), key=lambda item: item[1]) for pick in (min, max))
    if show_usd(low[1]) == show_usd(high[1]):
        same = "" if len(found) == 1 else ", each target alike"
        return [f"{show_usd(low[1])} USD per 1,000 answers{same}."]
    said = f"From {show_usd(low[1])} to {show_usd(high[1])} USD per 1,000 answers"
    if low[1] > 0:
        said += (
            f": {visible(high[0], 60)} costs {number(high[1] / low[1])} times {visible(low[0], 60)}"
        )
    return [f"{said}."]


def _bills(bills: Sequence[Forecast]) -> list[str]:
    broken = [each for each in bills if each.verdict == "FAIL"]
    if not broken:
        return []
    names = few([visible(each.target, 40) for each in broken], _NAMED_MOST)
    return [f"The forecast bill is not kept by {names}."]


def _breach(lanes: Sequence[LaneRecord]) -> list[str]:
    """What the contracts say a breach costs their reader."""
    priced = {
        float(lane.contract.breach_cost_usd)
        for lane in lanes
        if lane.contract is not None and lane.contract.breach_cost_usd is not None
    }
    if not priced:
        return []
    sums = show_list([f"{each:,.0f}" for each in sorted(priced)])
    return [f"The contract prices a breach at {sums} USD."]


def _credits(records: Records) -> list[str]:
    """What a whole log gives back: exact, where a sample could only guess."""
    months = records.census.months if records.census else {}
    return [
        f"The log {visible(name, 60)} gives a credit of {credit.usd} USD for"
        f" {visible(period.period, 20)}."
        for name, record in months.items()
        for period in record.periods
        if (credit := period.credit) is not None and credit.usd and credit.share.share
    ]


# ---- the table


@dataclass(frozen=True)
class _Cost:
    """Targets whose 1,000 answers cost the same."""

    names: Sequence[str]
    usd: float
    wasted: float | None
    most: float


def _rows(records: Records, found: Mapping[str, float]) -> list[_Cost]:
    groups: dict[tuple[str, bool], list[str]] = {}
    for name in sorted(found, key=lambda each: found[each]):
        alike = show_usd(found[name]), bool(wasted_share(records, name))
        groups.setdefault(alike, []).append(name)
    most = max(found.values())
    return [
        _Cost(names, found[names[0]], wasted_share(records, names[0]) if wastes else None, most)
        for (_, wastes), names in groups.items()
    ]


def _bar(row: _Cost) -> Gauge:
    said = f"{show_usd(row.usd)} USD per 1,000 answers"
    return Gauge(row.usd / row.most if row.most else 0.0, said)


def _names(row: _Cost) -> str:
    return ", ".join(visible(name, 60) for name in row.names)


COST_ROW_COLUMNS: list[Column[_Cost]] = [
    Column("target", _names, "words"),
    Column("share of the dearest", lambda _: "", "words", formats=("html",), graphic=_bar),
    Column("per 1,000 answers", lambda row: usd(row.usd), unit="USD"),
    Column(
        "of it wasted",
        lambda row: ABSENT if row.wasted is None else per_cent(row.wasted, 1),
        show_if=lambda rows: any(row.wasted for row in rows),
    ),
]
BILL_COLUMNS: list[Column[Forecast]] = [
    Column("target", lambda bill: visible(bill.target, 60), "words"),
    Column("forecast", lambda bill: visible(bill.text), "words"),
    Column("at the run's prices", lambda bill: usd(bill.projected_usd), unit="USD a month"),
    Column("95 % interval", lambda bill: between(bill.interval_usd, usd)),
    Column("billed in the run", lambda bill: in_usd(bill.run_usd)),
    Column("verdict", lambda bill: bill.verdict, "verdict"),
]


def _note(records: Records, lanes: Sequence[LaneRecord], found: Mapping[str, float]) -> str:
    dates = {
        str(target.cost.as_of)
        for target in records.summary.targets.values()
        if target.cost and target.cost.as_of
    }
    dated = f" as of {show_list(sorted(visible(each, 20) for each in dates))}" if dates else ""
    said = f"List prices{dated}; tokens as the servers counted them."
    if any(wasted_share(records, name) for name in found):
        said += " Wasted: paid for answers that nobody used."
    unpriced = [visible(lane.name, 60) for lane in lanes if lane.name not in found]
    if unpriced:
        said += f" No price is known of {few(unpriced, _NAMED_MOST)}."
    return said
