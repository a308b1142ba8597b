"""The limits of a key, as answers name them in their headers.

In: headers. Out: keys of a target's table `limits`. Must stay true: a header that is no count says
nothing; where a header has no unit of time the time until the limit is whole again says it, for the
same header counts minutes at one vendor and days at another.

Sources: OpenAI's, Groq's and Anthropic's pages on rate limits; Mistral's and Fireworks' headers;
draft-ietf-httpapi-ratelimit-headers (1 December 2026).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from bench.api.decoding import count_of

#: Header -> key of `limits`.
_KEYS = {
    b"x-ratelimit-limit-requests": "requests_per_min",
    b"x-ratelimit-limit-tokens": "tokens_per_min",
    b"x-ratelimit-limit-input-tokens": "input_tokens_per_min",
    b"x-ratelimit-limit-output-tokens": "output_tokens_per_min",
    b"x-ratelimit-limit-tokens-prompt": "input_tokens_per_min",
    b"x-ratelimit-limit-tokens-generated": "output_tokens_per_min",
    b"x-ratelimit-limit-req-minute": "requests_per_min",
    b"x-ratelimit-limit-tokens-minute": "tokens_per_min",
    b"x-ratelimitbysize-limit-minute": "tokens_per_min",
    b"anthropic-ratelimit-requests-limit": "requests_per_min",
    b"anthropic-ratelimit-tokens-limit": "tokens_per_min",
    b"anthropic-ratelimit-input-tokens-limit": "input_tokens_per_min",
    b"anthropic-ratelimit-output-tokens-limit": "output_tokens_per_min",
}
_POLICY = re.compile(r"(?:q=)?(\d{1,12})\s*;.*?\bw=(60|86400)\b")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_HOUR_S = 3600


def limits_in(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, int]:
    """What the headers of an answer (names in lower case) say that the key may."""
    given = dict(headers)
    found = {
        key: amount
        for name, key in _KEYS.items()
        if name in given and (amount := count_of(given[name].strip())) > 0
    }
    if "requests_per_min" in found and _is_per_day(given):
        found["requests_per_day"] = found.pop("requests_per_min")
    policy = given.get(b"ratelimit-policy", b"").decode("latin-1")
    if not found and (stated := _POLICY.search(policy)):
        key = "requests_per_min" if stated[2] == "60" else "requests_per_day"
        found[key] = int(stated[1])
    return found


def _is_per_day(given: dict[bytes, bytes]) -> bool:
    """Whether so much as was used comes back within a day and not within a minute."""
    limit, left, reset = (
        given.get(b"x-ratelimit-%s-requests" % part, b"").strip()
        for part in (b"limit", b"remaining", b"reset")
    )
    used = count_of(limit) - count_of(left)
    if count_of(left) < 0 or used <= 0:
        return False
    return _seconds(reset.decode("latin-1")) * count_of(limit) / used > _HOUR_S


def _seconds(text: str) -> float:
    """`7m12s`, `120ms`, `1.5`: what is no duration is 0."""
    parts = _DURATION.findall(text)
    if "".join(number + unit for number, unit in parts) != text:
        return 0.0
    return sum(float(number) * _SECONDS[unit or "s"] for number, unit in parts)
