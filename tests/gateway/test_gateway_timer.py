"""The timer that everything due hangs on."""

from __future__ import annotations

import asyncio

import pytest

from bench.clock import monotonic_ns
from bench.gateway.timer import LoopTimer, TimerFd, make_timer
from bench.units import MS


@pytest.mark.parametrize("kind", [TimerFd, LoopTimer])
def test_the_earliest_moment_holds(kind: type[TimerFd | LoopTimer]) -> None:
    """Armed for 10 s, then for 20 ms, then for 5 s, it calls after 20 ms and only once; then it can
    be armed again.
    """

    async def main() -> list[int]:
        loop, fired = asyncio.get_running_loop(), asyncio.Queue[int]()
        timer = kind(loop, lambda: fired.put_nowait(monotonic_ns()))
        begin = monotonic_ns()
        for after in (10_000, 20, 5000):
            timer.arm(begin + after * MS)
        first = await fired.get()
        timer.arm(None)
        timer.arm(first + 10 * MS)
        second = await fired.get()
        timer.close()
        assert fired.empty()
        return [first - begin, second - first]

    waited = asyncio.run(main())
    # the loop's own timer may be early by its clock's resolution
    assert waited[0] >= 20 * MS - 1000
    assert waited[0] < 5000 * MS
    assert waited[1] >= 10 * MS - 1000


def test_timerfd_is_never_early() -> None:
    """A hundred moments, some of them past: each call comes at or after its moment."""

    async def main() -> list[int]:
        loop, fired = asyncio.get_running_loop(), asyncio.Queue[int]()
        timer = TimerFd(loop, lambda: fired.put_nowait(monotonic_ns()))
        late = []
        for step in range(100):
            due = monotonic_ns() + (step % 10 - 2) * MS // 10
            timer.arm(due)
            late.append(await fired.get() - due)
        timer.close()
        return late

    assert min(asyncio.run(main())) >= 0


def test_linux_gets_the_kernel_timer() -> None:
    """Where there is a timerfd, it is used."""

    async def main() -> None:
        timer = make_timer(asyncio.get_running_loop(), lambda: None)
        assert isinstance(timer, TimerFd)
        timer.close()

    asyncio.run(main())
