"""Idle connections of one pool, and which of them may carry a request at once.

In: connections behind an answer, and those that their server ended. Out: the one to use next. Must
stay true: taken and given back in O(1), each looked at once on the way; the most recently used goes
first. Engines that hang up behind an answer without a word (llama.cpp behind each stream) make
every reuse a race in which a request is lost: once that was seen, an answer's connection carries
the next request only when it has outlived the moment in which it could be hung up on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from bench.load.transport.connection import Connection
from bench.units import MS

#: An end so soon behind an answer is a hang-up; who stays open for longer does not hang up.
SETTLE_NS = 100 * MS
#: So many in a row stayed open: the server hangs up no more.
PROOFS = 8


class Idle:
    """A stack of trusted connections, and a queue of those that have still to prove that
    they live.
    """

    def __init__(self, clock: Callable[[], int]):
        """`clock` gives ns of monotonic time."""
        self._clock = clock
        self._trusted: list[Connection] = []
        self._settling: deque[Connection] = deque()
        #: proofs that are still wanted: of connections whose answer had a length, and of those
        #: whose came in chunks
        self._wanted = [0, 0]
        #: how often an answer's connection was not trusted at once
        self.held_back = 0

    def put(self, connection: Connection) -> None:
        """One that no answer was had on, or that was taken for nothing."""
        self._trusted.append(connection)

    def give_back(self, connection: Connection) -> None:
        """One whose answer is complete just now."""
        connection.given_back_ns = self._clock()
        if self._wanted[connection.chunked]:
            self.held_back += 1
            self._settling.append(connection)
        else:
            self._trusted.append(connection)

    def take(self) -> Connection | None:
        """One that is open as far as this machine knows, or None."""
        if self._settling:
            self._settle()
        while self._trusted:
            connection = self._trusted.pop()
            if connection.usable():
                return connection
        return None

    def closed(self, connection: Connection) -> None:
        """Learn from how a connection ended."""
        if connection.hung_up and self._clock() - connection.given_back_ns < SETTLE_NS:
            self._wanted[connection.chunked] = PROOFS

    def clear(self) -> None:
        """Forget them all."""
        self._trusted.clear()
        self._settling.clear()

    def _settle(self) -> None:
        now = self._clock()
        while self._settling and now - self._settling[0].given_back_ns >= SETTLE_NS:
            connection = self._settling.popleft()
            if connection.usable():
                self._wanted[connection.chunked] = max(0, self._wanted[connection.chunked] - 1)
                self._trusted.append(connection)
