"""What each metric means: printed in every report, so that its numbers can be read years later.

In: nothing. Out: (term, definition) pairs. Must stay true: what stands here is what
`record.samples` and `judge` compute.
"""

from __future__ import annotations

DEFINITIONS: tuple[tuple[str, str], ...] = (
    ("response latency", ("Counted from the moment the request was due by the schedule. A late or busy generator and a full "
     "in-flight cap are part of it. This is the view that contracts are judged by unless a clause says otherwise.")),
    ("service latency", "Counted from the moment the write that completed the request returned."),
    ("TTFT", ("Time to first token: until the first chunk with content, reasoning or a tool call arrived. Chunks that carry "
     "only a role or usage are not tokens.")),
    ("TTFT of the answer", "Time to first token that is not reasoning (ttft_answer)."),
    ("e2e", "End-to-end latency: until the last token of a streamed answer, or the last byte of a plain one."),
    ("TPOT", "Time per output token: (last token − first token) / (output tokens − 1), for answers of two tokens or more."),
    ("inter-chunk gap", "Time between two neighbouring chunks of a streamed answer. A chunk may hold several tokens."),
    ("lag", ("Sent − due: how late a request left. harness lag is the part that is the generator's own: sent − the later of "
     "due and the moment a slot was free. The rest is waiting behind the in-flight cap.")),
    ("connect", ("Time to open the connection (and TLS where used), for the requests that opened one: the network's own share, "
     "to be read beside TTFT.")),
    ("arrival times", ("Taken from the kernel's receive stamp where the platform gives one, else at the read of the socket; "
     "the run facts say which. Stored as integer ns of the monotonic clock.")),
    ("percentile", ("Nearest rank: p99 of n values is the ⌈0.99 · n⌉-th smallest, always a value that was measured. The "
     "tables of key numbers hold requests that succeeded. Clauses and percentile figures hold all measured requests.")),
    ("failed requests", ("Every request ends with exactly one outcome. In a latency clause a failed request counts as over the "
     "limit, and in an uptime clause as down, except for outcomes that the clause excludes by name. A request still open when "
     "the run ended (censored) is unknown, never dropped.")),
    ("interval", ("The range that holds the true value at the stated confidence, from order statistics for percentiles and "
     "from the exact binomial for shares, at the number of rows that these are worth. Where there are too few for a bound to exist, "
     "none is shown.")),
    ("worth", ("Slow requests come in spells, and a hundred of one spell are not a hundred pieces of evidence. Where blocks of time "
     "show such spells, the rows count as this many independent ones.")),
    ("verdict", ("PASS: the share of requests that broke the promise is shown to be at most what the clause allows. FAIL: it is "
     "shown to be more. INCONCLUSIVE: neither is shown by this many rows. INVALID: the measuring side was itself the limit.")),
    ("warm-up", "Requests of a stretch declared before the run. They are sent and kept, and judged by no clause."),
    ("context bucket", "Requests grouped by the prompt tokens that the schedule planned."),
)  # fmt: skip
