"""Stock httpx: requests over HTTP/2 or a proxy, the ready check's client, status feeds.

In: a target, then one body a request; a feed's URL. Out: `Receiver` events; well or not, a poll at
a time. Must stay true: stamps are taken in user space, and the manifest says so; httpx's errors
become outcomes here; an answer of a feed that does not come or cannot be read means not well, and a
poll never lasts longer than the time between two.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import anyio

from bench.api.auth import Outgoing
from bench.clock import monotonic_ns, wall_ns
from bench.errors import UserError
from bench.load.transport.interface import (
    Handle,
    NotBegun,
    Receiver,
    TransportFailure,
    classify,
)
from bench.load.transport.patience import HELD_UP_NS
from bench.load.transport.pool import report as report_error
from bench.load.transport.wire import headers_of, httpx, in_use, signed_headers, verify_of
from bench.plan.credentials import request_signer
from bench.plan.target import Target
from bench.record.samples import Outcome
from bench.units import S

#: No proxy leads to these.
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class StockSender:
    """httpx as it comes: a task and a stream a request, stamps at the read."""

    def __init__(self, target: Target):
        self._url, self._sign = str(httpx.URL(target.request_url)), request_signer(target)
        self._client = client_of(target, httpx.Timeout(None, connect=target.connect_timeout / S))
        self._tasks: set[asyncio.Task[None]] = set()

    def start(
        self,
        body: bytes,
        request_id: str,
        receiver: Receiver,
        on_handle: Callable[[Handle], bool],
    ) -> None:
        """Begin; events follow on the loop."""
        task = asyncio.get_running_loop().create_task(
            self._send(body, request_id, receiver, lambda: on_handle(_Task(task)))
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(report_error)
        on_handle(_Task(task))

    async def _send(
        self,
        body: bytes,
        request_id: str,
        receiver: Receiver,
        connected: Callable[[], bool],
    ) -> None:
        opened: list[int] = []

        writing_ns = 0

        async def trace(event: str, _info: object) -> None:
            nonlocal writing_ns
            now = monotonic_ns()
            if event.endswith(("connect_tcp.started", "start_tls.started")):
                opened.append(-now)
            elif event.endswith(("connect_tcp.complete", "start_tls.complete")):
                opened[-1] += now
                receiver.on_connected(opened[0], opened[1] if len(opened) > 1 else -1)
                connected()
            elif event.endswith("send_request_body.started"):
                writing_ns = now
            elif event.endswith("send_request_body.complete"):
                # Nothing but waiting for the peer takes long in it.
                receiver.on_held(now - writing_ns)
                receiver.on_sent(now, reused=not opened)

        try:
            response = await self._answered(body, request_id, trace, receiver, opened)
            try:
                headers = [(name.lower(), value) for name, value in response.headers.raw]
                receiver.on_head(response.status_code, headers, monotonic_ns(), True)
                async for data in response.aiter_raw():
                    receiver.on_body(data, monotonic_ns())
            finally:
                await response.aclose()
        except Exception as error:
            if not _is_foreign(error):
                raise
            receiver.on_fail(*classify_httpx(error), monotonic_ns())
        else:
            receiver.on_done(monotonic_ns())

    async def _answered(
        self,
        body: bytes,
        request_id: str,
        trace: Callable[[str, object], Awaitable[None]],
        receiver: Receiver,
        opened: list[int],
    ) -> httpx.Response:
        """The head of an answer. A request that meets connections on their way out is sent again:
        no answer to it had begun.
        """
        for left in reversed(range(_GOODBYES)):
            opened.clear()
            request = self._client.build_request(
                "POST",
                self._url,
                content=body,
                headers={"X-Request-Id": request_id, **self._signature(request_id, body)},
                extensions={"trace": trace},
            )
            try:
                return await self._client.send(request, stream=True)
            except Exception as error:
                if not left or not _is_goodbye(error):
                    raise
                receiver.on_reconnect()
        raise AssertionError("the last try returns or raises")

    def _signature(self, request_id: str, body: bytes) -> dict[str, str]:
        if self._sign is None:
            return {}
        headers = (*signed_headers(self._client.headers), ("x-request-id", request_id))
        return dict(self._sign(Outgoing("POST", self._url, headers, body, wall_ns())))

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

    def catch_up(self, *, stood_still: bool = False) -> None:
        """Nothing: only the loop can let a task go on."""


def _has_h2() -> bool:
    from importlib.util import find_spec

    return find_spec("h2") is not None


def client_of(target: Target, timeout: httpx.Timeout) -> httpx.AsyncClient:
    """Stock httpx with the target's headers and TLS files, unbounded, on its Unix socket where it
    has one.
    """
    if _has_h2():
        from bench.load.transport.goodbye import heed_goodbyes

        heed_goodbyes(httpx.__name__.replace("httpx", "httpcore"))
    try:
        return _client(target, timeout)
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        # Its own words may hold the password in the proxy's address.
        missing = " (pip install socksio)" if isinstance(error, ImportError) else ""
        raise UserError(
            f"the environment names an outgoing proxy that httpx cannot use{missing}",
            where=target.title,
            remedy="correct or unset ALL_PROXY, HTTP_PROXY, HTTPS_PROXY",
        ) from None


def _client(target: Target, timeout: httpx.Timeout) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    verify = verify_of(target)
    transport = None
    if target.unix_socket is not None:
        transport = httpx.AsyncHTTPTransport(
            verify=verify,
            http2=_has_h2(),
            limits=limits,
            uds=target.unix_socket,
        )
    return httpx.AsyncClient(
        headers=headers_of(target),
        limits=limits,
        verify=verify,
        trust_env=target.transport == "httpx"
        and httpx.URL(target.request_url).host not in LOOPBACK,
        timeout=timeout,
        http2=_has_h2(),
        transport=transport,
    )


#: Over HTTP/2 httpx says so of a stream that was reset and of a connection that ended, with a
#: goodbye or without.
_HTTP2_ENDS = ("StreamReset", "ConnectionTerminated", "Server disconnected")


#: So many connections in a row may be on their way out when a request is put on them: where each
#: carries five, a hundred that wait together need twenty.
_GOODBYES = 32


def _is_foreign(error: BaseException) -> bool:
    """Whether it comes out of httpx and what it is made of, and not from who gets its events."""
    if isinstance(error, (httpx.HTTPError, OSError, UnicodeError)):
        return True
    return type(error).__module__.partition(".")[0] in ("h2", "hpack", "hyperframe", "httpcore")


def _is_goodbye(error: BaseException) -> bool:
    """Whether another connection may carry the request: a server that left had not begun it
    (`goodbye`), or httpx broke its own rules just then, or on a stream that was to end well.
    """
    if isinstance(error.__cause__, NotBegun):
        return True
    if isinstance(error, httpx.LocalProtocolError):
        return "ConnectionState.CLOSED" in str(error) or "Connection is closed" in str(error)
    if isinstance(error, httpx.RemoteProtocolError):
        text = str(error)
        return "ConnectionTerminated" in text and ("error_code:0" in text or "NO_ERROR" in text)
    return type(error).__module__.startswith("h2.")


def classify_httpx(error: BaseException) -> tuple[Outcome, str]:
    """httpx hides the cause one or two levels down; look for it before using httpx's own name."""
    if isinstance(error.__cause__, NotBegun):
        return Outcome.reset, f"{error.__cause__}, on {_GOODBYES} connections"
    if _is_goodbye(error):
        return Outcome.censored, "HTTP/2: lost by our library at the server's graceful goodbye"
    if isinstance(error, httpx.LocalProtocolError) or not isinstance(
        error, (httpx.HTTPError, OSError, UnicodeError, TransportFailure)
    ):
        return Outcome.censored, f"lost by our library: {type(error).__name__}: {error}"[:200]
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


# ---- status feeds

#: What a feed calls a service that works: bare words, and a status page's indicator.
WELL = {"ok", "up", "healthy", "operational", "none", "available", "pass"}
_MAX_FEED_BYTES = 1 << 20


def says_well(status: int, body: bytes) -> bool:
    """200 to 299 and, where the body is a JSON object with `status`, one of WELL in it.

    `status` may be a text, or an object whose `indicator` is one (the shape of status pages).
    """
    if not 200 <= status < 300:
        return False
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return True
    if isinstance(value, dict):
        status_text = value.get("status")
    else:
        status_text = None
    if isinstance(status_text, dict):
        status_text = status_text.get("indicator")
    return not isinstance(status_text, str) or status_text.lower() in WELL


async def watch_status(url: str, poll_ns: int, report: Callable[[bool], None]) -> None:
    """Ask `url` every `poll_ns` until cancelled; `report` gets each answer."""
    async with httpx.AsyncClient(timeout=poll_ns / S, trust_env=False) as client:
        while True:
            well, asked_ns = False, monotonic_ns()
            # Streamed, so that a feed which never ends is left after its first MiB and its time.
            with anyio.move_on_after(poll_ns / S):
                try:
                    async with client.stream("GET", url) as response:
                        body = b""
                        async for part in response.aiter_raw():
                            body += part
                            if len(body) > _MAX_FEED_BYTES:
                                break
                        well = says_well(response.status_code, body)
                except (httpx.HTTPError, OSError):
                    well = False
            # One that is late because we stood still says nothing of the service.
            if well or monotonic_ns() - asked_ns < poll_ns + HELD_UP_NS:
                report(well)
            await anyio.sleep(poll_ns / S)
