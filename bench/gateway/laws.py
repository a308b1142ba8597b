"""Laws of time: what a scenario file may say about a duration, and how it is drawn; a stretch of
scenario time, once or again and again.

In: `[[...]]` components of a scenario file; `at`, `for` and `every` of a table. Out: a function
that draws integer ns from a `random.Random`; whether a stretch is on, and when that changes. Must
stay true: a law holds no state; the same generator gives the same draws; moments are ns since the
scenario began.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable
from itertools import accumulate
from random import Random
from statistics import NormalDist
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from bench.userfile import DurationNs, UserModel

Sampler = Callable[[Random], int]
Z99 = NormalDist().inv_cdf(0.99)


class LognormalTime(UserModel):
    """Its median, and one of `sigma` (of the natural log) or `p99`."""

    median: DurationNs
    sigma: Annotated[float, Field(ge=0)] | None = None
    p99: DurationNs | None = None

    @model_validator(mode="after")
    def _one_spread(self) -> Self:
        if self.median <= 0 or (self.sigma is None) == (self.p99 is None):
            raise ValueError("needs a median above zero and one of sigma, p99")
        if self.p99 is not None and self.p99 < self.median:
            raise ValueError("p99 lies below the median")
        return self

    @property
    def spread(self) -> float:
        """Sigma of the natural log."""
        if self.sigma is not None:
            return self.sigma
        assert self.p99 is not None
        return math.log(self.p99 / self.median) / Z99


class Component(UserModel):
    """One part of a mixture: exactly one of `fixed`, `lognormal`, `exponential`."""

    weight: Annotated[float, Field(gt=0)] = 1.0
    fixed: DurationNs | None = None
    lognormal: LognormalTime | None = None
    #: the mean of an exponential time
    exponential: DurationNs | None = None

    @model_validator(mode="after")
    def _one_law(self) -> Self:
        if sum(law is not None for law in (self.fixed, self.lognormal, self.exponential)) != 1:
            raise ValueError("needs exactly one of fixed, lognormal, exponential")
        return self


def _as_list(value: Any) -> Any:
    if isinstance(value, dict):
        return [value]
    return value


#: One component or a list of weighted components.
Law = Annotated[list[Component], BeforeValidator(_as_list), Field(min_length=1)]


def _part(component: Component) -> Sampler:
    if component.fixed is not None:
        fixed = component.fixed
        return lambda _rng: fixed
    if component.exponential is not None:
        mean = component.exponential
        return lambda rng: int(-mean * math.log(1.0 - rng.random()))
    assert component.lognormal is not None
    mu = math.log(component.lognormal.median)
    sigma = component.lognormal.spread
    return lambda rng: int(math.exp(mu + sigma * rng.gauss(0.0, 1.0)))


def sampler(law: list[Component], times: float = 1.0) -> Sampler:
    """A function that draws ns from the mixture, each draw multiplied by `times`."""
    parts = [_part(component) for component in law]
    if len(parts) == 1:
        draw = parts[0]
    else:
        edges = list(accumulate(component.weight for component in law))
        total = edges[-1]
        inner = edges[:-1]

        def draw(rng: Random) -> int:
            return parts[bisect(inner, rng.random() * total)](rng)

    if times == 1.0:
        return draw
    return lambda rng: int(draw(rng) * times)


class Window(UserModel):
    """From `at`, for `for` (to the end by default), again `every` so often."""

    at: DurationNs = 0
    lasts: Annotated[DurationNs | None, Field(alias="for")] = None
    #: begin again each time this has passed since `at`
    every: DurationNs | None = None

    @model_validator(mode="after")
    def _passes(self) -> Self:
        if self.lasts is not None and self.lasts <= 0:
            raise ValueError("for must be above zero")
        if self.every is not None and (self.lasts is None or self.every <= self.lasts):
            raise ValueError("every needs a for that is shorter")
        return self

    def holds(self, now_ns: int) -> bool:
        """True while it is on."""
        since_ns = self.since_ns(now_ns)
        return since_ns >= 0 and (self.lasts is None or since_ns < self.lasts)

    def next_edge_ns(self, now_ns: int) -> int | None:
        """When it next begins or ends after `now_ns`; None for never."""
        since_ns = self.since_ns(now_ns)
        if since_ns < 0:
            return self.at
        if self.lasts is not None and since_ns < self.lasts:
            return now_ns - since_ns + self.lasts
        if self.every is not None:
            return now_ns - since_ns + self.every
        return None

    def since_ns(self, now_ns: int) -> int:
        """How long ago it last began; below zero where it has not."""
        since_ns = now_ns - self.at
        if self.every is not None and since_ns >= 0:
            return since_ns % self.every
        return since_ns
