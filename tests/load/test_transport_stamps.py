"""When bytes came, by the kernel's word; and what becomes of an error of our own."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading

import anyio
import pytest

from bench.clock import monotonic_ns, sleep_s
from bench.load.transport.interface import classify
from bench.load.transport.sender import make_sender
from bench.load.transport.stamps import StampedReader, by_age, enable
from bench.record.samples import Outcome
from bench.units import MS, S
from tests.support.heard import Heard, ask, on_loop, target_for
from tests.support.scripted_server import PATIENCE_S, Peer, ScriptedServer, answer, each, serving

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
BOTH = pytest.mark.parametrize("transport", ["tailproof", "httpx"])


# ---- our own errors


@LOOPS
@BOTH
@pytest.mark.parametrize("where", ["on_sent", "on_head", "on_body", "on_done"])
def test_an_error_in_a_listener_reaches_the_loop_as_itself(
    loop: str, transport: str, where: str
) -> None:
    """What a listener raises is no outcome of the server's and does not vanish in a parser's
    callback.
    """

    class MineError(Exception):
        pass

    def raising(*_: object, **__: object) -> None:
        raise MineError(where)

    async def main(server: ScriptedServer) -> list[object]:
        sender = make_sender(target_for(server, transport), StampedReader())
        told: list[object] = []
        seen = asyncio.Event()

        def handler(_loop: object, context: dict[str, object]) -> None:
            told.append(context.get("exception"))
            seen.set()

        asyncio.get_running_loop().set_exception_handler(handler)
        heard = Heard()
        setattr(heard, where, raising)
        sender.start(b"1", "id", heard, heard.carried)
        with anyio.fail_after(PATIENCE_S):
            await seen.wait()
        await sender.close()
        return told

    with serving(answer(b"body"), close=True) as server:
        told = on_loop(loop, lambda: main(server))
    assert [type(error) for error in told] == [MineError]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), Outcome.refused),
        (OSError(errno.ENETUNREACH, "x"), Outcome.refused),
        (ConnectionResetError(errno.ECONNRESET, "x"), Outcome.reset),
        (BrokenPipeError(errno.EPIPE, "x"), Outcome.reset),
        (OSError(errno.EMFILE, "x"), Outcome.never_sent),
        (OSError(errno.EADDRNOTAVAIL, "x"), Outcome.never_sent),
        (TimeoutError(), Outcome.timeout_connect),
        (TimeoutError(errno.ETIMEDOUT, "x"), Outcome.timeout_connect),
        (socket.gaierror(socket.EAI_NONAME, "x"), Outcome.dns),
    ],
)
def test_system_errors_have_their_outcome(error: OSError, outcome: Outcome) -> None:
    """The map from the system's errors to the closed set; what is our own want is `never_sent`."""
    assert classify(error)[0] == outcome


# ---- stamps


@pytest.mark.clock
@LOOPS
def test_bytes_that_waited_in_the_socket_carry_the_time_they_came(loop: str) -> None:
    """A loop that stood still for 100 ms reads the server's own sending time off the kernel's
    stamp.
    """
    probe = socket.socket()
    stamped = enable(probe)
    probe.close()
    if not stamped:
        pytest.skip("this platform has no kernel stamps")
    go, sent, times = threading.Event(), threading.Event(), []

    def script(peer: Peer, request: bytes) -> None:
        late = request.endswith(b"late")
        assert not late or go.wait(PATIENCE_S)
        before = monotonic_ns()
        peer.send(answer(b"x"))
        if late:
            times.extend([before, monotonic_ns()])
            sent.set()

    async def main(server: ScriptedServer) -> tuple[Heard, int]:
        sender = make_sender(target_for(server), StampedReader())
        with anyio.fail_after(PATIENCE_S):
            # The kernel begins to stamp in its own time.
            while (await ask(sender)).user_stamp:
                pass
        heard = Heard()
        sender.start(b"late", "id", heard, heard.carried)
        with anyio.fail_after(PATIENCE_S):
            await heard.written.wait()
        go.set()
        assert sent.wait(PATIENCE_S)
        sleep_s(0.1)
        woke = monotonic_ns()
        with anyio.fail_after(PATIENCE_S):
            await heard.over.wait()
        await sender.close()
        return heard, woke

    with ScriptedServer(each(script)) as server:
        heard, woke = on_loop(loop, lambda: main(server))
    assert not heard.user_stamp
    before, after = times
    assert before - MS <= heard.head_ns <= after + MS
    assert heard.done_ns == heard.body_ns[0] == heard.head_ns < woke - 99 * MS


def test_a_stamp_is_turned_by_age_so_the_wall_clock_may_be_anywhere() -> None:
    """The same age gives the same instant whatever the wall clock shows; an age that is none is
    refused.
    """
    for step in (0, 3_600 * S, -3_600 * S, 10**18):
        assert by_age(1_000 + step, 1_250 + step, 7_000_000) == 7_000_000 - 250
    assert by_age(2_000, 1_000, 7_000_000) is None
    assert by_age(0, 2 * 3_600 * S, 7_000_000 * S) is None


def test_a_socket_without_kernel_stamps_is_stamped_at_the_read() -> None:
    """Unix sockets have no receive stamp: the read's own time is taken, and said to be that."""
    ours, theirs = socket.socketpair()
    reader = StampedReader(8)
    theirs.send(b"twelve bytes")
    before = monotonic_ns()
    size, stamp, kernel = reader.receive(ours)
    assert (bytes(reader.view[:size]), kernel) == (b"twelve b", False)
    assert before <= stamp <= monotonic_ns()
    assert reader.receive(ours)[0] == 4
    theirs.close()
    assert reader.receive(ours)[0] == 0
    ours.close()
