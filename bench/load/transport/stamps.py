"""When bytes reached this machine: kernel receive stamps as monotonic time.

In: a socket. Out: received bytes and the monotonic ns at which the kernel had them. Must stay
true: a stamp is turned by its age, so a wall-clock step between two reads does no harm; where
the platform gives none, the read itself is the stamp and `kernel` says so.
"""

from __future__ import annotations

import socket
import struct
import sys
import weakref
from array import array

from bench.clock import monotonic_ns, wall_ns

#: Linux: SO_TIMESTAMPNS and the type of its control message (asm-generic/socket.h).
_SO_TIMESTAMPNS = getattr(socket, "SO_TIMESTAMPNS", 35)
_TIMESPEC = struct.Struct("@qq")
_CONTROL_BYTES = socket.CMSG_SPACE(_TIMESPEC.size) if hasattr(socket, "CMSG_SPACE") else 0
#: An age beyond this is a wall-clock step between arrival and read, not a waiting time.
_MAX_AGE_NS = 3_600_000_000_000


def enable(sock: socket.socket) -> bool:
    """Ask the kernel to stamp what arrives. True when it will."""
    # A Unix socket takes the option and stamps nothing.
    if not sys.platform.startswith("linux") or sock.family == socket.AF_UNIX:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


def by_age(stamped_wall_ns: int, wall: int, now_ns: int) -> int | None:
    """A kernel stamp in monotonic ns: its age by the wall clock, before now by the monotonic one.

    None when the age is no waiting time, because the wall clock stepped between stamp and read.
    """
    age = wall - stamped_wall_ns
    if 0 <= age < _MAX_AGE_NS:
        return now_ns - age
    return None


class StampedReader:
    """One receive buffer for all sockets of a loop: read, stamp, hand on, reuse."""

    def __init__(self, size: int = 1 << 18):
        self._buffer = bytearray(size)
        self.view = memoryview(self._buffer)
        self._buffers = [self._buffer]
        # The kernel begins to stamp some time after the first socket asks, and stops with the last:
        # one that asks now and stays lets even the first answer be stamped.
        keeper = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        enable(keeper)
        weakref.finalize(self, keeper.close)

    def receive(self, sock: socket.socket) -> tuple[int, int, bool]:
        """(bytes now in `view`, stamp in monotonic ns, stamped by the kernel). 0 bytes = end.

        Raises BlockingIOError and other OSErrors of recvmsg.
        """
        size, control, _, _ = sock.recvmsg_into(self._buffers, _CONTROL_BYTES)
        # Held up between the two clocks, a stamp comes out late, never early.
        wall = wall_ns()
        now = monotonic_ns()
        for level, kind, data in control:
            if (
                level == socket.SOL_SOCKET
                and kind == _SO_TIMESTAMPNS
                and len(data) >= _TIMESPEC.size
            ):
                seconds, ns = _TIMESPEC.unpack_from(data)
                stamp = by_age(seconds * 1_000_000_000 + ns, wall, now)
                return size, now if stamp is None else stamp, stamp is not None
        return size, now, False


def unread(sock: socket.socket) -> int:
    """Bytes that the kernel holds for a socket."""
    import fcntl
    import termios

    count = array("i", [0])
    fcntl.ioctl(sock, termios.FIONREAD, count)
    return count[0]
