"""A door in front of a server that writes down what came through it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.patience import PATIENCE_S


class Tee:
    """Listens on `port`; `sent` holds the bytes of each client's connection as they arrived."""

    def __init__(self, host: str, port: int):
        self._behind = host, port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self.sent: list[bytearray] = []
        self._sockets: list[socket.socket] = []
        self._carriers: list[threading.Thread] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:  # closed
                return
            server = socket.create_connection(self._behind, timeout=PATIENCE_S)
            self._sockets += client, server
            self.sent.append(bytearray())
            for pair in ((client, server, self.sent[-1]), (server, client, bytearray())):
                self._carriers.append(threading.Thread(target=_carry, args=pair, daemon=True))
                self._carriers[-1].start()

    def close(self) -> None:
        """No more clients, and no more of those that are there."""
        self._door.close()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for carrier in self._carriers:
            carrier.join(PATIENCE_S)
        for each in self._sockets:
            each.close()


def _carry(source: socket.socket, goal: socket.socket, copy: bytearray) -> None:
    with contextlib.suppress(OSError):  # either side has gone
        while data := source.recv(1 << 16):
            copy += data
            goal.sendall(data)
        goal.shutdown(socket.SHUT_WR)


@contextmanager
def tee(host: str, port: int) -> Iterator[Tee]:
    """A door for as long as the block lasts."""
    door = Tee(host, port)
    try:
        yield door
    finally:
        door.close()
