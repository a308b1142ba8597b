"""The live gateway over real sockets: answers, errors, faults and clients that misbehave."""

from __future__ import annotations

import http.client
import json
import socket
import struct
from collections.abc import Callable

import pytest

from bench.gateway.connection import MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_REQUEST_BYTES
from tests.support.gateway_process import GatewayProcess, chat_body, events, raw_request


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side ends."""
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    """Everything until `mark` has come."""
    received = b""
    while mark not in received:
        data = connection.recv(65536)
        assert data, received
        received += data
    return received


@pytest.mark.parametrize("tokens", [1, 2, 16])
def test_stream_has_exactly_the_tokens_asked_for(menagerie: GatewayProcess, tokens: int) -> None:
    """A role-only event, one content event a token, the finish reason, usage without choices,
    [DONE].
    """
    status, headers, body = menagerie.chat(
        "plain", tokens=tokens, stream=True, stream_options={"include_usage": True}
    )
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    first, *content, finish, usage, done = events(body)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert len(content) == tokens
    assert all(event["choices"][0]["delta"]["content"].strip() for event in content)
    assert finish["choices"][0]["finish_reason"] == "length"
    assert usage["choices"] == []
    assert usage["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": tokens,
        "total_tokens": 3 + tokens,
    }
    assert done == "[DONE]"
    assert {event["id"] for event in (first, *content, finish, usage)} == {first["id"]}


def test_no_usage_event_unless_asked_for(menagerie: GatewayProcess) -> None:
    """Without include_usage the last event before [DONE] is the finish."""
    _, _, body = menagerie.chat("plain", stream=True)
    assert events(body)[-2]["choices"][0]["finish_reason"] == "length"


def test_plain_answer(menagerie: GatewayProcess) -> None:
    """Without stream: one JSON object with the text and its usage; max_completion_tokens is
    heard.
    """
    status, headers, body = menagerie.chat("plain", max_tokens=None, max_completion_tokens=3)
    answer = json.loads(body)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert len(answer["choices"][0]["message"]["content"].split()) == 3
    assert answer["usage"]["completion_tokens"] == 3


def test_headers_name_what_served(menagerie: GatewayProcess) -> None:
    """Served model, tier (by the name's prefix) and region stand in headers; the request's id comes
    back.
    """
    _, headers, body = menagerie.chat("Pro/plain", headers={"x-request-id": "mine-1"})
    named = {
        key: headers[f"x-{key}"]
        for key in ("request-id", "served-model", "served-tier", "served-region")
    }
    assert named == {
        "request-id": "mine-1",
        "served-model": "plain-v2",
        "served-tier": "pro",
        "served-region": "eu-1",
    }
    assert json.loads(body)["model"] == "plain-v2"
    _, headers, _ = menagerie.chat("plain")
    assert headers["x-request-id"].startswith("req-")


@pytest.mark.parametrize("stream", [True, False])
def test_a_cold_start_is_said(menagerie: GatewayProcess, stream: bool) -> None:
    """An answer that waited for its instance to load carries x-cold-start: 1; no other does."""
    assert menagerie.chat("cold", stream=stream)[1]["x-cold-start"] == "1"
    assert "x-cold-start" not in menagerie.chat("plain", stream=stream)[1]


def test_models_and_prefixes(menagerie: GatewayProcess) -> None:
    """The catalogue lists the scenario's names, with and without the scenario's own path."""
    _, _, body = menagerie.call("GET", "/v1/models")
    names = [entry["id"] for entry in json.loads(body)["data"]]
    assert {"plain", "Pro/plain", "slow"} <= set(names)
    assert (
        json.loads(menagerie.call("GET", "/menagerie/v1/models")[2])["data"]
        == json.loads(body)["data"]
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/chat/completions", b'{"model":', 400, None),
        ("POST", "/v1/chat/completions", chat_body("nobody"), 404, "model_not_found"),
        (
            "POST",
            "/v1/chat/completions",
            chat_body("plain", prompt="w " * 60),
            400,
            "context_length_exceeded",
        ),
        (
            "POST",
            "/v1/chat/completions",
            chat_body("plain", tokens=-1),
            400,
            "integer_below_min_value",
        ),
        ("POST", "/v1/images", {}, 404, "unknown_url"),
        ("GET", "/v1/chat/completions", None, 405, "method_not_allowed"),
    ],
)
def test_mistakes_are_answered_as_errors(
    menagerie: GatewayProcess, method: str, path: str, body: object, status: int, code: str | None
) -> None:
    """Each mistake has its status and code, and the four keys of an OpenAI error."""
    got, headers, data = menagerie.call(method, path, body)
    error = json.loads(data)["error"]
    assert (got, error["code"], headers["content-type"]) == (status, code, "application/json")
    assert set(error) == {"message", "type", "param", "code"}


def test_rate_limit_by_key(menagerie: GatewayProcess) -> None:
    """Two pass a full bucket, the third is a 429 that says when; another key is not touched."""
    mine = {"authorization": "Bearer a"}
    statuses = [menagerie.chat("limited", tokens=1, headers=mine)[0] for _ in range(2)]
    status, headers, body = menagerie.chat("limited", tokens=1, headers=mine)
    assert (statuses, status) == ([200, 200], 429)
    assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"
    assert 50 <= int(headers["retry-after"]) <= 60
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == (
        "1",
        "0",
    )
    assert menagerie.chat("limited", tokens=1, headers={"authorization": "Bearer b"})[0] == 200


@pytest.mark.parametrize(("model", "status"), [("http_500", 500), ("http_503", 503)])
def test_faults_in_place_of_an_answer(menagerie: GatewayProcess, model: str, status: int) -> None:
    """A 5xx fault is an error answer with its code as a string, on a connection that lives on."""
    got, headers, body = menagerie.chat(model, stream=True)
    assert (got, json.loads(body)["error"]["code"], headers["connection"]) == (
        status,
        str(status),
        "keep-alive",
    )


def test_reset_fault(menagerie: GatewayProcess) -> None:
    """A reset is a connection reset, not an orderly end."""
    with pytest.raises(ConnectionResetError):
        menagerie.chat("reset", stream=True)


def test_truncate_fault(menagerie: GatewayProcess) -> None:
    """A truncated stream or answer ends without its end mark."""
    for stream in (True, False):
        with pytest.raises(http.client.IncompleteRead):
            menagerie.chat("truncate", stream=stream)


def test_garbage_fault(menagerie: GatewayProcess) -> None:
    """Garbage stands in the middle of a stream that otherwise runs to its end; a plain answer is
    not JSON.
    """
    _, _, body = menagerie.chat("garbage", stream=True)
    parts = body.split(b"\n\n")
    with pytest.raises(ValueError, match=r"decode|Expecting"):
        json.loads(parts[3].removeprefix(b"data: "))
    assert parts[-2] == b"data: [DONE]"
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(menagerie.chat("garbage")[2])


def test_error_inside_a_stream(menagerie: GatewayProcess) -> None:
    """The stream has status 200, an event with an error, no finish reason and no [DONE]."""
    status, _, body = menagerie.chat("stream_error", stream=True)
    seen = events(body)
    assert status == 200
    assert "error" in seen[-1]
    assert not any(choice["finish_reason"] for event in seen[:-1] for choice in event["choices"])


def test_stall_fault(menagerie: GatewayProcess) -> None:
    """A stalled stream says half its tokens and then nothing, until the client gives up."""
    with menagerie.connect() as connection:
        connection.sendall(raw_request(chat_body("stall", stream=True)))
        received = read_until(connection, b" tail")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    assert received.count(b'"content":" ') == 2


def test_keep_alive_and_pipelining(menagerie: GatewayProcess) -> None:
    """Requests sent at once on one connection are answered one after another, in order."""
    with menagerie.connect() as connection:
        requests = [
            raw_request(chat_body("plain", tokens=1), "/v1/chat/completions", f"x-request-id: r{i}")
            for i in range(12)
        ]
        end = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        connection.sendall(b"".join(requests) + end)
        received = read_all(connection)
    assert [received.index(b"x-request-id: r%d\r\n" % i) for i in range(12)] == sorted(
        received.index(b"x-request-id: r%d\r\n" % i) for i in range(12)
    )
    assert received.count(b"HTTP/1.1 200 OK") == 13
    assert b"connection: close" in received


def test_request_in_single_bytes(menagerie: GatewayProcess) -> None:
    """A request that comes one byte at a time is understood."""
    with menagerie.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in raw_request(chat_body("plain", tokens=1)):
            connection.sendall(bytes([byte]))
        assert b" 200 OK" in read_until(connection, b"usage")


def test_expect_100_continue(menagerie: GatewayProcess) -> None:
    """A client that asks before it sends its body is told to go on."""
    request = raw_request(
        chat_body("plain", tokens=1), "/v1/chat/completions", "expect: 100-continue"
    )
    head, _, body = request.partition(b"\r\n\r\n")
    with menagerie.connect() as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert read_until(connection, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert b" 200 OK" in read_until(connection, b"usage")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nx: " + b"a" * (MAX_HEAD_BYTES + 1), b"431"),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * (MAX_HEAD_BYTES + 1) + b"\r\n\r\n", b"431"),
        (
            b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n"
            % (MAX_BODY_BYTES + 1),
            b"413",
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
    ],
)
def test_oversized_and_foreign_bytes(menagerie: GatewayProcess, sent: bytes, status: bytes) -> None:
    """Too large a head or body, and what is not HTTP/1.1, are answered and the connection ends."""
    with menagerie.connect() as connection:
        connection.sendall(sent)
        assert read_all(connection).startswith(b"HTTP/1.1 " + status)


def test_a_body_of_unknown_length_is_bounded(menagerie: GatewayProcess) -> None:
    """A chunked body is cut off at the bound, whatever its head did not say."""
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    assert endless(menagerie, b"", chunk, MAX_BODY_BYTES // len(chunk) + 2).startswith(
        b"HTTP/1.1 413"
    )


def test_what_frames_a_body_is_bounded(menagerie: GatewayProcess) -> None:
    """Trailers without end and the extension of a chunk without end are cut off at a bound too."""
    trailers = b"".join(b"x-%d: %s\r\n" % (number, b"a" * 1000) for number in range(1000))
    for begin, more in ((b"1\r\n \r\n0\r\n", trailers), (b"1;", b"e" * 1_000_000)):
        assert endless(menagerie, begin, more, MAX_REQUEST_BYTES // len(more) + 2).startswith(
            b"HTTP/1.1 413"
        )


def endless(gateway: GatewayProcess, begin: bytes, more: bytes, times: int) -> bytes:
    """The answer to a chunked body that begins with `begin` and goes on with `more`, so
    many times.
    """
    with gateway.connect() as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
            + begin
        )
        try:
            for _ in range(times):
                connection.sendall(more)
            return read_all(connection)
        except (BrokenPipeError, ConnectionResetError):
            pytest.fail("the connection was cut before the answer could be read")


def test_slow_loris_is_refused_and_harms_nobody(
    start: Callable[..., GatewayProcess], scenario: str
) -> None:
    """A head that never ends is refused after the stated time; others are answered meanwhile."""
    gateway = start("--scenarios", scenario, "--request-timeout", "500ms")
    with gateway.connect() as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n")
        assert gateway.chat("plain", tokens=1)[0] == 200
        assert read_all(connection).startswith(b"HTTP/1.1 408")


def test_a_client_that_leaves_is_noticed(
    start: Callable[..., GatewayProcess], scenario: str
) -> None:
    """An orderly end and a reset before the answer are both recorded as disconnected, once each."""
    gateway = start("--scenarios", scenario)
    for reset in (False, True):
        connection = gateway.connect()
        connection.sendall(raw_request(chat_body("slow", stream=True)))
        read_until(connection, b"assistant")
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    facts = gateway.truth()
    while facts["all"]["requests"] < 2:
        facts = gateway.truth()
    assert facts["all"]["by_outcome"] == {"disconnected": 2}
    assert facts["all"]["e2e_ms"] is None
