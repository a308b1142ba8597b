"""The connection pool against a model of it: a stack of idle connections, and requests under way.

Hypothesis picks what clients and server do next; the test itself is the server, on real sockets, and moves only when
told to. What the model expects is told from the server's side: which connection a request's bytes come on.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import uvloop
from heard import Heard
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from scripted_server import PATIENCE_S, answer, chunked

from bench.load.transport.connection import Connection
from bench.load.transport.pool import Origin, Pool
from bench.load.transport.stamps import StampedReader
from bench.record.samples import Outcome

#: what the server says -> whether the connection can carry another request after it
ANSWERS = {
    answer(b"body"): True,
    b"".join(chunked(b"bo", b"dy")): True,
    b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(b"body"): True,
    answer(b"body", headers=b"Connection: close\r\n"): False,
    answer(b"body").replace(b"HTTP/1.1", b"HTTP/1.0"): False,
    answer(b"body") + b"more": False,
}
#: how an answer can fail to come -> the request's outcome
BREAKS: dict[tuple[bytes, str], Outcome] = {
    (b"", "end"): Outcome.reset,
    (b"", "reset"): Outcome.reset,
    (b"HTTP/1.1 200", "end"): Outcome.truncated,
    (answer(b"body")[:-1], "end"): Outcome.truncated,
    (b"no HTTP at all\r\n\r\n", "nothing"): Outcome.malformed,
}
IDLE_ENDS = st.sampled_from(["end", "reset", "speak"])


@dataclass(eq=False)
class Line:
    """One connection as its server sees it; `client` is the pool's end."""

    sock: socket.socket
    client: Connection | None = None
    used: bool = False
    ended: bool = False

    def finish(self, how: str) -> None:
        """What the server does to a connection that it has had enough of."""
        if how == "reset":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sock.close()
        elif how == "end":
            self.sock.shutdown(socket.SHUT_WR)
        elif how == "speak":
            self.sock.sendall(answer(b"nobody asked"))


@dataclass(eq=False)
class Asked:
    """A request under way: its number, what its exchange hears, and the line that it came on."""

    number: bytes
    heard: Heard
    line: Line


class PoolModel(RuleBasedStateMachine):
    """`idle` is the model: the last one given back is the first one taken; ended ones are passed over."""

    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop

    def __init__(self) -> None:
        super().__init__()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE_S)
        self.runner = asyncio.Runner(loop_factory=type(self).loop_factory)
        self.pool = self.run(self._pool)
        self.idle: list[Line] = []
        self.under_way: list[Asked] = []
        self.lines: list[Line] = []
        self.given_up: list[tuple[Heard, list[str]]] = []
        self.requests = 0

    async def _pool(self) -> Pool:
        return Pool(Origin("127.0.0.1", self.listener.getsockname()[1]), None, StampedReader())

    def run(self, main: Callable[[], Any]) -> Any:
        """Let the client's side move until `main` returns."""

        async def bounded() -> Any:
            async with asyncio.timeout(PATIENCE_S):
                return await main()

        return self.runner.run(bounded())

    def taken(self) -> Line | None:
        """The idle line that the next request must use."""
        while self.idle:
            line = self.idle.pop()
            if not line.ended:
                return line
        return None

    # ---- what clients do

    @rule(count=st.integers(1, 3))
    def ask(self, count: int) -> None:
        """Requests begun together take the idle lines from the top of the stack, then a new line each."""
        expected = [self.taken() for _ in range(count)]
        begun: dict[bytes, Heard] = {}

        async def start() -> None:
            for _ in range(count):
                self.requests += 1
                number, heard = b"%d" % self.requests, Heard()
                begun[number] = heard
                self.pool.start(b"POST / HTTP/1.1\r\nX: " + number + b"\r\n\r\n", heard, heard.carried)
            for heard in begun.values():
                await heard.written.wait()

        self.run(start)
        numbers = list(begun)
        for number, line in zip(numbers, expected, strict=True):
            if line is not None:
                assert self._request_on(line) == number
                assert begun[number].events == ["sent"]
                assert begun[number].reused == line.used
                self.under_way.append(Asked(number, begun.pop(number), line))
        for _ in range(len(begun)):
            line = self._accepted()
            number = self._request_on(line)
            heard = begun.pop(number)
            assert heard.events == ["connected", "sent"]
            assert not heard.reused
            assert isinstance(heard.carrier, Connection)
            line.client = heard.carrier
            self.under_way.append(Asked(number, heard, line))

    @rule()
    def change_its_mind(self) -> None:
        """A request given up before it is written leaves its line to the next one, and hears nothing of it."""
        line, heard, named = self.taken(), Heard(wanted=False), asyncio.Event()

        def carried(connection: Connection) -> bool:
            named.set()
            return heard.carried(connection)

        async def start() -> None:
            self.pool.start(b"never written", heard, carried)
            await named.wait()

        self.run(start)
        assert heard.events == ([] if line else ["connected"])
        if line is None:
            line = self._accepted()
            assert isinstance(heard.carrier, Connection)
            line.client = heard.carrier
        self.idle.append(line)
        self.given_up.append((heard, list(heard.events)))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        """A request given up under way closes its line and hears nothing more."""
        asked = self._any(data)
        assert asked.heard.carrier is not None
        self.run(self._soon(asked.heard.carrier.abort))
        assert asked.line.sock.recv(1) == b""
        asked.line.ended = True
        self.given_up.append((asked.heard, list(asked.heard.events)))

    # ---- what the server does

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), said=st.sampled_from(sorted(ANSWERS)))
    def reply(self, data: st.DataObject, said: bytes) -> None:
        """An answer reaches the request that came on its line; the line is kept where both sides may."""
        asked = self._any(data)
        asked.line.sock.sendall(said)
        self.run(asked.heard.over.wait)
        assert (asked.heard.outcome, asked.heard.body) == (Outcome.ok, b"body")
        if ANSWERS[said]:
            asked.line.used = True
            self.idle.append(asked.line)
        else:
            asked.line.ended = True

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), way=st.sampled_from(sorted(BREAKS)))
    def break_off(self, data: st.DataObject, way: tuple[bytes, str]) -> None:
        """A broken answer is that request's outcome, with no second try, and the end of its line."""
        asked = self._any(data)
        said, how = way
        asked.line.sock.sendall(said)
        asked.line.finish(how)
        self.run(asked.heard.over.wait)
        assert asked.heard.outcome == BREAKS[way]
        asked.line.ended = True

    @precondition(lambda self: any(not line.ended for line in self.idle))
    @rule(data=st.data(), how=IDLE_ENDS, looked=st.booleans())
    def end_an_idle_line(self, data: st.DataObject, how: str, looked: bool) -> None:
        """The server may close an idle line, or speak out of turn, whether or not the client's loop has looked since."""
        line = data.draw(st.sampled_from([line for line in self.idle if not line.ended]), "line")
        assert line.client is not None
        line.finish(how)
        line.ended = True
        arrived = select.poll()
        arrived.register(line.client._fd, select.POLLIN)
        assert arrived.poll(PATIENCE_S * 1000)
        if looked:
            self.run(self._until(lambda: line.client is not None and not line.client.alive))

    # ---- what holds at all times

    @invariant()
    def each_line_was_opened_for_a_request(self) -> None:
        """No line is opened on a spare, and none stays open that can carry nothing."""
        assert self.pool.opened == len(self.lines)
        standing = {line.client for line in self.lines if not line.ended}
        assert {each for each in self.pool._open if not self._is_over(each)} == standing

    @invariant()
    def what_was_given_up_hears_nothing(self) -> None:
        """Neither an answer nor a failure."""
        assert all(heard.events == events for heard, events in self.given_up)

    def teardown(self) -> None:
        """Closing the pool closes every line, and nobody hears of it."""
        before = [list(asked.heard.events) for asked in self.under_way]
        self.run(self.pool.close)
        assert not self.pool._open
        assert [asked.heard.events for asked in self.under_way] == before
        for line in self.lines:
            if line.sock.fileno() >= 0:
                assert line.ended or line.sock.recv(1) == b""
                line.sock.close()
        self.listener.close()
        self.runner.close()

    # ---- how the test looks and moves

    def _is_over(self, client: Connection) -> bool:
        """Ended by the server, which the client has not looked at yet."""
        return any(line.client is client and line.ended for line in self.lines)

    def _any(self, data: st.DataObject) -> Asked:
        return self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1), "request"))

    def _accepted(self) -> Line:
        sock, _ = self.listener.accept()
        sock.settimeout(PATIENCE_S)
        self.lines.append(Line(sock))
        return self.lines[-1]

    @staticmethod
    def _request_on(line: Line) -> bytes:
        """The number of the one request that came on a line."""
        heard = b""
        while not heard.endswith(b"\r\n\r\n"):
            heard += line.sock.recv(1 << 16)
        assert heard.count(b"X: ") == 1
        return heard.partition(b"X: ")[2].strip()

    @staticmethod
    def _soon(act: Callable[[], object]) -> Callable[[], Any]:
        async def main() -> None:
            act()

        return main

    @staticmethod
    def _until(holds: Callable[[], bool]) -> Callable[[], Any]:
        async def main() -> None:
            while not holds():  # noqa: ASYNC110 - a connection that closes tells nobody
                await asyncio.sleep(0.001)

        return main


class PoolModelOnUvloop(PoolModel):
    """The same on the loop that runs use."""

    loop_factory = uvloop.new_event_loop


TestOnAsyncio = PoolModel.TestCase
TestOnUvloop = PoolModelOnUvloop.TestCase
TestOnAsyncio.settings = TestOnUvloop.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
