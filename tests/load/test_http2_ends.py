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
from h2.events import RequestReceived

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


def graceful(http2: H2Connection, stream: int) -> None:
    """A goodbye that costs nobody an answer, as nginx says it after its thousandth request."""
    http2.close_connection(ErrorCodes.NO_ERROR, last_stream_id=stream)


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


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (whole, Outcome.ok),
        (reset, Outcome.reset),
        (goodbye, Outcome.reset),
        # httpx gives the answer up, so nothing is known of it
        (graceful, Outcome.censored),
        (silence, Outcome.reset),
    ],
)
def test_an_answer_cut_over_http2_is_a_reset(end: End, outcome: Outcome, tmp_path: Path) -> None:
    """The server's failure and no fault of the protocol: `reset`, as docs/dev/faults.md has it
    where httpx says no more.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    with ScriptedServer(frames(end), tls=context) as server:
        (heard,) = asked(
            "asyncio", target_for(server, "httpx", scheme="https", ca_file=str(tmp_path / "ca.pem"))
        )
    assert heard.outcome == outcome, heard.note
