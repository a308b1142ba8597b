"""How much a provider takes of one key: its limits of requests and tokens.

In: the table `limits` of a target. Out: a frozen `Limits`, and each limit as an amount within a
stretch of time. Must stay true: what is not written is not limited.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, NamedTuple, Self

from pydantic import Field, model_validator

from bench.units import S
from bench.userfile import DurationNs, UserModel

MINUTE_NS, DAY_NS = 60 * S, 86_400 * S
_Many = Annotated[int, Field(gt=0)]


class Limit(NamedTuple):
    """So much within any stretch of this length."""

    #: the key that says it
    key: str
    #: what is counted: requests, tokens, input tokens or output tokens
    unit: str
    amount: Fraction
    stretch_ns: int


class Limits(UserModel):
    """The rate limits of the key. A plan that asks for more is told so before it is sent."""

    #: requests a minute
    requests_per_min: _Many | None = None
    #: requests a day
    requests_per_day: _Many | None = None
    #: tokens a minute, of prompts and of the answers that are asked for
    tokens_per_min: _Many | None = None
    #: prompt tokens a minute
    input_tokens_per_min: _Many | None = None
    #: output tokens a minute
    output_tokens_per_min: _Many | None = None
    #: the provider divides its minute into stretches of this length and counts requests in each:
    #: "1s" takes 60 a minute as one a second
    counted_over: DurationNs = MINUTE_NS

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if not 0 < self.counted_over <= MINUTE_NS:
            raise ValueError("counted_over is above zero and at most a minute")
        return self

    def each(self) -> Iterator[Limit]:
        """The limits that are written; those of a minute that is divided also in its parts."""
        for key, unit in _UNITS.items():
            amount = getattr(self, key)
            if amount is None:
                continue
            stretch = DAY_NS if key.endswith("_day") else MINUTE_NS
            yield Limit(key, unit, Fraction(amount), stretch)
            if unit == "requests" and self.counted_over < stretch == MINUTE_NS:
                part = Fraction(amount * self.counted_over, MINUTE_NS)
                yield Limit(key, unit, max(part, Fraction(1)), self.counted_over)


_UNITS = {
    "requests_per_min": "requests",
    "requests_per_day": "requests",
    "tokens_per_min": "tokens",
    "input_tokens_per_min": "input tokens",
    "output_tokens_per_min": "output tokens",
}
