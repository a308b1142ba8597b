"""What each metric means: printed in every report, so that its numbers can be read years later.

In: nothing. Out: (term, definition) pairs; those of every report, and those that only some of its
parts need. Must stay true: what stands here is what `record.samples` and `judge` compute.
"""

from __future__ import annotations

from bench.metrics import METRICS

Terms = tuple[tuple[str, str], ...]

DEFINITIONS: Terms = (
    (
        "response latency",
        (
            "Counted from the moment the request was due by the schedule. A late or busy generator"
            " and a full in-flight cap are part of it. This is the view that contracts are judged"
            " by unless a clause says otherwise."
        ),
    ),
    ("service latency", "Counted from the moment the write that completed the request returned."),
    *((metric.label, metric.definition) for metric in METRICS.values() if metric.definition),
    (
        "connect",
        (
            "Time to open the connection (and TLS where used), for the requests that opened one:"
            " the network's own share, to be read beside TTFT."
        ),
    ),
    (
        "arrival times",
        (
            "Taken from the kernel's receive stamp where the platform gives one, else at the read"
            " of the socket; each target says which. Stored as integer ns of the monotonic clock."
        ),
    ),
    (
        "percentile",
        (
            "Nearest rank: p99 of n values is the ⌈0.99 · n⌉-th smallest, always a value that was"
            " measured. The tables of key numbers hold requests that succeeded. Clauses and"
            " percentile figures hold all measured requests."
        ),
    ),
    (
        "failed requests",
        (
            "Every request ends with exactly one outcome. In a latency clause a failed request"
            " counts as over the limit, and in an uptime clause as down, except for outcomes that"
            " the clause excludes by name. A request still open when the run ended (censored) is"
            " unknown, never dropped."
        ),
    ),
    (
        "interval",
        (
            "The range that holds the true value at the stated confidence, from order statistics"
            " for percentiles and from the exact binomial for shares, at the effective n. Where"
            " there are too few for a bound to exist, none is shown."
        ),
    ),
    (
        "n, effective n",
        (
            "The requests (of a clause by time: the windows or minutes) that a clause was judged"
            " by, and how many independent ones they count as. Slow requests come in clusters, and"
            " a hundred of one cluster are not a hundred pieces of evidence: where blocks of time"
            " show such clusters, effective n is less than n."
        ),
    ),
    (
        "verdict",
        (
            "PASS: the share of requests that broke the promise is shown to be at most what the"
            " clause allows. FAIL: it is shown to be more. INCONCLUSIVE: neither is shown by this"
            " many requests. REPORTED: shown, promised by nobody. INVALID: the harness itself was"
            " itself the limit."
        ),
    ),
    (
        "credit, projected",
        (
            "The step of the contract's ladder that a whole period like this run would reach, and"
            " in brackets the steps at the limits of the share. A sample never says that a credit"
            " is due; a census of the period does."
        ),
    ),
    (
        "steadiness",
        (
            "Diagnostics beside the verdicts. MSER-5: how many rows at the beginning would have to"
            " go for the mean of what is left to be known best; settled: fewer than the most it may"
            " drop, half. Trend: Spearman's rank correlation of breaches with time, and how likely"
            " it is by chance."
        ),
    ),
    (
        "warm-up",
        (
            "Requests of a stretch declared before the run. They are sent and kept, and judged by"
            " no clause."
        ),
    ),
    ("context bucket", "Requests grouped by the prompt tokens that the schedule planned."),
)

COMPARED: Terms = (
    (
        "ratio",
        "A quantile of the other target over that of the baseline: below 1 the other is faster.",
    ),
    (
        "margin",
        (
            "How large a ratio, either way, counts as no matter. EQUIVALENT: the whole interval of"
            " the ratio lies within it."
        ),
    ),
    (
        "MDE",
        (
            "Minimum detectable effect: the smallest ratio that 8 of 10 comparisons like this one"
            " would call a difference."
        ),
    ),
)
ATTRIBUTED: Terms = (
    (
        "of the tail",
        (
            "Population attributable fraction: the share of the slow requests that would not have"
            " been slow, had the level been as slow as the rest. An association; a cause needs an"
            " experiment."
        ),
    ),
    (
        "within like contexts",
        "Mantel-Haenszel odds ratio: of requests whose prompts are about equally long.",
    ),
    (
        "Shapley",
        "The shares of several levels that overlap, divided among them so that they add up.",
    ),
)
CENSUSED: Terms = (
    (
        "census",
        (
            "Every request of a period, from a log that is complete: exact arithmetic instead of an"
            " interval. Bounds stand where the log does not say; a promise that holds at one bound"
            " and not at the other is open."
        ),
    ),
)
