"""Minutes -> attained uptime, by each of the methods that agreements use, in exact arithmetic.

In: requests, failures and unknown rows a minute (and resource), which minutes were observed, a
clause. Out: the attained share with its bounds, and the episodes. Must stay true: shares are
Fractions; the bounds hold whatever happened in unobserved minutes and to unknown rows, provided
that no unobserved minute was busier than the busiest observed one; a minute without requests is
no failure.

Source: methods 1.3-1.5 and 3.4.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np

from bench.plan.clause import Clause
from bench.plan.clause_keys import MINUTE_NS
from bench.plan.kinds.downtime_minutes import runs
from bench.plan.kinds.kind import Loss
from bench.record.samples import Bool, Float, Int


@dataclass(frozen=True)
class Minutes:
    """A table of whole minutes.

    Arrays are resources x minutes; one resource where they are not kept apart.
    """

    start_wall_ns: int
    n: Int
    failed: Int
    unknown: Int
    #: one entry a minute
    observed: Bool


@dataclass(frozen=True)
class Episode:
    """Units in a row that broke the promise. Moments in Unix ns."""

    start_ns: int
    end_ns: int
    n: int
    failed: int


@dataclass(frozen=True)
class Attained:
    """A share of one with its bounds, and the units (minutes, intervals, slices, windows) it rests
    on.
    """

    #: of what was observed and known; None where nothing was
    value: Fraction | None
    best: Fraction
    worst: Fraction
    units: int
    observed_units: int
    #: observed units that broke the promise (of a mean of intervals: that lost anything)
    bad_units: int
    down: list[Episode]


def minute_table(
    wall_ns: Int,
    failed: Bool,
    unknown: Bool,
    span: tuple[int, int],
    observed: Bool,
    resource: Int | None = None,
) -> Minutes:
    """Count rows by minute. `span` (Unix ns) is whole minutes; rows outside it are left out.

    `resource` numbers each row's resource from 0; rows of -1 share one of their own. Raises
    ValueError for a span of broken minutes: a partial minute counts nowhere.
    """
    start, end = span
    if start % MINUTE_NS or end % MINUTE_NS or end <= start:
        raise ValueError("a span begins and ends at whole minutes, one at least")
    minutes = (end - start) // MINUTE_NS
    inside = (wall_ns >= start) & (wall_ns < end)
    if resource is None:
        of = np.zeros(len(wall_ns), np.int64)
    else:
        of = resource - min(int(resource.min(initial=0)), 0)
    shape = (int(of.max(initial=0)) + 1, minutes)
    cell = of * minutes + (wall_ns - start) // MINUTE_NS

    def count(rows: Bool) -> Int:
        return np.bincount(cell[inside & rows], minlength=shape[0] * minutes).reshape(shape)

    return Minutes(start, count(np.ones_like(inside)), count(failed), count(unknown), observed)


def attained(
    table: Minutes,
    clause: Clause,
    *,
    observed_only: bool = False,
) -> Attained:
    """The share that an uptime clause speaks of, or that of windows whose p50 ... p99 keeps the
    limit.

    For windows `failed` are the rows that missed the limit. Units count from the table's start;
    the last one may be shorter. With `observed_only` the bounds leave unobserved time aside, and
    only unknown rows part them.
    """
    if clause.weight == "together" or clause.kind.has_values:
        n, failed, unknown = (
            np.asarray(each.sum(axis=0, keepdims=True))
            for each in (table.n, table.failed, table.unknown)
        )
        table = Minutes(table.start_wall_ns, n, failed, unknown, table.observed)
    length = clause.kind.unit_minutes(clause, len(table.observed))
    edges = np.arange(0, len(table.observed), length)

    def by_unit(values: Int) -> Int:
        return np.add.reduceat(values, edges, axis=-1)

    hidden = by_unit((~table.observed).astype(np.int64))
    unseen = hidden * (0 if observed_only else np.maximum(table.n.max(axis=1, keepdims=True), 1))
    n = by_unit(table.n)
    failed = by_unit(table.failed)
    unknown = by_unit(table.unknown)
    seen = hidden < np.diff([*edges, len(table.observed)])
    losses = clause.kind.losses
    assert losses is not None
    known, best, worst = (
        losses(clause, size, k)
        for size, k in (
            (n - unknown, failed),
            (n + unseen, failed),
            (n + unseen, failed + unknown + unseen),
        )
    )
    # empty units may be up; but where every row is unknown, nothing was seen
    known = replace(
        known, counted=known.counted & seen & (not n.any() or bool((n > unknown).any()))
    )
    if observed_only:
        best, worst = (replace(each, counted=each.counted & seen) for each in (best, worst))
    lost: Bool = np.asarray(((known.num > 0) & known.counted).any(axis=0))
    return Attained(
        _share(known, clause),
        _or(_share(best, clause), 1),
        _or(_share(worst, clause), 0),
        len(edges),
        int(seen.sum()),
        int(lost.sum()),
        _episodes(table, clause, lost, length),
    )


def lost_of_units(table: Minutes, clause: Clause) -> tuple[Float, Float]:
    """What each unit lost of itself, of one resource: with unknown rows good, and with them bad."""
    edges = np.arange(0, len(table.observed), clause.kind.unit_minutes(clause, len(table.observed)))
    n, failed, unknown = (
        np.add.reduceat(each, edges, axis=-1) for each in (table.n, table.failed, table.unknown)
    )
    losses = clause.kind.losses
    assert losses is not None
    best, worst = (losses(clause, n, k) for k in (failed, failed + unknown))
    return best.num[0] / best.den[0], worst.num[0] / worst.den[0]


def bad_units(found: Attained, clause: Clause) -> Bool:
    """Units that lie in its episodes."""
    bad = np.zeros(found.units, bool)
    for episode in found.down:
        bad[episode.start_ns // clause.unit_ns : -(-episode.end_ns // clause.unit_ns)] = True
    return bad


def _or(share: Fraction | None, else_: int) -> Fraction:
    return Fraction(else_) if share is None else share


def _share(loss: Loss, clause: Clause) -> Fraction | None:
    """1 - the mean loss of the counted units, resources joined as the clause says; None without a
    unit.
    """
    if clause.weight == "affected":
        in_use = loss.counted & loss.active
        units = int(loss.counted.any(axis=0).sum())
        if units:
            return 1 - _sum(loss.num[in_use], (loss.den * in_use.sum(axis=0))[in_use]) / units
        return None
    each = [
        1 - _sum(num[counted], den[counted]) / int(counted.sum())
        for num, den, counted in zip(loss.num, loss.den, loss.counted, strict=True)
        if counted.any()
    ]
    if not each:
        return None
    if clause.weight == "least":
        return min(each)
    return total(each) / len(each)


def _sum(num: Int, den: Int) -> Fraction:
    """Σ num/den, exact: equal denominators are added as integers first."""
    kinds, which = np.unique(den, return_inverse=True)
    sums = np.zeros(len(kinds), np.int64)
    np.add.at(sums, which, num)
    return total(
        Fraction(top, bottom)
        for top, bottom in zip(sums.tolist(), kinds.tolist(), strict=True)
        if top
    )


def total(shares: Iterable[Fraction]) -> Fraction:
    """Their sum, added in pairs, because a running sum's denominator would grow with each of
    thousands.
    """
    level = list(shares)
    while len(level) > 1:
        level = [a + b for a, b in zip(level[::2], level[1::2], strict=False)] + level[
            len(level) & ~1 :
        ]
    if level:
        return level[0]
    return Fraction(0)


def _episodes(
    table: Minutes,
    clause: Clause,
    lost: Bool,
    length: int,
) -> list[Episode]:
    """Runs of units that lost something; of a request ratio, runs of minutes with a failure."""
    if not clause.by_time:
        lost = table.failed.sum(axis=0) > 0
        length = 1
    n = table.n.sum(axis=0)
    failed = table.failed.sum(axis=0)
    found = []
    for first, last in runs(lost):
        start = first * length
        end = min(last * length, len(n))
        found.append(
            Episode(
                table.start_wall_ns + start * MINUTE_NS,
                table.start_wall_ns + end * MINUTE_NS,
                int(n[start:end].sum()),
                int(failed[start:end].sum()),
            )
        )
    return found


def attained_requests(
    n: int,
    bad: int,
    unknown: int,
    unseen: int,
) -> Attained:
    """A share of requests: n of them, of which `bad` broke the promise; `unseen` may have been made
    unobserved.
    """
    known = n - unknown
    most = n + unseen
    return Attained(
        1 - Fraction(bad, known) if known else None,
        1 - Fraction(bad, most) if most else Fraction(1),
        1 - Fraction(bad + unknown + unseen, most) if most else Fraction(0),
        n,
        n,
        bad,
        [],
    )


def attained_means(
    wall_ns: Int,
    values: Float,
    sure: Bool,
    table: Minutes,
    clause: Clause,
) -> Attained:
    """The share of windows whose mean keeps the limit; `values` a row, inf for a miss, `sure` where
    it is known.

    A window with unobserved minutes or unknown rows may have had any mean.
    """
    length = clause.unit_ns // MINUTE_NS
    edges = np.arange(0, len(table.observed), length)
    unit = (wall_ns - table.start_wall_ns) // clause.unit_ns
    n = np.bincount(unit[sure], minlength=len(edges))
    open_ = np.add.reduceat((~table.observed) + table.unknown.sum(axis=0), edges) > 0
    seen = n >= clause.min_requests
    bad = np.zeros(len(edges), bool)
    order = np.argsort(unit, kind="stable")
    order = order[sure[order]]
    for number, (start, end) in enumerate(
        pairwise(np.searchsorted(unit[order], np.arange(len(edges) + 1)).tolist())
    ):
        inside = values[order[start:end]]
        if seen[number]:
            bad[number] = not np.isfinite(inside).all() or _mean_breaks(inside, clause)
    counted = int(seen.sum())
    broken = int((bad & seen).sum())
    either = seen | open_
    units = int(either.sum())
    sure_bad = int((bad & seen & ~open_).sum())
    maybe_bad = int(((bad & seen) | open_).sum())
    return Attained(
        1 - Fraction(broken, counted) if counted else None,
        1 - Fraction(sure_bad, units) if units else Fraction(1),
        1 - Fraction(maybe_bad, units) if units else Fraction(0),
        len(edges),
        counted,
        broken,
        _episodes(table, clause, bad & seen, length),
    )


def _mean_breaks(values: Float, clause: Clause) -> bool:
    """Whether their mean breaks the limit: by floats, and by exact sums of those where floats are
    too near to tell.
    """
    if clause.limit is None:
        limit = clause.at_least
    else:
        limit = Fraction(clause.limit)
    if limit is None:  # only shown
        return False
    mean = float(values.mean())
    if abs(mean - float(limit)) > 1e-9 * abs(float(limit)):
        return (mean < limit) == clause.rising
    exact = total(map(Fraction, values.tolist())) / len(values)
    if exact == limit:
        return clause.strict
    return (exact < limit) == clause.rising
