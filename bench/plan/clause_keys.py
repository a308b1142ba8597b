"""The keys of a clause, before anything is made of them.

In: a `[[clause]]` table. Out: `ClauseKeys`, which every kind of clause reads. Must stay true:
shares and limits stay exact (`Fraction`, ns).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, WithJsonSchema

from bench.metrics import METRICS, NAMES, promised_as
from bench.plan.terms import CreditStep
from bench.units import S
from bench.userfile import DurationNs, PerSecond, Share, UserModel

if TYPE_CHECKING:
    MetricName = str
else:
    MetricName = Literal[promised_as("latency", "rate", "uptime", "errors", "answers")]
MINUTE_NS = 60 * S


class ClauseKeys(UserModel):
    """What a clause may say; its kind says which of it belongs together."""

    #: what is measured: a latency, `output_tps`, `uptime`, `error_share` or `answer_ok`
    metric: Annotated[MetricName, WithJsonSchema({"enum": sorted(NAMES)})]
    #: "response" counts from the moment the request was due (default), "service" from the send
    view: Literal["response", "service"] = "response"
    #: a quantile, or a share of requests or of windows of time that are within the limit
    statistic: str = "quantile"
    #: which quantile the limit applies to, such as "99%"
    quantile: Share | None = None
    #: the latency that the quantile must not exceed
    limit: DurationNs | None = None
    #: the limit of each context bucket: one clause for each
    limits: dict[str, DurationNs] = {}
    #: the limit of each model, where models differ; a name means its dated snapshots too, and may
    #: end in `*`
    limit_by_model: dict[str, DurationNs] = {}
    #: of `output_tps`: tokens per second, at least
    at_least: PerSecond | None = None
    #: of `output_tps`: the same of each model, where models differ
    at_least_by_model: dict[str, PerSecond] = {}
    #: whether the time to the first token counts in tokens per second
    with_ttft: bool = True
    #: by default a value equal to the limit is within it; with ">" and "<" it is not
    operator: Literal[">=", ">", "<=", "<"] | None = None
    #: for `uptime`, `answer_ok` and shares: at least this share succeeds; for `error_share`: at
    #: most this share fails
    share: Share | None = None
    #: length of the windows of `share_of_windows`, of `mean_of_intervals` and of `slice_ok`
    window: DurationNs | None = None
    #: the statistic of a window that the limit applies to
    of_window: Literal["p50", "p90", "p95", "p99", "mean"] = "p50"
    #: windows with fewer requests are not counted
    min_requests: Annotated[int, Field(gt=0)] = 1
    #: a request that failed is over the limit, or is left to the uptime clause
    failed: Literal["miss", "excluded"] = "miss"
    #: shorter answers are left out: their tokens per second are noise
    min_output_tokens: Annotated[int, Field(gt=0)] = 1
    #: how uptime is counted: docs/contracts.md
    method: str = "request_ratio"
    #: what an interval without requests counts as
    empty: Literal["up", "excluded"] = "up"
    #: of `downtime_minutes`: a minute is bad above this share of errors
    error_rate: Share | None = None
    #: of `downtime_minutes`: this many bad minutes in a row are downtime
    minutes: Annotated[int, Field(gt=0)] | None = None
    #: of `slice_ok`: a slice is good from this share of successes on
    slice_share: Share | None = None
    #: how resources make one figure: together, or each for itself and then the mean or the least;
    #: "affected": a down minute weighs as much as the share of resources it touched
    weight: Literal["together", "mean", "least", "affected"] = "together"
    #: length of outage, or of slow stretch, that may come seldom: a PASS says whether the run was
    #: long enough to meet one
    assumed_outage: DurationNs = 5 * MINUTE_NS
    #: outcomes that do not count against this clause, as a contract's exclusions name them
    excluding: list[Literal["http_4xx", "rate_limited", "wrong_answer"]] = []
    #: judge only the requests of this phase
    phase: str | None = None
    #: judge only the requests of this context bucket
    bucket: str | None = None
    #: shown with its interval, not judged
    report_only: bool = False
    #: this clause's own credit ladder
    credit: list[CreditStep] | None = None
    #: name of an entry of [sources]
    source: str | None = None

    def given(self, *keys: str) -> set[str]:
        """Those of the keys that were given."""
        return {key for key in keys if getattr(self, key) is not None}

    @property
    def models(self) -> tuple[str, ...]:
        """The models that have a limit of their own; empty where the limit is that of all."""
        return (*self.limit_by_model, *self.at_least_by_model)

    @property
    def rising(self) -> bool:
        """Whether more is better: uptime and tokens per second."""
        return METRICS[self.metric].more_is_better

    @property
    def strict(self) -> bool:
        """Whether a value equal to the limit (or target) breaks the promise."""
        return self.operator in (">", "<")

    @property
    def unit_ns(self) -> int:
        """Length of the stretch of time that is counted, where time is counted."""
        return self.window or MINUTE_NS
