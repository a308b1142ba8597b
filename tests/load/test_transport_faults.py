"""Broken answers, requests that do not get through and connections never made: what each is
called.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from collections.abc import Callable

import anyio
import pytest

from bench.clock import monotonic_ns
from bench.errors import UserError
from bench.load.transport.connection import MAX_HEAD_BYTES, Connection, _lost
from bench.load.transport.pool import Origin, Pool
from bench.load.transport.sender import make_sender
from bench.load.transport.stamps import StampedReader
from bench.record.samples import Outcome
from bench.units import MS
from tests.support.heard import Heard, ask, asked, on_loop, target_for
from tests.support.scripted_server import (
    PATIENCE_S,
    Peer,
    ScriptedServer,
    answer,
    chunked,
    each,
    serving,
    unused_port,
)

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
BOTH = pytest.mark.parametrize("transport", ["tailproof", "httpx"])
#: Far more than the socket buffers of both ends hold.
LARGE = b"x" * (32 << 20)


# ---- broken answers


@LOOPS
@BOTH
@pytest.mark.parametrize(
    ("writes", "outcome", "stock"),
    [
        ([], Outcome.reset, Outcome.reset),
        # httpx does not say whether any byte came before the end.
        ([b"HTTP/1.1 200 OK\r\nContent-"], Outcome.truncated, Outcome.reset),
        ([answer(b"half")[:-2]], Outcome.truncated, Outcome.truncated),
        (chunked(b"one", b"two")[:-1], Outcome.truncated, Outcome.truncated),
        ([*chunked()[:1], b"ff\r\nshort"], Outcome.truncated, Outcome.truncated),
        ([*chunked()[:1], b"2\r\nlonger\r\n0\r\n\r\n"], Outcome.malformed, Outcome.malformed),
        ([*chunked()[:1], b"zz\r\nab\r\n"], Outcome.malformed, Outcome.malformed),
        ([b"SSH-2.0-OpenSSH_9.2\r\n\r\n"], Outcome.malformed, Outcome.malformed),
        (
            [b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n"],
            Outcome.malformed,
            Outcome.malformed,
        ),
    ],
    ids=[
        "nothing",
        "half a head",
        "short body",
        "no last chunk",
        "chunk too long",
        "chunk too short",
        "no size",
        "not HTTP",
        "no length",
    ],
)
def test_broken_answers_have_their_class(
    loop: str, transport: str, writes: list[bytes], outcome: Outcome, stock: Outcome
) -> None:
    """What the server leaves out or gets wrong decides the class; nothing of it is sent twice."""
    with serving(*writes, close=True) as server:
        (heard,) = asked(loop, target_for(server, transport))
    assert heard.outcome == (stock if transport == "httpx" else outcome)
    assert heard.note
    assert len(server.requests) == 1


@LOOPS
@pytest.mark.parametrize("size", [b"f" * 17, b"-1", b"0x10"])
def test_chunk_sizes_that_cannot_be_are_malformed(loop: str, size: bytes) -> None:
    """A size beyond 64 bits, below zero or with a prefix is refused, not waited for."""
    with serving(*chunked()[:1], size + b"\r\nab\r\n") as server:
        (heard,) = asked(loop, target_for(server))
    assert heard.outcome == Outcome.malformed


@LOOPS
@BOTH
@pytest.mark.parametrize(
    "writes",
    [[], [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]],
    ids=["before", "in the body"],
)
def test_a_reset_is_a_reset(loop: str, transport: str, writes: list[bytes]) -> None:
    """RST before or inside an answer is the class `reset`, and the request is not sent again."""

    def refuse(peer: Peer, _request: bytes) -> bool:
        peer.send(*writes)
        # Bytes that a reset overtakes are lost: the client says when it has them.
        if writes:
            assert got.wait(PATIENCE_S)
        peer.reset()
        return False

    got = threading.Event()

    async def main(server: ScriptedServer) -> Heard:
        sender = make_sender(target_for(server, transport), StampedReader())

        class Telling(Heard):
            def on_body(self, data: bytes, stamp_ns: int) -> None:
                super().on_body(data, stamp_ns)
                got.set()

        heard = await ask(sender, b"1", Telling())
        await sender.close()
        return heard

    with ScriptedServer(each(refuse)) as server:
        heard = on_loop(loop, lambda: main(server))
    assert (heard.outcome, heard.body) == (Outcome.reset, b"half" if writes else b"")
    assert len(server.requests) == 1


@LOOPS
@BOTH
def test_a_reused_connection_closed_after_the_request_is_an_outcome(
    loop: str, transport: str
) -> None:
    """Once the request was complete its fate is unknown to us: `reset`, and the server never sees
    it twice.
    """

    def second_unanswered(peer: Peer, request: bytes) -> bool:
        if request.endswith(b"1"):
            peer.send(answer())
        return request.endswith(b"1")

    with ScriptedServer(each(second_unanswered)) as server:
        first, second = asked(loop, target_for(server, transport), b"1", b"2")
    assert (first.outcome, second.outcome, second.reused) == (Outcome.ok, Outcome.reset, True)
    assert [(number, request[-1:]) for number, request in server.requests] == [(0, b"1"), (0, b"2")]


def _endless(first: bytes, block: bytes) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(first)
        while True:
            peer.send(block)

    return script


@LOOPS
@pytest.mark.parametrize(
    ("first", "block"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-More: and more\r\n" * 1000),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 10_000),
        (b"HTTP/1.1 200 ", b"x" * 10_000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        (chunked()[0] + b"2;", b"x" * 10_000),
        (chunked()[0] + b"0\r\n", b"X-More: and more\r\n" * 1000),
        (chunked()[0] + b"0\r\nX-Long: ", b"x" * 10_000),
    ],
    ids=["headers", "one header", "status", "1xx", "chunk extension", "trailers", "one trailer"],
)
def test_heads_and_trailers_without_end_are_malformed(
    loop: str, first: bytes, block: bytes
) -> None:
    """Bytes that are no body are read up to a bound, not for ever; the connection is closed."""
    with ScriptedServer(_endless(first, block)) as server:
        (heard,) = asked(loop, target_for(server))
    assert heard.outcome == Outcome.malformed
    assert heard.body == b""


@LOOPS
def test_a_long_body_is_no_endless_head(loop: str) -> None:
    """Ten times the bound in one-byte chunks, with their framing, is a body like any other."""
    count = 10 * MAX_HEAD_BYTES // 6
    with serving(*chunked()[:1], b"1\r\nx\r\n" * count, b"0\r\n\r\n") as server:
        (heard,) = asked(loop, target_for(server))
    assert (heard.outcome, len(heard.body)) == (Outcome.ok, count)


# ---- requests that do not get through


@LOOPS
@pytest.mark.parametrize("ending", ["waits", "closes"])
def test_an_answer_that_comes_before_the_request_is_written_is_an_answer(
    loop: str, ending: str
) -> None:
    """A server that refuses a large body unread is heard, also when it then closes on us; no `sent`
    is claimed.
    """

    over = threading.Event()

    def refuse(peer: Peer) -> None:
        peer.head()
        peer.send(answer(b"too large", status="413 Too Large", headers=b"Connection: close\r\n"))
        if ending == "waits":
            assert over.wait(PATIENCE_S)

    with ScriptedServer(refuse) as server:
        (heard,) = asked(loop, target_for(server), LARGE)
        over.set()
    assert (heard.status, heard.body, heard.outcome) == (413, b"too large", Outcome.ok)
    assert heard.sent_ns == -1


def _large_second(ending: Callable[[Peer], None]) -> Callable[[Peer], None]:
    """Answer one request; when a second one begins, do `ending` instead of reading it."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(answer())
        if peer.sock.recv(1):
            ending(peer)

    return script


@LOOPS
def test_the_end_of_a_reused_connection_seen_before_the_last_byte_sends_it_once_more(
    loop: str,
) -> None:
    """FIN while a reused connection is still being written to: a new connection carries it, and it
    is said.
    """
    over = threading.Event()

    def end(peer: Peer) -> None:
        peer.end()
        assert over.wait(PATIENCE_S)

    with ScriptedServer(_large_second(end), each(lambda p, _: p.send(answer(b"again")))) as server:
        first, second = asked(loop, target_for(server), b"1", LARGE)
        over.set()
    assert (first.outcome, second.outcome, second.body) == (Outcome.ok, Outcome.ok, b"again")
    assert second.events[:3] == ["reconnect", "connected", "sent"]
    assert not second.reused
    assert [(number, len(request) > len(LARGE)) for number, request in server.requests] == [
        (0, False),
        (1, True),
    ]


@LOOPS
def test_a_reset_of_a_reused_connection_while_writing_is_never_sent_again(loop: str) -> None:
    """RST leaves open what the server did with the bytes it has: the class is `reset`."""
    with ScriptedServer(_large_second(Peer.reset)) as server:
        _, second = asked(loop, target_for(server), b"1", LARGE)
    assert (second.outcome, "reconnect" in second.events, server.connections) == (
        Outcome.reset,
        False,
        1,
    )


@LOOPS
def test_a_reused_connection_that_ends_unanswered_says_what_may_help(loop: str) -> None:
    """The request was whole, so it is not sent again; the note names the header that ends such
    races.
    """

    def answer_once(peer: Peer, request: bytes) -> bool:
        if again := request.endswith(b"first"):
            peer.send(answer(b"one"))
        return again

    with ScriptedServer(each(answer_once)) as server:
        first, second = asked(loop, target_for(server), b"first", b"second")
    assert (first.outcome, second.outcome, server.connections) == (Outcome.ok, Outcome.reset, 1)
    assert second.note.endswith("send the header Connection: close")


@LOOPS
def test_a_new_connection_that_ends_while_writing_is_not_tried_again(loop: str) -> None:
    """Only idle connections go stale: a server that hangs up on a fresh one did so on purpose."""

    over = threading.Event()

    def hang_up(peer: Peer) -> None:
        peer.sock.recv(1)
        peer.end()
        assert over.wait(PATIENCE_S)

    with ScriptedServer(hang_up) as server:
        (heard,) = asked(loop, target_for(server), LARGE)
        over.set()
    assert (heard.outcome, server.connections) == (Outcome.reset, 1)


@LOOPS
@pytest.mark.parametrize("used", [True, False])
def test_a_send_that_fails_with_nothing_written_moves_to_a_new_connection(
    loop: str, used: bool
) -> None:
    """A reused connection that breaks between the look and the first byte is as good as found
    closed.
    """

    async def main() -> tuple[Heard, list[str]]:
        listener = socket.create_server(("127.0.0.1", 0))
        sock = socket.create_connection(listener.getsockname())
        peer = Peer(listener.accept()[0], 0)
        sock.setblocking(False)
        connection = Connection(
            asyncio.get_running_loop(), sock, None, StampedReader(), lambda _: None, lambda _: None
        )
        again: list[str] = []
        if used:
            first = Heard()
            connection.send(b"GET / HTTP/1.1\r\n\r\n", first)
            peer.send(answer())
            with anyio.fail_after(PATIENCE_S):
                await first.over.wait()
        peer.reset()
        heard = Heard()
        connection.send(b"GET / HTTP/1.1\r\n\r\n", heard, lambda: again.append("again"))
        listener.close()
        return heard, again

    heard, again = on_loop(loop, main)
    if used:
        assert (heard.events, again) == ([], ["again"])
    else:
        assert (heard.events, heard.outcome, again) == (["fail"], Outcome.reset, [])


@LOOPS
@pytest.mark.parametrize("ending", ["answer", "FIN", "RST"])
def test_a_write_that_fails_midway_heeds_what_came_before(loop: str, ending: str) -> None:
    """The writer may learn of a reset before the reader ran: an answer or an end that came first
    still counts.
    """

    async def main() -> tuple[Heard, list[str]]:
        listener = socket.create_server(("127.0.0.1", 0))
        sock = socket.create_connection(listener.getsockname())
        peer = Peer(listener.accept()[0], 0)
        listener.close()
        sock.setblocking(False)
        connection = Connection(
            asyncio.get_running_loop(), sock, None, StampedReader(), lambda _: None, lambda _: None
        )
        first, second, again = Heard(), Heard(), []
        connection.send(b"GET / HTTP/1.1\r\n\r\n", first)
        peer.head()
        peer.send(answer())
        with anyio.fail_after(PATIENCE_S):
            await first.over.wait()
        connection.send(LARGE, second, lambda: again.append("again"))
        if ending == "answer":
            peer.send(answer(status="413 Too Large"))
        elif ending == "FIN":
            peer.end()
        peer.reset()
        connection._writable()
        return second, again

    second, again = on_loop(loop, main)
    expected = {
        "answer": (413, Outcome.ok, []),
        "FIN": (-1, None, ["again"]),
        "RST": (-1, Outcome.reset, []),
    }
    assert (second.status, second.outcome, again) == expected[ending]


@pytest.mark.parametrize(
    "number", [errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ECONNRESET]
)
def test_a_connection_that_stood_can_only_be_reset(number: int) -> None:
    """An error of the network in the middle of an answer is no refusal and no connect timeout."""
    assert _lost(OSError(number, "x"))[0] == Outcome.reset


# ---- no connection


@LOOPS
@BOTH
def test_a_closed_port_refuses(loop: str, transport: str) -> None:
    """Nobody listens: `refused`, with the system's own name for it or its words."""
    (heard,) = asked(loop, target_for(f"http://127.0.0.1:{unused_port()}/v1", transport))
    assert (heard.outcome, heard.events) == (Outcome.refused, ["fail"])
    assert heard.note


@LOOPS
@BOTH
@pytest.mark.parametrize("host", ["tailproof.invalid", "a..b"])
def test_a_name_that_does_not_exist_is_dns(loop: str, transport: str, host: str) -> None:
    """Neither an unknown name (RFC 2606) nor one that cannot be looked up at all is called
    refused.
    """
    resolver = threading.Thread(target=_look_up, daemon=True)
    resolver.start()
    resolver.join(3)
    if resolver.is_alive():
        pytest.skip("the resolver of this machine does not answer")
    try:
        (heard,) = asked(loop, target_for(f"http://{host}:80/v1", transport))
    except UserError:
        return  # httpx's URL refused it before anything was sent
    assert heard.outcome == Outcome.dns


def _look_up() -> None:
    with contextlib.suppress(OSError):
        socket.getaddrinfo("tailproof.invalid", 80)


@LOOPS
@BOTH
def test_a_connection_that_is_never_made_times_out(loop: str, transport: str) -> None:
    """With a full backlog the kernel answers no SYN: `timeout_connect` after the stated time."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        began = monotonic_ns()
        (heard,) = asked(loop, target_for(address, transport, connect_timeout="100ms"))
        for filler in fillers:
            filler.close()
    assert heard.outcome == Outcome.timeout_connect
    assert heard.done_ns - began >= 100 * MS


@LOOPS
def test_ipv6_and_names_with_both_families_connect(loop: str) -> None:
    """The loopback of IPv6 by address, and `localhost` whichever family listens there."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    try:
        server = ScriptedServer(each(lambda p, _: p.send(answer())), host="::1")
    except OSError:
        pytest.skip("no IPv6 loopback")
    with server:
        (heard,) = asked(loop, target_for(server))
    assert heard.outcome == Outcome.ok
    with serving(answer()) as four:
        (heard,) = asked(loop, target_for(f"http://localhost:{four.port}/v1"))
    assert heard.outcome == Outcome.ok


@LOOPS
def test_a_unix_socket_carries_requests(loop: str, tmp_path: object) -> None:
    """A pool with a socket path goes there, stamps in user space, and reuses its connection."""
    path = f"{tmp_path}/s"

    def serve() -> None:
        peer = Peer(listener.accept()[0], 0)
        while peer.request():
            peer.send(answer(b"local"))
        peer.sock.close()

    async def main() -> list[Heard]:
        pool = Pool(Origin("x", 80, unix_path=path), None, StampedReader())
        found = []
        for _ in range(2):
            heard = Heard()
            pool.start(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", heard, heard.carried)
            with anyio.fail_after(PATIENCE_S):
                await heard.over.wait()
            found.append(heard)
        await pool.close()
        return found

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        heard = on_loop(loop, main)
        thread.join(PATIENCE_S)
    assert [(one.body, one.user_stamp, one.reused) for one in heard] == [
        (b"local", True, False),
        (b"local", True, True),
    ]
