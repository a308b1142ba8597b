"""Time limits that look, when they ring late, at what came in time first.

In: a limit in ns. Out: a cancel scope like `asyncio.timeout`. Must stay true: a loop that stood
still past a limit (a stopped process, a machine that was paused, a long collection) has not looked
at its sockets meanwhile; what they hold is looked at before anything is called too late.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.clock import monotonic_ns
from bench.units import MS, S

#: A loop that comes back this much later than asked stood still. Twice the tick and more, so that a
#: busy one does not.
HELD_UP_NS = 200 * MS
#: From then on so long until what had arrived has been looked at.
_GRACE_S = 0.1


@asynccontextmanager
async def within(limit_ns: int) -> AsyncIterator[None]:
    """Raises TimeoutError after `limit_ns`; rung late, a moment later still."""
    loop = asyncio.get_running_loop()
    due_ns = monotonic_ns() + limit_ns
    async with asyncio.timeout(None) as scope:
        late: list[asyncio.TimerHandle] = []

        def end() -> None:
            scope.reschedule(loop.time())

        def ring() -> None:
            if monotonic_ns() - due_ns > HELD_UP_NS:
                late.append(loop.call_later(_GRACE_S, end))
            else:
                end()

        late.append(loop.call_later(limit_ns / S, ring))
        try:
            yield
        finally:
            for handle in late:
                handle.cancel()
