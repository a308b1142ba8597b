"""A contract: the clauses that a run is judged by, and the terms no run can measure.

In: one TOML file of `profiles/contracts`, or a one-line SLO of the command line. Out: a frozen
`Contract`. Must stay true: shares and limits stay exact (`Fraction`, ns); a term that cannot
be measured is listed as attested, never as passed.
"""

from __future__ import annotations

import re
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from bench.errors import UserError
from bench.plan.profile import bucket_names
from bench.units import parse_duration_ns, parse_share, show_exact, show_limit
from bench.userfile import DurationNs, Share, Usd, UserModel, find_file, load_model

Metric = Literal["ttft", "ttft_answer", "e2e", "tpot", "inter_chunk_max", "uptime", "error_share"]
LATENCIES: tuple[Metric, ...] = ("ttft", "ttft_answer", "e2e", "tpot", "inter_chunk_max")
#: Names that users of other tools know.
ALIASES: dict[str, str] = {
    "time_to_first_token": "ttft", "ttfat": "ttft_answer", "ttfo": "ttft_answer",
    "e2el": "e2e", "latency": "e2e", "request_latency": "e2e", "end_to_end": "e2e",
    "time_per_output_token": "tpot", "itl_max": "inter_chunk_max",
    "uptime": "uptime", "availability": "uptime", "errors": "error_share", "error_rate": "error_share",
}  # fmt: skip
METRIC_TEXT = {
    "ttft": "TTFT", "ttft_answer": "TTFT of the answer", "e2e": "e2e",
    "tpot": "TPOT", "inter_chunk_max": "longest gap between chunks",
    "uptime": "uptime, request ratio", "error_share": "error share",
}  # fmt: skip


class Source(UserModel):
    """Where a term was read, and when."""

    url: str
    retrieved: date


class Clause(UserModel):
    """One promise: `quantile` of `metric` at most `limit`, or a share of requests.

    `quantile = 0.99` with `limit = "800ms"` reads: at least 99 % of the requests finish within
    800 ms, failures counted as over the limit.
    """

    metric: Metric
    #: "response" counts from the moment the request was due (default), "service" from the send
    view: Literal["response", "service"] = "response"
    quantile: Share | None = None
    limit: DurationNs | None = None
    #: for `uptime`: at least this share succeeds; for `error_share`: at most this share fails
    share: Share | None = None
    #: outcomes that do not count against this clause, as a contract's exclusions name them
    excluding: list[Literal["http_4xx", "rate_limited"]] = []
    #: judge only the rows of this phase, or of this context bucket
    phase: str | None = None
    bucket: str | None = None
    #: shown with its interval, judged by nobody
    report_only: bool = False
    source: Source | None = None

    @field_validator("metric", mode="before")
    @classmethod
    def _by_any_name(cls, metric: object) -> object:
        return ALIASES.get(metric, metric) if isinstance(metric, str) else metric

    @field_validator("bucket")
    @classmethod
    def _known_bucket(cls, bucket: str | None) -> str | None:
        # `<=1K` and `1K-8K` are what a keyboard offers for `≤1K` and `1K–8K`.
        typed = bucket.replace("<=", "≤").replace("-", "–").replace(" ", "") if bucket is not None else None
        if typed is not None and typed not in bucket_names():
            raise ValueError(f"{bucket!r} is no context bucket; write one of {', '.join(bucket_names())}")
        return typed

    @model_validator(mode="after")
    def _decidable(self) -> Self:
        if self.metric in LATENCIES:
            if self.quantile is None or self.share is not None:
                raise ValueError(f'metric "{self.metric}" needs quantile and limit')
            if self.limit is None and not self.report_only:
                raise ValueError(f'metric "{self.metric}" needs a limit such as "800ms"')
            if self.limit is not None and self.limit <= 0:
                raise ValueError("limit must be above zero")
            if not 0 < self.quantile < 1:
                raise ValueError("quantile must lie between 0 and 1; no finite run can prove 100 %")
        else:
            if self.share is None or self.quantile is not None or self.limit is not None:
                raise ValueError(f'metric "{self.metric}" needs share, and neither quantile nor limit')
            if self.allowed_share in (0, 1):
                raise ValueError("no finite run can prove a share of 0 % or 100 %; state what is allowed")
            if self.view != "response":
                raise ValueError(f'metric "{self.metric}" has no view')
        return self

    @property
    def allowed_share(self) -> Fraction:
        """p0: the share of requests that may break the promise. Every clause is one proportion."""
        if self.quantile is not None:
            return 1 - self.quantile
        assert self.share is not None
        return 1 - self.share if self.metric == "uptime" else self.share

    @property
    def text(self) -> str:
        """`response e2e p99 ≤ 800 ms`, with the phase or bucket it is restricted to."""
        if self.quantile is not None:
            name = f"{self.view} {METRIC_TEXT[self.metric]} {quantile_name(self.quantile)}"
            name += f" ≤ {show_limit(self.limit)}" if self.limit is not None else ""
        else:
            assert self.share is not None
            name = (
                f"{METRIC_TEXT[self.metric]} {'≥' if self.metric == 'uptime' else '≤'} {show_exact(self.share * 100)} %"
            )
        limits = [f"{kind} {value}" for kind, value in (("phase", self.phase), ("context", self.bucket)) if value]
        return f"{name} ({', '.join(limits)})" if limits else name


class Attested(UserModel):
    """A term that no probe can measure: shown, never judged."""

    term: str
    source: Source | None = None


class Contract(UserModel):
    """Clauses, the confidence each is judged at, and what a breach costs."""

    title: str
    name: str = ""
    confidence: Share = Fraction(95, 100)
    clauses: Annotated[list[Clause], Field(alias="clause")] = []
    attested: list[Attested] = []
    breach_cost_usd: Usd | None = None
    source: str = ""

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if not Fraction(1, 2) < self.confidence < 1:
            raise ValueError("confidence must lie between 50 % and 100 %")
        return self

    @property
    def tightest_limit_ns(self) -> int | None:
        """The smallest limit that sending late can break: what the harness's own lag is held against."""
        counted = [c for c in self.clauses if c.metric in ("ttft", "ttft_answer", "e2e") and not c.report_only]
        return min((c.limit for c in counted if c.limit is not None), default=None)


def quantile_name(quantile: Fraction) -> str:
    """`p99`, `p99.9`."""
    return f"p{show_exact(quantile * 100)}"


def load_contract(name: str, beside: Path | None = None) -> Contract:
    """A contract by built-in name or path."""
    path = find_file("contracts", name, beside)
    contract = load_model(Contract, path)
    return contract.model_copy(update={"name": contract.name or path.stem})


_SLO_LATENCY = re.compile(
    r"(?P<metric>[a-z_0-9]+)\s*:\s*p\(?(?P<q>\d+(?:\.\d+)?)\)?\s*(?P<op><=?|:l[te]:)\s*(?P<limit>\S.*)"
)
_SLO_SHARE = re.compile(r"(?P<metric>[a-z_0-9]+)\s*(?P<op>>=?|<=?)\s*(?P<share>[\d.]+\s*%)")


def parse_slo(text: str) -> Clause:
    """`ttft:p99<800ms`, `uptime>=99.9%`, `error_share<=1%` -> a clause.

    A bare number as limit is in ms, as AIPerf's and vLLM's flags have it. Raises UserError.
    """
    where = f"--slo {text!r}"
    clean = text.strip().lower()
    try:
        if match := _SLO_LATENCY.fullmatch(clean):
            metric = ALIASES.get(match["metric"], match["metric"])
            if metric in LATENCIES:
                limit = match["limit"].strip()
                ns = parse_duration_ns(f"{limit}ms" if re.fullmatch(r"[\d.]+", limit) else limit)
                return Clause(metric=metric, quantile=parse_share(match["q"] + "%"), limit=f"{ns}ns")
        elif match := _SLO_SHARE.fullmatch(clean):
            metric = ALIASES.get(match["metric"], match["metric"])
            wanted = {"uptime": ">", "error_share": "<"}.get(metric)
            if wanted is not None and match["op"][0] == wanted:
                return Clause(metric=metric, share=parse_share(match["share"]))
    except ValidationError as error:
        raise UserError(str(error.errors()[0]["msg"]).removeprefix("Value error, "), where=where) from None
    except ValueError as error:
        raise UserError(str(error), where=where) from None
    raise UserError("is not an SLO that can be judged", where=where,
                    remedy=f"write metric:pNN<limit (metrics: {', '.join(LATENCIES)}), uptime>=99.9% or error_share<=1%")  # fmt: skip
