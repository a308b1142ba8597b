"""What was seen at an endpoint, and what follows from it in numbers.

In: the way to the server, its list of models, requests that ended. Out: `Seen`; the records of
network, answer and clock. Must stay true: what nothing shows is None; the server's clock is where
all its answers agree that it is.
"""

from __future__ import annotations

import dataclasses
from email.utils import parsedate_to_datetime

from bench.load.network_path import NetworkPath
from bench.load.transport.interface import Headers, TransportFailure
from bench.load.trial import Listing, Trial
from bench.plan.budget import usd_of
from bench.plan.target import Target
from bench.record.records.diagnosis import AnswerFound, ClockFound, NetworkFound
from bench.record.samples import Flag, Outcome
from bench.units import MS, S

#: With so many events with tokens in one read somebody held them back.
_BUFFERED_LEAST = 4


@dataclasses.dataclass
class Seen:
    """What was seen so far."""

    #: as a run would have it, as far as that is known
    target: Target
    path: NetworkPath | None = None
    failure: TransportFailure | None = None
    listing: Listing | None = None
    trials: list[Trial] = dataclasses.field(default_factory=list)
    limits: dict[str, int] = dataclasses.field(default_factory=dict)
    #: no model was named, and the server lists none or several
    nameless: bool = False
    #: no API was answered
    speaks_none: bool = False
    #: and below this URL the same server lists models
    better_url: str = ""

    @property
    def last(self) -> Trial | None:
        """The request that was sent last."""
        return self.trials[-1] if self.trials else None

    @property
    def answered(self) -> Trial | None:
        """The request that was answered."""
        last = self.last
        return last if last is not None and last.outcome is Outcome.ok else None

    @property
    def statuses(self) -> set[int]:
        """Of every request, the list of models among them."""
        found = {trial.status for trial in self.trials}
        return found | ({self.listing.status} if self.listing else set())


def usd_spent(seen: Seen) -> float | None:
    """What the answered request cost; None where no price is known."""
    trial, prices = seen.answered, seen.target.prices
    if prices is None or trial is None or trial.answer is None:
        return None
    if trial.answer.prompt_tokens < 0:
        return None
    return float(usd_of(prices, trial.answer.prompt_tokens, max(trial.answer.output_tokens, 0)))


def network_of(seen: Seen) -> NetworkFound | None:
    """The way to the server; None where nobody looked."""
    path = seen.path
    if path is None:
        return None
    trip_ns = seen.listing.round_trip_ns if seen.listing else -1
    return NetworkFound(
        address=path.address,
        dns_ms=_known_ms(path.dns_ns),
        connect_ms=_known_ms(path.connect_ns),
        tls_ms=_known_ms(path.tls_ns),
        round_trip_ms=_known_ms(trip_ns),
        tls_version=path.tls_version,
        alpn=path.alpn,
    )


def _known_ms(ns: int) -> float | None:
    return None if ns < 0 else round(ns / MS, 3)


def answer_of(trial: Trial) -> AnswerFound:
    """What a request that was answered showed."""
    answer = trial.answer
    assert answer is not None
    streamed = bool(trial.flags & Flag.STREAMED)
    first_ns, last_ns = answer.first_token_ns, answer.last_token_ns
    spread_ns = last_ns - first_ns if first_ns >= 0 else -1
    end_ns = last_ns if last_ns >= 0 else trial.done_ns
    judged = streamed and answer.chunks >= _BUFFERED_LEAST
    return AnswerFound(
        streamed=streamed,
        ttft_ms=_known_ms(first_ns - trial.sent_ns) if streamed and first_ns >= 0 else None,
        e2e_ms=_known_ms(end_ns - trial.sent_ns),
        token_events=answer.chunks,
        reads=len(trial.arrivals),
        spread_ms=_known_ms(spread_ns) if streamed else None,
        buffered=spread_ns == 0 if judged else None,
        prompt_tokens=answer.prompt_tokens if answer.prompt_tokens >= 0 else None,
        output_tokens=answer.output_tokens if answer.output_tokens >= 0 else None,
        model=answer.model or trial.served_model,
        tier=trial.tier,
        region=trial.region,
    )


def clock_of(seen: Seen) -> ClockFound | None:
    """What all answers agree on: each Date was true at some moment between question and answer."""
    sights: list[tuple[Headers, int, int]] = [
        (trial.headers, trial.sent_wall_ns, trial.head_wall_ns) for trial in seen.trials
    ]
    if seen.listing is not None and seen.listing.status:
        found = seen.listing
        sights.append((list(found.headers), found.sent_wall_ns, found.head_wall_ns))
    low_ns, high_ns = None, None
    for headers, sent_ns, head_ns in sights:
        date_ns = _date_ns(headers)
        if date_ns is None:
            continue
        low, high = date_ns - head_ns, date_ns + S - sent_ns
        if low_ns is None or high_ns is None or low > high_ns or high < low_ns:
            low_ns, high_ns = low, high
        else:
            low_ns, high_ns = max(low, low_ns), min(high, high_ns)
    if low_ns is None or high_ns is None:
        return None
    return ClockFound(low_ms=round(low_ns / MS, 1), high_ms=round(high_ns / MS, 1))


def _date_ns(headers: Headers) -> int | None:
    """A date that a cache kept is old."""
    given = dict(headers)
    if b"age" in given or b"date" not in given:
        return None
    try:
        return round(parsedate_to_datetime(given[b"date"].decode("latin-1")).timestamp()) * S
    except (ValueError, TypeError, OverflowError):
        return None
