"""A provider's status feed, polled.

In: a URL. Out: well or not, a poll at a time. Must stay true: an answer that does not come or
cannot be read means not well; a poll never lasts longer than the time between two.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import anyio

from bench.load.transport.client import httpx
from bench.units import S

#: What a feed calls a service that works: bare words, and a status page's indicator.
WELL = {"ok", "up", "healthy", "operational", "none", "available", "pass"}
_MAX_BYTES = 1 << 20


def says_well(status: int, body: bytes) -> bool:
    """200 to 299 and, where the body is a JSON object with `status`, one of WELL in it.

    `status` may be a text, or an object whose `indicator` is one (the shape of status pages).
    """
    if not 200 <= status < 300:
        return False
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return True
    told = value.get("status") if isinstance(value, dict) else None
    if isinstance(told, dict):
        told = told.get("indicator")
    return not isinstance(told, str) or told.lower() in WELL


async def watch_status(url: str, poll_ns: int, tell: Callable[[bool], None]) -> None:
    """Ask `url` every `poll_ns` until cancelled, and tell what it says."""
    async with httpx.AsyncClient(timeout=poll_ns / S, trust_env=False) as client:
        while True:
            well = False
            # Streamed, so that a feed which never ends is left after its first MiB and its time.
            with anyio.move_on_after(poll_ns / S):
                try:
                    async with client.stream("GET", url) as response:
                        body = b""
                        async for part in response.aiter_raw():
                            body += part
                            if len(body) > _MAX_BYTES:
                                break
                        well = says_well(response.status_code, body)
                except (httpx.HTTPError, OSError):
                    well = False
            tell(well)
            await anyio.sleep(poll_ns / S)
