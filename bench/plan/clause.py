"""One clause of a contract: a promise that is one proportion, whatever it is a proportion of.

In: a `[[clause]]` table, or a one-line SLO of the command line. Out: a frozen `Clause`. Must
stay true: every clause says "the bad share is at most p0", of requests, of windows or of
minutes; shares and limits stay exact (`Fraction`, ns); a clause that nothing could decide is
refused with the reason.

Source: methods 0.1 and 1.3-1.5.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from pydantic import ValidationError, ValidationInfo, field_validator, model_validator

from bench.errors import UserError
from bench.metrics import LATENCIES, NAMES
from bench.plan.clause_keys import ClauseKeys
from bench.plan.kinds.kind import Kind
from bench.plan.kinds.registry import KINDS, kind_of, named_by
from bench.plan.profile import bucket_names
from bench.plan.terms import CreditStep, check_ladder, check_names
from bench.units import parse_duration_ns, parse_share, show_exact

if TYPE_CHECKING:
    Statistic = str
    Method = str
else:
    Statistic = Literal[named_by("statistic")]
    Method = Literal[named_by("method")]
T = TypeVar("T")
#: Context of the validation of a clause that a run was made with: all its keys are written there.
RECORDED = "recorded"
#: Below this share even 3 * 10^9 units without a single bad one prove nothing (3 / share, at 95 %).
LEAST_ALLOWED = Fraction(1, 10**9)


class Clause(ClauseKeys):
    """One clause: `quantile` of `metric` at most `limit`, or at least a `share` of something.

    `quantile = 0.99` with `limit = "800ms"` reads: at least 99 % of the requests finish within
    800 ms, failures counted as over the limit.
    """

    statistic: Statistic = "quantile"
    method: Method = "request_ratio"

    @field_validator("metric", mode="before")
    @classmethod
    def _by_any_name(cls, metric: object) -> object:
        if isinstance(metric, str):
            return NAMES.get(metric, metric)
        return metric

    @field_validator("bucket")
    @classmethod
    def _known_bucket(cls, bucket: str | None) -> str | None:
        return None if bucket is None else _bucket(bucket)

    @field_validator("limits")
    @classmethod
    def _known_buckets(cls, limits: dict[str, int]) -> dict[str, int]:
        known = {_bucket(bucket): limit for bucket, limit in limits.items()}
        if len(known) < len(limits) or min(known.values(), default=1) <= 0:
            raise ValueError("each context bucket has one limit, above zero")
        return known

    @field_validator("limit_by_model", "at_least_by_model")
    @classmethod
    def _known_models(cls, table: dict[str, T]) -> dict[str, T]:
        check_names(table)
        return table

    @model_validator(mode="after")
    def _decidable(self, info: ValidationInfo) -> Self:
        if info.context is not RECORDED:
            self._check_idle()
        self.kind.check(self)
        if self.allowed_share < LEAST_ALLOWED:
            raise ValueError(
                f"{show_exact(100 - self.allowed_share * 100)} % is out of reach of any run: "
                "to prove it takes more than 3 * 10^9 requests without a miss"
            )
        if 1 - self.allowed_share < LEAST_ALLOWED:
            raise ValueError("promises so little that no run could find a breach")
        if self.operator is not None and (self.operator[0] == ">") != self.rising:
            raise ValueError(
                f'operator "{self.operator}" points the wrong way for metric "{self.metric}"'
            )
        if self.credit is not None:
            self._check_credit(self.credit)
        return self

    def _check_credit(self, steps: list[CreditStep]) -> None:
        check_ladder(steps)
        if steps[0].below > 1 - self.allowed_share:
            raise ValueError(
                f"the credit ladder pays below {show_exact(steps[0].below * 100)} %, where the"
                f" clause itself is kept from {show_exact((1 - self.allowed_share) * 100)} % on"
            )

    def _check_idle(self) -> None:
        """Keys that would say nothing here are refused, for they were written to say something."""
        for key in self.kind.idle(self):
            homes = [kind.title for kind in KINDS if key in kind.keys]
            raise ValueError(
                f"{key} says nothing in a clause of {self.kind.title}, it belongs to"
                f" {' or '.join(homes)}; leave it out"
            )
        if "with_ttft" in self.model_fields_set and not self.rising:
            raise ValueError('with_ttft belongs to metric = "output_tps"; leave it out')
        if self.phase is not None and "empty" in self.model_fields_set and self.empty == "up":
            raise ValueError(
                'empty = "up" says nothing in a clause on a phase, for time without its requests'
                " is another phase's; leave it out"
            )

    @property
    def kind(self) -> Kind:
        """What sort of promise it is."""
        return kind_of(self)

    @property
    def allowed_share(self) -> Fraction:
        """p0: the share of requests, windows or minutes that may break the promise."""
        return 1 - self.kind.promised(self)

    @property
    def by_time(self) -> bool:
        """Whether the unit is a stretch of time (a window, a minute), not a request."""
        return self.kind.by_time

    @property
    def text(self) -> str:
        """`response e2e p99 ≤ 800 ms`, with the phase or bucket it is restricted to."""
        limits = [
            f"{kind} {value}"
            for kind, value in (("phase", self.phase), ("context", self.bucket))
            if value
        ]
        name = self.kind.text(self)
        return f"{name} ({', '.join(limits)})" if limits else name

    def for_entry(self, name: str) -> Clause:
        """The clause with the limit that stands under this name, for all."""
        update: dict[str, object] = {"limit_by_model": {}, "at_least_by_model": {}}
        if name in self.limit_by_model:
            update["limit"] = self.limit_by_model[name]
        if name in self.at_least_by_model:
            update["at_least"] = self.at_least_by_model[name]
        return self.model_copy(update=update)

    def by_bucket(self) -> list[Clause]:
        """The clause once for each context bucket that has a limit of its own; itself
        without such.
        """
        return [
            self.model_copy(update={"limits": {}, "limit": limit, "bucket": bucket})
            for bucket, limit in self.limits.items()
        ] or [self]


def _bucket(name: str) -> str:
    """A context bucket by the name that reports print, or as a keyboard offers it."""
    # `<=1K` and `1K-8K` are what a keyboard offers for `≤1K` and `1K–8K`.
    typed = name.replace("<=", "≤").replace("-", "–").replace(" ", "")
    if typed not in bucket_names():
        raise ValueError(f"{name!r} is no context bucket; write one of {', '.join(bucket_names())}")
    return typed


_SLO_LATENCY = re.compile(
    r"(?P<metric>[a-z_0-9]+)\s*:\s*p\(?(?P<q>\d+(?:\.\d+)?)\)?\s*(?P<op><=?|:l[te]:)\s*(?P<limit>\S.*)"
)
_SLO_SHARE = re.compile(r"(?P<metric>[a-z_0-9]+)\s*(?P<op>>=?|<=?)\s*(?P<share>[\d.]+\s*%)")


def parse_slo(text: str) -> Clause:
    """`ttft:p99<800ms`, `uptime>=99.9%`, `error_share<=1%` -> a clause.

    A bare number as limit is refused, but in AIPerf's own form (`ttft:p99:lt:800`), which is in ms.
    Raises UserError.
    """
    where = f"--slo {text!r}"
    clean = text.strip().lower()
    try:
        if match := _SLO_LATENCY.fullmatch(clean):
            metric = NAMES.get(match["metric"], match["metric"])
            if metric in LATENCIES:
                limit = match["limit"].strip()
                in_ms = match["op"].startswith(":") and re.fullmatch(r"[\d.]+", limit)
                ns = parse_duration_ns(f"{limit}ms" if in_ms else limit)
                return Clause(
                    metric=metric,
                    quantile=parse_share(match["q"] + "%"),
                    limit=f"{ns}ns",
                )
        elif match := _SLO_SHARE.fullmatch(clean):
            metric = NAMES.get(match["metric"], match["metric"])
            wanted = {"uptime": ">", "answer_ok": ">", "error_share": "<"}.get(metric)
            if wanted is not None and match["op"][0] == wanted:
                return Clause(metric=metric, share=parse_share(match["share"]))
    except ValidationError as error:
        raise UserError(
            str(error.errors()[0]["msg"]).removeprefix("Value error, "), where=where
        ) from None
    except ValueError as error:
        raise UserError(str(error), where=where) from None
    raise UserError(
        "is not an SLO that can be judged",
        where=where,
        remedy=(
            f"write metric:pNN<limit (metrics: {', '.join(LATENCIES)}), uptime>=99.9%,"
            " error_share<=1% or answer_ok>=99%"
        ),
    )
