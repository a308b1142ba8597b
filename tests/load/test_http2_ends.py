"""How an answer ends over HTTP/2, which stock httpx speaks: a server of frames, over TLS."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import RequestReceived, StreamEnded
from hyperframe.frame import GoAwayFrame, RstStreamFrame

from bench.record.samples import Outcome
from tests.support.heard import asked, target_for
from tests.support.scripted_server import Peer, Script, ScriptedServer

#: What becomes of a stream whose head and first bytes have been sent.
End = Callable[[H2Connection, int], None]


def whole(http2: H2Connection, stream: int) -> None:
    """The stream's proper end."""
    http2.end_stream(stream)


def reset(http2: H2Connection, stream: int) -> None:
    """The stream alone is reset, as nginx does when its upstream fails."""
    http2.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)


def goodbye(http2: H2Connection, stream: int) -> None:
    """The whole connection is given up with a word."""
    http2.close_connection(ErrorCodes.INTERNAL_ERROR, last_stream_id=0)


def silence(http2: H2Connection, stream: int) -> None:
    """The connection ends without a word."""


def frames(end: End) -> Script:
    """A server that answers one request with a head, a few bytes and then `end`."""

    def serve(peer: Peer) -> None:
        http2 = H2Connection(H2Configuration(client_side=False))
        http2.initiate_connection()
        peer.send(http2.data_to_send())
        asked_for: list[int] = []
        while not asked_for:
            events = http2.receive_data(peer.sock.recv(1 << 16))
            asked_for = [
                event.stream_id or 0 for event in events if isinstance(event, RequestReceived)
            ]
        http2.send_headers(
            asked_for[0], [(":status", "200"), ("content-type", "text/event-stream")]
        )
        http2.send_data(asked_for[0], b": begun\n\n")
        end(http2, asked_for[0])
        peer.send(http2.data_to_send())
        if end is silence:
            peer.sock.shutdown(socket.SHUT_WR)
        peer.until_closed()

    return serve


def over_tls(folder: Path) -> tuple[ssl.SSLContext, dict[str, str]]:
    """What the server needs to speak HTTP/2, and the target."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    return context, {"scheme": "https", "ca_file": str(folder / "ca.pem")}


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (whole, Outcome.ok),
        (reset, Outcome.reset),
        (goodbye, Outcome.reset),
        (silence, Outcome.reset),
    ],
)
def test_an_answer_cut_over_http2_is_a_reset(end: End, outcome: Outcome, tmp_path: Path) -> None:
    """The server's failure and no fault of the protocol: `reset`, as docs/dev/faults.md has it
    where httpx says no more.
    """
    context, secure = over_tls(tmp_path)
    with ScriptedServer(frames(end), tls=context) as server:
        (heard,) = asked("asyncio", target_for(server, "httpx", **secure))
    assert heard.outcome == outcome, heard.note


def goaway(last: int) -> bytes:
    """A server's graceful goodbye: it begins nothing above `last`."""
    return GoAwayFrame(last_stream_id=last).serialize()


def refused() -> bytes:
    """The server's word that it does not begin the first stream."""
    return RstStreamFrame(1, error_code=ErrorCodes.REFUSED_STREAM).serialize()


def leaving(asked_on: list[int], *frames: bytes) -> Script:
    """A server that says these frames once it has read its first request, which it answers if a
    goodbye up to it was the last of them. Every later one is answered.
    """

    def serve(peer: Peer) -> None:
        http2 = H2Connection(H2Configuration(client_side=False))
        http2.initiate_connection()
        peer.send(http2.data_to_send())
        while data := peer.sock.recv(1 << 16):
            for event in http2.receive_data(data):
                if not isinstance(event, StreamEnded):
                    continue
                asked_on.append(peer.number)
                if event.stream_id == 1:
                    peer.send(*frames)
                if event.stream_id > 1 or not frames or frames[-1] == goaway(1):
                    http2.send_headers(event.stream_id, [(":status", "200")])
                    http2.send_data(event.stream_id, b"all", end_stream=True)
            peer.send(http2.data_to_send())

    return serve


@pytest.mark.parametrize(
    ("words", "asked_on"),
    [
        ([goaway(1)], [0, 1]),
        ([goaway((1 << 31) - 1), goaway(1)], [0, 1]),
        ([goaway(0)], [0, 1, 1]),
        ([goaway((1 << 31) - 1), goaway(0)], [0, 1, 1]),
        ([refused()], [0, 0, 0]),
    ],
    ids=["last", "in two steps", "too late", "too late in two steps", "refused"],
)
def test_a_graceful_goodbye_costs_no_answer(
    words: list[bytes], asked_on: list[int], tmp_path: Path
) -> None:
    """RFC 9113, 6.8 and 8.7: what the server has begun is answered, the rest is asked again. The
    numbers are those of the connections that two requests came on.
    """
    context, secure = over_tls(tmp_path)
    came: list[int] = []
    with ScriptedServer(leaving(came, *words), leaving(came), tls=context) as server:
        all_heard = asked("asyncio", target_for(server, "httpx", **secure), b"{}", b"{}")
    assert [(heard.outcome, heard.body) for heard in all_heard] == [(Outcome.ok, b"all")] * 2
    assert came == asked_on
    assert ["reconnect" in heard.events for heard in all_heard] == [len(came) > 2, False]


def test_a_server_that_begins_nothing_is_charged(tmp_path: Path) -> None:
    """Not for ever: it is the server's failure then."""
    context, secure = over_tls(tmp_path)
    with ScriptedServer(leaving([], goaway(0)), tls=context) as server:
        (heard,) = asked("asyncio", target_for(server, "httpx", **secure))
    assert heard.outcome == Outcome.reset
    assert "did not begin this request" in heard.note
