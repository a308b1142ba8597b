"""The stamped transport under httpx's own client: what a user of httpx expects of a transport."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from bench.load.transport.adapter import StampedTransport
from bench.load.transport.client import httpx
from tests.support.heard import on_loop
from tests.support.scripted_server import Peer, Script, ScriptedServer, answer, chunked, each

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
T = TypeVar("T")


def talk(
    loop: str, script: Script, use: Callable[[httpx.AsyncClient, str], Awaitable[T]]
) -> tuple[T, ScriptedServer]:
    """Use a client on the stamped transport against a scripted server."""
    with ScriptedServer(script) as server:

        async def main() -> T:
            async with httpx.AsyncClient(transport=StampedTransport(), timeout=20) as client:
                return await use(client, f"http://127.0.0.1:{server.port}")

        return on_loop(loop, main), server


def answering(*parts: bytes) -> Script:
    """Every request gets these bytes."""

    def reply(peer: Peer, request: bytes) -> bool:
        peer.send(*parts)
        return True

    return each(reply)


@LOOPS
def test_requests_on_one_connection_with_their_stamps(loop: str) -> None:
    """Body and headers arrive as httpx wrote them; the first request connects, the second reuses,
    stamps rise.
    """

    async def use(client: httpx.AsyncClient, url: str) -> list[httpx.Response]:
        return [
            await client.post(f"{url}/v1/x?q=1", json={"a": 1}, headers={"X-Own": "yes"})
            for _ in range(2)
        ]

    responses, server = talk(loop, answering(*chunked(b"one", b"two")), use)
    assert [(r.status_code, r.content) for r in responses] == [(200, b"onetwo")] * 2
    first, second = (r.extensions["stamps"] for r in responses)
    assert first["connect_ns"] > 0
    assert second["connect_ns"] == -1
    for stamps in (first, second):
        assert stamps["sent_ns"] > 0
        assert stamps["head_ns"] <= stamps["done_ns"]
    assert first["done_ns"] < second["sent_ns"]
    head, _, body = server.requests[0][1].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/x?q=1 HTTP/1.1\r\n")
    assert b"x-own: yes" in head.lower()
    assert json.loads(body) == {"a": 1}
    assert server.connections == 1


@LOOPS
def test_a_stream_can_be_left_early(loop: str) -> None:
    """Leaving a stream closes its connection instead of reusing it; the next request gets a new
    one.
    """

    def script(peer: Peer) -> None:
        if peer.number == 0:
            peer.request()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfirst")
            peer.until_closed()
        else:
            answering(answer(b"whole"))(peer)

    async def use(client: httpx.AsyncClient, url: str) -> tuple[bytes, bytes]:
        async with client.stream("GET", url) as response:
            async for part in response.aiter_raw():
                begun = part
                break
        return begun, (await client.get(url)).content

    (begun, whole), server = talk(loop, script, use)
    assert (begun, whole, server.connections) == (b"first", b"whole", 2)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (lambda peer: peer.request() and None, httpx.ReadError),
        (
            lambda peer: (
                peer.request() and peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
            ),
            httpx.RemoteProtocolError,
        ),
        (
            lambda peer: peer.request() and peer.send(b"not HTTP at all\r\n\r\n"),
            httpx.RemoteProtocolError,
        ),
    ],
    ids=["closed", "cut", "garbage"],
)
def test_failures_are_httpx_errors(script: Script, error: type[Exception]) -> None:
    """Each failure comes out as the class of httpx that stock transports raise for it."""

    async def use(client: httpx.AsyncClient, url: str) -> None:
        with pytest.raises(error):
            await client.get(url)

    talk("asyncio", script, use)


def test_refused_and_late_answers_are_httpx_errors() -> None:
    """Nobody listening is a ConnectError; a silent server a ReadTimeout, before the head and inside
    the body.
    """

    async def refused(client: httpx.AsyncClient, url: str) -> None:
        with pytest.raises(httpx.ConnectError):
            await client.get("http://127.0.0.1:1/")

    async def late(client: httpx.AsyncClient, url: str) -> None:
        with pytest.raises(httpx.ReadTimeout):
            await client.get(url, timeout=httpx.Timeout(20, read=0.05))

    talk("asyncio", answering(answer(b"")), refused)
    talk("asyncio", Peer.until_closed, late)

    def half(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
        peer.until_closed()

    talk("asyncio", half, late)
