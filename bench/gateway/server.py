"""The live gateway: scenarios played over HTTP in real time.

In: scenarios and a port. Out: answers at the moments the serving model plans, and the truth
about them. Must stay true: one heap of what is due per scenario and one kernel timer for all;
every request ends in exactly one truth record; a client's mistake never ends the server.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TextIO

from bench.clock import monotonic_ns, wall_ns
from bench.errors import UserError
from bench.gateway.apis.chat import API as CHAT
from bench.gateway.apis.paths import Place, lister_of, place_of
from bench.gateway.connection import Connection, Request
from bench.gateway.exchange import Exchange, begin
from bench.gateway.play import Play
from bench.gateway.scenarios import Scenario
from bench.gateway.timer import make_timer
from bench.gateway.wire import RequestError, error_body
from bench.units import S

MAX_CONNECTIONS = 8192
SWEEP_S = 0.25
_CHAT_PATH, _AT_CHAT = "v1/chat/completions", Place(CHAT)


class Provider:
    """Routes requests to scenarios; the handler of every connection."""

    def __init__(
        self,
        scenarios: list[Scenario],
        loop: asyncio.AbstractEventLoop,
        log: TextIO | None,
        request_ns: int,
    ):
        self._loop = loop
        self._log = log
        self.request_ns = request_ns
        self._plays = {scenario.name: Play(scenario, log) for scenario in scenarios}
        self._first = scenarios[0].name
        #: every play with something due, also those that a reset has replaced
        self._live = list(self._plays.values())
        self._timer = make_timer(loop, self._due)
        self._connections: set[Connection] = set()
        self._sweeper = loop.call_later(SWEEP_S, self._sweep)

    def opened(self, connection: Connection) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            connection.answer(503, error_body("too many connections", "server_error"), [])
            connection.close()
        else:
            self._connections.add(connection)

    def lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if isinstance(connection.exchange, Exchange):
            connection.exchange.disconnected()
            self._arm()

    def request(self, connection: Connection, request: Request) -> None:
        path = request.path.partition("?")[0]
        name, _, rest = path.lstrip("/").partition("/")
        play = self._plays.get(name)
        if play is None:
            play = self._plays[self._first]
            rest = path.lstrip("/")
        place = _AT_CHAT if rest == _CHAT_PATH else place_of(rest)
        if place is not None and request.method == "POST":
            begin(play, connection, request, place)
            self._due()
            return
        try:
            status = 200
            body = self._other(play, rest, connection, request)
        except RequestError as error:
            status = error.status
            body = error.body
        connection.answer(status, body, [])
        connection.answered()

    def _other(
        self,
        play: Play,
        rest: str,
        connection: Connection,
        request: Request,
    ) -> bytes:
        """The answer to everything that no API answers. Raises RequestError."""
        routes: dict[str, tuple[str, Callable[[], bytes]]] = {
            "truth": ("GET", lambda: json.dumps(play.truth.facts()).encode()),
            "reset": ("POST", lambda: self._reset(play)),
            "change": ("POST", lambda: play.change(request.body)),
        }
        if (lister := lister_of(rest, request.headers)) is not None:
            names = play.scenario.gateway.names()
            routes[rest] = "GET", lambda: lister.models(names, wall_ns() // S)
        elif place_of(rest) is not None:
            routes[rest] = "POST", bytes
        if rest not in routes:
            raise RequestError(
                404,
                f"Invalid URL: there is no /{rest[:200]} here",
                code="unknown_url",
            )
        method, answer = routes[rest]
        if request.method != method:
            raise RequestError(405, f"/{rest} answers {method} only", code="method_not_allowed")
        if rest in ("reset", "change") and not connection.from_loopback():
            raise RequestError(403, f"/{rest} answers this machine only", "permission_error")
        return answer()

    def _reset(self, play: Play) -> bytes:
        """Begin the scenario again; what is under way ends by the old one and is not counted."""
        fresh = self._plays[play.scenario.name] = Play(play.scenario, self._log)
        self._live.append(fresh)
        return json.dumps({"reset": play.scenario.name}).encode()

    def _due(self) -> None:
        now_ns = monotonic_ns()
        for play in self._live:
            play.advance(now_ns)
        self._arm()

    def _arm(self) -> None:
        due = [play.due_ns() for play in self._live]
        self._timer.arm(min((each for each in due if each is not None), default=None))

    def _sweep(self) -> None:
        now_ns = monotonic_ns()
        for connection in list(self._connections):
            connection.check_deadline(now_ns)
        # a play that a reset has replaced goes when its last request has ended
        self._live = [
            play for play in self._live if play.under_way or self._plays[play.scenario.name] is play
        ]
        if self._log is not None:
            self._log.flush()
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)

    def close(self) -> None:
        """Cut every connection and stop the timer."""
        self._sweeper.cancel()
        for connection in list(self._connections):
            connection.abort()
        self._timer.close()


async def serve(
    scenarios: list[Scenario],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    log: TextIO | None = None,
    request_ns: int = 10 * S,
    ready: Callable[[str], None],
    stop: asyncio.Event,
) -> None:
    """Serve until `stop` is set. `ready` is called with the base URL, without `/v1`.

    Raises UserError when the address cannot be bound.
    """
    loop = asyncio.get_running_loop()
    provider = Provider(scenarios, loop, log, request_ns)
    try:
        server = await loop.create_server(lambda: Connection(provider), host, port, backlog=4096)
    except OSError as error:
        provider.close()
        raise UserError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            remedy="choose another port, or 0 for any free one",
        ) from None
    bound = server.sockets[0].getsockname()
    if ":" in bound[0]:
        shown = f"[{bound[0]}]"
    else:
        shown = bound[0]
    ready(f"http://{shown}:{bound[1]}")
    try:
        await stop.wait()
    finally:
        server.close()
        provider.close()
        # connection_lost of the cut connections, and with it their truth records, come in the next
        # turns
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if log is not None:
            log.flush()
