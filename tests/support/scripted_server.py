"""A server whose every byte is written by the test, on real sockets, in threads of its own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Self

from tests.support.patience import STEP_S

PATIENCE_S = STEP_S


class Peer:
    """The server's end of one connection."""

    def __init__(
        self, sock: socket.socket, number: int, log: list[tuple[int, bytes]] | None = None
    ):
        self.sock, self.number, self._buffer = sock, number, b""
        self._log = log if log is not None else []

    def head(self) -> bytes:
        """The head of the next request, `b""` when the client closed instead."""
        while b"\r\n\r\n" not in self._buffer:
            data = self.sock.recv(1 << 16)
            if not data:
                return b""
            self._buffer += data
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head

    def request(self) -> bytes:
        """The next request with its body, `b""` when the client closed instead."""
        head = self.head()
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            ),
            0,
        )
        held = bytearray(self._buffer)
        while len(held) < length:
            data = self.sock.recv(1 << 20)
            if not data:
                return b""
            held += data
        body, self._buffer = bytes(held[:length]), bytes(held[length:])
        if not head:
            return b""
        self._log.append((self.number, head + b"\r\n\r\n" + body))
        return self._log[-1][1]

    def send(self, *parts: bytes) -> None:
        """Send each part as a write of its own."""
        for part in parts:
            self.sock.sendall(part)

    def end(self) -> None:
        """FIN: nothing more comes from here."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def until_closed(self) -> None:
        """Wait for the client to close, whatever it still sends."""
        with contextlib.suppress(OSError):
            while self.sock.recv(1 << 16):
                pass


Script = Callable[[Peer], None]


class ScriptedServer:
    """Connection number i is served by `scripts[i]`, later ones by the last; closed when it
    returns.

    `requests` holds (connection number, bytes) of every request that came whole.
    """

    def __init__(
        self, *scripts: Script, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._scripts, self._tls = scripts, tls
        self.listener = socket.socket(family)
        self.listener.bind((host, 0))
        self.host, self.port = host, int(self.listener.getsockname()[1])
        self.requests: list[tuple[int, bytes]] = []
        self.connections = 0
        self._errors: list[Exception] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._closing = False

    def __enter__(self) -> Self:
        """Listen: until then connections are refused."""
        self.listener.listen(64)
        self._threads[0].start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._closing = True
        # A listener that is closed while another thread accepts would leave that thread waiting.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        self.listener.close()
        if kind is None:
            assert not self._errors, self._errors

    def _accept(self) -> None:
        while not self._closing:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            number, self.connections = self.connections, self.connections + 1
            thread = threading.Thread(target=self._serve, args=(sock, number), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        sock.settimeout(PATIENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            self._scripts[min(number, len(self._scripts) - 1)](Peer(sock, number, self.requests))
        except OSError:
            pass  # the client went away, which is for the test to judge by what the client saw
        except Exception as error:
            self._errors.append(error)
        finally:
            sock.close()


def each(reply: Callable[[Peer, bytes], bool | None]) -> Script:
    """A script that calls `reply` once a request and ends the connection when it says False."""

    def serve(peer: Peer) -> None:
        while (request := peer.request()) and reply(peer, request) is not False:
            pass

    return serve


def answer(body: bytes = b"{}", *, status: str = "200 OK", headers: bytes = b"") -> bytes:
    """A response with a content-length."""
    return (
        b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n" % (status.encode(), len(body), headers)
        + body
    )


def chunked(*parts: bytes) -> list[bytes]:
    """Head, chunks and end of a chunked response, as separate writes."""
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    return [head, *(b"%x\r\n%s\r\n" % (len(part), part) for part in parts), b"0\r\n\r\n"]


def serving(
    *writes: bytes, close: bool = False, tls: ssl.SSLContext | None = None
) -> ScriptedServer:
    """A server that gives every request the same writes, and closes after the first if `close`."""

    def reply(peer: Peer, _request: bytes) -> bool:
        peer.send(*writes)
        return not close

    return ScriptedServer(each(reply), tls=tls)


def unused_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
