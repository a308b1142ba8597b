"""A server with nothing behind it: answers after set times and says when it really did.

In: `python -m bench.load.nullserver --ttft-ms 20 --sigma 0.3 --gap-ms 2 --tokens 16`. Out: streams,
and at `GET /truth?from=N` what happened to each request, as monotonic ns of this machine. Must stay
true: one thread, one epoll, bytes made beforehand, so that what calibration measures is the client;
its times are taken after recv and after send returned, whatever was planned.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import json
import math
import os
import select
import socket
import sys
from array import array
from statistics import NormalDist

from bench.clock import monotonic_ns
from bench.load.alarm import KernelTimer
from bench.units import MS

_GOLDEN = (math.sqrt(5) - 1) / 2
_LAW_STEPS = 1 << 14
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def _event(payload: bytes) -> bytes:
    data = b"data: " + payload + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


_CHUNK = (
    b'{"id":"c","object":"chat.completion.chunk","model":"null",'
    b'"choices":[{"index":0,"delta":%s,"finish_reason":%s}]}'
)
_ROLE = _event(_CHUNK % (b'{"role":"assistant","content":""}', b"null"))
_TOKEN = _event(_CHUNK % (b'{"content":" token"}', b"null"))
_LAST = _event(_CHUNK % (b"{}", b'"stop"')) + _event(b"[DONE]") + b"0\r\n\r\n"


class _Peer:
    __slots__ = ("buffer", "left", "request", "sock")

    def __init__(self, sock: socket.socket):
        self.sock = sock
        self.buffer = b""
        self.left = 0
        self.request = -1


class NullServer:
    """One epoll loop; `truth` has four numbers a request: row, received, first write, last
    write.
    """

    def __init__(
        self,
        ttft_ns: int,
        sigma: float,
        gap_ns: int,
        tokens: int,
        host: str = "127.0.0.1",
    ):
        self._gap_ns = gap_ns
        self._tokens = tokens
        # Lognormal without a generator: quantiles in the order of a golden-ratio sequence, which
        # fills the distribution evenly from any starting point.
        normal = NormalDist()
        self._ttft_ns = [
            round(ttft_ns * math.exp(sigma * normal.inv_cdf((n * _GOLDEN) % 1 or 0.5)))
            for n in range(_LAW_STEPS)
        ]
        self._listener = socket.create_server((host, 0), backlog=4096)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._epoll = select.epoll()
        self._epoll.register(self._listener.fileno(), select.EPOLLIN)
        self._epoll.register(0, select.EPOLLIN | select.EPOLLHUP)
        self._timer = KernelTimer()
        self._epoll.register(self._timer.fd, select.EPOLLIN)
        self._peers: dict[int, _Peer] = {}
        self._due: list[tuple[int, int]] = []
        self.truth = array("q")

    def serve(self) -> None:
        """Until standard input ends."""
        while True:
            for fd, _ in self._epoll.poll():
                if fd == self._timer.fd:
                    self._timer.clear()
                elif fd == 0:
                    if not os.read(0, 4096):
                        return
                elif fd == self._listener.fileno():
                    self._accept()
                else:
                    self._receive(fd)
            now = monotonic_ns()
            while self._due and self._due[0][0] <= now:
                due, fd = heapq.heappop(self._due)
                self._write(due, fd)
            if self._due:
                self._timer.set(self._due[0][0])

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peers[sock.fileno()] = _Peer(sock)
            self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _drop(self, fd: int) -> None:
        self._epoll.unregister(fd)
        self._peers.pop(fd).sock.close()

    def _receive(self, fd: int) -> None:
        peer = self._peers[fd]
        try:
            data = peer.sock.recv(1 << 18)
        except OSError:
            data = b""
        now = monotonic_ns()
        if not data:
            self._drop(fd)
            return
        peer.buffer += data
        head, found, body = peer.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        fields = {
            name.lower(): value
            for name, _, value in (line.partition(b": ") for line in head.split(b"\r\n")[1:])
        }
        if len(body) < int(fields.get(b"content-length", 0)):
            return
        peer.buffer = b""
        if head.startswith(b"GET"):
            self._answer_truth(peer, head.split(b" ", 2)[1])
            return
        row = int(fields.get(b"x-request-id", b"-0").rpartition(b"-")[2])
        peer.request, peer.left = len(self.truth), self._tokens
        self.truth.extend((row, now, -1, -1))
        heapq.heappush(self._due, (now + self._ttft_ns[peer.request // 4 % _LAW_STEPS], fd))

    def _answer_truth(self, peer: _Peer, path: bytes) -> None:
        if path.startswith(b"/truth"):
            start = int(path.partition(b"from=")[2] or 0) * 4
        else:
            start = len(self.truth)
        body = json.dumps(self.truth[start:].tolist()).encode()
        peer.sock.setblocking(True)
        peer.sock.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )
        peer.sock.setblocking(False)

    def _write(self, due: int, fd: int) -> None:
        peer = self._peers.get(fd)
        if peer is None or peer.left <= 0:
            return
        first = peer.left == self._tokens
        data = _HEAD + _ROLE + _TOKEN if first else _TOKEN
        peer.left -= 1
        if peer.left == 0:
            data += _LAST
        elif self._gap_ns == 0:
            data += _TOKEN * peer.left + _LAST
            peer.left = 0
        try:
            peer.sock.send(data)
        except OSError:
            self._drop(fd)
            return
        now = monotonic_ns()
        if first:
            self.truth[peer.request + 2] = now
        if peer.left == 0:
            self.truth[peer.request + 3] = now
        else:
            heapq.heappush(self._due, (due + self._gap_ns, fd))


def main() -> int:
    """Print the port as one JSON line, then serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ttft-ms", type=float, default=20.0)
    parser.add_argument("--sigma", type=float, default=0.0)
    parser.add_argument("--gap-ms", type=float, default=2.0)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--host", default="127.0.0.1")
    given = parser.parse_args()
    server = NullServer(
        round(given.ttft_ms * MS),
        given.sigma,
        round(given.gap_ms * MS),
        given.tokens,
        given.host,
    )
    sys.stdout.write(json.dumps({"port": server.port}) + "\n")
    sys.stdout.flush()
    gc.freeze()
    gc.disable()
    server.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
