"""What stands between a request and its transport, and how failures are named.

In: nothing. Out: the protocols `Sender`, `Handle` and `Receiver`, and the map from errors to
outcomes. Must stay true: every foreign error is translated here, once, into the closed set of
outcomes; nothing above the transport catches OSError, ssl.SSLError or an httpx error.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from bench.record.samples import Outcome

Headers = list[tuple[bytes, bytes]]


class Receiver(Protocol):
    """The receiver of one request's events. All stamps are monotonic ns.

    Exactly one of `on_done` and `on_fail` ends it; no event follows it.
    """

    def on_connected(self, connect_ns: int, tls_ns: int) -> None:
        """A new connection was opened for it; both are lengths."""

    def on_reconnect(self) -> None:
        """The reused connection had ended before the request was written: it goes to a new one."""

    def on_held(self, length_ns: int) -> None:
        """For so long the peer's window, or the link, took no more of the request; before its
        `on_sent`.
        """

    def on_sent(self, now_ns: int, reused: bool) -> None:
        """The write that completes the request returned."""

    def on_head(
        self,
        status: int,
        headers: Headers,
        stamp_ns: int,
        user_stamp: bool,
    ) -> None:
        """Status line and headers are complete; header names are lower case."""

    def on_body(self, data: bytes, stamp_ns: int) -> None:
        """Body bytes, transfer coding undone."""

    def on_done(self, stamp_ns: int) -> None:
        """The body is complete."""

    def on_fail(self, outcome: Outcome, note: str, now_ns: int) -> None:
        """It failed below HTTP."""


class Handle(Protocol):
    """What carries a request and can give it up."""

    def abort(self) -> None:
        """Stop; the receiver gets no further event."""

    def catch_up(self, *, stood_still: bool = False) -> None:
        """Hand on what has arrived already, where that can be looked at before the loop does;
        `stood_still`: for this process stood still.
        """


class Sender(Protocol):
    """Sends one POST a call."""

    def start(
        self,
        body: bytes,
        request_id: str,
        receiver: Receiver,
        on_handle: Callable[[Handle], bool],
    ) -> None:
        """Begin; events follow on the loop."""

    async def close(self) -> None:
        """Close every connection."""

    def facts(self) -> dict[str, object]:
        """What the manifest says of it."""


class TransportFailure(Exception):
    """A failure that has its outcome already."""

    def __init__(self, outcome: Outcome, note: str):
        super().__init__(note)
        self.outcome = outcome
        self.note = note


class NotBegun(Exception):
    """The server has not begun this request, by its own word: another connection may carry it."""


_RESET = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ESHUTDOWN, errno.ENOTCONN}
#: What this machine, not the other side, had none left of.
OUR_WANTS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}


def classify(error: BaseException) -> tuple[Outcome, str]:
    """The outcome of an error met while connecting, sending or receiving, and a short note."""
    if isinstance(error, TransportFailure):
        return error.outcome, error.note
    if isinstance(error, ssl.SSLError):
        if isinstance(error, ssl.SSLCertVerificationError):
            reason = error.verify_message
        else:
            reason = error.reason
        return Outcome.tls, f"TLS: {reason or 'failed'}"
    if isinstance(error, socket.gaierror):
        return Outcome.dns, f"DNS: {error.strerror}"
    if isinstance(error, UnicodeError):
        return Outcome.dns, "DNS: not a host name"
    if isinstance(error, TimeoutError):
        return Outcome.timeout_connect, "connect timed out"
    if isinstance(error, OSError):
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        if error.errno in OUR_WANTS:
            no_descriptor = error.errno in (errno.EMFILE, errno.ENFILE)
            what = "descriptors" if no_descriptor else "local ports or memory"
            return Outcome.never_sent, f"out of {what} ({name})"
        if error.errno in _RESET:
            return Outcome.reset, name
        return Outcome.refused, name
    return Outcome.malformed, f"{type(error).__name__}: {error}"[:200]
