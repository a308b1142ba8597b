"""A receiver that writes down what it hears, and the loops and senders it is heard on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

from bench.load.transport.interface import Handle, Headers, Sender
from bench.load.transport.sender import make_sender
from bench.load.transport.stamps import StampedReader
from bench.plan.target import Target
from bench.record.samples import Outcome
from tests.support.scripted_server import PATIENCE_S, ScriptedServer

T = TypeVar("T")


class Heard:
    """Implements `Receiver`; fails the test when anything is heard after the end."""

    def __init__(self, wanted: bool = True) -> None:
        self.events: list[str] = []
        self.connected: tuple[int, int] | None = None
        self.reused = False
        self.held_ns = 0
        self.sent_ns = self.head_ns = self.done_ns = self.status = -1
        self.user_stamp = False
        self.headers: Headers = []
        self.body = b""
        self.body_ns: list[int] = []
        self.outcome: Outcome | None = None
        self.note = ""
        self.handle: Handle | None = None
        #: what had been heard when a handle was named
        self.carried_after: list[list[str]] = []
        self.wanted = wanted
        self.written, self.over = asyncio.Event(), asyncio.Event()

    def _hear(self, event: str) -> None:
        assert not self.over.is_set(), f"{event} after {self.events}"
        self.events.append(event)

    def carried(self, handle: Any) -> bool:
        self.handle = handle
        self.carried_after.append(list(self.events))
        return self.wanted

    def on_connected(self, connect_ns: int, tls_ns: int) -> None:
        self._hear("connected")
        self.connected = (connect_ns, tls_ns)

    def on_reconnect(self) -> None:
        self._hear("reconnect")

    def on_held(self, length_ns: int) -> None:
        self.held_ns = length_ns

    def on_sent(self, now_ns: int, reused: bool) -> None:
        self._hear("sent")
        self.sent_ns, self.reused = now_ns, reused
        self.written.set()

    def on_head(self, status: int, headers: Headers, stamp_ns: int, user_stamp: bool) -> None:
        self._hear("head")
        self.status, self.headers, self.head_ns, self.user_stamp = (
            status,
            list(headers),
            stamp_ns,
            user_stamp,
        )

    def on_body(self, data: bytes, stamp_ns: int) -> None:
        self._hear("body")
        self.body += data
        self.body_ns.append(stamp_ns)

    def on_done(self, stamp_ns: int) -> None:
        self._hear("done")
        self.done_ns, self.outcome = stamp_ns, Outcome.ok
        self.over.set()

    def on_fail(self, outcome: Outcome, note: str, now_ns: int) -> None:
        self._hear("fail")
        self.done_ns, self.outcome, self.note = now_ns, outcome, note
        self.over.set()


def on_loop(loop: str, main: Callable[[], Awaitable[T]]) -> T:
    """Run on asyncio's own loop or on uvloop."""
    return anyio.run(main, backend="asyncio", backend_options={"use_uvloop": loop == "uvloop"})


def target_for(server: ScriptedServer | str, transport: str = "tailproof", **more: Any) -> Target:
    """A target that leads to the server."""
    if isinstance(server, ScriptedServer):
        host = f"[{server.host}]" if ":" in server.host else server.host
        server = f"{more.pop('scheme', 'http')}://{host}:{server.port}/v1"
    return Target.model_validate(
        {
            "description": "d",
            "name": "t",
            "base_url": server,
            "model": "m",
            "transport": transport,
            **more,
        }
    )


async def ask(sender: Sender, body: bytes = b"{}", heard: Heard | None = None) -> Heard:
    """One request to its end."""
    heard = heard or Heard()
    sender.start(body, "id-1", heard, heard.carried)
    with anyio.fail_after(PATIENCE_S):
        await heard.over.wait()
    return heard


def asked(loop: str, target: Target, *bodies: bytes) -> list[Heard]:
    """Requests one after another on one sender of a loop of its own."""

    async def main() -> list[Heard]:
        sender = make_sender(target, StampedReader())
        try:
            return [await ask(sender, body) for body in bodies or (b"{}",)]
        finally:
            await sender.close()

    return on_loop(loop, main)
