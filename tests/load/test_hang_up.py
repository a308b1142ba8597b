"""Servers that hang up behind an answer without a word: what the pool learns of it, what it costs,
and when it forgets.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from bench.load.transport.connection import Connection
from bench.load.transport.pool import PROOFS, SETTLE_NS, Origin, Pool, tls_context
from bench.load.transport.sender import make_sender
from bench.load.transport.stamps import StampedReader
from bench.record.samples import Outcome
from tests.support.heard import Heard, ask, on_loop, target_for
from tests.support.hostile import authority, certificate
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
STREAM, PLAIN = b"".join(chunked(b"body")), answer(b"body")


class Asking:
    """A pool whose clock the test sets, and requests one after another."""

    def __init__(self, server: ScriptedServer, ca_file: str | None = None):
        self.now_ns, self.asked = 0, 0
        origin = Origin("127.0.0.1", server.port, tls=ca_file is not None, ca_file=ca_file)
        self.pool = Pool(
            origin,
            tls_context(origin) if ca_file else None,
            StampedReader(),
            clock=lambda: self.now_ns,
        )

    async def __call__(self, path: bytes = b"stream", heard: Heard | None = None) -> Heard:
        """One request to its end."""
        heard, self.asked = heard or Heard(), self.asked + 1
        self.pool.start(
            b"POST /%s HTTP/1.1\r\nX: %d\r\n\r\n" % (path, self.asked), heard, heard.carried
        )
        with anyio.fail_after(PATIENCE_S):
            await heard.over.wait()
        return heard

    async def until_closed(self, heard: Heard) -> None:
        """Until the client's loop has seen that the server ended this request's connection."""
        assert isinstance(heard.handle, Connection)
        with anyio.fail_after(PATIENCE_S):
            while heard.handle.alive:  # noqa: ASYNC110 - a connection that closes tells nobody
                await asyncio.sleep(0.001)


def asking(
    loop: str,
    server: ScriptedServer,
    course: Callable[[Asking], Awaitable[None]],
    ca_file: str | None = None,
) -> int:
    """Play a course on a pool of its own; returns how often it did not trust a connection."""

    async def main() -> int:
        using = Asking(server, ca_file)
        await course(using)
        await using.pool.close()
        return using.pool.idle.held_back

    return on_loop(loop, main)


def hanging_up(peer: Peer, request: bytes) -> bool:
    """The worst of the race: a stream's connection ends when the next request is on its way.

    Plain answers keep theirs.
    """
    plain = request.startswith(b"POST /plain")
    peer.send(PLAIN if plain else STREAM)
    if not plain:
        peer.head()
    return plain


def whole_requests(server: ScriptedServer) -> list[bytes]:
    """Their numbers, those that ended unanswered left out."""
    return [request.partition(b"X: ")[2].strip() for _, request in server.requests]


@LOOPS
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_one_race_is_lost_and_no_other_is_run(loop: str, tls: bool, tmp_path: Path) -> None:
    """The first request behind a stream is `reset`; every later one has a connection of its own,
    and none is sent twice.
    """
    found: list[Heard] = []

    async def course(request: Asking) -> None:
        found.extend([await request() for _ in range(8)])

    authority().cert_pem.write_to_path(tmp_path / "ca.pem")
    with ScriptedServer(each(hanging_up), tls=certificate() if tls else None) as server:
        held_back = asking(loop, server, course, str(tmp_path / "ca.pem") if tls else None)
    assert [one.outcome for one in found] == [Outcome.ok, Outcome.reset, *[Outcome.ok] * 6]
    assert [one.reused for one in found] == [False, True, *[False] * 6]
    assert (whole_requests(server), server.connections) == (
        [b"1", b"3", b"4", b"5", b"6", b"7", b"8"],
        7,
    )
    assert held_back == 6


@LOOPS
def test_an_end_that_was_seen_in_time_costs_no_request(loop: str) -> None:
    """Where the end of an idle connection is seen, nothing is lost before it is known what the
    server does.
    """

    def first_ends(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM)

    found: list[Heard] = []

    async def course(request: Asking) -> None:
        found.append(await request())
        await request.until_closed(found[0])
        found.extend([await request() for _ in range(3)])

    with ScriptedServer(first_ends, each(hanging_up)) as server:
        held_back = asking(loop, server, course)
    assert [(one.outcome, one.reused) for one in found] == [(Outcome.ok, False)] * 4
    assert held_back == 3


@LOOPS
def test_plain_answers_keep_their_connection_where_only_streams_lose_it(loop: str) -> None:
    """What is learnt of answers in chunks is not held against those with a length."""
    found: list[Heard] = []

    async def course(request: Asking) -> None:
        found.extend(
            [
                await request(path)
                for path in (b"stream", b"stream", b"plain", b"plain", b"stream", b"plain")
            ]
        )

    with ScriptedServer(each(hanging_up)) as server:
        asking(loop, server, course)
    assert [(one.outcome.name if one.outcome else "", one.reused) for one in found] == [
        ("ok", False),
        ("reset", True),
        ("ok", False),
        ("ok", True),
        ("ok", True),
        ("ok", False),
    ]


@LOOPS
def test_connections_that_live_are_trusted_again(loop: str) -> None:
    """Open for the settle time they are used again; after so many in a row nobody waits any
    more.
    """
    found: list[Heard] = []

    async def course(request: Asking) -> None:
        for _ in range(2):
            await request()
        for wait in [0, SETTLE_NS - 1, *[SETTLE_NS] * PROOFS, 0, 0]:
            request.now_ns += wait
            found.append(await request())

    with ScriptedServer(each(hanging_up), each(lambda peer, _: peer.send(STREAM))) as server:
        held_back = asking(loop, server, course)
    assert [one.outcome for one in found] == [Outcome.ok] * len(found)
    # The first two are proofs together, each later one by itself.
    assert [one.reused for one in found] == [False, False, *[True] * (PROOFS + 2)]
    assert held_back == PROOFS


@LOOPS
def test_a_connection_that_ends_later_was_kept_alive(loop: str) -> None:
    """An idle connection that ends after the settle time tells nothing: the next answer's is used
    again at once.
    """

    def ends_when_told(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM)
        assert told.wait(PATIENCE_S)

    told, found = threading.Event(), []

    async def course(request: Asking) -> None:
        found.append(await request())
        request.now_ns += SETTLE_NS
        told.set()
        await request.until_closed(found[0])
        found.extend([await request(), await request()])

    with ScriptedServer(ends_when_told, each(lambda peer, _: peer.send(STREAM))) as server:
        held_back = asking(loop, server, course)
    assert [(one.outcome, one.reused) for one in found] == [
        (Outcome.ok, False),
        (Outcome.ok, False),
        (Outcome.ok, True),
    ]
    assert held_back == 0


@LOOPS
def test_a_reset_in_an_answer_is_no_hang_up(loop: str) -> None:
    """A reused connection that fails when its next answer has begun tells nothing of what follows
    answers.
    """

    def breaks_the_second(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM)
        peer.request()
        peer.send(STREAM[:-5])
        assert begun.wait(PATIENCE_S)
        peer.reset()

    class Telling(Heard):
        def on_body(self, data: bytes, stamp_ns: int) -> None:
            """Tell the server that something has arrived."""
            super().on_body(data, stamp_ns)
            begun.set()

    begun, found = threading.Event(), []

    async def course(request: Asking) -> None:
        found.extend(
            [await request(), await request(heard=Telling()), await request(), await request()]
        )

    with ScriptedServer(breaks_the_second, each(lambda peer, _: peer.send(STREAM))) as server:
        held_back = asking(loop, server, course)
    assert [(one.outcome, one.reused) for one in found] == [
        (Outcome.ok, False),
        (Outcome.reset, True),
        (Outcome.ok, False),
        (Outcome.ok, True),
    ]
    assert held_back == 0


@LOOPS
@pytest.mark.parametrize("said", [STREAM, PLAIN], ids=["streamed", "plain"])
def test_servers_that_keep_alive_keep_their_reuse(loop: str, said: bytes) -> None:
    """Fifty requests one behind the other share one connection, and the sender says that none was
    held back.
    """

    async def main(server: ScriptedServer) -> dict[str, object]:
        sender = make_sender(target_for(server), StampedReader())
        for _ in range(50):
            assert (await ask(sender)).outcome == Outcome.ok
        await sender.close()
        return sender.facts()

    with serving(said) as server:
        facts = on_loop(loop, lambda: main(server))
    assert (facts["connections_opened"], facts["connections_held_back"], server.connections) == (
        1,
        0,
        1,
    )
