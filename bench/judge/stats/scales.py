"""Limits of a share of requests that may come in spells: what single rows, stretches of time and
sessions say of how much bad rows depend on each other, on three scales at once.

In: due times, sessions and which rows were bad (or how much each lost). Out: how many were bad, how
much that number varies (v) and how large a further spell may be (w), and from these the one-sided
limits of the share. Must stay true: with single rows the limits are Clopper's and Pearson's, with
equal outages Garwood's on their number, and with none bad they are the time rule n >= w ln(1/alpha)
/ p0; fewer stretches or sessions than `LEAST_TO_PASS` (or `LEAST_TO_FAIL`) give no limit.

Source: methods, part two, "Three scales" (v + w² over y + w: Fay and Feuer 1997). Its constants
were chosen by simulation on shapes that docs/statistics.md names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from bench.judge.stats.binomial import Share, beta_quantile, count_tails, student_t_quantile
from bench.judge.stats.blocks import watched_ns
from bench.judge.stats.tail import Limits
from bench.record.samples import Bool, Float, Int

#: A run is cut into so many equal blocks of watched time; of 30, two and three make the others.
SCALES = (10, 15, 30)
FINEST = 30
#: Fewer stretches with rows, or sessions of equal weight, give no upper and no lower limit.
LEAST_TO_PASS, LEAST_TO_FAIL = 10, 4
#: Bad rows nearer than this part of their mean distance belong to one spell.
NEAR = 0.1
#: Chance joins rows that are independent: one in this many is that near to the one before.
JOINED_BY_CHANCE = 10.5
#: The worst of 30 blocks is by chance so many standard deviations above its mean.
WORST_BY_CHANCE = 2.2
#: A spell that has not come yet may be so many times the largest that was seen.
FURTHER = 2


@dataclass(frozen=True)
class Layout:
    """Where rows lie, in the order in which they were due: what no limit changes."""

    #: 0 to 29, a row
    block: npt.NDArray[np.uint8]
    #: rows a block
    rows: Int
    #: 0 to its count, a row; None where each row is a session of its own
    session: Int | None = None
    session_rows: Int | None = None

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.block)

    @property
    def clusters(self) -> float:
        """Stretches with rows, or what the sessions are worth of such of equal size, if fewer."""
        return min(float(np.count_nonzero(self.rows)), self.sessions_worth)

    @property
    def sessions_worth(self) -> float:
        """Sessions of equal size that the sessions are worth (Kish)."""
        if self.session_rows is None:
            return math.inf
        sizes = self.session_rows.astype(np.float64)
        return self.n**2 / float(sizes @ sizes)


@dataclass(frozen=True)
class Weight:
    """What bad rows (or a sum of losses) y of n are worth."""

    y: float
    n: float
    #: variance of y
    v: float
    #: rows of a further spell
    w: float
    clusters: float = math.inf

    def limits(self, alpha: float) -> Limits:
        """One-sided limits of the share; 0 and 1 where too few clusters give none."""
        low, high = limits(self.y, self.n, self.v, self.w, alpha)
        return Limits(
            low if self.clusters >= LEAST_TO_FAIL else 0.0,
            high if self.clusters >= LEAST_TO_PASS else 1.0,
        )

    def passes(self, p0: Share, alpha: float) -> bool:
        """Whether the upper limit is within p0."""
        return self.clusters >= LEAST_TO_PASS and p_pass(self, p0) <= alpha

    def fails(self, p0: Share, alpha: float) -> bool:
        """Whether the lower limit is above p0."""
        return self.clusters >= LEAST_TO_FAIL and p_fail(self, p0) < alpha


def lay_out(at_ns: Int, sessions: Int | None = None) -> Layout:
    """Rows by ascending due time -> blocks of equal watched time, and sessions where any has
    several rows.
    """
    if not len(at_ns):
        return Layout(np.zeros(0, np.uint8), np.zeros(FINEST, np.int64))
    watched = watched_ns(at_ns)
    starts = np.arange(FINEST + 1) * ((int(watched[-1]) + 1) / FINEST)
    edges = np.searchsorted(watched, starts)
    edges[-1] = len(watched)
    rows = np.diff(edges)
    block = np.repeat(np.arange(FINEST, dtype=np.uint8), rows)
    if sessions is None or not _any_twice(sessions):
        return Layout(block, rows)
    codes = np.unique(sessions, return_inverse=True)[1]
    return Layout(block, rows, codes, np.bincount(codes))


def _any_twice(sessions: Int) -> bool:
    span = int(sessions.max()) - int(sessions.min()) + 1
    if span < len(sessions):
        return True
    if span > 64 * len(sessions):
        return len(np.unique(sessions)) < len(sessions)
    seen = np.zeros(span, bool)
    seen[sessions - sessions.min()] = True
    return int(np.count_nonzero(seen)) < len(sessions)


def weigh(layout: Layout, bad: Int, alpha: float, loss: Float | None = None) -> Weight:
    """`bad`: numbers of the bad rows, ascending; `loss` what each of them lost, one by default."""
    y = float(len(bad) if loss is None else loss.sum())
    single = y if loss is None else float(loss @ loss)
    if len(bad) < 2:  # one tells nothing of how they come
        one = 1.0 if loss is None or not y else y
        return Weight(y, layout.n, single, one, layout.clusters)
    lost = np.bincount(layout.block[bad], loss, FINEST)
    v, by_session = max(single, by_blocks(lost, layout.rows, alpha)), None
    if layout.session is not None and layout.session_rows is not None:
        by_session = np.bincount(layout.session[bad], loss, len(layout.session_rows))
        v = max(v, _by_sessions(by_session, layout, alpha))
    w = _spell(layout, bad, lost, loss)
    if by_session is not None:
        w = max(w, float(by_session.max()))
    return Weight(y, layout.n, v, w, layout.clusters)


def by_blocks(lost: Float | Int, rows: Int, alpha: float) -> float:
    """The largest of the variances that blocks of 10, 15 and 30 a run show, at the price of having
    so few; blocks without rows vanish.
    """
    y, n = float(lost.sum()), float(rows.sum())
    most = 0.0
    for scale in SCALES:
        here = rows.reshape(scale, -1).sum(axis=1)
        left = lost.reshape(scale, -1).sum(axis=1) - here * (y / n)
        blocks = np.count_nonzero(here)
        if blocks > 1:
            variance = blocks / (blocks - 1) * float(left @ left)
            most = max(most, variance * price(blocks, alpha))
    return most


def _by_sessions(lost: Float | Int, layout: Layout, alpha: float) -> float:
    worth = layout.sessions_worth
    if layout.session_rows is None or worth <= 1:
        return 0.0
    left = lost - layout.session_rows * (float(lost.sum()) / layout.n)
    return worth / (worth - 1) * float(left @ left) * price(worth, alpha)


@lru_cache(maxsize=256)
def price(clusters: float, alpha: float) -> float:
    """What a variance seen in so few clusters costs: Student's quantile over the normal one,
    squared.
    """
    return (student_t_quantile(alpha, clusters - 1) / -NormalDist().inv_cdf(alpha)) ** 2


def _spell(layout: Layout, bad: Int, lost: Float | Int, loss: Float | None) -> float:
    """Rows (or loss) of a further spell: one, and twice what the largest seen has above chance."""
    n, count = layout.n, len(bad)
    near = np.diff(bad) < NEAR * n / count
    ends = np.flatnonzero(np.append(~near, True)) + 1
    lengths = np.diff(ends, prepend=0)
    longest = int(np.argmax(lengths))
    excess = max(0.0, lengths[longest] - 1 - math.log(count) / math.log(JOINED_BY_CHANCE))
    one = 1.0
    if loss is not None:
        one = float(loss.max())
        inside = loss[ends[longest] - lengths[longest] : ends[longest]]
        excess *= float(inside.mean())
    mean = layout.rows * (float(lost.sum()) / n)
    above = lost - mean - WORST_BY_CHANCE * np.sqrt(mean * one)
    return one + FURTHER * max(float(excess), float(above.max()) - one, 0.0)


def stand_in(layout: Layout, slow: Bool, p0: Share) -> float:
    """Rows of a spell, as the run's own slow rows come: thinned to the limit, as if bad rows were
    drawn at random from among them.
    """
    rows = np.flatnonzero(slow)
    if not 0 < len(rows) < layout.n:
        return 1.0
    lost = np.bincount(layout.block[rows], minlength=FINEST)
    spell = _spell(layout, rows, lost, None)
    if layout.session is not None:
        spell = max(spell, float(np.bincount(layout.session[rows]).max()))
    return 1 + (spell - 1) * min(1.0, float(p0) * layout.n / len(rows))


# ---- limits


def _acquitting(y: float, v: float, w: float) -> float:
    """Rows that count as one event where PASS is asked."""
    return (v + w * w) / (y + w)


def limits(y: float, n: float, v: float, w: float, alpha: float) -> Limits:
    """One-sided limits of a share, each at alpha."""
    low, high = 0.0, 1.0
    if y:
        size = v / y
        low = beta_quantile(y / size, max(n - y, 0.0) / size + 1, alpha)
    size = _acquitting(y, v, w)
    if y + w < n + size:
        high = beta_quantile((y + w) / size, (n - y - w) / size + 1, alpha, upper=True)
    return Limits(low, high)


def p_pass(weight: Weight, p0: Share) -> float:
    """The smallest alpha at which the upper limit is within p0, at this v."""
    y, n, v, w = weight.y, weight.n, weight.v, weight.w
    size = _acquitting(y, v, w)
    if y + w >= n + size:
        return 1.0
    return count_tails((y + w) / size - 1, n / size, p0)[0]


def p_fail(weight: Weight, p0: Share) -> float:
    """The smallest alpha at which the lower limit is above p0, at this v."""
    if not weight.y:
        return 1.0
    size = weight.v / weight.y
    return count_tails(weight.y / size, weight.n / size, p0)[1]
