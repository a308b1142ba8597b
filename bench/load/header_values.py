"""What servers write into headers, as numbers.

In: values of headers. Out: ms, ns and counts, -1 for what is none. Must stay true: nothing raises,
whatever a server writes; a wait in any form that clients take is taken (docs/dev/clients.md).
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

from bench.clock import wall_ns

_WAIT = re.compile(r"([+-]?(?:\d{1,40}(?:\.\d*)?|\.\d+))\s*(ms|s|m|h)?", re.IGNORECASE)
_FIRST = tuple("0123456789.+-")
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}


def wait_ms(value: bytes) -> int:
    """The same in milliseconds, where no unit says otherwise."""
    text = value.decode("latin-1").partition(",")[0].strip().strip('"')
    found = _WAIT.fullmatch(text)
    if found is None:
        return -1
    return max(0, round(min(float(found[1]) * _UNITS[(found[2] or "ms").lower()], 2**31 - 1)))


def ms_as_ns(value: bytes) -> int:
    """Milliseconds in a header -> ns, -1 for what is no number."""
    try:
        return max(0, min(round(float(value) * 1e6), 2**62))
    except (ValueError, OverflowError):
        return -1


def count_of(value: bytes) -> int:
    """A count in a header, -1 for what is none (Azure sends -1 where it does not know)."""
    return int(value) if value.isdigit() and len(value) < 19 else -1


def server_timing_ns(value: bytes) -> int:
    """`Server-Timing` (W3C): the longest `dur` of its metrics in ns, -1 where it has none.

    Whatever a server calls its whole, it is no shorter than its parts.
    """
    lengths = [
        ms_as_ns(name_and_value.partition(b"=")[2].strip(b' "'))
        for name_and_value in re.split(rb"[;,]", value)
        if name_and_value.partition(b"=")[0].strip().lower() == b"dur"
    ]
    return max(lengths, default=-1)


def retry_after_ms(value: bytes) -> int:
    """`retry-after` as seconds or HTTP date (RFC 9110, 10.2.3) -> ms from now, -1 if neither.

    Seconds may have a fraction or a unit, and a header that came twice its first value.
    """
    text = value.decode("latin-1").strip().strip('"')
    # A date has a comma of its own, and no digit before it.
    first = text.partition(",")[0].strip() if text[:1] in _FIRST else text
    if found := _WAIT.fullmatch(first):
        ms = float(found[1]) * _UNITS[(found[2] or "s").lower()]
        return max(0, round(min(ms, 2**31 - 1)))
    try:
        at = parsedate_to_datetime(text)
        ms = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000 - wall_ns() / 1e6
    except (ValueError, TypeError, OverflowError):
        return -1
    return max(0, min(round(ms), 2**31 - 1))
