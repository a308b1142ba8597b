"""TLS on both transports: whom to trust, what a refusal is called, and how a TLS connection
ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from pathlib import Path

import anyio
import pytest
import trustme

from bench.errors import UserError
from bench.load.transport.sender import make_sender
from bench.load.transport.stamps import StampedReader
from bench.record.samples import Outcome
from tests.support.heard import Heard, asked, on_loop, target_for
from tests.support.scripted_server import (
    PATIENCE_S,
    Peer,
    ScriptedServer,
    answer,
    chunked,
    each,
    serving,
)

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
BOTH = pytest.mark.parametrize("transport", ["tailproof", "httpx"])
LARGE = b"x" * (4 << 20)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority of our own."""
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its certificate in a file."""
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def context(
    authority: trustme.CA, host: str = "127.0.0.1", version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """The server's side, with a certificate for `host`."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if version is not None:
        made.minimum_version = made.maximum_version = version
    authority.issue_cert(host).configure_cert(made)
    return made


@LOOPS
@BOTH
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_requests_over_tls_are_timed_and_reuse_their_connection(
    loop: str, transport: str, version: ssl.TLSVersion, authority: trustme.CA, ca_file: str
) -> None:
    """Either version of TLS: both bodies arrive, the handshake is timed once, the connection is
    kept.
    """
    with serving(*chunked(b"one", b"two"), tls=context(authority, version=version)) as server:
        first, second = asked(
            loop, target_for(server, transport, scheme="https", ca_file=ca_file), b"1", LARGE
        )
    assert (first.body, second.body, first.outcome) == (b"onetwo", b"onetwo", Outcome.ok)
    assert first.connected is not None
    assert min(first.connected) > 0
    assert (second.connected, second.reused) == (None, True)
    assert [len(request.partition(b"\r\n\r\n")[2]) for _, request in server.requests] == [
        1,
        len(LARGE),
    ]


@LOOPS
@BOTH
def test_a_large_answer_over_tls_is_whole(
    loop: str, transport: str, authority: trustme.CA, ca_file: str
) -> None:
    """Records cut anywhere by reads are put together again."""
    body = bytes(range(256)) * (len(LARGE) // 256)
    with serving(answer(body), tls=context(authority)) as server:
        (heard,) = asked(loop, target_for(server, transport, scheme="https", ca_file=ca_file))
    assert heard.body == body


@LOOPS
@BOTH
@pytest.mark.parametrize("fault", ["unknown CA", "other host"])
def test_a_certificate_that_proves_nothing_is_refused_unless_told(
    loop: str, transport: str, fault: str, authority: trustme.CA, ca_file: str
) -> None:
    """An unknown issuer and a certificate for another name are `tls`; `insecure` takes both."""
    host = "other.example" if fault == "other host" else "127.0.0.1"
    trusted = ca_file if fault == "other host" else None
    with serving(answer(), tls=context(authority, host)) as server:
        (refused,) = asked(loop, target_for(server, transport, scheme="https", ca_file=trusted))
        (taken,) = asked(
            loop, target_for(server, transport, scheme="https", ca_file=trusted, insecure=True)
        )
    assert (refused.outcome, refused.events) == (
        Outcome.tls,
        ["fail"] if transport == "tailproof" else ["connected", "fail"],
    )
    assert refused.note.startswith("TLS: ")
    assert taken.outcome == Outcome.ok
    assert len(server.requests) == 1


@LOOPS
@BOTH
def test_a_server_that_speaks_no_tls_is_a_tls_failure(loop: str, transport: str) -> None:
    """https to a plain port: `tls`, not malformed."""

    def plain(peer: Peer) -> None:
        peer.sock.recv(1 << 16)
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.until_closed()

    with ScriptedServer(plain) as server:
        (heard,) = asked(loop, target_for(server, transport, scheme="https"))
    assert heard.outcome == Outcome.tls


@LOOPS
@BOTH
def test_a_server_that_hangs_up_in_the_handshake_is_a_tls_failure(
    loop: str, transport: str
) -> None:
    """The connection stood and TLS did not: `tls`."""

    def hang_up(peer: Peer) -> None:
        peer.sock.recv(1 << 16)
        peer.end()
        peer.until_closed()

    with ScriptedServer(hang_up) as server:
        (heard,) = asked(loop, target_for(server, transport, scheme="https"))
    assert heard.outcome == Outcome.tls


def _goodbye(peer: Peer) -> None:
    """close_notify alone: the TCP connection stays open."""
    assert isinstance(peer.sock, ssl.SSLSocket)
    peer.sock.setblocking(False)
    with contextlib.suppress(ssl.SSLWantReadError):
        peer.sock.unwrap()


@LOOPS
@pytest.mark.parametrize(
    ("transport", "begun"), [("tailproof", "after"), ("tailproof", "inside"), ("httpx", "after")]
)
def test_a_goodbye_over_tls_is_seen_before_the_connection_is_used(
    loop: str, transport: str, begun: str, authority: trustme.CA, ca_file: str
) -> None:
    """close_notify behind an answer, read with it or only waiting in the socket, sends the next
    request elsewhere.
    """
    closed, go, over = threading.Event(), threading.Event(), threading.Event()

    def once(peer: Peer, _request: bytes) -> bool:
        if begun == "after":
            peer.send(answer())
            assert go.wait(PATIENCE_S)
        else:
            assert go.wait(PATIENCE_S)
            peer.send(answer())
        if peer.number == 0:
            _goodbye(peer)
            closed.set()
            assert over.wait(PATIENCE_S)
        return bool(peer.number)

    async def main(server: ScriptedServer) -> tuple[Heard, Heard]:
        sender = make_sender(
            target_for(server, transport, scheme="https", ca_file=ca_file), StampedReader()
        )
        second = Heard()

        class First(Heard):
            def on_done(self, stamp_ns: int) -> None:
                super().on_done(stamp_ns)
                if begun == "inside":
                    sender.start(b"2", "id-2", second, second.carried)

        first = First()
        sender.start(b"1", "id-1", first, first.carried)
        with anyio.fail_after(PATIENCE_S):
            if begun == "after":
                await first.over.wait()
            else:
                await first.written.wait()
            go.set()
            # The loop stands still on purpose: answer and goodbye lie in the socket when it looks
            # again.
            assert closed.wait(PATIENCE_S)
            if begun == "after":
                sender.start(b"2", "id-2", second, second.carried)
            await second.over.wait()
        await sender.close()
        return first, second

    with ScriptedServer(each(once), tls=context(authority)) as server:
        first, second = on_loop(loop, lambda: main(server))
        over.set()
    assert (first.outcome, second.outcome) == (Outcome.ok, Outcome.ok)
    assert [(number, request[-1:]) for number, request in server.requests] == [(0, b"1"), (1, b"2")]


@LOOPS
@BOTH
def test_a_client_certificate_is_shown_when_the_server_asks(
    loop: str, transport: str, authority: trustme.CA, ca_file: str, tmp_path: Path
) -> None:
    """A server that demands a certificate gets the one the target names, and refuses without it."""
    demanding = context(authority, version=ssl.TLSVersion.TLSv1_2)
    demanding.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(demanding)
    mine = authority.issue_cert("client.example")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    mine.cert_chain_pems[0].write_to_path(certificate)
    mine.private_key_pem.write_to_path(key)
    with serving(answer(), tls=demanding) as server:
        keys = {"client_cert_file": str(certificate), "client_key_file": str(key)}
        (shown,) = asked(
            loop, target_for(server, transport, scheme="https", ca_file=ca_file, **keys)
        )
        (without,) = asked(loop, target_for(server, transport, scheme="https", ca_file=ca_file))
    assert (shown.outcome, without.outcome) == (Outcome.ok, Outcome.tls)


@BOTH
def test_a_ca_file_that_cannot_be_read_is_the_users_error(transport: str, tmp_path: Path) -> None:
    """A missing file and one without certificates are named before anything is sent."""
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate")

    async def main(path: str) -> None:
        make_sender(target_for("https://127.0.0.1:9/v1", transport, ca_file=path), StampedReader())
        await asyncio.sleep(0)

    for path in (str(tmp_path / "none.pem"), str(empty)):
        with pytest.raises(UserError, match="ca_file"):
            on_loop("asyncio", lambda path=path: main(path))  # type: ignore[misc]
