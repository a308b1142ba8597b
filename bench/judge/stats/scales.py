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
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from bench.judge.stats.binomial import Share, beta_quantile, beta_tails, student_t_quantile
from bench.judge.stats.groups import watched_ns
from bench.judge.stats.tail import Limits
from bench.record.samples import Float, Int

#: A run is cut into so many equal blocks of watched time; of 30, two and three make the others.
SCALES = (10, 15, 30)
FINEST = 30
#: Fewer stretches with rows, or sessions of equal weight, give no upper and no lower limit.
LEAST_TO_PASS, LEAST_TO_FAIL = 10, 4
#: Bad rows nearer than this part of their mean distance belong to one spell.
NEAR = 0.1
#: Chance joins rows that are independent: one in this many is that near to the one before. Two that
#: are near tell nothing.
JOINED_BY_CHANCE, PAIR = 10.5, 2
#: The worst of 30 blocks is by chance so many standard deviations above its mean, and a little more
#: where counts are small (Cornish and Fisher's term for a Poisson count).
WORST_BY_CHANCE = 2.2
SKEWNESS = (WORST_BY_CHANCE**2 - 1) / 6
#: A spell that has not come yet may be so many times the largest that was seen, and up to twice as
#: much where fewer than so many spells tell how large they are.
FURTHER, ENOUGH_SPELLS = 2, 6
#: Of fewer spells the run's slowest rows are asked as well: ln 20, for of so many that are to be
#: expected one run in twenty has none.
FEW_SPELLS = 3
#: So many sessions that have not come yet must be feared beside those that went bad: ln 20.
UNSEEN_SESSIONS = 3
#: From so many events on, counts that are far from deciding are told by their distance.
_MANY = 400


@dataclass(frozen=True)
class Layout:
    """Where rows lie, in the order in which they were due: what no limit changes."""

    #: 0 to 29, a row
    block: npt.NDArray[np.uint8]
    #: rows a block
    rows: Int
    #: its number, a row; None where each row is a session of its own
    session: Int | None = None
    #: rows of each number
    session_rows: Int | None = None
    #: watched time of a block
    block_ns: int = 0

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.block)

    @cached_property
    def clusters(self) -> float:
        """Stretches with rows, or what the sessions are worth of such of equal size, if fewer."""
        return min(float(np.count_nonzero(self.rows)), self.sessions_worth)

    @cached_property
    def one_session(self) -> bool:
        """Whether one session holds so much that rows of others hardly tell."""
        if self.session_rows is None:
            return False
        return int(self.session_rows.max()) * LEAST_TO_FAIL > self.n

    @cached_property
    def sessions_worth(self) -> float:
        """Sessions of equal size that the sessions are worth (Kish)."""
        if self.session_rows is None:
            return math.inf
        return self.n**2 / int(self.session_rows @ self.session_rows)


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
    #: of equal size, that what was lost came in
    spells: float = math.inf

    def limits(self, alpha: float) -> Limits:
        """One-sided limits of the share; 0 and 1 where too few clusters give none."""
        return Limits(self.lower(alpha), self.upper(alpha))

    def lower(self, alpha: float) -> float:
        """The largest share that FAIL disproves."""
        if self.clusters < LEAST_TO_FAIL or not self.y:
            return 0.0
        return min(beta_quantile(*_lower_law(self), alpha), self.y / self.n)

    def upper(self, alpha: float) -> float:
        """The smallest share that PASS proves."""
        a, b = _upper_law(self)
        if self.clusters < LEAST_TO_PASS or b <= 0:
            return 1.0
        return max(beta_quantile(a, b, alpha, upper=True), a / (a + b))

    def passes(self, p0: Share, alpha: float) -> bool:
        """Whether the upper limit is within p0."""
        a, b = _upper_law(self)
        if self.clusters < LEAST_TO_PASS or b <= 0 or a >= (a + b) * float(p0):
            return False
        far = _far_from(a, b, p0, alpha)
        return far > 0 if far else beta_tails(a, b, p0)[1] <= alpha

    def fails(self, p0: Share, alpha: float) -> bool:
        """Whether the lower limit is above p0; one bad row disproves "never", however they come."""
        if not p0 or not self.y:
            return self.y > 0
        a, b = _lower_law(self)
        if self.clusters < LEAST_TO_FAIL or self.y <= self.n * float(p0):
            return False
        far = _far_from(a, b, p0, alpha)
        return far > 0 if far else beta_tails(a, b, p0)[0] < alpha

    @property
    def design_effect(self) -> float:
        """Rows that count as one event: by the spell that may come where nothing else tells."""
        return self.v / self.y if self.y > 1 else self.w


def lay_out(at_ns: Int, sessions: Int | None = None) -> Layout:
    """Rows by ascending due time -> blocks of equal watched time, and sessions where any has
    several rows.
    """
    if not len(at_ns):
        return Layout(np.zeros(0, np.uint8), np.zeros(FINEST, np.int64))
    watched = watched_ns(at_ns)
    length = (int(watched[-1]) + 1) / FINEST
    starts = np.arange(FINEST + 1) * length
    edges = np.searchsorted(watched, starts)
    edges[-1] = len(watched)
    rows = np.diff(edges)
    block = np.repeat(np.arange(FINEST, dtype=np.uint8), rows)
    alone = Layout(block, rows, block_ns=math.ceil(length))
    if sessions is None or np.all(sessions[1:] > sessions[:-1]):
        return alone
    codes = _numbered(sessions)
    counts = np.bincount(codes)
    return alone if counts.max() < 2 else replace(alone, session=codes, session_rows=counts)


def _numbered(sessions: Int) -> Int:
    """The same sessions by numbers from 0; numbers without rows cost time, so not too many."""
    low = int(sessions.min())
    if int(sessions.max()) - low < 4 * len(sessions):
        return sessions - low if low else sessions
    return np.unique(sessions, return_inverse=True)[1]


def weigh(
    layout: Layout, bad: Int, alpha: float, loss: Float | None = None, *, spells: bool = True
) -> Weight:
    """`bad`: numbers of the bad rows, ascending; `loss` what each of them lost, one by default.
    Without `spells` the further spell, which FAIL does not ask for, is one row.
    """
    y = float(len(bad) if loss is None else loss.sum())
    if len(bad) < 2:  # one tells nothing of how they come
        one = 1.0 if loss is None or not y else y
        v = y if loss is None else y * y
        return Weight(y, layout.n, v, one, layout.clusters, len(bad))
    v = variances(layout, bad, loss).at(alpha)
    if not spells:
        return Weight(y, layout.n, v, 1.0, layout.clusters)
    further, seen = _spell(layout, bad, loss)
    return Weight(y, layout.n, v, further, layout.clusters, seen)


@dataclass(frozen=True)
class Variances:
    """What each scale says of the variance of the number of bad rows."""

    #: if rows did not depend on each other
    single: float
    #: (clusters, variance)
    seen: tuple[tuple[float, float], ...]

    def at(self, alpha: float) -> float:
        """The largest, at the price of having so few clusters."""
        dear = (variance * price(clusters, alpha) for clusters, variance in self.seen)
        return max(self.single, *dear, 0.0)


def variances(layout: Layout, bad: Int, loss: Float | None = None) -> Variances:
    """By single rows, by blocks of 10, 15 and 30 a run (those without rows vanish), by sessions."""
    lost = np.bincount(layout.block[bad], loss, FINEST)
    share = float(lost.sum()) / layout.n
    single = float(len(bad)) if loss is None else float(loss @ loss)
    one = single / max(float(lost.sum()), 1e-300)
    seen = []
    for scale in SCALES:
        here = layout.rows.reshape(scale, -1).sum(axis=1)
        seen.append(
            _variance(
                lost.reshape(scale, -1).sum(axis=1), here, share, float(np.count_nonzero(here)), one
            )
        )
    if layout.session is not None:
        seen.append(_variance_of_sessions(layout, bad, loss, one))
    return Variances(single, tuple(each for each in seen if each[0] > 1))


def _variance(
    lost: Float | Int, rows: Int, share: float, clusters: float, one: float
) -> tuple[float, float]:
    """A pair that meets in a cluster, which adds 2 for rows of one, may be chance and is taken
    off.
    """
    left = lost - rows * share
    return clusters, clusters / max(clusters - 1, 1e-9) * (float(left @ left) - 2 * one * one)


def _variance_of_sessions(
    layout: Layout, bad: Int, loss: Float | None, one: float
) -> tuple[float, float]:
    """As `_variance` of as many clusters as the sessions are worth: the square multiplied out, so
    that only sessions with bad rows cost time.
    """
    assert layout.session is not None and layout.session_rows is not None  # noqa: PT018
    struck = layout.session[bad]
    lost = np.bincount(struck, loss)
    rows = layout.session_rows[struck]
    share = float(lost.sum()) / layout.n
    together = float(rows.sum() if loss is None else rows @ loss)
    clusters = layout.sessions_worth
    squares = float(lost @ lost) - 2 * share * together + share**2 * layout.n**2 / clusters
    return clusters, clusters / max(clusters - 1, 1e-9) * (squares - 2 * one * one)


@lru_cache(maxsize=256)
def price(clusters: float, alpha: float) -> float:
    """What a variance seen in so few clusters costs: Student's quantile over the normal one,
    squared.
    """
    return (student_t_quantile(alpha, clusters - 1) / -NormalDist().inv_cdf(alpha)) ** 2


def _spell(layout: Layout, bad: Int, loss: Float | None) -> tuple[float, float]:
    """(rows or loss of a further spell, spells of equal size that were seen). The former is one,
    and a multiple of what the largest seen has above chance; or a further session.
    """
    n, count = layout.n, len(bad)
    excess, seen = 0.0, float(count)
    one = 1.0 if loss is None else float(loss.max())
    if NEAR * n > count:  # else no row is near another
        ends = np.flatnonzero(np.append(np.diff(bad) >= NEAR * n / count, True)) + 1
        lengths = np.diff(ends, prepend=0)
        longest = int(np.argmax(lengths))
        seen = count**2 / float(lengths @ lengths)
        if lengths[longest] > PAIR:  # by chance the longest of so many geometric runs, in the mean
            chance = (math.log(count) + np.euler_gamma) / math.log(JOINED_BY_CHANCE)
            excess = max(0.0, float(lengths[longest]) - 1 - chance)
        if loss is not None:
            excess *= float(loss[ends[longest] - lengths[longest] : ends[longest]].mean())
    lost = np.bincount(layout.block[bad], loss, FINEST)
    mean = layout.rows * (float(lost.sum()) / n)
    above = lost - mean - WORST_BY_CHANCE * np.sqrt(mean * one) - (1 + SKEWNESS) * one
    spell = one + FURTHER * (1 + scarcity(seen)) * max(excess, float(above.max()))
    if layout.session is not None:
        by_session = np.bincount(layout.session[bad], loss)
        spell = max(spell, _further_session(by_session, one))
        seen = min(seen, float(by_session.sum()) ** 2 / float(by_session @ by_session))
    return spell, seen


def scarcity(spells: float, enough: float = ENOUGH_SPELLS) -> float:
    """1 where no spell was seen, and 0 where enough were to tell how large they are."""
    return max(0.0, 1 - spells / enough)


def _further_session(lost: Float | Int, one: float) -> float:
    """As large as the largest seen, and up to twice: of k that went bad and a few that have not
    come yet, the largest may be among the latter the more the smaller k is.
    """
    most = float(lost.max())
    struck = np.count_nonzero(lost)
    return most + (most - min(one, most)) * min(1.0, UNSEEN_SESSIONS / struck)


def further_spell(layout: Layout, bad: Int) -> float:
    """Rows of a spell that may come, by how these rows do."""
    return _spell(layout, bad, None)[0]


# ---- limits


def limits(
    y: float,
    n: float,
    v: float,
    w: float,
    alpha: float,
) -> Limits:
    """One-sided limits of a share, each at alpha."""
    return Weight(y, n, v, w).limits(alpha)


def _lower_law(weight: Weight) -> tuple[float, float]:
    size = weight.v / weight.y
    return weight.y / size, max(weight.n - weight.y, 0.0) / size + 1


def _upper_law(weight: Weight) -> tuple[float, float]:
    """Fay and Feuer: the variance of what was seen and of a further spell, over both."""
    y, w = weight.y, weight.w
    size = (weight.v + w * w) / (y + w)
    return (y + w) / size, (weight.n - y - w) / size + 1


def p_fail(weight: Weight, p0: Share) -> float:
    """The smallest alpha at which the lower limit is above p0, at this variance."""
    if not weight.y:
        return 1.0
    return beta_tails(*_lower_law(weight), p0)[0]


def _far_from(
    a: float,
    b: float,
    p0: Share,
    alpha: float,
) -> int:
    """Whether plainly less (1) or more (-1) than alpha of Beta(a, b) lies beyond p0, seen from its
    mean; 0 where that is so near that the law is asked, which of many rows costs a millisecond.
    """
    n, share = a + b, float(p0)
    if a < _MANY or not 0 < share < 1:
        return 0
    limit = -NormalDist().inv_cdf(alpha)
    beyond = abs(share - a / n) / math.sqrt(share * (1 - share) / n) - limit
    margin = 0.5 + limit * limit / math.sqrt(a)
    return 0 if abs(beyond) < margin else int(math.copysign(1, beyond))
