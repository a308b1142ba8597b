"""The connection pool against a model of it: idle connections, trusted and not, and requests under
way.

Hypothesis picks what clients and server do next; the test itself is the server, on real sockets,
and moves only when told to, as does the clock by which connections are idle. What the model expects
is told from the server's side: which connection a request's bytes come on.
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
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bench.load.transport.connection import Connection
from bench.load.transport.pool import PROOFS, SETTLE_NS, Origin, Pool
from bench.load.transport.stamps import StampedReader
from bench.record.samples import Outcome
from tests.support.heard import Heard
from tests.support.scripted_server import PATIENCE_S, answer, chunked

STREAM = b"".join(chunked(b"bo", b"dy"))
#: what the server says -> whether the connection can carry another request after it
ANSWERS = {
    answer(b"body"): True,
    STREAM: True,
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
    #: of its last answer: did it come in chunks, and when was it complete
    chunked: bool = False
    since_ns: int = 0

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
    """A request under way: its number, what its receiver hears, and the line that it came on."""

    number: bytes
    heard: Heard
    line: Line


class PoolModel(RuleBasedStateMachine):
    """The model.

    Of `idle` the last one given back is the first one taken; ended ones are passed over.

    Where the server ended a line less than SETTLE_NS behind an answer, and nothing had come since,
    it is `wanted` of PROOFS lines behind answers of that kind that they stay open for as long:
    until then they wait in `settling`.
    """

    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop

    def __init__(self) -> None:
        super().__init__()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE_S)
        self.runner = asyncio.Runner(loop_factory=type(self).loop_factory)
        self.now_ns = 0
        self.pool = self.run(self._pool)
        self.idle: list[Line] = []
        self.settling: list[Line] = []
        self.wanted = {False: 0, True: 0}
        self.held_back = 0
        self.under_way: list[Asked] = []
        self.lines: list[Line] = []
        self.given_up: list[tuple[Heard, list[str]]] = []
        self.requests = 0

    async def _pool(self) -> Pool:
        origin = Origin("127.0.0.1", self.listener.getsockname()[1])
        return Pool(origin, None, StampedReader(), clock=lambda: self.now_ns)

    def run(self, main: Callable[[], Any]) -> Any:
        """Let the client's side move until `main` returns."""

        async def bounded() -> Any:
            async with asyncio.timeout(PATIENCE_S):
                return await main()

        return self.runner.run(bounded())

    def taken(self) -> Line | None:
        """The idle line that the next request must use."""
        while self.settled():
            line = self.settling.pop(0)
            if not line.ended:
                self.wanted[line.chunked] = max(0, self.wanted[line.chunked] - 1)
                self.idle.append(line)
        while self.idle:
            line = self.idle.pop()
            if not line.ended:
                return line
        return None

    def settled(self) -> bool:
        """Has the next line that is not trusted been open for long enough?"""
        return bool(self.settling) and not self.young(self.settling[0])

    def young(self, line: Line) -> bool:
        """Is an end of this line now one right behind an answer?"""
        return line.used and self.now_ns - line.since_ns < SETTLE_NS

    def given_back(self, line: Line, kind: bool) -> None:
        """Its answer is complete."""
        line.used, line.chunked, line.since_ns = True, kind, self.now_ns
        self.held_back += bool(self.wanted[kind])
        (self.settling if self.wanted[kind] else self.idle).append(line)

    # ---- what clients do

    @rule(part=st.sampled_from([SETTLE_NS, SETTLE_NS - 1, 1]))
    def time_passes(self, part: int) -> None:
        """Long enough for a line to settle, or just not."""
        self._look()
        self.now_ns += part

    @rule(count=st.integers(1, 3))
    def ask(self, count: int) -> None:
        """Requests begun together take the idle lines from the top of the stack, then a new line
        each.
        """
        expected = [self.taken() for _ in range(count)]
        begun: dict[bytes, Heard] = {}

        async def start() -> None:
            for _ in range(count):
                self.requests += 1
                number, heard = b"%d" % self.requests, Heard()
                begun[number] = heard
                self.pool.start(
                    b"POST / HTTP/1.1\r\nX: " + number + b"\r\n\r\n", heard, heard.carried
                )
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
            assert isinstance(heard.handle, Connection)
            line.client = heard.handle
            self.under_way.append(Asked(number, heard, line))

    @rule()
    def change_its_mind(self) -> None:
        """A request given up before it is written leaves its line to the next one, and hears
        nothing of it.
        """
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
            assert isinstance(heard.handle, Connection)
            line.client = heard.handle
        self.idle.append(line)
        self.given_up.append((heard, list(heard.events)))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        """A request given up under way closes its line and hears nothing more."""
        asked = self._any(data)
        assert asked.heard.handle is not None
        self.run(self._soon(asked.heard.handle.abort))
        assert asked.line.sock.recv(1) == b""
        asked.line.ended = True
        self.given_up.append((asked.heard, list(asked.heard.events)))

    # ---- what the server does

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), said=st.sampled_from(sorted(ANSWERS)))
    def reply(self, data: st.DataObject, said: bytes) -> None:
        """An answer reaches the request that came on its line; the line is kept where both sides
        may.
        """
        self._reply(self._any(data), said)

    def _reply(self, asked: Asked, said: bytes) -> None:
        self._look()
        asked.line.sock.sendall(said)
        self.run(asked.heard.over.wait)
        assert (asked.heard.outcome, asked.heard.body) == (Outcome.ok, b"body")
        if ANSWERS[said]:
            self.given_back(asked.line, said == STREAM)
        else:
            asked.line.ended = True

    @rule(count=st.integers(1, PROOFS))
    def stream_and_stay(self, count: int) -> None:
        """Streams one after another, behind each of which the server keeps the line for as long as
        it takes.
        """
        for _ in range(count):
            self.ask(1)
            self._reply(self.under_way.pop(), STREAM)
            self.time_passes(SETTLE_NS)

    @rule(said=st.sampled_from([answer(b"body"), STREAM]))
    def hang_up(self, said: bytes) -> None:
        """The server ends a line right behind an answer."""
        self.ask(1)
        line = self.under_way[-1].line
        self._reply(self.under_way.pop(), said)
        line.finish("end")
        self._over(line)
        self._look()

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), way=st.sampled_from(sorted(BREAKS)))
    def break_off(self, data: st.DataObject, way: tuple[bytes, str]) -> None:
        """A broken answer is that request's outcome, with no second try, and the end of its
        line.
        """
        asked = self._any(data)
        said, how = way
        asked.line.sock.sendall(said)
        asked.line.finish(how)
        self.run(asked.heard.over.wait)
        assert asked.heard.outcome == BREAKS[way]
        if said == b"":
            self._over(asked.line)
        asked.line.ended = True

    @precondition(lambda self: any(not line.ended for line in self.idle + self.settling))
    @rule(data=st.data(), how=IDLE_ENDS, looked=st.booleans())
    def end_an_idle_line(self, data: st.DataObject, how: str, looked: bool) -> None:
        """The server may close an idle line, or speak out of turn, whether or not the client's loop
        has looked since.
        """
        open_lines = [line for line in self.idle + self.settling if not line.ended]
        line = data.draw(st.sampled_from(open_lines), "line")
        assert line.client is not None
        # Which comes first, another line's proof or this one's end, is for the model to know.
        looked = looked or (self.young(line) and self.settled())
        line.finish(how)
        if how == "speak":
            line.ended = True
        else:
            self._over(line)
        arrived = select.poll()
        arrived.register(line.client._fd, select.POLLIN)
        assert arrived.poll(PATIENCE_S * 1000)
        if looked:
            self._look()

    # ---- what holds at all times

    @invariant()
    def each_line_was_opened_for_a_request(self) -> None:
        """No line is opened on a spare, and none stays open that can carry nothing."""
        assert self.pool.opened == len(self.lines)
        standing = {line.client for line in self.lines if not line.ended}
        assert {each for each in self.pool._open if not self._is_over(each)} == standing

    @invariant()
    def each_line_that_was_not_trusted_is_told(self) -> None:
        """As often as an answer's line had to wait."""
        assert self.pool.idle.held_back == self.held_back

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

    def _over(self, line: Line) -> None:
        """The server ended a line, and no answer had begun."""
        line.ended = True
        if self.young(line):
            self.wanted[line.chunked] = PROOFS

    def _look(self) -> None:
        """The client's loop sees every end there is."""
        ended = [line.client for line in self.lines if line.ended and line.client is not None]
        self.run(self._until(lambda: not any(client.alive for client in ended)))

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
TestOnAsyncio.settings = TestOnUvloop.settings = settings(
    max_examples=30, stateful_step_count=20, deadline=None
)
