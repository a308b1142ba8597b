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
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, ValidationError, WithJsonSchema, field_validator, model_validator

from bench.errors import UserError
from bench.metrics import LATENCIES, METRICS, NAMES, TIMED, promised_as
from bench.plan.profile import bucket_names
from bench.plan.terms import CreditStep, check_ladder
from bench.quantiles import quantile_name
from bench.units import S, parse_duration_ns, parse_share, show_duration, show_exact, show_limit
from bench.userfile import DurationNs, PerSecond, Share, UserModel

if TYPE_CHECKING:
    MetricName = str
else:
    MetricName = Literal[promised_as("latency", "rate", "uptime", "errors")]
Method = Literal[
    "request_ratio", "mean_of_intervals", "downtime_minutes", "minute_all_fail", "slice_ok"
]
MINUTE_NS = 60 * S
#: Below this share even 3 * 10^9 units without a single bad one prove nothing (3 / share, at 95 %).
LEAST_ALLOWED = Fraction(1, 10**9)


class Clause(UserModel):
    """One promise: `quantile` of `metric` at most `limit`, or at least a `share` of something.

    `quantile = 0.99` with `limit = "800ms"` reads: at least 99 % of the requests finish within
    800 ms, failures counted as over the limit.
    """

    #: what is measured: a latency, `output_tps`, `uptime` or `error_share`
    metric: Annotated[MetricName, WithJsonSchema({"enum": sorted(NAMES)})]
    #: "response" counts from the moment the request was due (default), "service" from the send
    view: Literal["response", "service"] = "response"
    #: quantile, or a share of requests or of windows of time that keep the limit
    statistic: Literal["quantile", "share_of_requests", "share_of_windows"] = "quantile"
    #: which quantile is held to the limit, such as "99%"
    quantile: Share | None = None
    #: the latency that the quantile must not exceed
    limit: DurationNs | None = None
    #: the limit of each context bucket: the clause stands once for each
    limits: dict[str, DurationNs] = {}
    #: of `output_tps`: tokens per second, at least
    at_least: PerSecond | None = None
    #: whether the time to the first token counts in tokens per second
    with_ttft: bool = True
    #: by default what the limit itself satisfies is kept; ">" and "<" do not count it
    operator: Literal[">=", ">", "<=", "<"] | None = None
    #: for `uptime` and shares: at least this share succeeds; for `error_share`: at most this share
    #: fails
    share: Share | None = None
    #: length of the windows of `share_of_windows`, of `mean_of_intervals` and of `slice_ok`
    window: DurationNs | None = None
    #: the statistic that each window is held to
    of_window: Literal["p50", "p90", "p95", "p99", "mean"] = "p50"
    #: windows with fewer requests say nothing
    min_requests: Annotated[int, Field(gt=0)] = 1
    #: a request that failed misses its limit, or is left to the uptime clause
    failed: Literal["miss", "excluded"] = "miss"
    #: tokens per second of a shorter answer are noise
    min_output_tokens: Annotated[int, Field(gt=0)] = 1
    #: how uptime is counted: docs/contracts.md
    method: Method = "request_ratio"
    #: what an interval without requests counts as
    empty: Literal["up", "excluded"] = "up"
    #: of `downtime_minutes`: a minute is bad above this share of errors
    error_rate: Share | None = None
    #: of `downtime_minutes`: so many bad minutes in a row are downtime
    minutes: Annotated[int, Field(gt=0)] | None = None
    #: `slice_ok`: a slice is good from this share of successes on
    slice_share: Share | None = None
    #: how resources make one figure: together, or each for itself and then the mean or the least;
    #: "affected": a down minute weighs as much as the share of resources it touched
    weight: Literal["together", "mean", "least", "affected"] = "together"
    #: length of an outage that a run without one must reckon with (methods 3.4)
    assumed_outage: DurationNs = 5 * MINUTE_NS
    #: outcomes that do not count against this clause, as a contract's exclusions name them
    excluding: list[Literal["http_4xx", "rate_limited"]] = []
    #: judge only the rows of this phase, or of this context bucket
    phase: str | None = None
    #: judge only the requests of this context bucket
    bucket: str | None = None
    #: shown with its interval, judged by nobody
    report_only: bool = False
    #: this clause's own credit ladder
    credit: list[CreditStep] | None = None
    #: name of an entry of [sources]
    source: str | None = None

    @field_validator("metric", mode="before")
    @classmethod
    def _by_any_name(cls, metric: object) -> object:
        return NAMES.get(metric, metric) if isinstance(metric, str) else metric

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

    @model_validator(mode="after")
    def _decidable(self) -> Self:
        if self.metric in TIMED:
            self._check_timed()
        else:
            self._check_share()
        if self.allowed_share < LEAST_ALLOWED:
            raise ValueError(
                f"{show_exact(100 - self.allowed_share * 100)} % is out of reach of any run: "
                "to prove it takes more than 3 * 10^9 requests without a miss"
            )
        self._check_belonging()
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

    def _check_timed(self) -> None:
        name = f'metric "{self.metric}"'
        wants_share = self.statistic != "quantile"
        if (self.quantile is None) != wants_share or (self.share is None) == wants_share:
            needs = (
                f"{'share' if wants_share else 'quantile'} and"
                f" {'at_least' if self.rising else 'limit'}"
            )
            raise ValueError(
                f"{name} needs {needs}"
                + (f' with statistic = "{self.statistic}"' if wants_share else "")
            )
        if (self.statistic == "share_of_windows") != (self.window is not None):
            raise ValueError('window belongs to statistic = "share_of_windows", which needs it')
        if self.rising != (self.at_least is not None) and not (self.rising and self.report_only):
            raise ValueError(
                'metric "output_tps" needs at_least = "50/s", and no other metric has it'
            )
        bound = self.at_least if self.rising else self.limit
        if bound is None and not self.report_only and not self.limits:
            raise ValueError(f'{name} needs a limit such as "800ms"')
        if self.limit is not None and (self.limit <= 0 or self.rising):
            raise ValueError(
                f"{name} has a floor, at_least, and no limit"
                if self.rising
                else "limit must be above zero"
            )
        if not 0 < self.allowed_share < 1:
            raise ValueError(
                f"{'share' if wants_share else 'quantile'} must lie between 0 and 1; no finite run"
                " can prove 100 %"
            )
        if self.limits and (self.limit is not None or self.bucket is not None or self.rising):
            raise ValueError(
                "limits by context bucket replace limit and bucket; write one or the other"
            )
        if (
            self.method != "request_ratio"
            or self.weight != "together"
            or self._given("slice_share", "error_rate", "minutes")
        ):
            raise ValueError(f"{name} has no method; only uptime does")

    def _check_share(self) -> None:
        name = f'metric "{self.metric}"'
        if self.share is None or self.limits or self._given("quantile", "limit", "at_least"):
            raise ValueError(f"{name} needs share, and neither quantile nor limit")
        if self.allowed_share in (0, 1):
            raise ValueError(
                "no finite run can prove a share of 0 % or 100 %; state what is allowed"
            )
        if self.view != "response" or self.statistic != "quantile":
            raise ValueError(f"{name} has no {'view' if self.view != 'response' else 'statistic'}")
        needs = {
            "mean_of_intervals": {"window"},
            "slice_ok": {"window", "slice_share"},
            "downtime_minutes": {"error_rate", "minutes"},
        }.get(self.method, set())
        if self.metric != "uptime" and self.method != "request_ratio":
            raise ValueError(f"{name} has no method; only uptime does")
        if self._given("window", "slice_share", "error_rate", "minutes") != needs:
            what = (
                " and ".join(sorted(needs)) or "none of window, slice_share, error_rate and minutes"
            )
            raise ValueError(f'method "{self.method}" needs {what}')
        if self.window is not None and self.window % MINUTE_NS:
            raise ValueError("window must be whole minutes")
        if self.error_rate == 1 or self.slice_share == 0:
            raise ValueError(
                "no minute has more than 100 % errors, and none serves less than 0 %; nothing could"
                " break it"
            )

    def _check_belonging(self) -> None:
        """Keys that would say nothing here are refused, for they were written to say something."""
        homes = {
            'statistic = "share_of_windows"': (
                self.statistic == "share_of_windows",
                ("of_window", "min_requests"),
            ),
            'metric "output_tps"': (self.metric == "output_tps", ("with_ttft",)),
            "a metric with a limit": (self.metric in TIMED, ("failed", "min_output_tokens")),
            'metric "uptime"': (self.metric == "uptime", ("empty", "assumed_outage")),
        }
        for home, (here, keys) in homes.items():
            for key in keys:
                if not here and getattr(self, key) != type(self).model_fields[key].default:
                    raise ValueError(f"{key} belongs to {home}")

    def _given(self, *keys: str) -> set[str]:
        return {key for key in keys if getattr(self, key) is not None}

    @property
    def rising(self) -> bool:
        """Whether more is better: uptime and tokens per second."""
        return self.metric in ("uptime", "output_tps")

    @property
    def strict(self) -> bool:
        """Whether a value equal to the limit (or target) breaks the promise."""
        return self.operator in (">", "<")

    @property
    def allowed_share(self) -> Fraction:
        """p0: the share of requests, windows or minutes that may break the promise."""
        promised = self.quantile if self.quantile is not None else self.share
        assert promised is not None
        return promised if self.metric == "error_share" else 1 - promised

    @property
    def by_time(self) -> bool:
        """Whether the unit is a stretch of time (a window, a minute), not a request."""
        return self.statistic == "share_of_windows" or (
            self.metric == "uptime" and self.method != "request_ratio"
        )

    @property
    def unit_ns(self) -> int:
        """Length of the unit of a clause that is `by_time`."""
        return self.window or MINUTE_NS

    @property
    def text(self) -> str:
        """`response e2e p99 ≤ 800 ms`, with the phase or bucket it is restricted to."""
        limits = [
            f"{kind} {value}"
            for kind, value in (("phase", self.phase), ("context", self.bucket))
            if value
        ]
        name = self._timed_text() if self.metric in TIMED else self._share_text()
        return f"{name} ({', '.join(limits)})" if limits else name

    def _timed_text(self) -> str:
        label = METRICS[self.metric].label
        name = label if self.rising else f"{self.view} {label}"
        bound = ""
        if self.at_least is not None:
            bound = f" {'>' if self.strict else '≥'} {show_exact(self.at_least)} tokens/s"
        elif self.limit is not None:
            bound = f" {'<' if self.strict else '≤'} {show_limit(self.limit)}"
        if self.quantile is not None:
            # Of a floor the slow tail lies below: 99 % above 50 tokens/s is the lowest per cent.
            return (
                f"{name}"
                f" {quantile_name(1 - self.quantile if self.rising else self.quantile)}{bound}"
            )
        assert self.share is not None
        share = f"{show_exact(self.share * 100)} %"
        if self.statistic == "share_of_requests":
            return f"{name}{bound} for ≥ {share} of requests"
        return (
            f"{name} {self.of_window}{bound} in ≥ {share} of {show_duration(self.unit_ns)} windows"
        )

    def _share_text(self) -> str:
        assert self.share is not None
        if self.metric == "error_share":
            return f"error share {'<' if self.strict else '≤'} {show_exact(self.share * 100)} %"
        return (
            f"uptime, {self.method_text} {'>' if self.strict else '≥'}"
            f" {show_exact(self.share * 100)} %"
        )

    @property
    def method_text(self) -> str:
        """What the uptime is a share of, in words."""
        if self.method == "mean_of_intervals":
            return f"mean of {show_duration(self.unit_ns)} intervals"
        if self.method == "downtime_minutes":
            assert self.error_rate is not None
            run = f" in runs of {self.minutes} or more" if (self.minutes or 1) > 1 else ""
            return f"minutes without over {show_exact(self.error_rate * 100)} % errors{run}"
        if self.method == "slice_ok":
            assert self.slice_share is not None
            return (
                f"{show_duration(self.unit_ns)} slices with {show_exact(self.slice_share * 100)} %"
                " served"
            )
        return {"request_ratio": "request ratio", "minute_all_fail": "minutes not failing whole"}[
            self.method
        ]

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
                    metric=metric, quantile=parse_share(match["q"] + "%"), limit=f"{ns}ns"
                )
        elif match := _SLO_SHARE.fullmatch(clean):
            metric = NAMES.get(match["metric"], match["metric"])
            wanted = {"uptime": ">", "error_share": "<"}.get(metric)
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
            f"write metric:pNN<limit (metrics: {', '.join(LATENCIES)}), uptime>=99.9% or"
            " error_share<=1%"
        ),
    )
