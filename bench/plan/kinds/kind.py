"""What a kind of clause says of itself, so that plan, judge and pages need not know which it is.

In: the keys of a clause. Out: whether they belong together, the clause in words, what it counts,
and of stretches of time what each lost; words for its verdict. Must stay true: every kind is one
proportion, "the bad share is at most p0"; counts are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from bench.metrics import Promise
from bench.plan.clause_keys import MINUTE_NS, ClauseKeys

#: What a clause of any kind may say.
EVERYWHERE = frozenset(
    {
        "metric",
        "operator",
        "assumed_outage",
        "excluding",
        "phase",
        "bucket",
        "report_only",
        "credit",
        "source",
    }
)
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Loss:
    """What each unit lost, resources x units: num/den of one; only counted units enter the mean."""

    num: Int
    den: Int
    counted: Bool
    #: had requests
    active: Bool


def lost_whole(bad: Bool, counted: Bool, active: Bool) -> Loss:
    """A bad unit loses all of itself, a good one nothing."""
    return Loss(bad.astype(np.int64), np.ones(bad.shape, np.int64), counted, active)


def below(share: Fraction, n: Int, k: Int) -> Bool:
    """Where less than this share of n requests were good, k of them being bad; one without
    requests is not.
    """
    return np.asarray((n - k) * share.denominator < share.numerator * n, bool)


@dataclass(frozen=True)
class Definition:
    """Another agreement's way to count the same, which a census shows beside a clause."""

    name: str
    whose: str
    keys: dict[str, str | int]
    #: Where a list of definitions names it: the order of methods 1.4.
    place: int


class Recorded(Protocol):
    """What the verdict on a clause keeps of its keys."""

    @property
    def metric(self) -> str:
        """What is measured."""

    @property
    def view(self) -> str:
        """From where it counts."""

    @property
    def quantile(self) -> float | None:
        """The quantile that is held to the limit."""

    @property
    def phase(self) -> str | None:
        """The phase that it is restricted to."""

    @property
    def bucket(self) -> str | None:
        """The context bucket that it is restricted to."""


def _share(keys: ClauseKeys) -> Fraction:
    assert keys.share is not None
    return keys.share


def _one_minute(_: ClauseKeys, minutes: int) -> int:  # noqa: ARG001
    return 1


@dataclass(frozen=True)
class Kind:
    """One kind of clause. Adding one is a file in this folder and a line in `registry`."""

    #: the value that names it, of which key, among the metrics that may be promised so
    name: str
    named_by: Literal["statistic", "method", "metric"]
    promises: tuple[Promise, ...]
    #: what a clause of it may say besides what any may; whatever else it says is refused
    keys: frozenset[str]
    #: raises ValueError where keys are missing or contradict each other
    check: Callable[[ClauseKeys], None]
    #: the clause in words, without phase and bucket
    text: Callable[[ClauseKeys], str]
    #: the share that keeps the promise, at least
    promised: Callable[[ClauseKeys], Fraction] = _share
    #: each request has a value that is held to a limit; else it succeeded or failed
    has_values: bool = False
    #: whole answers are counted, those that are not as expected being bad
    of_answers: bool = False
    #: a stretch of time (a window, a minute) is counted, not a request
    by_time: bool = False
    #: a stretch loses a part of itself, not all or nothing
    partial: bool = False
    #: outages are what it counts: a run without one acquits only if long enough to meet one
    outages: bool = False
    #: what each stretch lost, of n requests with k failures (or misses of the limit), where it is
    #: counted from a table of minutes
    losses: Callable[[ClauseKeys, Int, Int], Loss] | None = None
    #: minutes a stretch, of so many in all
    unit_minutes: Callable[[ClauseKeys, int], int] = _one_minute
    #: requests from which on a stretch says something
    least_requests: Callable[[ClauseKeys], int] = lambda keys: int(keys.empty == "excluded")
    #: whether a stretch is held to the mean of its values, which no count tells
    by_means: Callable[[ClauseKeys], bool] = lambda _: False
    #: share of successes from which on a stretch is good; None where any success will do
    good_from: Callable[[ClauseKeys], Fraction | None] = lambda _: None
    definitions: tuple[Definition, ...] = ()
    #: what a request that broke it did
    broke: str = "failed"
    #: of what share of the requests is beside a share of stretches: the other reading of the same
    #: words
    beside: str = ""
    #: the promise on a metric for readers who are no engineers, with `{limit}` and `{share}`; None
    #: where only the contract's own words will do
    plain: Callable[[str], str | None] = lambda _: None
    #: where a target of summary.json holds what is measured, its keys joined by `/`; None: nowhere
    in_summary: Callable[[Recorded], str | None] = lambda _: None

    @property
    def title(self) -> str:
        """By which key a clause's file names it."""
        return f'{self.named_by} = "{self.name}"'

    def idle(self, keys: ClauseKeys) -> tuple[str, ...]:
        """The keys that a clause of this kind was given and that say nothing in it."""
        given = (key for key in keys.model_fields_set if getattr(keys, key) is not None)
        idle = {key for key in given if key not in EVERYWHERE and key not in self.keys}
        return tuple(key for key in type(keys).model_fields if key in idle)

    @property
    def in_minutes(self) -> bool:
        """Whether it is counted from a table of minutes."""
        return self.losses is not None

    @property
    def of_shares(self) -> bool:
        """Whether what is measured is the share that keeps it, not a value held to a limit."""
        return self.by_time or not self.has_values

    def excludes_promised(self, keys: ClauseKeys) -> bool:
        """Whether attaining exactly the promised share breaks the promise."""
        return keys.strict and not self.has_values


def whole_windows(keys: ClauseKeys, minutes: int) -> int:  # noqa: ARG001
    """Stretches as long as the clause's window."""
    return keys.unit_ns // MINUTE_NS
