"""One connection: a non-blocking socket, TLS if asked for, one request at a time.

In: request bytes and a `Receiver`. Out: the receiver's events, stamped. Must stay true: the
reader stays registered for the connection's life (a registration per read costs more than the
read); `sent` is taken after the write that completes the request; a connection that said
anything unexpected is never reused.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections.abc import Callable
from typing import Any

import httptools

from bench.clock import monotonic_ns
from bench.load.transport.interface import Headers, Receiver, classify
from bench.load.transport.lenient import response_parser
from bench.load.transport.stamps import StampedReader, unread
from bench.record.samples import Outcome

MAX_HEAD_BYTES = 64 << 10


class Tls:
    """TLS over memory: ciphertext comes from and goes to the stamped socket."""

    def __init__(self, context: ssl.SSLContext, host: str):
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._in, self._out, server_hostname=host)

    def handshake(self) -> bool:
        """One step; True when done. Raises ssl.SSLError."""
        try:
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def take(self) -> bytes:
        """Ciphertext to send."""
        return self._out.read()

    def seal(self, data: bytes) -> bytes:
        """Plain bytes -> ciphertext to send."""
        view = memoryview(data)
        while view:
            view = view[self.object.write(view) :]
        return self._out.read()

    def give(self, data: bytes | memoryview) -> None:
        """Ciphertext that arrived; none = the peer closed."""
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    def open(self) -> tuple[bytes, bool]:
        """(plain bytes available now, whether the peer said goodbye). Raises ssl.SSLError."""
        parts = []
        try:
            while part := self.object.read(1 << 17):
                parts.append(part)
        except ssl.SSLWantReadError:
            return b"".join(parts), False
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        return b"".join(parts), True


class Connection:
    """States: idle (no request), busy, dead. Lives on one asyncio loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        tls: Tls | None,
        reader: StampedReader,
        on_idle: Callable[[Connection], None],
        on_closed: Callable[[Connection], None],
    ):
        self._loop = loop
        self._sock = sock
        self._tls = tls
        self._reader = reader
        self._on_idle = on_idle
        self._on_closed = on_closed
        self._fd = sock.fileno()
        self._receiver: Receiver | None = None
        self._parser: Any = None
        self._unsent: memoryview | None = None
        self._head_bytes = self._stamp_ns = self._uses = self._held_since_ns = 0
        self._headers: Headers = []
        self._user_stamp = False
        self._head_done = self._until_close = self._answered = self._complete = self._keep = False
        self._resend: Callable[[], None] | None = None
        self.alive = True
        #: did its last answer come in chunks?
        self.chunked = False
        #: the server ended it when nothing had come behind an answer
        self.hung_up = False
        #: when its last answer was complete, by the clock of who keeps idle connections
        self.given_back_ns = -1
        #: registered for no event: poll then reports failures alone
        self._failures = select.poll()
        self._failures.register(self._fd, 0)
        loop.add_reader(self._fd, self._readable)

    # ---- sending

    def usable(self) -> bool:
        """False once the server has closed the idle connection or spoken out of turn."""
        while self.alive:
            try:
                spoke = self._sock.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                return True
            except OSError:
                spoke = b""
            # TLS peers may send session tickets at any time; plain ones have nothing to say.
            if spoke and self._tls is not None:
                self._receive()
                continue
            self.hung_up = not spoke and self._uses > 0
            self.close()
        return False

    def send(
        self,
        request: bytes,
        receiver: Receiver,
        resend: Callable[[], None] | None = None,
    ) -> None:
        """Begin a request on an idle connection.

        `resend` is called instead of a failure when the end of a reused connection is seen before
        the request's last byte was written: nothing of it can have been acted on. A reset after
        the first byte, and an end after the last, are outcomes.
        """
        self._receiver = receiver
        self._resend = resend if self._uses else None
        self._head_done = self._until_close = self._answered = self._complete = self._keep = False
        self._headers = []
        self._head_bytes = 0
        self._parser = response_parser(self)
        try:
            if self._tls is not None:
                data = self._tls.seal(request)
            else:
                data = request
        except ssl.SSLError as error:
            self._unwritable(error)
            return
        self._write(memoryview(data))

    def _write(self, data: memoryview) -> None:
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._unwritable(error)
            return
        if sent == len(data):
            now = monotonic_ns()
            if self._unsent is not None:
                self._unsent = None
                self._loop.remove_writer(self._fd)
                if self._receiver is not None:
                    self._receiver.on_held(now - self._held_since_ns)
            if self._receiver is not None:
                self._receiver.on_sent(now, self._uses > 0)
        else:
            if self._unsent is None:
                self._held_since_ns = monotonic_ns()
                self._loop.add_writer(self._fd, self._writable)
            self._unsent = data[sent:]

    def _writable(self) -> None:
        if self._unsent is not None:
            self._write(self._unsent)

    def _unwritable(self, error: OSError) -> None:
        if self._unsent is None:
            # Not a byte of it left: as good as found closed by `usable`.
            self._broken(*_lost(error), again=self._resend)
            return
        if not isinstance(error, BrokenPipeError):
            # A reset; EPIPE is the answer to writing after an end that we have not read yet.
            self._resend = None
        # What the server said before counts first: an early answer, or its end.
        while self._receiver is not None and self._receive():
            pass
        self._broken(*_lost(error))

    # ---- receiving

    def _readable(self) -> None:
        """Read once; of a socket that has failed, all there is.

        uvloop watches a failed socket no longer: where a reset came close behind the bytes, nobody
        would tell us of it, and the request would wait for its timeout.
        """
        self._receive()
        if self._receiver is not None and self._failures.poll(0):
            while self._receiver is not None and self._receive():
                pass

    def catch_up(self, *, stood_still: bool = False) -> None:  # noqa: ARG002 for routes
        """Take in what has arrived for the request under way, without waiting for the loop: what
        the kernel holds now, for a server that never stops would keep us here.
        """
        receiver = self._receiver
        for _ in range(2 * unread(self._sock) // len(self._reader.view) + 8):
            if receiver is None or self._receiver is not receiver or not self._receive():
                return

    def _receive(self) -> bool:
        """Read once and act on it; False when there was nothing to read."""
        try:
            size, self._stamp_ns, kernel = self._reader.receive(self._sock)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._broken(*_lost(error))
            return True
        self._user_stamp = not kernel
        data: bytes | memoryview = self._reader.view[:size]
        ended = size == 0
        if self._tls is not None:
            self._tls.give(data)
            try:
                data, ended = self._tls.open()
            except ssl.SSLError as error:
                self._broken(*_lost(error))
                return True
        if self._receiver is None:
            # Session tickets and the like carry no plain bytes; anything else is out of turn.
            if data or ended:
                self.hung_up = not data and self._uses > 0
                self.close()
            return True
        if data:
            self._parse(data, ended)
        if ended and self._receiver is not None:
            self._ended()
        return True

    def _parse(self, data: bytes | memoryview, ended: bool) -> None:
        self._answered = True
        self._head_bytes += len(data)
        fault, ours = "", None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            fault = "the server switched protocols"
        except httptools.HttpParserCallbackError as error:
            ours = error.__context__ or error
        except httptools.HttpParserError as error:
            fault = f"HTTP: {error}"[:200]
        if ours is not None:
            # An error of ours is no outcome of the server's.
            self.abort()
            raise ours
        if self._complete:
            self._finish(reusable=not fault and not ended)
        elif fault:
            self._broken(Outcome.malformed, fault)
        elif self._head_bytes > MAX_HEAD_BYTES and self._receiver is not None:
            self._broken(Outcome.malformed, f"headers above {MAX_HEAD_BYTES >> 10} KiB")

    def _finish(self, reusable: bool) -> None:
        """The answer is complete.

        The next request may begin on this connection inside `on_done`.
        """
        receiver = self._receiver
        self._receiver = None
        self._uses += 1
        if reusable and self._keep and self.alive:
            self._on_idle(self)
        else:
            self.close()
        if receiver is not None:
            receiver.on_done(self._stamp_ns)

    def _ended(self) -> None:
        """The server closed while a request was under way."""
        receiver = self._receiver
        if self._until_close and self._head_done and receiver is not None:
            self._receiver = None
            self.close()
            receiver.on_done(self._stamp_ns)
        elif self._answered:
            self._broken(Outcome.truncated, "connection closed before the answer was complete")
        elif self._unsent is not None:
            self._broken(
                Outcome.reset,
                "connection closed while the request was being written",
                again=self._resend,
            )
        else:
            # Engines that hang up behind each answer without a word (llama.cpp) make every reuse a
            # race.
            used = (
                "; it had carried an answer before: if this recurs, send the header Connection:"
                " close"
            )
            self._broken(
                Outcome.reset,
                f"connection closed before any byte of an answer{used if self._uses else ''}",
            )

    # ---- httptools callbacks; they go on after the message, should the server

    def on_message_begin(self) -> None:
        if self._complete:
            self._keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self._complete:
            return
        self._head_done = True
        self._head_bytes = 0
        names = {name for name, _ in self._headers}
        self.chunked = b"transfer-encoding" in names
        self._until_close = not names & {
            b"content-length",
            b"transfer-encoding",
        } and status not in (204, 304)
        if self._receiver is not None:
            self._receiver.on_head(status, self._headers, self._stamp_ns, self._user_stamp)

    def on_body(self, data: bytes) -> None:
        self._head_bytes = 0
        if self._receiver is not None and not self._complete:
            self._receiver.on_body(data, self._stamp_ns)

    def on_message_complete(self) -> None:
        if not self._head_done:
            self._headers = []
        elif not self._complete:
            self._complete = True
            self._keep = (
                self._unsent is None and not self._until_close and self._parser.should_keep_alive()
            )

    # ---- ending

    def _broken(self, outcome: Outcome, note: str, again: Callable[[], None] | None = None) -> None:
        receiver = self._receiver
        self._receiver = None
        self.hung_up = (
            outcome == Outcome.reset and self._uses > 0 and (receiver is None or not self._answered)
        )
        self.close()
        if receiver is None:
            return
        if again is not None:
            again()
        else:
            receiver.on_fail(outcome, note, monotonic_ns())

    def abort(self) -> None:
        """Give the request up: it gets no further event."""
        self._receiver = None
        self.close()

    def close(self) -> None:
        """Close the socket; safe to call twice."""
        if not self.alive:
            return
        self.alive = False
        self._loop.remove_reader(self._fd)
        if self._unsent is not None:
            self._loop.remove_writer(self._fd)
            self._unsent = None
        self._sock.close()
        self._on_closed(self)


def _lost(error: OSError) -> tuple[Outcome, str]:
    """The outcome of an error on a connection that stood: it can no longer be refused."""
    outcome, note = classify(error)
    return (
        Outcome.reset if outcome in (Outcome.refused, Outcome.timeout_connect) else outcome
    ), note
