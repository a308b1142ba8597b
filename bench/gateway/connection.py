"""One HTTP/1.1 connection: bytes in, whole requests out, answers written at once.

In: bytes from a socket. Out: calls of a handler, one request at a time in order. Must stay
true: head, body, waiting requests and unsent bytes are bounded; a write goes to the kernel
before `write` returns, because the truth is stamped then (an event loop's transport may keep
it until the end of the loop's turn).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections import deque
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Protocol, cast

import httptools

from bench.clock import monotonic_ns
from bench.gateway.wire import RequestError, head
from bench.units import S

MAX_HEAD_BYTES = 32 * 1024
MAX_BODY_BYTES = 16 * 1024 * 1024
#: Of one request, with what frames its body: sizes of chunks, their extensions, trailers.
MAX_REQUEST_BYTES = 2 * MAX_BODY_BYTES
#: A client that lets more than this pile up unread is cut off.
MAX_UNSENT_BYTES = 1024 * 1024
MAX_WAITING = 8
#: How long a connection may idle, and be read after it was refused.
IDLE_NS, LINGER_NS = 75 * S, 1 * S


@dataclass(slots=True)
class Request:
    """A whole request. `read_ns` is when its last byte was read, in monotonic ns."""

    method: str = ""
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    read_ns: int = 0
    keep_alive: bool = True


class Handler(Protocol):
    """Answers requests, and is called when a connection opens or has gone."""

    #: how long the bytes of one request may take to arrive
    request_ns: int

    def request(self, connection: Connection, request: Request) -> None:
        """Answer now or later, and call `connection.answered()` at the end."""

    def opened(self, connection: Connection) -> None:
        """A client has connected."""

    def lost(self, connection: Connection) -> None:
        """The client has gone; what was being answered cannot be."""


class Connection(asyncio.Protocol):
    """Reads requests one after another; httptools calls the `on_` methods."""

    def __init__(self, handler: Handler):
        self._handler = handler
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._fd = -1
        self._request, self._size, self._read, self._chunks = Request(), 0, 0, list[bytes]()
        self._reading_head = True
        self._head_size = 0
        self._discarding = False
        self._waiting: deque[Request] = deque()
        self.open = False
        self.busy: Request | None = None
        #: what the handler keeps here for the request being answered
        self.exchange: object | None = None
        self.deadline_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # a cast, since uvloop's transports only behave as asyncio's do
        self._transport, self.open = cast("asyncio.Transport", transport), True
        self._fd = transport.get_extra_info("socket").fileno()
        self.deadline_ns = monotonic_ns() + self._handler.request_ns
        self._handler.opened(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self.open = False
        self._waiting.clear()
        self._handler.lost(self)

    def data_received(self, data: bytes) -> None:
        if self._discarding or not self.open:
            return
        self._read += len(data)
        if self._reading_head:
            self._size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(RequestError(400, "this server speaks HTTP/1.1 and does not upgrade"))
        except httptools.HttpParserError:
            self._refuse(RequestError(400, "the request is not HTTP/1.1"))
        else:
            if self._reading_head and self._size > MAX_HEAD_BYTES:
                self._refuse(
                    RequestError(
                        431, f"the head of the request is longer than {MAX_HEAD_BYTES} bytes"
                    )
                )
            elif self._read > MAX_REQUEST_BYTES:
                self._refuse_body()

    def on_message_begin(self) -> None:
        self._request, self._chunks, self._head_size, self._read = Request(), [], 0, 0
        if not self.busy:
            self.deadline_ns = monotonic_ns() + self._handler.request_ns

    def on_url(self, url: bytes) -> None:
        self._request.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value) + 4
        self._request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        headers = self._request.headers
        self._reading_head = False
        self._size = 0
        if len(self._request.path) + self._head_size > MAX_HEAD_BYTES:
            self._refuse(
                RequestError(431, f"the head of the request is longer than {MAX_HEAD_BYTES} bytes")
            )
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > MAX_BODY_BYTES:
            self._refuse_body()
        elif headers.get("expect", "").lower() == "100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > MAX_BODY_BYTES:
            self._refuse_body()
        elif not self._discarding:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        self._reading_head = True
        self._size = 0
        self._read = 0
        if self._discarding:
            return
        request = self._request
        request.method = self._parser.get_method().decode("latin-1")
        request.keep_alive = self._parser.should_keep_alive()
        request.body = b"".join(self._chunks)
        request.read_ns = monotonic_ns()
        self._chunks = []
        if self.busy is None:
            self._begin(request)
            return
        self._waiting.append(request)
        if len(self._waiting) >= MAX_WAITING:
            self._transport.pause_reading()

    def _begin(self, request: Request) -> None:
        self.busy = request
        self.deadline_ns = 0
        self._handler.request(self, request)

    def from_loopback(self) -> bool:
        """True when the client is on this machine."""
        return ip_address(self._transport.get_extra_info("peername")[0]).is_loopback

    def write(self, data: bytes) -> None:
        """Hand bytes to the kernel; what it does not take waits in the transport, up to a bound."""
        if not self.open:
            return
        waiting = self._transport.get_write_buffer_size()
        if not waiting:
            try:
                sent = os.write(self._fd, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.abort()
                return
            if sent == len(data):
                return
            data = data[sent:]
        if waiting + len(data) > MAX_UNSENT_BYTES:
            self.abort()
        else:
            self._transport.write(data)

    def answer(
        self,
        status: int,
        body: bytes,
        headers: list[tuple[str, str]],
        *,
        content_type: str = "application/json",
        promise: int = 0,
    ) -> None:
        """A whole answer at once; `promise` bytes more than are sent, for a body cut short."""
        close = self.busy is None or not self.busy.keep_alive
        self.write(
            head(
                status,
                headers,
                length=len(body) + promise,
                content_type=content_type,
                close=close,
            )
            + body
        )

    def answered(self) -> None:
        """The answer is complete: on to the next request, or to the end."""
        request = self.busy
        self.busy = None
        if not self.open:
            return
        if request is not None and not request.keep_alive:
            self.close()
        elif self._waiting:
            following = self._waiting.popleft()
            if len(self._waiting) == MAX_WAITING - 1:
                self._transport.resume_reading()
            # its turn has come only now: what it waited for was the client's own earlier request
            following.read_ns = monotonic_ns()
            self._begin(following)
        else:
            begun = self._size or not self._reading_head
            self.deadline_ns = monotonic_ns() + (self._handler.request_ns if begun else IDLE_NS)

    def close(self) -> None:
        """End the connection once what was written has left."""
        self.open = False
        self._transport.close()

    def abort(self, *, reset: bool = False) -> None:
        """End it now; with `reset` the client sees a connection reset rather than an end."""
        if not self.open:
            return
        if reset:
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):
                self._transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET,
                    socket.SO_LINGER,
                    linger,
                )
        self.open = False
        self._transport.abort()

    def check_deadline(self, now_ns: int) -> None:
        """Refuse a request that takes too long to arrive; close an idle connection in time."""
        if not self.open or not self.deadline_ns or now_ns < self.deadline_ns:
            return
        if self._discarding or self.busy is not None:
            self.abort()
        elif self._size or not self._reading_head:
            self._refuse(RequestError(408, "the request took too long to arrive"))
        else:
            self.close()

    def _refuse_body(self) -> None:
        self._refuse(
            RequestError(413, f"the body of the request is longer than {MAX_BODY_BYTES} bytes")
        )

    def _refuse(self, error: RequestError) -> None:
        """Answer an unreadable request, then read on a moment so that the client sees the
        answer.
        """
        if self._discarding:
            return
        self._discarding = True
        self._chunks = []
        if self.busy is not None:
            self.abort()
            return
        self.answer(error.status, error.body, [])
        self.deadline_ns = monotonic_ns() + LINGER_NS
        if self.open and self._transport.can_write_eof():
            self._transport.write_eof()
