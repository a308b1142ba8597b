"""What a router would have done with answers that were measured: thresholds and delays tried on
recorded rows.

In: the calls of two models, and settings to try. Out: the record. Must stay true: a row ends
with the first answer that its route lets count; a failure is slower than anything; the estimate
says whether rows were paired or taken as independent; of two independent laws the quantiles are
exact, over every pair of rows; a price that is not known or is zero gives a reason, no number.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bench.errors import UserError
from bench.extras.what_if.record import Figures, RowCounts, TriedRow, WhatIf
from bench.extras.what_if.replay import NEVER, Calls, Fates, fates
from bench.extras.what_if.settings import Setting
from bench.judge.compare.arms import differences, one_after_the_other
from bench.judge.compare.compare import BEYOND, CONFIDENCE
from bench.judge.compare.decision import ALPHA
from bench.judge.stats.resample import bootstrap_weights, limits_of, ordered, over, time_blocks
from bench.judge.stats.tail import quantile_nearest_rank
from bench.plan.route import Route
from bench.quantiles import P50, P99, P999, by_key
from bench.record.samples import Bool, Float, Int
from bench.units import MS, nearest_rank

#: Fewer judged rows of an arm than this are too few to estimate from.
LEAST_ROWS = 300
#: Pairs of rows that costs and intervals of independent arms are computed from; quantiles need no
#: such bound.
PAIRS = 1 << 18
_SHOWN = by_key(P50, P99, P999)


@dataclasses.dataclass(frozen=True)
class Cells:
    """Rows in time blocks: the cell of each, how often each cell is drawn (draws x cells), and the
    number of blocks.
    """

    of_row: Int
    weights: Float
    blocks: int

    def limits(self, drawn: Float) -> list[float | None]:
        """Of a statistic's draws."""
        return limits_of(drawn, self.blocks, ALPHA / 2)

    def mean_limits(self, values: Float | Bool) -> list[float | None]:
        """Limits of the mean of `values`, which are twins of the rows."""
        number = self.weights.shape[1]
        above, below = (
            self.weights @ np.bincount(self.of_row, each, number) for each in (values, None)
        )
        return self.limits(over(above, below))


@dataclasses.dataclass(frozen=True)
class Meeting:
    """Which row of the default meets which of the fallback."""

    first: Int
    second: Int
    cells: Cells
    paired: bool
    why: str


def meeting(default: Calls, fallback: Calls) -> Meeting:
    """The n-th row of the one with the n-th of the other where their prompts were paired, else all
    with all.

    Where all with all are too many, each row of the default meets as many of the other's, evenly
    spread.
    """
    together = default.where == fallback.where
    _, first, second = np.intersect1d(
        default.place,
        fallback.place,
        assume_unique=True,
        return_indices=True,
    )
    if (
        together
        and len(first) >= LEAST_ROWS
        and np.array_equal(default.sizes[first], fallback.sizes[second])
    ):
        block = time_blocks(default.arm.at_ns[first])
        return Meeting(
            first, second, _cells(block), True, "of one stage, its n-th prompts equally long"
        )
    count = len(default)
    other = len(fallback)
    partners = min(max(PAIRS // count, 1), other)
    first = np.repeat(np.arange(count), partners)
    second = (
        first * other // count + np.tile(np.arange(partners) * other // partners, count)
    ) % other
    if together:
        # Blocks that both arms share are drawn for both at once: a spell that slowed them together
        # is one event.
        both = _cells(time_blocks(np.concatenate([default.arm.at_ns, fallback.arm.at_ns])))
        mine, theirs = (
            dataclasses.replace(both, of_row=part) for part in np.split(both.of_row, [count])
        )
    else:
        mine, theirs = (
            _cells(time_blocks(calls.arm.at_ns), seed)
            for seed, calls in enumerate((default, fallback), 1)
        )
    weights = (mine.weights[:, :, None] * theirs.weights[:, None, :]).reshape(len(mine.weights), -1)
    cells = Cells(
        mine.of_row[first] * theirs.blocks + theirs.of_row[second],
        weights,
        min(mine.blocks, theirs.blocks),
    )
    if together:
        why = "their n-th prompts differ in size"
    else:
        why = "measured in different stages or runs"
    return Meeting(first, second, cells, False, why)


def _cells(block: Int, seed: int = 1) -> Cells:
    blocks = int(block.max()) + 1
    return Cells(block, bootstrap_weights(blocks, seed), blocks)


# ---- estimates


def estimate(default: Calls, fallback: Calls, route: Route, met: Meeting) -> Figures:
    """Latency quantiles, success and cost that the route would have had."""
    found = fates(route, default)
    timeout = default.timeout_ns
    first = met.first
    second = met.second
    begun = found.second_ns[first]
    answered = np.minimum(
        found.answer_ns[first],
        np.where(fallback.ok[second], begun + fallback.took_ns[second], NEVER),
    )
    answered = np.where(answered <= timeout, answered, NEVER)
    end = np.minimum(answered, timeout)
    called = begun < end
    usd = None
    if default.paid_usd is not None and fallback.paid_usd is not None:
        until = np.minimum(found.cut_ns[first], end) - default.wait_ns[first]
        usd = default.usd(first, until) + np.where(called, fallback.usd(second, end - begun), 0)
    values = np.where(answered < NEVER, answered, np.inf)
    if met.paired:
        rows = len(first)
    else:
        rows = min(len(default), len(fallback))
    figures = _figures(values, usd, 1 + called, met.cells, rows)
    if met.paired:
        return figures
    return figures.replace(**_convolved(found, fallback, timeout))


def _convolved(found: Fates, fallback: Calls, timeout_ns: int) -> dict[str, float | None]:
    """Quantiles and success over every pair of rows, counted without listing the pairs."""
    took = np.sort(fallback.took_ns[fallback.ok])
    other = len(fallback)
    called = found.second_ns < NEVER
    calm = np.sort(found.answer_ns[~called])
    answer = found.answer_ns[called]
    second = found.second_ns[called]

    def within(limit_ns: int) -> int:
        """Pairs that are answered by then."""
        by_either = np.where(
            answer <= limit_ns,
            other,
            np.searchsorted(took, limit_ns - second, side="right"),
        )
        return other * int(np.searchsorted(calm, limit_ns, side="right")) + int(by_either.sum())

    pairs = len(found.second_ns) * other
    reached = within(timeout_ns)
    exact: dict[str, float | None] = {"success": reached / pairs}
    for name, q in _SHOWN.items():
        rank = nearest_rank(pairs, q)
        exact[f"{name}_ms"] = (
            bisect_left(range(timeout_ns), rank, key=within) / MS if rank <= reached else None
        )
    return exact


def alone(calls: Calls) -> Figures:
    """The same figures of a lane as it was measured: a model without a router, or a route that
    really ran.
    """
    return _figures(
        calls.arm.values,
        calls.paid_usd,
        calls.attempts,
        _cells(time_blocks(calls.arm.at_ns)),
        len(calls),
    )


def _figures(
    values: Float,
    usd: Float | None,
    made: Int,
    cells: Cells,
    rows: int,
) -> Figures:
    """`values` in ns, np.inf for a failure; calls `made` for each; `rows` is how many independent
    ones stand behind them.
    """
    ascending = ordered(values, cells.of_row, cells.weights.shape[1])
    drawn = ascending.quantiles(cells.weights, list(_SHOWN.values()))
    quantiles: dict[str, Any] = {}
    for column, (name, q) in enumerate(_SHOWN.items()):
        value = quantile_nearest_rank(ascending.values, q)
        limits: list[float | None] = [None, None]
        if rows * (1 - q) >= BEYOND:
            limits = cells.limits(drawn[:, column])
        quantiles[f"{name}_ms"] = float(value) / MS if np.isfinite(value) else None
        quantiles[f"{name}_95"] = [None if limit is None else limit / MS for limit in limits]
    good = np.isfinite(values)
    usd_limits: list[float | None] = [None, None]
    if usd is not None:
        usd_limits = cells.mean_limits(usd)
    # No draw knows a failure that was never seen, so nothing is said of how rare it is.
    lower, upper = [None, None] if good.all() else cells.mean_limits(good)
    return Figures(
        **quantiles,
        success=float(good.mean()),
        success_95=(lower, upper),
        calls=float(made.mean()),
        usd_per_1000=None if usd is None else 1000 * float(usd.mean()),
        usd_95=[None if limit is None else 1000 * limit for limit in usd_limits],
    )


# ---- the whole record


def what_if(
    default: Calls,
    fallback: Calls,
    others: Sequence[Calls],
    settings: Sequence[Setting],
) -> WhatIf:
    """Measured lanes, then every setting, with those that are on the front.

    Raises UserError for arms unfit for it.
    """
    for calls in (default, fallback):
        _refuse(calls)
    met = meeting(default, fallback)
    every = (default, fallback, *others)
    rows = [_measured_row(calls) for calls in every if len(calls)]
    rows += [_tried_row(default, fallback, setting, met) for setting in settings]
    unpriced = default.unpriced or fallback.unpriced
    record = WhatIf(
        format=WhatIf.FORMAT,
        default=default.arm.name,
        fallback=fallback.arm.name,
        runs=list(dict.fromkeys(calls.arm.facts.run for calls in every)),
        simulated=any(calls.arm.facts.simulated for calls in (default, fallback)),
        rows=RowCounts(default=len(default), fallback=len(fallback)),
        confidence=CONFIDENCE,
        blocks=met.cells.blocks,
        assumption="paired" if met.paired else "independent",
        because=met.why,
        pairs=len(met.first),
        warnings=list(_warnings(default, fallback, met)),
        cost="usd_per_1000" if unpriced is None else "calls",
        unpriced=unpriced,
        settings=rows,
    )
    on_front = front([(record.cost_of(row), row.p99_ms) for row in rows])
    marked = [row.replace(on_front=mark) for row, mark in zip(rows, on_front, strict=True)]
    return record.replace(settings=marked)


def _measured_row(calls: Calls) -> TriedRow:
    return _row(
        alone(calls),
        name=calls.arm.name,
        policy=None,
        at_ms=None,
        published=False,
    )


def _tried_row(
    default: Calls,
    fallback: Calls,
    setting: Setting,
    met: Meeting,
) -> TriedRow:
    return _row(
        estimate(default, fallback, setting.route, met),
        name=setting.policy,
        policy=setting.policy,
        at_ms=setting.at_ns / MS,
        published=setting.published,
    )


def _row(figures: Figures, **about: Any) -> TriedRow:
    """On no front yet: that takes all rows."""
    return TriedRow(**dict(figures), **about, on_front=False)


def _refuse(calls: Calls) -> None:
    name = calls.arm.name
    where = calls.where[0]
    if calls.routed:
        raise UserError(f"{name} is a route", where=where, remedy="name the models behind it")
    if calls.arm.facts.unfit is not None:
        raise UserError(
            f"the harness was not valid: {calls.arm.facts.unfit}",
            where=where,
            remedy="measure again",
        )
    if len(calls) < LEAST_ROWS:
        raise UserError(
            f"{name} has {len(calls):,} rows, and {LEAST_ROWS} are needed",
            where=where,
            remedy="measure longer",
        )
    if not calls.ok.any():
        raise UserError(f"{name} has no answer at all, so there is nothing to replay", where=where)


def _warnings(default: Calls, fallback: Calls, met: Meeting) -> Iterator[str]:
    yield from differences(default.arm, fallback.arm)
    if one_after_the_other(default.arm, fallback.arm):
        yield (
            "measured one after the other: a drift between the two is taken for a difference of the"
            " models"
        )
    for calls in (default, fallback):
        if calls.arm.undecided:
            yield (
                f"{calls.arm.undecided:,} rows of {calls.arm.name} were cut off by the end of the"
                " run and left out"
            )
        if calls.arm.facts.closed_loop:
            yield f"{calls.arm.name} was asked in a closed loop: it met less load the slower it was"
    if not met.paired:
        yield (
            "taken as independent: a slow phase that meets both models at once is not in these"
            " figures"
        )


def front(points: Sequence[tuple[float | None, float | None]]) -> list[bool]:
    """Which (cost, latency) no other point beats in one without losing in the other; False where
    one is missing.
    """
    whole = [
        (cost, latency) for cost, latency in points if cost is not None and latency is not None
    ]

    def beaten(point: tuple[float, float]) -> bool:
        return any(
            other != point and other[0] <= point[0] and other[1] <= point[1] for other in whole
        )

    return [
        cost is not None and latency is not None and not beaten((cost, latency))
        for cost, latency in points
    ]
