"""The terms of a contract that say which requests, which time and which money count.

In: tables of a contract file. Out: frozen records: scope, period, request classes, back-off,
exclusions, credit ladders, sources. Must stay true: what a contract leaves out is empty here,
never a guess; ladder bounds are exact and half-open; a calendar needs its time zone; a model's name
stands for itself and its dated snapshots, and for more only where it ends in `*`.

Source: the fields seen in real agreements, methods 1.1-1.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, field_validator, model_validator

from bench.api.cause import Cause
from bench.units import S, show_exact
from bench.userfile import DurationNs, Share, Times, Usd, UserModel

#: What vendors add to a model's name for one version of it: `-2026-03-05`, `-20250929`, `-001`.
_SNAPSHOT = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{3})")


def check_names(names: Iterable[str]) -> None:
    """Raises ValueError for a name that could mean nothing, or more than its writer thinks."""
    for name in names:
        if not name.strip() or "*" in name[:-1]:
            raise ValueError(f"{name!r} is no model's name; `*` may stand at its end alone")


def entry_of(model: str, names: Iterable[str]) -> str | None:
    """The narrowest of the names that means this model, or None."""
    meant = [name for name in names if _means(name.lower(), model.lower())]
    return max(meant, key=lambda name: (not name.endswith("*"), len(name)), default=None)


def _means(name: str, model: str) -> bool:
    if name.endswith("*"):
        return model.startswith(name[:-1])
    if not model.startswith(name):
        return False
    rest = model[len(name) :]
    return not rest or _SNAPSHOT.fullmatch(rest) is not None


class Source(UserModel):
    """Where a text was read, when, and whether it was the provider's own."""

    #: its address
    url: str
    #: the day it was read
    retrieved: date
    #: the provider's own text, or a quotation by others
    read: Literal["primary", "secondary"] = "primary"
    #: what a reader should know about it
    note: str = ""


class Scope(UserModel):
    """Which requests the agreement covers. An empty list sets no bound."""

    #: whose service it is
    provider: str = ""
    #: the tier that is covered; answers of another one are set aside
    tier: str = ""
    #: names may end in `*`
    models: list[str] = []
    #: the regions that are covered
    regions: list[str] = []
    #: the endpoints that are covered
    endpoints: list[str] = []
    #: the operations that are covered
    operations: list[str] = []
    #: only streamed requests count
    streaming_only: bool = False
    #: preview and experimental models are not covered
    general_availability_only: bool = False
    #: what the figures apply to: "project", "subscription", "region", "account"
    per: str = ""
    #: name of an entry of [sources]
    source: str | None = None


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"{name!r} is no time zone; write an IANA name such as America/Los_Angeles or UTC"
        ) from None
    return name


Zone = Annotated[str, AfterValidator(_known_zone)]


class Period(UserModel):
    """The time that one attained value covers."""

    #: what the contract counts by
    kind: Literal["calendar_month", "billing_cycle", "quarter", "rolling"]
    #: where midnight is taken: an IANA name such as "America/Los_Angeles"
    time_zone: Zone | None = None
    #: of a rolling period
    days: Annotated[int, Field(gt=0, le=366)] | None = None
    #: day of the month on which a billing cycle begins
    starts_on_day: Annotated[int, Field(ge=1, le=28)] | None = None
    #: name of an entry of [sources]
    source: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kind != "rolling" and self.time_zone is None:
            raise ValueError(
                f"a {self.kind.replace('_', ' ')} begins at midnight somewhere; add time_zone ="
                ' "..."'
            )
        if (self.kind == "rolling") != (self.days is not None):
            raise ValueError("days belong to a rolling period, and a rolling period needs them")
        if (self.kind == "billing_cycle") != (self.starts_on_day is not None):
            raise ValueError(
                "starts_on_day belongs to a billing cycle, and a billing cycle needs it"
            )
        return self

    @property
    def nominal_ns(self) -> int:
        """Length for planning: 30 days a month, 90 a quarter."""
        return (self.days or (90 if self.kind == "quarter" else 30)) * 86400 * S

    @property
    def longest_ns(self) -> int:
        """The most that one can last: 31 days a month, 92 a quarter, and the hour of a change of
        the clock.
        """
        return ((self.days or (92 if self.kind == "quarter" else 31)) * 24 + 1) * 3600 * S


#: `outcome` names of a run, `status:500`, `status:5xx`, `code:NAME` and `finish:NAME` of the
#: provider.
_MATCHERS = re.compile(r"(status:(\d{3}|[1-5]xx)|(code|finish):\S+)")
_OUTCOMES = (
    "http_4xx",
    "rate_limited",
    "http_5xx",
    "refused",
    "dns",
    "tls",
    "reset",
    "timeout_connect",
    "timeout_first",
    "timeout_total",
    "truncated",
    "malformed",
    "stream_error",
    "wrong_answer",
)


def _known_matcher(text: str) -> str:
    if text not in _OUTCOMES and not _MATCHERS.fullmatch(text):
        raise ValueError(
            f"{text!r} matches no request; write an outcome ({', '.join(_OUTCOMES)}), "
            "status:500, status:5xx, code:NAME or finish:NAME"
        )
    return text


Matcher = Annotated[str, AfterValidator(_known_matcher)]


class RequestClasses(UserModel):
    """Which requests are errors and which do not count; the rest count as served.

    With `failed` left empty every request that did not succeed is an error.
    """

    #: which answers are errors; left empty, every request that did not succeed is one
    failed: list[Matcher] = []
    #: what counts as no request at all
    excluded: list[Matcher] = []
    #: name of an entry of [sources]
    source: str | None = None

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if both := sorted(set(self.failed) & set(self.excluded)):
            raise ValueError(f"{both[0]!r} is both failed and excluded; it can be only one")
        return self


class BackOff(UserModel):
    """Repeats of a failed request that do not count.

    A repeat sooner than the waits (first_wait, then times `factor` up to `cap`) ignored the
    back-off; one of the same error within `repeat_window` is no new attempt.
    """

    #: how long a client must wait after a failed request
    first_wait: DurationNs | None = None
    #: each further wait is so many times the one before
    factor: Times = Fraction(2)
    #: no wait is longer
    cap: DurationNs | None = None
    #: a failure within this time of the last one is a repeat of it
    repeat_window: DurationNs | None = None
    #: name of an entry of [sources]
    source: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.first_wait is None and self.repeat_window is None:
            raise ValueError("needs first_wait or repeat_window")
        if self.cap is not None and (self.first_wait is None or self.cap < self.first_wait):
            raise ValueError("cap must be at least first_wait")
        return self


class Exclusion(UserModel):
    """A rule that sets requests aside. The report counts them by its reason."""

    #: its name in reports and records
    reason: Annotated[str, Field(min_length=1, max_length=80)]
    #: what is set aside: docs/contracts.md lists the kinds and the keys that each needs
    kind: Literal[
        "window",
        "long_context",
        "short_deadline",
        "above_rate",
        "ramp",
        "served_elsewhere",
        "label",
        "cause",
    ]
    #: the rule is for these models alone; a name means its dated snapshots too, and may end in `*`
    models: list[str] = []
    #: window: its beginning
    start: datetime | None = None
    #: window: its end
    end: datetime | None = None
    #: long_context: more prompt tokens than this
    above_prompt_tokens: Annotated[int, Field(gt=0)] | None = None
    #: short_deadline: the caller gave the request less time than this
    below: DurationNs | None = None
    #: above_rate: beyond this many prompt and output tokens within the same minute
    tokens_per_min: Annotated[int, Field(gt=0)] | None = None
    #: ramp: tokens a minute more than this above the lowest minute of the `within` before
    above: Share | None = None
    #: ramp: how long before a minute the lowest is looked for
    within: DurationNs | None = None
    #: label: the log's own label of the row
    label: str | None = None
    #: cause: failures of these: quota, capacity, overload, spend, auth, request, filter, server,
    #: network, unknown (docs/apis.md)
    cause: Annotated[list[Cause], Field(min_length=1)] | None = None
    #: name of an entry of [sources]
    source: str | None = None

    @field_validator("models")
    @classmethod
    def _known_models(cls, models: list[str]) -> list[str]:
        check_names(models)
        return models

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needs = {
            "window": ("start", "end"),
            "long_context": ("above_prompt_tokens",),
            "short_deadline": ("below",),
            "above_rate": ("tokens_per_min",),
            "ramp": ("above", "within"),
            "served_elsewhere": (),
            "label": ("label",),
            "cause": ("cause",),
        }
        wanted = set(needs[self.kind])
        given = set[str]()
        for names in needs.values():
            given.update(name for name in names if getattr(self, name) is not None)
        if missing := sorted(wanted - given):
            raise ValueError(f'an exclusion of kind "{self.kind}" needs {" and ".join(missing)}')
        if further := sorted(given - wanted):
            raise ValueError(f'{further[0]} does not belong to an exclusion of kind "{self.kind}"')
        if self.start is not None and self.end is not None:
            if self.start.tzinfo is None or self.end.tzinfo is None:
                raise ValueError(
                    "start and end need their offset from UTC, such as 2026-11-01T02:00:00Z"
                )
            if self.end <= self.start:
                raise ValueError("end must come after start")
        return self

    def for_model(self, model: str) -> Exclusion | None:
        """The rule for this model, or None where it is for others."""
        if self.models and entry_of(model, self.models) is None:
            return None
        return self.model_copy(update={"models": []})


class CreditStep(UserModel):
    """Below this attained share (and not below the next step's), this part of the base is
    credited.
    """

    #: pays when the share attained lies below this
    below: Share
    #: this share of the base
    credit: Share


def check_ladder(steps: list[CreditStep]) -> None:
    """Raises ValueError unless bounds fall and credits rise, so that each value has one step."""
    if not steps:
        raise ValueError("the credit ladder is empty; leave it out or give its steps")
    for upper, lower in pairwise(steps):
        if lower.below >= upper.below or lower.credit <= upper.credit:
            raise ValueError(
                "credit steps must go down in `below` and up in `credit`;"
                f" {show_exact(lower.below * 100)} % does not follow"
                f" {show_exact(upper.below * 100)} %"
            )


class Credits(UserModel):
    """What clauses that fail pay in a period."""

    #: what the per cent are taken of, in words
    base: str
    #: if several clauses fail: the greatest ("max"), the sum, or the sum up to `cap`
    combine: Literal["max", "sum", "sum_capped"] = "max"
    #: no more than this share of the base is paid
    cap: Share | None = None
    #: nothing is paid below this sum
    minimum_usd: Usd = Decimal(0)
    #: a claim must be made within so many days
    claim_within_days: Annotated[int, Field(gt=0)] | None = None
    #: what a claim must come with
    evidence: list[str] = []
    #: name of an entry of [sources]
    source: str | None = None

    @model_validator(mode="after")
    def _capped(self) -> Self:
        if self.combine == "sum_capped" and self.cap is None:
            raise ValueError('combine = "sum_capped" needs cap = "..."')
        return self


class Forecast(UserModel):
    """What a month was expected to cost, and how far the bill may be from it."""

    #: the bill of a month, in USD
    monthly_usd: Annotated[Usd, Field(gt=0)]
    #: tokens of prompts and answers of requests that succeed
    tokens_per_month: Annotated[int, Field(gt=0)]
    #: the bill may be off by at most this share
    within: Annotated[Share, Field(gt=0, lt=1)] = Fraction(5, 100)
    #: name of an entry of [sources]
    source: str | None = None

    @property
    def text(self) -> str:
        """`monthly bill 125.00 USD ± 5 % for 500,000,000 tokens`."""
        return (
            f"monthly bill {self.monthly_usd:,.2f} USD ± {show_exact(self.within * 100)} % for"
            f" {self.tokens_per_month:,} tokens"
        )


class Attested(UserModel):
    """A statement that no test can measure: shown, never judged."""

    #: the statement in words; it is not measured
    term: str
    #: name of an entry of [sources]
    source: str | None = None

    @field_validator("term")
    @classmethod
    def _says_something(cls, term: str) -> str:
        if not term.strip():
            raise ValueError("a term needs words")
        return term
