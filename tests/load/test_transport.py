"""Both transports against a server whose every byte is scripted: sound answers and kept
connections.
"""

from __future__ import annotations

import asyncio
import errno
import importlib.util
import os
import socket
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from bench.errors import UserError
from bench.load.transport.connection import Connection
from bench.load.transport.interface import classify
from bench.load.transport.pool import Origin, Pool, _Race
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
)

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
BOTH = pytest.mark.parametrize("transport", ["tailproof", "httpx"])


# ---- sound answers


@LOOPS
@BOTH
@pytest.mark.parametrize(
    "writes",
    [
        [answer(b"onetwo")],
        [b"HTTP/1.1 200 OK\r\nContent-", b"Length: 6\r\n\r\non", b"etwo"],
        chunked(b"one", b"two"),
        [b"".join(chunked(b"one", b"two"))],
        [b"HTTP/1.1 200 OK\r\n\r\none", b"two"],
        [
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n",
            answer(b"onetwo"),
        ],
    ],
    ids=["length", "in pieces", "chunked", "chunked in one", "until close", "after 1xx"],
)
def test_a_body_arrives_whole_however_it_is_framed(
    loop: str, transport: str, writes: list[bytes]
) -> None:
    """Length, chunks, end of connection and interim answers all give the same body, once,
    in order.
    """
    with serving(*writes, close=True) as server:
        (heard,) = asked(loop, target_for(server, transport))
    assert (heard.status, heard.body, heard.outcome) == (200, b"onetwo", Outcome.ok)
    assert [event for event in heard.events if event != "body"] == [
        "connected",
        "sent",
        "head",
        "done",
    ]
    assert b"x-early" not in dict(heard.headers)
    assert heard.head_ns <= heard.body_ns[0] <= heard.done_ns


@LOOPS
@BOTH
def test_the_request_on_the_wire_is_the_one_asked_for(
    loop: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Path, Host, length, id, the user's headers (per cent signs included) and the key,
    each once.
    """
    monkeypatch.setenv("LOAD_TEST_KEY", "k%d-secret")
    body = '{"é":"%d %s"}'.encode()
    with serving(answer()) as server:
        target = target_for(
            server,
            transport,
            api_key_env="LOAD_TEST_KEY",
            headers={"X-Odd": "100%s", "user-agent": "mine"},
        )
        asked(loop, target, body)
    (_, request), *none = server.requests
    assert not none
    head, _, sent_body = request.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    fields = [
        (name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)
    ]
    assert first == b"POST /v1/chat/completions HTTP/1.1"
    assert sent_body == body
    for name, value in (
        (b"host", f"127.0.0.1:{server.port}".encode()),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", b"id-1"),
        (b"x-odd", b"100%s"),
        (b"user-agent", b"mine"),
        (b"authorization", b"Bearer k%d-secret"),
        (b"content-type", b"application/json"),
        (b"accept-encoding", b"identity"),
    ):
        assert [found for key, found in fields if key == name] == [value]


@LOOPS
@BOTH
def test_the_carrier_is_named_once_more_when_the_connection_stands(
    loop: str, transport: str
) -> None:
    """The last word before sending comes between connecting and writing: from there on lateness is
    ours.
    """
    with serving(answer()) as server:
        first, second = asked(loop, target_for(server, transport), b"1", b"2")
    assert first.carried_after[-1] == ["connected"]
    assert second.carried_after[-1] == []


# ---- connections


@LOOPS
@BOTH
def test_a_connection_is_kept_and_used_again_in_order(loop: str, transport: str) -> None:
    """Three requests one after another use one connection, and the first alone pays for it."""
    with serving(answer()) as server:
        heard = asked(loop, target_for(server, transport), b"1", b"2", b"3")
    assert [(number, request[-1:]) for number, request in server.requests] == [
        (0, b"1"),
        (0, b"2"),
        (0, b"3"),
    ]
    assert [one.reused for one in heard] == [False, True, True]
    assert [one.connected is None for one in heard] == [False, True, True]


@LOOPS
@BOTH
@pytest.mark.parametrize(
    "last", [answer(headers=b"Connection: close\r\n"), answer().replace(b"1.1", b"1.0")]
)
def test_a_connection_that_the_server_ends_is_not_used_again(
    loop: str, transport: str, last: bytes
) -> None:
    """After `Connection: close`, or an answer of HTTP/1.0, the next request has a connection of its
    own.
    """
    with serving(last) as server:
        heard = asked(loop, target_for(server, transport), b"1", b"2")
    assert [one.outcome for one in heard] == [Outcome.ok, Outcome.ok]
    assert [number for number, _ in server.requests] == [0, 1]


@LOOPS
@BOTH
@pytest.mark.parametrize("ending", ["FIN", "RST"])
def test_an_idle_connection_closed_by_the_server_costs_no_error(
    loop: str, transport: str, ending: str
) -> None:
    """The end of an idle connection is seen before it is used, even when the loop has not looked
    since.
    """
    closed, go = threading.Event(), threading.Event()

    def once(peer: Peer, _request: bytes) -> bool:
        peer.send(answer())
        if peer.number:
            return True
        assert go.wait(PATIENCE_S)
        if ending == "RST":
            peer.reset()
        else:
            peer.sock.close()
        closed.set()
        return False

    async def main(server: ScriptedServer) -> list[Heard]:
        sender = make_sender(target_for(server, transport), StampedReader())
        first = await ask(sender)
        go.set()
        # The loop stands still here on purpose: it must not learn of the end by itself.
        assert closed.wait(PATIENCE_S)
        second = await ask(sender)
        await sender.close()
        return [first, second]

    with ScriptedServer(each(once)) as server:
        first, second = on_loop(loop, lambda: main(server))
    assert (first.outcome, second.outcome) == (Outcome.ok, Outcome.ok)
    assert [number for number, _ in server.requests] == [0, 1]
    assert "reconnect" not in second.events


@LOOPS
def test_bytes_after_an_answer_are_never_taken_for_the_next_one(loop: str) -> None:
    """A second answer nobody asked for, in the same read or later, ends the connection and reaches
    no request.
    """
    with serving(answer(b"mine") + answer(b"not mine")) as server:
        heard = asked(loop, target_for(server), b"1", b"2")
    assert [one.body for one in heard] == [b"mine", b"mine"]
    assert [one.outcome for one in heard] == [Outcome.ok, Outcome.ok]
    assert [number for number, _ in server.requests] == [0, 1]


@LOOPS
def test_a_request_begun_inside_the_end_of_another_uses_its_connection(loop: str) -> None:
    """The next request may start from `on_done`, on the same connection, and gets its own
    answer.
    """

    async def main(server: ScriptedServer) -> Heard:
        sender = make_sender(target_for(server), StampedReader())
        second = Heard()

        class First(Heard):
            def on_done(self, stamp_ns: int) -> None:
                super().on_done(stamp_ns)
                sender.start(b"2", "id-2", second, second.carried)

        await ask(sender, b"1", First())
        with anyio.fail_after(PATIENCE_S):
            await second.over.wait()
        await sender.close()
        return second

    def echo(peer: Peer, request: bytes) -> None:
        peer.send(answer(request[-1:] + b"!"))

    with ScriptedServer(each(echo)) as server:
        second = on_loop(loop, lambda: main(server))
    assert (second.body, second.reused, [number for number, _ in server.requests]) == (
        b"2!",
        True,
        [0, 0],
    )


@LOOPS
def test_a_connection_nobody_wants_any_more_serves_the_next_request(loop: str) -> None:
    """When the request ended while its connection was made, nothing is written and the connection
    is kept.
    """

    async def main(server: ScriptedServer) -> Heard:
        pool = Pool(Origin("127.0.0.1", server.port), None, StampedReader())
        stood = asyncio.Event()

        def unwanted(_connection: Connection) -> bool:
            stood.set()
            return False

        pool.start(b"never", Heard(), unwanted)
        with anyio.fail_after(PATIENCE_S):
            await stood.wait()
        heard = Heard()
        pool.start(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", heard, heard.carried)
        with anyio.fail_after(PATIENCE_S):
            await heard.over.wait()
        await pool.close()
        return heard

    with serving(answer()) as server:
        heard = on_loop(loop, lambda: main(server))
    assert (heard.outcome, heard.connected, server.connections) == (Outcome.ok, None, 1)
    assert [request for _, request in server.requests] == [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]


@LOOPS
@BOTH
def test_an_exchange_that_is_given_up_hears_nothing_more(loop: str, transport: str) -> None:
    """Aborting in the middle of a body closes the connection; the rest of that very read stays
    unheard.
    """

    async def main(server: ScriptedServer) -> tuple[Heard, Heard]:
        sender = make_sender(target_for(server, transport), StampedReader())

        class Impatient(Heard):
            def on_body(self, data: bytes, stamp_ns: int) -> None:
                super().on_body(data, stamp_ns)
                assert self.handle is not None
                self.handle.abort()
                self.over.set()

        first = await ask(sender, b"1", Impatient())
        second = await ask(sender, b"2")
        await sender.close()
        return first, second

    with serving(b"".join(chunked(b"one", b"two"))) as server:
        first, second = on_loop(loop, lambda: main(server))
    assert first.events[-1] == "body"
    assert (second.outcome, second.body) == (Outcome.ok, b"onetwo")
    assert [number for number, _ in server.requests] == [0, 1]


# ---- choice of the transport


@pytest.mark.parametrize(
    ("variable", "no_proxy", "url", "refused"),
    [
        ("HTTPS_PROXY", "", "https://api.example.com/v1", True),
        ("https_proxy", "", "https://api.example.com/v1", True),
        ("ALL_PROXY", "", "http://api.example.com/v1", True),
        ("HTTPS_PROXY", "", "http://api.example.com/v1", False),
        ("https_proxy", "example.com", "https://api.example.com/v1", False),
        ("all_proxy", "", "http://127.0.0.1:9/v1", False),
    ],
)
def test_an_outgoing_proxy_is_refused_where_it_would_be_used(
    monkeypatch: pytest.MonkeyPatch, variable: str, no_proxy: str, url: str, refused: bool
) -> None:
    """The stamped transport names the proxy it cannot use, in either case of letters, and heeds
    NO_PROXY.
    """
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv(variable, "http://127.0.0.1:3128")
    if no_proxy:
        monkeypatch.setenv("no_proxy", no_proxy)

    async def main() -> str:
        return str(make_sender(target_for(url), StampedReader()).facts()["transport"])

    if refused:
        with pytest.raises(UserError, match="proxy"):
            on_loop("asyncio", main)
    else:
        assert on_loop("asyncio", main) == "tailproof"


@LOOPS
def test_the_stock_transport_says_what_it_is(loop: str) -> None:
    """The manifest's facts name httpx and its version, and user-space stamps."""

    async def main() -> dict[str, object]:
        sender = make_sender(target_for("http://127.0.0.1:9/v1", "httpx"), StampedReader())
        await sender.close()
        return sender.facts()

    facts = on_loop(loop, main)
    name = os.environ.get("TAILPROOF_HTTPX") or (
        "httpx2" if importlib.util.find_spec("httpx2") else "httpx"
    )
    assert (facts["transport"], facts["stamps"]) == (f"{name} {version(name)}", "user")


@LOOPS
@BOTH
def test_a_unix_socket_carries_the_requests(loop: str, transport: str, tmp_path: Path) -> None:
    """With `unix_socket` the connection goes to the socket's path; the base URL only names host and
    path.
    """
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        requests: list[tuple[int, bytes]] = []

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                each(lambda peer, _: peer.send(answer(b"here")) or True)(Peer(sock, 0, requests))  # type: ignore[func-returns-value]

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        first, second = asked(
            loop,
            target_for("http://models.example/v1", transport, unix_socket=str(path)),
            b"1",
            b"2",
        )
        thread.join(PATIENCE_S)
    assert (first.body, second.body, second.reused) == (b"here", b"here", True)
    assert all(b"host: models.example" in request.lower() for _, request in requests)
    assert len(requests) == 2


@LOOPS
def test_dials_at_once_share_one_lookup(loop: str) -> None:
    """Thirty connections opened together look the name up once; a later one within ten seconds not
    at all.
    """
    lookups: list[object] = []

    async def main(server: ScriptedServer) -> list[Heard]:
        running = asyncio.get_running_loop()
        origin = Origin("localhost", server.port)
        pool = Pool(origin, None, StampedReader())
        real = running.getaddrinfo

        async def counting(*args: object, **more: object) -> object:
            lookups.append(args)
            return await real(*args, **more)  # type: ignore[arg-type]

        pool._loop = cast("Any", _Watched(running, counting))
        heard = [Heard() for _ in range(30)]
        for one in heard:
            pool.start(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", one, one.carried)
        with anyio.fail_after(PATIENCE_S):
            for one in heard:
                await one.over.wait()
        await pool.close()
        return heard

    with ScriptedServer(each(lambda peer, _: peer.send(answer(b"x")) or True)) as server:  # type: ignore[func-returns-value]
        heard = on_loop(loop, lambda: main(server))
    assert {one.outcome for one in heard} == {Outcome.ok}
    assert len(lookups) == 1


@pytest.mark.parametrize(
    ("failures", "outcome"),
    [
        ({"::1": errno.ECONNREFUSED, "127.0.0.1": errno.EADDRNOTAVAIL}, Outcome.never_sent),
        ({"127.0.0.2": errno.EADDRNOTAVAIL, "127.0.0.1": errno.ECONNREFUSED}, Outcome.never_sent),
        ({"::1": errno.ECONNREFUSED, "127.0.0.1": errno.ENOBUFS}, Outcome.never_sent),
        ({"::1": errno.ENETUNREACH, "127.0.0.1": errno.ECONNREFUSED}, Outcome.refused),
    ],
)
def test_our_own_want_is_ours_at_whichever_address_of_a_name(
    failures: dict[str, int], outcome: Outcome
) -> None:
    """Of several addresses that fail in several ways: without a port of ours left, nobody knows
    whether the server refuses.
    """

    class Refusing:
        async def sock_connect(self, _: object, address: tuple[str, int]) -> None:
            raise OSError(failures[address[0]], "made")

    race = _Race(cast("Any", Refusing()))

    async def dial() -> None:
        for address in failures:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with (
                socket.socket(family, socket.SOCK_STREAM) as sock,
                pytest.raises(OSError, match="made"),
            ):
                await race.sock_connect(sock, (address, 9))

    asyncio.run(dial())
    assert race.decisive is not None
    assert classify(race.decisive)[0] is outcome


@pytest.mark.parametrize(
    "proxy", ["foo://user:pr0xyPass@127.0.0.1:1", "http://user:pr0xyPass@127.0.0.1:notaport"]
)
def test_a_proxy_that_httpx_cannot_use_is_one_sentence(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its password."""
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(UserError, match="outgoing proxy") as refused:
        make_sender(target_for("http://models.example/v1", "httpx"), StampedReader())
    assert "pr0xyPass" not in str(refused.value)


@LOOPS
def test_waiting_for_the_peers_window_is_told_apart_from_sending(loop: str) -> None:
    """A server that reads nothing for 0.3 s holds a large request up for about as long: nothing of
    that is ours.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    body = b"x" * 8_000_000

    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            time.sleep(0.3)
            left = len(body)
            while left > 0 and (data := peer.recv(1 << 20)):
                left -= len(data)
            peer.sendall(answer(b"here"))
            peer.recv(1 << 20)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    (heard,) = asked(loop, target_for(url), body)
    listener.close()
    assert heard.outcome is Outcome.ok
    assert heard.held_ns > 250 * MS


class _Watched:
    """A loop whose getaddrinfo is another's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, getaddrinfo: object):
        self._inner, self.getaddrinfo = loop, getaddrinfo

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)
