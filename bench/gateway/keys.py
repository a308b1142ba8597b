"""Keys: which one a request carries, how long it is taken, and how often (a token bucket each).

In: headers and queries of requests in order of arrival. Out: a name of the key; RequestError once
it has expired; whether its rate limit lets a request pass, and what is left. Must stay true: a
signature is not verified, its key is read; limits count in whole numbers; keys are bounded in
number: the longest unused is forgotten, its bucket counted as full again.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, model_validator

from bench.gateway.wire import RequestError, Trouble
from bench.units import S
from bench.userfile import DurationNs, UserModel

#: Keys remembered at once; the longest unused is forgotten.
MAX_KEYS = 10_000
_HEADERS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
#: Of a signature of AWS: the access key, by which its owner is known.
_SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/")


class KeyLifetime(UserModel):
    """How long a key is taken; then each request with it is refused (401) until another comes."""

    #: so many requests
    requests: Annotated[int, Field(gt=0)] | None = None
    #: so long from its first request on
    time: DurationNs | None = None
    #: false: once one key has expired, no other is taken either
    renewable: bool = True

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if (self.requests is None) == (self.time is None):
            raise ValueError("needs one of requests, time")
        return self


def key_of(headers: Mapping[str, str], query: str = "") -> str:
    """The key that a request carries, "" for none. Google takes one in the query too."""
    for name in _HEADERS:
        if value := headers.get(name):
            signed = _SIGNED.match(value)
            if signed is None:
                return value
            return signed[1] + headers.get("x-amz-security-token", "")
    return "".join(part[4:] for part in query.split("&") if part.startswith("key="))


class KeyBook:
    """When each key was first seen, and how often."""

    def __init__(self, lifetime: KeyLifetime | None):
        self._lifetime = lifetime
        self._seen: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._closed = False

    def take(self, key: str, now_ns: int) -> None:
        """Count a request with a key. Raises RequestError once it has expired."""
        lifetime = self._lifetime
        if lifetime is None:
            return
        first_ns, requests = self._seen.pop(key, (now_ns, 0))
        self._seen[key] = first_ns, requests + 1
        if len(self._seen) > MAX_KEYS:
            self._seen.popitem(last=False)
        used_up = lifetime.requests is not None and requests >= lifetime.requests
        too_old = lifetime.time is not None and now_ns - first_ns >= lifetime.time
        if used_up or too_old:
            self._closed = not lifetime.renewable
        elif not self._closed:
            return
        raise RequestError(
            401,
            "Your authentication token has expired. Please try signing in again.",
            "authentication_error",
            code="token_expired",
            trouble=Trouble.expired,
        )


class RateLimit(UserModel):
    """A token bucket for each key (the Authorization header; without one, `anonymous`)."""

    requests_per_min: Annotated[float, Field(gt=0)]
    #: requests that a full bucket lets through at once
    burst: Annotated[int, Field(gt=0)] = 1


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
