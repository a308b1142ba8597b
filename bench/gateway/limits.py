"""Rate limits: a token bucket for each key.

In: requests in order of arrival. Out: whether each may pass, and what is left. Must stay true:
limits count in whole numbers; keys are bounded in number.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from bench.gateway.scenarios import RateLimit
from bench.units import S

#: Keys remembered at once; the longest unused is forgotten, its bucket counted as full again.
MAX_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """A token bucket's answer to one request."""

    allowed: bool
    limit: int
    remaining: int
    #: until one more request may pass; 0 when one may now
    retry_after_ns: int
    #: until the bucket is full again
    reset_ns: int


class TokenBuckets:
    """One bucket a key, filled steadily at the limit's rate.

    A bucket is kept as the moment at which it will be full: each request moves it one interval
    on, and may pass while it lies at most `burst` intervals ahead.
    """

    def __init__(self, limit: RateLimit):
        self.interval_ns = round(60 * S / limit.requests_per_min)
        self.burst, self.limit = limit.burst, round(limit.requests_per_min)
        self._full_at: OrderedDict[str, int] = OrderedDict()

    def take(self, key: str, now_ns: int) -> Allowance:
        """Count one request of `key` at `now_ns`; one that may not pass costs nothing."""
        full_at = max(self._full_at.pop(key, now_ns), now_ns)
        room_ns = self.burst * self.interval_ns - (full_at - now_ns)
        allowed = room_ns >= self.interval_ns
        if allowed:
            full_at += self.interval_ns
            room_ns -= self.interval_ns
        self._full_at[key] = full_at
        if len(self._full_at) > MAX_KEYS:
            self._full_at.popitem(last=False)
        return Allowance(
            allowed,
            self.limit,
            room_ns // self.interval_ns,
            max(0, self.interval_ns - room_ns),
            full_at - now_ns,
        )
