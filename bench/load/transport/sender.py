"""Two ways to send a lane's requests: on our stamped sockets, or through stock httpx.

In: a target's URL and headers, then one body a request. Out: `Exchange` events. Must stay
true: URL, header and TLS rules are httpx's in both; the stock way exists for HTTP/2 and
outgoing proxies, stamps in user space, and the manifest says which was used.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol
from urllib.request import getproxies, proxy_bypass

from bench import __version__
from bench.clock import monotonic_ns
from bench.errors import TargetUnreachable, UserError
from bench.load.transport.client import httpx, in_use
from bench.load.transport.exchange import Exchange, TransportFailure, classify
from bench.load.transport.pool import Origin, Pool, report, tls_context
from bench.load.transport.stamps import StampedReader
from bench.plan.credentials import Redaction, request_headers, secrets_of
from bench.plan.target import KEY_SOURCES, Target, chat_url, models_url
from bench.record.samples import Outcome
from bench.units import S

#: No proxy leads to these.
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Carrier(Protocol):
    """What carries an exchange and can be told to give it up."""

    def abort(self) -> None:
        """Stop; the exchange hears nothing more."""


class Sender(Protocol):
    """Sends one POST a call."""

    def start(
        self,
        body: bytes,
        request_id: str,
        exchange: Exchange,
        on_carrier: Callable[[Carrier], bool],
    ) -> None:
        """Begin; events follow on the loop."""

    async def close(self) -> None:
        """Close every connection."""

    def facts(self) -> dict[str, object]:
        """What the manifest says of it."""


def _headers(target: Target) -> list[tuple[str, str]]:
    defaults = [
        ("Accept", "text/event-stream, application/json"),
        ("Accept-Encoding", "identity"),
        ("Connection", "keep-alive"),
        ("User-Agent", f"tailproof/{__version__}"),
        ("Content-Type", "application/json"),
    ]
    given = request_headers(target)
    named = {name.lower() for name, _ in given}
    return [
        *((name, value) for name, value in defaults if name.lower() not in named),
        *((name, value.get_secret_value()) for name, value in given),
    ]


def _request(method: str, url: str, target: Target) -> httpx.Request:
    """An httpx request without a body; httpx refuses what is no URL or header."""
    try:
        return httpx.Request(method, url, headers=_headers(target))
    except (httpx.InvalidURL, UnicodeEncodeError, ValueError) as error:
        raise UserError(f"cannot be requested ({error})", where=f"target {target.name}") from None


def origin_of(target: Target) -> Origin:
    """The origin that a target's requests go to."""
    url = httpx.URL(chat_url(target.address))
    tls = url.scheme == "https"
    certificate = (target.client_cert_file, target.client_key_file)
    return Origin(
        host=url.host,
        port=url.port or (443 if tls else 80),
        tls=tls,
        insecure=target.insecure,
        ca_file=target.ca_file,
        client_cert=certificate if certificate[0] and certificate[1] else None,  # type: ignore[arg-type]
        connect_timeout_ns=target.connect_timeout,
        unix_path=target.unix_socket,
    )


class StampedSender:
    """Our transport: one pool for the lane, the head written once, the body a request."""

    def __init__(self, target: Target, reader: StampedReader):
        request = _request("POST", chat_url(target.address), target)
        lines = [b"POST " + request.url.raw_path + b" HTTP/1.1"]
        lines += [
            name + b": " + value
            for name, value in request.headers.raw
            if name.lower() != b"content-length"
        ]
        head = b"\r\n".join(lines).replace(b"%", b"%%")
        self._head = head + b"\r\nX-Request-Id: %s\r\nContent-Length: %d\r\n\r\n"
        verify = _verify(target)
        self._pool = Pool(
            origin_of(target), verify if isinstance(verify, ssl.SSLContext) else None, reader
        )

    def start(
        self,
        body: bytes,
        request_id: str,
        exchange: Exchange,
        on_carrier: Callable[[Carrier], bool],
    ) -> None:
        """Begin; events follow on the loop."""
        self._pool.start(self._head % (request_id.encode(), len(body)) + body, exchange, on_carrier)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    def facts(self) -> dict[str, object]:
        """What the manifest says of it."""
        return {
            "transport": "tailproof",
            "connections_opened": self._pool.opened,
            "connections_held_back": self._pool.idle.held_back,
            "stamps": "kernel" if self._pool.kernel_stamps else "user",
        }


class StockSender:
    """httpx as it comes: a task and a stream a request, stamps at the read."""

    def __init__(self, target: Target):
        self._url = chat_url(target.address)
        self._client = _client(target, httpx.Timeout(None, connect=target.connect_timeout / S))
        self._tasks: set[asyncio.Task[None]] = set()

    def start(
        self,
        body: bytes,
        request_id: str,
        exchange: Exchange,
        on_carrier: Callable[[Carrier], bool],
    ) -> None:
        """Begin; events follow on the loop."""
        task = asyncio.get_running_loop().create_task(
            self._send(body, request_id, exchange, lambda: on_carrier(_Task(task)))
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(report)
        on_carrier(_Task(task))

    async def _send(
        self, body: bytes, request_id: str, exchange: Exchange, connected: Callable[[], bool]
    ) -> None:
        opened: list[int] = []

        async def trace(event: str, _info: object) -> None:
            now = monotonic_ns()
            if event.endswith(("connect_tcp.started", "start_tls.started")):
                opened.append(-now)
            elif event.endswith(("connect_tcp.complete", "start_tls.complete")):
                opened[-1] += now
                exchange.on_connected(opened[0], opened[1] if len(opened) > 1 else -1)
                connected()
            elif event.endswith("send_request_body.complete"):
                exchange.on_sent(now, reused=not opened)

        try:
            request = self._client.build_request(
                "POST",
                self._url,
                content=body,
                headers={"X-Request-Id": request_id},
                extensions={"trace": trace},
            )
            response = await self._client.send(request, stream=True)
            try:
                headers = [(name.lower(), value) for name, value in response.headers.raw]
                exchange.on_head(response.status_code, headers, monotonic_ns(), True)
                async for data in response.aiter_raw():
                    exchange.on_body(data, monotonic_ns())
            finally:
                await response.aclose()
        except (httpx.HTTPError, OSError, UnicodeError) as error:
            exchange.on_fail(*_classify_httpx(error), monotonic_ns())
        else:
            exchange.on_done(monotonic_ns())

    async def close(self) -> None:
        """Close every connection."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    def facts(self) -> dict[str, object]:
        """What the manifest says of it."""
        return {"transport": in_use(), "http2": _has_h2(), "stamps": "user"}


class _Task:
    def __init__(self, task: asyncio.Task[None]):
        self._task = task

    def abort(self) -> None:
        self._task.cancel()


def _has_h2() -> bool:
    from importlib.util import find_spec

    return find_spec("h2") is not None


def _client(target: Target, timeout: httpx.Timeout) -> httpx.AsyncClient:
    """Stock httpx with the target's headers and TLS files, unbounded, on its Unix socket where it
    has one.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    verify, transport = _verify(target), None
    if target.unix_socket is not None:
        transport = httpx.AsyncHTTPTransport(
            verify=verify, http2=_has_h2(), limits=limits, uds=target.unix_socket
        )
    return httpx.AsyncClient(
        headers=_headers(target),
        limits=limits,
        verify=verify,
        trust_env=target.transport == "httpx"
        and httpx.URL(chat_url(target.address)).host not in _LOOPBACK,
        timeout=timeout,
        http2=_has_h2(),
        transport=transport,
    )


def _verify(target: Target) -> ssl.SSLContext | bool:
    """What httpx takes as `verify`. False without TLS: building a context costs 30 ms."""
    origin = origin_of(target)
    try:
        return tls_context(origin) if origin.tls else False
    except OSError as error:
        raise UserError(
            f"cannot be used ({error})",
            where=f"target {target.name}: ca_file, client_cert_file or client_key_file",
        ) from None


#: Over HTTP/2 httpx says so of a stream that was reset and of a connection that ended, with a
#: goodbye or without.
_HTTP2_ENDS = ("StreamReset", "ConnectionTerminated", "Server disconnected")


def _classify_httpx(error: BaseException) -> tuple[Outcome, str]:
    """httpx hides the cause one or two levels down; look for it before using httpx's own name."""
    if isinstance(error, httpx.ReadTimeout):
        return Outcome.timeout_first, "connected, but no answer in time"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (OSError, TransportFailure, UnicodeError)) and (
            type(cause) is not OSError or cause.errno is not None
        ):
            return classify(cause)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectTimeout):
        return Outcome.timeout_connect, "connect timed out"
    if isinstance(error, httpx.ConnectError):
        return Outcome.refused, str(error)
    if isinstance(error, httpx.RemoteProtocolError):
        if "without sending a response" in str(error):
            return Outcome.reset, "connection closed before any byte of an answer"
        if any(end in str(error) for end in _HTTP2_ENDS):
            return Outcome.reset, str(error)[:200]
        cut = (
            "without sending" in str(error) or "incomplete" in str(error) or "closed" in str(error)
        )
        return (Outcome.truncated if cut else Outcome.malformed), str(error)[:200]
    if isinstance(error, (httpx.ReadError, httpx.WriteError)):
        return Outcome.reset, str(error) or type(error).__name__
    return Outcome.malformed, f"{type(error).__name__}: {error}"[:200]


def make_sender(target: Target, reader: StampedReader) -> Sender:
    """The sender that the target asks for. Raises UserError where it cannot be had."""
    if target.transport == "httpx":
        return StockSender(target)
    origin, proxies = origin_of(target), getproxies()
    proxied = proxies.get("https" if origin.tls else "http") or proxies.get("all")
    if (
        proxied
        and origin.unix_path is None
        and origin.host not in _LOOPBACK
        and not proxy_bypass(origin.host)
    ):
        raise UserError(
            "the environment names an outgoing proxy, which the stamped transport does not use",
            where=f"target {target.name}",
            remedy='unset it, or set transport = "httpx"',
        )
    return StampedSender(target, reader)


async def check_ready(target: Target) -> str | None:
    """One `GET /models`: any HTTP answer means ready. Returns a warning worth printing, or None.

    Raises TargetUnreachable with what to check when nothing answers.
    """
    request = _request("GET", models_url(target.address), target)
    url = models_url(
        target.base_url
    )  # as it is written: what stands behind `${ENV}` is not for the screen
    try:
        async with _client(
            target, httpx.Timeout(min(target.connect_timeout, target.timeout) / S)
        ) as client:
            response = await client.send(request)
    except (httpx.HTTPError, OSError, UnicodeError) as error:
        outcome, note = _classify_httpx(error)
        note = Redaction(secrets_of(target)).clean(note)
        hints = {
            Outcome.refused: "check that the server runs and the port is right",
            Outcome.dns: "check the host name",
            Outcome.tls: "check the certificate, or name its CA in ca_file",
            Outcome.timeout_connect: "check address, firewall and proxy",
        }
        raise TargetUnreachable(
            f"{url} does not answer ({outcome.name}: {note})",
            where=f"target {target.name}",
            remedy=hints.get(outcome, "check base_url"),
        ) from None
    if response.status_code in (401, 403):
        source = next((name for name in KEY_SOURCES if getattr(target, name)), KEY_SOURCES[0])
        return (
            f"target {target.name}: {url} answers {response.status_code}; check {source} and"
            " headers"
        )
    return None
