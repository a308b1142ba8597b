"""The guard of conftest.py: tests reach this machine and no other."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvloop

from tests.support.patience import STEP_S

ELSEWHERE = ("192.0.2.1", 9)  # TEST-NET-1: nobody's


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_connection_to_another_machine_is_refused_before_it_is_made(kind: int) -> None:
    """By its own exception, which no code under test takes for a failure of the network."""
    with (
        socket.socket(socket.AF_INET, kind) as sock,
        pytest.raises(BaseException, match="a test connects to"),
    ):
        sock.connect(ELSEWHERE)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_loops_own_connect_is_seen_too(loop: object) -> None:
    """The way in which the stamped transport connects."""

    async def main() -> None:
        with socket.socket() as sock:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, ELSEWHERE)

    with (
        asyncio.Runner(loop_factory=loop) as runner,  # type: ignore[arg-type]
        pytest.raises(BaseException, match="a test connects to"),
    ):
        runner.run(main())


def test_this_machine_is_reached() -> None:
    """By number, over both families, and by name."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        for name in ("127.0.0.1", "localhost"):
            socket.create_connection((name, server.getsockname()[1]), timeout=STEP_S).close()
