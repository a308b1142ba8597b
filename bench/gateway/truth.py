"""What the gateway really did: per request in a log, in all as exact quantiles.

In: one record a request when it ends, and the error of every timed write. Out: the answer of
`GET /truth` and JSON lines. Must stay true: quantiles are the exact nearest rank over the same
records that the log holds; times count from the moment the whole request had been read.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from typing import Any, NamedTuple, TextIO

#: Shares of a set that are reported, in thousandths.
QUANTILES = {"p50": 500, "p90": 900, "p95": 950, "p99": 990, "p999": 999}
#: Timing errors are counted in 1 µs bins up to here; the greatest is kept exactly.
ERROR_BINS_US = 20_000
#: A pattern such as `*` lets clients make up names; beyond this many they are counted together.
MAX_MODELS = 200


class Record(NamedTuple):
    """One request.

    Moments are monotonic ns; `outcome` is ok, refused, rate_limited, faulted or disconnected.
    """

    scenario: str
    number: int
    request_id: str
    read_ns: int
    model: str = ""
    served_model: str = ""
    tier: str = ""
    region: str = ""
    stream: bool = False
    status: int = 0
    outcome: str = ""
    fault: str | None = None
    prompt_tokens: int = 0
    output_tokens: int = 0
    ttft_ns: int | None = None
    e2e_ns: int | None = None
    planned_ttft_ns: int | None = None
    planned_e2e_ns: int | None = None
    api: str = ""
    #: in the vendor's words: what was asked for, what answered, and what the answer says of it
    asked_tier: str = ""
    answering_tier: str = ""
    named_tier: str = ""
    #: what went wrong, for requests that were not answered
    trouble: str = ""


def nearest_rank(ordered: list[int] | array[int], thousandths: int) -> int:
    """The value at rank ceil(n·q), counted from 1, of a sorted sequence that is not empty."""
    return ordered[max(0, -(-len(ordered) * thousandths // 1000) - 1)]


def quantiles_ms(values: array[int]) -> dict[str, float] | None:
    """n, mean, the quantiles and the maximum in ms of values in ns; None when there are none."""
    if not values:
        return None
    ordered = sorted(values)
    result: dict[str, float] = {"n": len(ordered), "mean": sum(ordered) / len(ordered) / 1e6}
    result |= {name: nearest_rank(ordered, share) / 1e6 for name, share in QUANTILES.items()}
    return result | {"max": ordered[-1] / 1e6}


class _Group:
    """The finished answers of one model."""

    def __init__(self) -> None:
        self.ttft, self.e2e = array("q"), array("q")
        self.statuses: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.troubles: Counter[str] = Counter()
        #: of finished answers: (asked for, what answered, what they say)
        self.tiers: Counter[tuple[str, str, str]] = Counter()

    def add(self, record: Record) -> None:
        self.statuses[str(record.status)] += 1
        self.outcomes[record.outcome] += 1
        if record.trouble:
            self.troubles[record.trouble] += 1
        if record.answering_tier and record.outcome == "ok":
            self.tiers[record.asked_tier, record.answering_tier, record.named_tier] += 1
        if record.outcome == "ok":
            if record.ttft_ns is not None:
                self.ttft.append(record.ttft_ns)
            if record.e2e_ns is not None:
                self.e2e.append(record.e2e_ns)

    def facts(self) -> dict[str, Any]:
        return {
            "requests": sum(self.outcomes.values()),
            "by_status": dict(sorted(self.statuses.items())),
            "by_outcome": dict(sorted(self.outcomes.items())),
            "by_trouble": dict(sorted(self.troubles.items())),
            "tiers": self._tier_facts(),
            "ttft_ms": quantiles_ms(self.ttft),
            "e2e_ms": quantiles_ms(self.e2e),
        }

    def _tier_facts(self) -> dict[str, dict[str, int]]:
        """How many answers by the tier asked for, by the one that answered, by what they say.

        A text that stands for nothing is "".
        """
        facts = {}
        for place, name in enumerate(("asked", "served", "told")):
            counts: Counter[str] = Counter()
            for words, number in self.tiers.items():
                counts[words[place]] += number
            facts[name] = dict(sorted(counts.items()))
        return facts


class TruthBook:
    """The truth of one scenario since it began or was reset."""

    def __init__(self, scenario: str, log: TextIO | None = None):
        self.scenario = scenario
        self._log = log
        self._all, self._models = _Group(), dict[str, _Group]()
        self._errors = array("q", bytes(8 * (ERROR_BINS_US + 1)))
        self._max_error_ns = self._writes = 0

    def add(self, record: Record) -> None:
        """A request has ended, in whatever way."""
        self._all.add(record)
        if record.model in self._models or len(self._models) < MAX_MODELS:
            name = record.model
        else:
            name = "(others)"
        self._models.setdefault(name, _Group()).add(record)
        if self._log is not None:
            self._log.write(json.dumps(record._asdict(), separators=(",", ":")) + "\n")

    def wrote(self, error_ns: int) -> None:
        """A write that was due `error_ns` ago has been handed to the kernel."""
        self._writes += 1
        self._errors[min(error_ns // 1000, ERROR_BINS_US)] += 1
        self._max_error_ns = max(self._max_error_ns, error_ns)

    def _error_quantile_ms(self, thousandths: int) -> float | None:
        rank = max(1, -(-self._writes * thousandths // 1000))
        seen = 0
        for us, count in enumerate(self._errors):
            seen += count
            if seen >= rank:
                if us < ERROR_BINS_US:
                    return us / 1000
                return self._max_error_ns / 1e6
        return None

    def facts(self) -> dict[str, Any]:
        """The whole truth, as `GET /truth` gives it."""
        p99 = self._error_quantile_ms(990)
        timing = {
            "writes": self._writes,
            "p50": self._error_quantile_ms(500),
            "p99": p99,
            "max": self._max_error_ns / 1e6 if self._writes else None,
            "kept_up": p99 is None or p99 < 1.0,
        }
        models = {name: group.facts() for name, group in sorted(self._models.items())}
        return {
            "scenario": self.scenario,
            "all": self._all.facts(),
            "models": models,
            "timing_error_ms": timing,
        }
