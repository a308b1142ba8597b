"""What is measured: the table of metrics.

In: nothing. Out: `METRICS`, by name. Must stay true: every file that computes, promises, exports or
explains a metric asks this table; a new metric is one entry here and, where no column holds it yet,
the column that it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from bench import columns

if TYPE_CHECKING:
    from bench.columns import Int, Table

View = Literal["response", "service", "blameless"]
#: Who may promise a metric: a latency has a limit for each request, a rate a floor; the other two
#: are shares of requests or of time, the last one of answers that were checked.
Promise = Literal["latency", "rate", "uptime", "errors", "answers"]


@dataclass(frozen=True)
class Series:
    """A metric under the name that monitoring systems know; seconds."""

    name: str
    says: str
    view: View = "response"


@dataclass(frozen=True)
class Metric:
    """One quantity of a request: what it is called, how it is computed, who shows it."""

    name: str
    #: in tables and in the text of clauses
    label: str
    #: on the axes of figures
    long_label: str = ""
    #: printed in every report
    definition: str = ""
    #: names that users of other tools know
    aliases: tuple[str, ...] = ()
    unit: Literal["ms", "tokens/s", "share"] = "ms"
    more_is_better: bool = False
    promise: Promise | None = None
    #: moment at which it ends, of one that counts from due (response) or sent (service); else None
    end_ns: Callable[[Table], Int] | None = None
    #: ns a request, -1 where it has none, of one that counts from neither
    length_ns: Callable[[Table], Int] | None = None
    #: what it had come to for certain when a request was cut off, by view; -1 where nothing is
    #: known. By default a moment that came keeps its time, else it is as late as the cut.
    known_ns: Callable[[Table, str], Int] | None = None
    #: only streamed answers have it
    streamed: bool = False
    #: answers of fewer tokens have none, and neither keep nor break a promise on it
    min_tokens: int = 0
    #: needs two chunks, which only a run counts
    counts_chunks: bool = False
    #: what has come by then, to be put before "within 800 ms" in a sentence for buyers
    until: str = ""
    #: shown first: on screens, by phase and bucket, in the figures of every target
    headline: bool = False
    #: keys of a target in summary.json that hold it: a table of metrics, or one of its own
    summary: tuple[str, ...] = ()
    #: a metric beside which it says more: left out of tables where it has nothing else to say
    refines: str = ""
    #: summed up over the requests that succeeded, else over all that were sent
    of_answers: bool = True
    #: views of which histograms.hlog has a histogram
    hlog: tuple[View, ...] = ()
    #: fields of a request log that it takes; None where only a run records it
    log_fields: tuple[str, ...] | None = None
    #: the columns of logs that hold it under these names
    log_columns: str = ""
    series: tuple[Series, ...] = ()
    #: its name in the result files of other tools
    peers: dict[str, str] = field(default_factory=dict)

    @property
    def views(self) -> tuple[View, ...]:
        """From where it may count: empty for what neither lateness nor waiting can lengthen."""
        if self.end_ns is not None:
            return ("response", "service")
        return ()

    def ns(self, samples: Table, view: str = "response") -> Int:
        """Its value a request; a value that is no length of time raises ValueError.

        View "blameless" is response without our own harness_lag: waiting for a slot or a connection
        stays in, our own lateness does not.
        """
        if self.end_ns is not None:
            length = columns.between_ns(columns.start_ns(samples, view), self.end_ns(samples))
            if view == "blameless":
                known = length >= 0
                length[known] -= columns.harness_lag_ns(samples)[known].clip(min=0)
            return length
        if self.length_ns is None:
            raise ValueError(f"{self.name} is no length of time")
        return self.length_ns(samples)

    def known_by_cut_ns(self, samples: Table, view: str) -> Int:
        """What it had come to for certain when a request was cut off; -1 where nothing is known."""
        if self.known_ns is not None:
            return self.known_ns(samples, view)
        known = self.ns(samples, view)
        age = columns.age_ns(samples, view)
        known[known < 0] = age[known < 0]
        return known


_TABLE = (
    Metric(
        "ttft",
        "TTFT",
        "time to first token",
        "Time to first token: until the first chunk with content, reasoning or a tool call arrived."
        " Chunks that carry only a role or usage are not tokens.",
        aliases=("time_to_first_token",),
        promise="latency",
        end_ns=lambda samples: samples["first_token_ns"],
        streamed=True,
        until="the answer begun",
        headline=True,
        summary=("response_ms", "service_ms"),
        hlog=("response", "service"),
        log_fields=("ttft",),
        log_columns="ttft ttft_ms ttft_s time_to_first_token time_to_first_token_ms first_token_ms",
        series=(
            Series(
                "gen_ai.client.operation.time_to_first_chunk",
                "Time from the send to the first chunk that held a token.",
                "service",
            ),
            Series(
                "tailproof.response.time_to_first_token",
                "Time from the moment a request was due to its first token.",
            ),
        ),
        peers={"vllm": "ttft", "aiperf": "time_to_first_token"},
    ),
    Metric(
        "ttft_answer",
        "TTFT of the answer",
        "time to first token of the answer",
        "Time to first token that is not reasoning (ttft_answer).",
        aliases=("ttfat", "ttfo"),
        promise="latency",
        end_ns=lambda samples: samples["first_answer_token_ns"],
        streamed=True,
        until="the first word after any reasoning",
        refines="ttft",
        summary=("response_ms",),
        peers={"aiperf": "time_to_first_output_token"},
    ),
    Metric(
        "e2e",
        "e2e",
        "end-to-end latency",
        "End-to-end latency: until the last token of a streamed answer, or the last byte of a plain"
        " one.",
        aliases=("e2el", "latency", "request_latency", "end_to_end"),
        promise="latency",
        end_ns=columns.end_ns,
        # The last token so far of a request that was cut off is not its end.
        known_ns=columns.age_ns,
        until="the answer complete",
        headline=True,
        summary=("response_ms", "service_ms"),
        hlog=("response", "service"),
        log_fields=("latency",),
        log_columns=(
            "latency latency_ms duration_ms duration_s duration_ns duration e2e e2e_ms e2el_ms"
            " request_latency response_time total_time request_time"
        ),
        series=(
            Series(
                "gen_ai.client.operation.duration",
                "Time of a request from its send to its last token, or to its failure.",
                "service",
            ),
            Series(
                "tailproof.response.duration",
                "Time from the moment a request was due to its last token, or to its failure.",
            ),
        ),
        peers={"vllm": "e2el", "aiperf": "request_latency"},
    ),
    Metric(
        "tpot",
        "TPOT",
        "time per output token",
        "Time per output token: (last token − first token) / (output tokens − 1), for answers of"
        " two tokens or more whose tokens the server counted and that came in several chunks, each"
        " of one token or with its own count.",
        aliases=("time_per_output_token",),
        promise="latency",
        length_ns=columns.ns_a_token,
        known_ns=columns.unknown_ns,
        streamed=True,
        min_tokens=2,
        summary=("response_ms",),
        hlog=("response",),
        log_fields=("latency", "ttft", "output_tokens"),
        series=(
            Series("tailproof.time_per_output_token", "Time per output token after the first one."),
        ),
        peers={"vllm": "tpot", "aiperf": "inter_token_latency"},
    ),
    Metric(
        # Of all gaps, not one a request: from the histograms that are kept while requests run.
        "inter_chunk",
        "inter-chunk gap",
        definition=(
            "Time between two neighbouring chunks of a streamed answer. A chunk may hold several"
            " tokens."
        ),
        streamed=True,
        summary=("inter_chunk_ms",),
    ),
    Metric(
        "inter_chunk_max",
        "longest gap between chunks",
        "longest gap between chunks",
        aliases=("itl_max",),
        promise="latency",
        length_ns=columns.longest_gap_ns,
        known_ns=columns.gap_or_silence_ns,
        streamed=True,
        min_tokens=2,
        counts_chunks=True,
        refines="inter_chunk",
        summary=("inter_chunk_max_ms",),
    ),
    Metric(
        "output_tps",
        "output speed",
        "output speed",
        "Output tokens per second of one answer, from the moment the clause counts from (or, where"
        " it leaves the time to the first token out, from that token) to its end. Of a floor the"
        " slow tail lies below.",
        aliases=("tokens_per_second", "output_token_throughput_per_user"),
        unit="tokens/s",
        more_is_better=True,
        promise="rate",
        min_tokens=1,
        log_fields=("latency", "output_tokens"),
    ),
    Metric(
        "uptime",
        "uptime",
        definition=(
            "Request ratio: requests that succeeded, of all that count. By intervals: the mean of"
            " each interval's ratio. By minutes or slices: the share of them that the contract's"
            " rule does not call down. The clause names which."
        ),
        aliases=("availability",),
        unit="share",
        more_is_better=True,
        promise="uptime",
        log_fields=(),
    ),
    Metric(
        "error_share",
        "error share",
        definition="Requests that did not succeed, of all that count.",
        aliases=("errors", "error_rate"),
        unit="share",
        promise="errors",
        log_fields=(),
    ),
    Metric(
        "answer_ok",
        "right answers",
        definition="Answers that are what the profile expects of them, of all that came whole.",
        aliases=("answers",),
        unit="share",
        more_is_better=True,
        promise="answers",
    ),
    Metric(
        "lag",
        "lag",
        "lag behind schedule",
        definition=(
            "Sent − due: how late a request left. harness lag is the part that is the generator's"
            " own: sent − the later of due and the moment a slot was free. The rest is waiting"
            " behind the in-flight cap."
        ),
        length_ns=columns.lag_ns,
        summary=("lag_ms",),
        of_answers=False,
        hlog=("response",),
    ),
    Metric(
        "harness_lag",
        "harness lag",
        "of which harness",
        length_ns=columns.harness_lag_ns,
        summary=("harness_lag_ms",),
        of_answers=False,
    ),
)
METRICS = MappingProxyType({metric.name: metric for metric in _TABLE})
#: Every name of a metric that a contract may promise something about, to the table's own.
NAMES = MappingProxyType(
    {
        name: metric.name
        for metric in _TABLE
        if metric.promise is not None
        for name in (metric.name, *metric.aliases)
    }
)
#: Keys of a target in summary.json under which metrics stand by name.
VIEW_KEYS = ("response_ms", "service_ms")


def promised_as(*promises: Promise) -> tuple[str, ...]:
    """The metrics that may be promised in these ways."""
    return tuple(metric.name for metric in _TABLE if metric.promise in promises)


#: Have a limit a request.
LATENCIES = promised_as("latency")
#: Count from the moment a request was due or sent: sending late lengthens them.
FROM_DUE = tuple(metric.name for metric in _TABLE if metric.views)
#: Shown first, everywhere.
HEADLINES = tuple(metric.name for metric in _TABLE if metric.headline)


def in_summary(key: str) -> tuple[str, ...]:
    """The metrics that summary.json holds under this key of a target."""
    return tuple(metric.name for metric in _TABLE if key in metric.summary)


def in_hlog() -> tuple[tuple[Metric, View], ...]:
    """The histograms of a target in histograms.hlog, in the order of the file."""
    found = [(metric, view) for metric in _TABLE for view in metric.hlog]
    return tuple(sorted(found, key=lambda pair: (not pair[0].of_answers, pair[1])))


def known_from(fields: Iterable[str]) -> frozenset[str]:
    """The metrics that a request log with these fields can be held to."""
    known = set(fields)
    return frozenset(
        metric.name
        for metric in _TABLE
        if metric.log_fields is not None and known.issuperset(metric.log_fields)
    )


def peer_names(tool: str) -> dict[str, str]:
    """metric -> its name in the result files of another tool."""
    return {metric.name: metric.peers[tool] for metric in _TABLE if tool in metric.peers}


def latency_ns(samples: Table, metric: str, view: str = "response") -> Int:
    """One metric a request in ns, -1 where the request has none. Raises ValueError.

    View "response" counts from due, "service" from sent, "blameless" is response without our own
    lateness. A plain (unstreamed) answer has no tokens in time: only e2e and the lags.
    """
    if metric not in METRICS:
        raise ValueError(f"no such metric: {metric}")
    return METRICS[metric].ns(samples, view)
