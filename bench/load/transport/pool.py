"""Connections to one origin: taken and given back in O(1), dialled when none is idle.

In: an `Origin`. Out: connections. Must stay true: no scan over connections at any time; the most
recently used idle connection goes first, so surplus ones age out at the server; a dial races IPv6
and IPv4 (RFC 8305) and leaves no socket behind when it fails. Engines that hang up behind an answer
without a word (llama.cpp behind each stream) make every reuse a race in which a request is lost:
once that was seen, an answer's connection carries the next request only when it has outlived the
moment in which it could be hung up on.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

import aiohappyeyeballs

from bench.clock import monotonic_ns
from bench.load.transport import stamps
from bench.load.transport.connection import Connection, Tls
from bench.load.transport.interface import OUR_WANTS, Receiver, TransportFailure, classify
from bench.load.transport.patience import within
from bench.machine import descriptor_limit
from bench.record.samples import Outcome
from bench.units import MS, S

_HAPPY_EYEBALLS_DELAY_S = 0.25
#: Descriptors that no connection may take: sealing what was measured must go on when servers hang.
SPARE_DESCRIPTORS = 64
#: How long an address list is used before the name is looked up again.
_DNS_KEEP_NS = 10 * S


#: An end so soon behind an answer is a hang-up; a server that stays open longer does not hang up.
SETTLE_NS = 100 * MS
#: So many in a row stayed open: the server hangs up no more.
PROOFS = 8


#: Called with the connection that will carry the request; False = it is no longer wanted.
OnConnection = Callable[[Connection], bool]


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where connections go. `unix_path` overrides host and port."""

    host: str
    port: int
    tls: bool = False
    insecure: bool = False
    ca_file: str | None = None
    client_cert: tuple[str, str] | None = None
    connect_timeout_ns: int = 10 * S
    unix_path: str | None = None


def tls_context(origin: Origin) -> ssl.SSLContext:
    """Verification on unless `insecure`; HTTP/1.1 only. Raises OSError for unreadable files."""
    context = ssl.create_default_context(cafile=origin.ca_file)
    if origin.ca_file is None:
        import certifi

        context.load_verify_locations(certifi.where())
    if origin.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if origin.client_cert is not None:
        context.load_cert_chain(*origin.client_cert)
    context.set_alpn_protocols(["http/1.1"])
    return context


def report(task: asyncio.Task[None]) -> None:
    """Done callback: an error that a task of ours let through goes to the loop's handler at
    once.
    """
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler(
            {"message": "a request's task failed", "exception": error, "task": task}
        )


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


class _Race:
    """Stands for the loop where addresses are raced, and keeps what each dial failed of: together
    they come without a number.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._errors: list[tuple[OSError, bool]] = []

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        try:
            await self._loop.sock_connect(sock, address)
        except OSError as error:
            self._errors.append((error, _wants_ours(error, sock.family, address)))
            raise

    @property
    def decisive(self) -> OSError | None:
        """Our own want, at whichever address: with it nobody knows what the others would have
        answered. Else the first failure.
        """
        ours = [error for error, own in self._errors if own]
        return next(iter(ours or [error for error, _ in self._errors]), None)


def _wants_ours(error: OSError, family: int, address: Any) -> bool:
    """Whether a dial failed for want of ports, descriptors or memory. Without a way to an address
    (no IPv6) a system says the same as without a port left, but then UDP, whose ports are others,
    finds none either.
    """
    if error.errno != errno.EADDRNOTAVAIL:
        return error.errno in OUR_WANTS
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
    except OSError:
        return False
    return True


class Pool:
    """All connections of one lane to its origin."""

    def __init__(
        self,
        origin: Origin,
        context: ssl.SSLContext | None,
        reader: stamps.StampedReader,
        clock: Callable[[], int] = monotonic_ns,
    ):
        """`context` is that of `tls_context` where the origin speaks TLS; `clock` tells how long
        connections were idle.
        """
        self._origin = origin
        self._context = context
        self._reader = reader
        self._loop = asyncio.get_running_loop()
        self.idle = Idle(clock)
        self._open: set[Connection] = set()
        self._dials: set[asyncio.Task[None]] = set()
        self._addresses: list[aiohappyeyeballs.AddrInfoType] = []
        self._resolved_ns = -_DNS_KEEP_NS
        self._lookup: asyncio.Future[list[Any]] | None = None
        limit = descriptor_limit()
        #: the first descriptor that is not for connections
        self._highest = max(limit - SPARE_DESCRIPTORS, limit // 2)
        self.opened = 0
        #: False once a connection was made on which the kernel would not stamp
        self.kernel_stamps = True

    def start(
        self,
        request: bytes,
        receiver: Receiver,
        on_connection: OnConnection,
    ) -> None:
        """Send `request` on an idle connection now, or on a new one once it stands.

        Nothing is written when `on_connection` answers that the request has ended meanwhile.
        """
        connection = self.idle.take()
        if connection is None:
            self._dial(request, receiver, on_connection)
        elif on_connection(connection):
            connection.send(
                request,
                receiver,
                lambda: self._reconnect(request, receiver, on_connection),
            )
        else:
            self.idle.put(connection)

    def _reconnect(
        self,
        request: bytes,
        receiver: Receiver,
        on_connection: OnConnection,
    ) -> None:
        receiver.on_reconnect()
        self._dial(request, receiver, on_connection)

    def _dial(
        self,
        request: bytes,
        receiver: Receiver,
        on_connection: OnConnection,
    ) -> None:
        task = self._loop.create_task(self._dial_and_send(request, receiver, on_connection))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)
        task.add_done_callback(report)

    async def _dial_and_send(
        self,
        request: bytes,
        receiver: Receiver,
        on_connection: OnConnection,
    ) -> None:
        try:
            async with within(self._origin.connect_timeout_ns):
                connection, connect_ns, tls_ns = await self._connect()
        except (OSError, TransportFailure, UnicodeError) as error:
            receiver.on_fail(*classify(error), monotonic_ns())
            return
        receiver.on_connected(connect_ns, tls_ns)
        if on_connection(connection):
            connection.send(request, receiver)
        else:
            self.idle.put(connection)

    async def _connect(self) -> tuple[Connection, int, int]:
        begun = monotonic_ns()
        sock = await self._open_socket()
        connected = monotonic_ns()
        try:
            if sock.family != getattr(socket, "AF_UNIX", None):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.kernel_stamps = stamps.enable(sock) and self.kernel_stamps
            tls = None
            if self._context is not None:
                tls = Tls(self._context, self._origin.host)
                await self._handshake(sock, tls)
        except BaseException:
            sock.close()
            raise
        self.opened += 1
        connection = Connection(
            self._loop,
            sock,
            tls,
            self._reader,
            self.idle.give_back,
            self._closed,
        )
        self._open.add(connection)
        return connection, connected - begun, monotonic_ns() - connected if tls else -1

    def _closed(self, connection: Connection) -> None:
        self._open.discard(connection)
        self.idle.closed(connection)

    async def _open_socket(self) -> socket.socket:
        origin = self._origin
        if origin.unix_path is not None:
            return await self._open_at(socket.AF_UNIX, 0, origin.unix_path)
        if monotonic_ns() - self._resolved_ns > _DNS_KEEP_NS:
            await self._resolve()
        if len(self._addresses) == 1:
            # Nothing to race: the plain way saves half of what a connection costs the client.
            family, _, protocol, _, address = self._addresses[0]
            return await self._open_at(family, protocol, address)
        race = _Race(self._loop)
        try:
            sock = await aiohappyeyeballs.start_connection(
                self._addresses,
                happy_eyeballs_delay=_HAPPY_EYEBALLS_DELAY_S,
                interleave=1,
                loop=race,  # type: ignore[arg-type]
            )
        except OSError as error:
            raise race.decisive or error from None
        self._leave_some(sock)
        sock.setblocking(False)
        return sock

    def _leave_some(self, sock: socket.socket) -> None:
        """The system gives the lowest free number: one this high means that few are left."""
        if sock.fileno() >= self._highest:
            sock.close()
            raise OSError(errno.EMFILE, "the last descriptors are for the record")

    async def _resolve(self) -> None:
        """Look the name up once for all dials that wait for it."""
        if self._lookup is None:
            origin = self._origin
            self._lookup = asyncio.ensure_future(
                self._loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
            )
        lookup = self._lookup
        try:
            # One dial that is given up must not take the others' lookup with it.
            self._addresses = list(await asyncio.shield(lookup))
            self._resolved_ns = monotonic_ns()
        finally:
            if lookup.done() and self._lookup is lookup:
                self._lookup = None

    async def _open_at(
        self,
        family: int,
        protocol: int,
        address: object,
    ) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM, protocol)
        self._leave_some(sock)
        sock.setblocking(False)
        try:
            await self._loop.sock_connect(sock, address)  # type: ignore[arg-type]
        except BaseException:
            sock.close()
            raise
        return sock

    async def _handshake(self, sock: socket.socket, tls: Tls) -> None:
        while not tls.handshake():
            if out := tls.take():
                await self._loop.sock_sendall(sock, out)
            data = await self._loop.sock_recv(sock, 1 << 16)
            if not data:
                raise TransportFailure(Outcome.tls, "TLS: connection closed during the handshake")
            tls.give(data)
        if out := tls.take():
            await self._loop.sock_sendall(sock, out)

    async def close(self) -> None:
        """Give up open dials and close every connection; what is under way on one gets no further
        event.
        """
        for task in list(self._dials):
            task.cancel()
        await asyncio.gather(*self._dials, return_exceptions=True)
        for connection in list(self._open):
            connection.abort()
        self.idle.clear()
