"""What httpx raises, as an outcome: each of its errors, with and without a cause below it."""

from __future__ import annotations

import errno

import pytest

from bench.load.transport.interface import NotBegun
from bench.load.transport.stock import classify_httpx
from bench.load.transport.wire import httpx
from bench.record.samples import Outcome


def caused(error: BaseException, cause: BaseException) -> BaseException:
    """As `raise error from cause` leaves it."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "outcome", "said"),
    [
        (httpx.ConnectTimeout(""), Outcome.timeout_connect, "connect timed out"),
        (httpx.ConnectError("all attempts failed"), Outcome.refused, "all attempts failed"),
        (
            caused(httpx.ConnectError("x"), ConnectionRefusedError(errno.ECONNREFUSED, "refused")),
            Outcome.refused,
            "",
        ),
        (
            caused(httpx.ReadError("x"), ConnectionResetError(errno.ECONNRESET, "reset")),
            Outcome.reset,
            "",
        ),
        (httpx.ReadError("half a frame"), Outcome.reset, "half a frame"),
        (httpx.WriteError(""), Outcome.reset, "WriteError"),
        (
            httpx.RemoteProtocolError("Server disconnected without sending a response."),
            Outcome.reset,
            "connection closed before any byte of an answer",
        ),
        (
            httpx.RemoteProtocolError("peer closed connection (incomplete chunked read)"),
            Outcome.truncated,
            "incomplete chunked read",
        ),
        (httpx.RemoteProtocolError("illegal status line"), Outcome.malformed, "illegal status"),
        (
            httpx.RemoteProtocolError("<ConnectionTerminated error_code:0>"),
            Outcome.censored,
            "lost by our library at the server's graceful goodbye",
        ),
        (
            httpx.LocalProtocolError("Invalid input in state ConnectionState.CLOSED"),
            Outcome.censored,
            "graceful goodbye",
        ),
        (
            httpx.LocalProtocolError("Too little data for declared Content-Length"),
            Outcome.censored,
            "lost by our library: LocalProtocolError",
        ),
        (KeyError("stream"), Outcome.censored, "lost by our library: KeyError"),
        (httpx.DecodingError("not gzip"), Outcome.malformed, "DecodingError: not gzip"),
        (
            caused(httpx.RemoteProtocolError("x"), NotBegun("HTTP/2: refused")),
            Outcome.reset,
            "HTTP/2: refused, on ",
        ),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, BaseException) else "",
)
def test_an_error_of_httpx_is_one_outcome(
    error: BaseException, outcome: Outcome, said: str
) -> None:
    """The cause below goes before httpx's own name; what the library lost condemns nobody."""
    found, note = classify_httpx(error)
    assert found is outcome
    assert said in note
