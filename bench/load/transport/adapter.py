"""The stamped transport as httpx knows transports:
`httpx.AsyncClient(transport=StampedTransport())`.

In: httpx requests. Out: httpx responses whose extensions carry the stamps. Must stay true: one
pool an origin, the same sockets and stamps as the generator's path; httpx's own errors come
out; what httpx promises of streams (read once, closed once) holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from bench.load.transport.client import httpx
from bench.load.transport.connection import Connection
from bench.load.transport.exchange import Headers
from bench.load.transport.pool import Origin, Pool, tls_context
from bench.load.transport.stamps import StampedReader
from bench.record.samples import Outcome
from bench.units import S

_ERRORS: dict[Outcome, type[httpx.TransportError]] = {
    Outcome.timeout_connect: httpx.ConnectTimeout,
    Outcome.refused: httpx.ConnectError,
    Outcome.dns: httpx.ConnectError,
    Outcome.tls: httpx.ConnectError,
    Outcome.never_sent: httpx.ConnectError,
    Outcome.reset: httpx.ReadError,
    Outcome.truncated: httpx.RemoteProtocolError,
    Outcome.malformed: httpx.RemoteProtocolError,
}


class _Call(httpx.AsyncByteStream):
    """One request: an `Exchange` on one side, httpx's byte stream on the other."""

    def __init__(self, request: httpx.Request, read_timeout_s: float | None):
        self._request, self._read_timeout_s = request, read_timeout_s
        self._head: asyncio.Future[tuple[int, Headers]] = asyncio.get_running_loop().create_future()
        self._chunks: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._connection: Connection | None = None
        self._given_up = False
        #: monotonic ns; lengths for connect_ns and tls_ns, -1 where there was none
        self.stamps: dict[str, int] = {
            "connect_ns": -1,
            "tls_ns": -1,
            "sent_ns": -1,
            "head_ns": -1,
            "done_ns": -1,
        }

    async def head(self) -> tuple[int, Headers]:
        """Status and headers, or httpx's error."""
        try:
            async with asyncio.timeout(self._read_timeout_s):
                return await self._head
        except TimeoutError:
            raise httpx.ReadTimeout("no answer in time", request=self._request) from None

    def carried(self, connection: Connection) -> bool:
        """The connection that will carry it; False once the caller has given up."""
        self._connection = connection
        return not self._given_up

    def on_connected(self, connect_ns: int, tls_ns: int) -> None:
        self.stamps.update(connect_ns=connect_ns, tls_ns=tls_ns)

    def on_reconnect(self) -> None:
        """Nothing to keep: connect_ns tells."""

    def on_sent(self, now_ns: int, reused: bool) -> None:  # noqa: ARG002 the connection's age is in connect_ns
        self.stamps["sent_ns"] = now_ns

    def on_head(self, status: int, headers: Headers, stamp_ns: int, user_stamp: bool) -> None:  # noqa: ARG002
        self.stamps["head_ns"] = stamp_ns
        if not self._head.done():
            self._head.set_result((status, list(headers)))

    def on_body(self, data: bytes, stamp_ns: int) -> None:  # noqa: ARG002 httpx has no place for a chunk's stamp
        self._chunks.put_nowait(data)

    def on_done(self, stamp_ns: int) -> None:
        self.stamps["done_ns"] = stamp_ns
        self._connection = None
        self._chunks.put_nowait(None)

    def on_fail(self, outcome: Outcome, note: str, now_ns: int) -> None:  # noqa: ARG002
        self._connection = None
        error = _ERRORS.get(outcome, httpx.ReadError)(note, request=self._request)
        if self._head.done():
            self._chunks.put_nowait(error)
        else:
            self._head.set_exception(error)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self._next()) is not None:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    async def _next(self) -> bytes | Exception | None:
        try:
            async with asyncio.timeout(self._read_timeout_s):
                return await self._chunks.get()
        except TimeoutError:
            return httpx.ReadTimeout("no further bytes in time", request=self._request)

    async def aclose(self) -> None:
        """Give up what is still under way: its connection is closed, not reused."""
        self._given_up = True
        if self._connection is not None:
            self._connection.abort()
            self._connection = None


class StampedTransport(httpx.AsyncBaseTransport):
    """An httpx transport on stamped sockets: HTTP/1.1, keep-alive, TLS, Unix sockets.

    `response.extensions["stamps"]` holds connect_ns, tls_ns (lengths), sent_ns, head_ns and, once
    read to the end, done_ns (monotonic ns). asyncio and uvloop only, no outgoing proxy.
    """

    def __init__(
        self,
        *,
        verify: bool = True,
        ca_file: str | None = None,
        client_cert: tuple[str, str] | None = None,
        unix_path: str | None = None,
    ):
        self._verify, self._ca_file, self._client_cert, self._unix_path = (
            verify,
            ca_file,
            client_cert,
            unix_path,
        )
        self._reader = StampedReader()
        self._pools: dict[tuple[str, str, int], Pool] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the body streams. Raises httpx.TransportError's kinds."""
        body = b"".join([part async for part in request.stream])  # type: ignore[union-attr]
        target = request.url.raw_path
        lines = [request.method.encode() + b" " + target + b" HTTP/1.1"]
        names = {name.lower() for name, _ in request.headers.raw}
        lines += [
            name + b": " + value
            for name, value in request.headers.raw
            if name.lower() != b"transfer-encoding"
        ]
        if b"content-length" not in names and (body or request.method in ("POST", "PUT", "PATCH")):
            lines.append(b"Content-Length: %d" % len(body))
        timeout = request.extensions.get("timeout", {})
        call = _Call(request, timeout.get("read"))
        self._pool(request.url, timeout.get("connect")).start(
            b"\r\n".join(lines) + b"\r\n\r\n" + body, call, call.carried
        )
        try:
            status, headers = await call.head()
        except BaseException:
            await call.aclose()
            raise
        return httpx.Response(
            status,
            headers=headers,
            stream=call,
            extensions={"stamps": call.stamps, "http_version": b"HTTP/1.1"},
        )

    def _pool(self, url: httpx.URL, connect_timeout_s: float | None) -> Pool:
        tls = url.scheme == "https"
        key = (url.scheme, url.host, url.port or (443 if tls else 80))
        if key not in self._pools:
            origin = Origin(
                host=url.host,
                port=key[2],
                tls=tls,
                insecure=not self._verify,
                ca_file=self._ca_file,
                client_cert=self._client_cert,
                unix_path=self._unix_path,
                connect_timeout_ns=round((connect_timeout_s or 60.0) * S),
            )
            self._pools[key] = Pool(origin, tls_context(origin) if tls else None, self._reader)
        return self._pools[key]

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            await pool.close()
