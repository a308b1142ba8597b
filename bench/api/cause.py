"""Whose fault a failure was, by what the server said about it.

In: a status, the vendor's code, its message. Out: one `Cause` of a closed set. Must stay true: what
the vendor's code says wins over what the status suggests; a 429 of the buyer's own quota is not the
vendor's busy pool; what nothing is known about is `unknown`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Cause(enum.StrEnum):
    """Why a request failed, and with that who has to mend it."""

    #: the buyer's own limit of requests or tokens
    quota = "quota"
    #: the vendor has no room for this tier, model or region just now
    capacity = "capacity"
    #: the service says that it is overloaded
    overload = "overload"
    #: the buyer's money: credit, spending limit
    spend = "spend"
    #: the key, or what it may do
    auth = "auth"
    #: the buyer's body, model or URL
    request = "request"
    #: a content filter
    filter = "filter"
    #: the vendor's own failure
    server = "server"
    #: what lies between both
    network = "network"
    unknown = "unknown"

    @property
    def whose(self) -> str:
        """Who has to mend it."""
        return _WHOSE.get(self, "unknown")


_WHOSE: Mapping[Cause, str] = {
    **dict.fromkeys((Cause.quota, Cause.spend, Cause.auth, Cause.request), "yours"),
    **dict.fromkeys((Cause.capacity, Cause.overload, Cause.server), "theirs"),
    Cause.network: "between",
    Cause.filter: "the filter's",
}


#: What a status means where the vendor's code says nothing.
BY_STATUS: Mapping[int, Cause] = {
    401: Cause.auth,
    402: Cause.spend,
    403: Cause.auth,
    407: Cause.network,
    408: Cause.network,
    429: Cause.quota,
    # Groq: its flex pool is full.
    498: Cause.capacity,
    503: Cause.overload,
    # Anthropic, and proxies in front of it.
    529: Cause.overload,
}

#: Codes and types of errors by the names that vendors and their imitators give them (lower case).
BY_CODE: Mapping[str, Cause] = {
    "rate_limit_exceeded": Cause.quota,
    "rate_limit_error": Cause.quota,
    "rate_limit_reached": Cause.quota,
    "requests": Cause.quota,
    "tokens": Cause.quota,
    "resource_unavailable": Cause.capacity,
    "capacity_exceeded": Cause.capacity,
    "no_capacity": Cause.capacity,
    "slow_down": Cause.overload,
    "overloaded": Cause.overload,
    "overloaded_error": Cause.overload,
    "engine_overloaded": Cause.overload,
    "engine_overloaded_error": Cause.overload,
    "insufficient_quota": Cause.spend,
    "billing_error": Cause.spend,
    "billing_hard_limit_reached": Cause.spend,
    "billing_not_active": Cause.spend,
    "invalid_api_key": Cause.auth,
    "token_expired": Cause.auth,
    "authentication_error": Cause.auth,
    "permission_error": Cause.auth,
    "permission_denied": Cause.auth,
    "not_found_error": Cause.request,
    "request_too_large": Cause.request,
    "model_not_found": Cause.request,
    "context_length_exceeded": Cause.request,
    "unsupported_parameter": Cause.request,
    "content_filter": Cause.filter,
    "content_policy_violation": Cause.filter,
    "timeout_error": Cause.server,
}

#: Types that stand beside almost any error: they count where nothing else says more.
VAGUE: Mapping[str, Cause] = {
    "invalid_request_error": Cause.request,
    "invalid_request": Cause.request,
    "server_error": Cause.server,
    "internal_server_error": Cause.server,
    "internal_error": Cause.server,
    "api_error": Cause.server,
}


def cause_of(status: int, code: str, codes: Mapping[str, Cause] | None = None) -> Cause:
    """The cause of an error answer; `codes` of an API go before those that all share.

    `status` is the answer's (200 for an error inside a stream); `code` may be empty.
    """
    word = code.strip().lower()
    if status == 200 and word.isdigit() and len(word) == 3:
        # within a stream, proxies name the status that it would have had
        status = int(word)
    found = (codes or {}).get(word) or BY_CODE.get(word) or BY_STATUS.get(status) or VAGUE.get(word)
    if found is not None:
        return found
    if 400 <= status < 500:
        return Cause.request
    return Cause.server if status >= 500 else Cause.unknown
