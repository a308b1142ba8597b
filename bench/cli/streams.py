"""Standard input, output and error as they are found: closed, cut off, full, or of few letters.

In: the streams that the process was started with. Out: `sys.stdout` and `sys.stderr` that take
whatever is printed; `Lines` on standard error, written by a thread. Must stay true: what cannot be
written costs no run its report and changes no verdict; a terminal that does not read (Ctrl-S, a
full pipe) costs lines, and nobody waits for it; descriptors 0 to 2 are never free for a socket to
take; a stream that is not Unicode gets letters that every encoding has.
"""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import re
import select
import signal
import sys
import threading
import unicodedata
from queue import Empty, Full, Queue
from typing import IO, Any

import click

#: What a letter becomes in plain text; others lose their accents, or become `?`.
_PLAIN = {
    "≥": ">=",
    "≤": "<=",
    "→": "->",
    "±": "+/-",
    "×": "x",
    "µ": "u",
    "μ": "u",
    "·": "-",
    "–": "-",
    "—": "-",
    "−": "-",
    "…": "...",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
    "²": "2",
    "▸": ">",
    "─": "-",
    "━": "-",
    "│": "|",
    "█": "#",
    "■": "#",
    "●": "ok",
    "▲": "FAIL",
    "◇": "?",
    "⊠": "X",
    "░": ".",
    "\N{NO-BREAK SPACE}": " ",
    "\N{NARROW NO-BREAK SPACE}": " ",
}
_HANDLER, _ASCII = "tailproof-plain", "tailproof-ascii"
#: A reader that takes nothing for so long is gone.
_READER_S = 10
#: And a terminal that shows what is being played, which must not wait for it.
_TERMINAL_S = 0.25
#: Failures that a reader caused by having seen enough.
_READER_LEFT = {errno.EPIPE, errno.ECONNRESET}


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(map(_plain, letters)), error.end


def _plain(letter: str) -> str:
    if letter in _PLAIN:
        return _PLAIN[letter]
    bare = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return bare or "?"


def _ascii_by_our_name(name: str) -> codecs.CodecInfo | None:
    """ASCII under a name that click does not know: it writes UTF-8 where it reads `ascii`."""
    if name.replace("_", "-") != _ASCII:
        return None
    known = codecs.lookup("ascii")
    return codecs.CodecInfo(
        known.encode,
        known.decode,
        known.streamreader,
        known.streamwriter,
        known.incrementalencoder,
        known.incrementaldecoder,
        _ASCII,
    )


codecs.register_error(_HANDLER, _in_plain_letters)
codecs.register(_ascii_by_our_name)


class _Outlet(io.FileIO):
    """A descriptor that takes everything; the first failure is kept, and all after it is let go."""

    failure: OSError | None = None
    #: how long a terminal that takes nothing is waited for; what it does not take then is let go
    wait_s: float = _READER_S
    #: nobody waits for it but while it is known to take something
    in_a_hurry = stalled = False

    def never_wait(self) -> None:
        """A terminal that was stopped (Ctrl-S, a window that hangs) must not hold what plays: by a
        descriptor of our own, for the shell's must go on to block.
        """
        try:
            own = os.open(os.ttyname(self.fileno()), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:  # no terminal, or one that belongs to somebody else
            return
        os.dup2(own, self.fileno())
        os.close(own)
        self.in_a_hurry, self.wait_s = True, _TERMINAL_S

    def write(self, data: Any, /) -> int:
        size = memoryview(data).nbytes
        if self.failure is not None:
            return size
        try:
            written = super().write(data)
            if written is None and not self.stalled:  # told not to block
                select.select([], [self.fileno()], [], self.wait_s)
                written = super().write(data)
        except (OSError, ValueError) as error:
            self.failure = error if isinstance(error, OSError) else OSError(errno.EBADF, str(error))
            return size
        self.stalled = written is None
        if self.stalled and self.in_a_hurry:
            return size
        if written is None:
            self.failure = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            return size
        return written


def settle() -> None:
    """Make the standard streams safe to use, whatever they are. Twice does no more than once.

    A stream that somebody put in their place (a test, a program that calls us) is left alone.
    """
    _fill_ends()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _nothing("w"))
        elif stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, settled(stream))
    if sys.stdin is None:
        sys.stdin = _nothing("r")


def _nothing(mode: str) -> IO[str]:
    return os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8")


def _fill_ends() -> None:
    """Open the null device where a descriptor below 3 is closed.

    A socket or pipe of ours would take its number, and be written to, handed to children, or end
    the process: libuv closes no descriptor below 3.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened == number:
                os.set_inheritable(number, True)
            else:
                os.close(opened)


def settled(stream: IO[str]) -> IO[str]:
    """The stream, taking every letter and never raising; what it cannot write is let go."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    if os.name == "nt":  # its console is no descriptor
        stream.reconfigure(errors=_HANDLER)
        return stream
    outlet = _Outlet(stream.fileno(), "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(outlet),
        encoding=stream.encoding if is_unicode(stream) else _ASCII,
        errors=_HANDLER,
        line_buffering=stream.line_buffering or outlet.isatty(),
        write_through=stream.write_through,
    )


def is_unicode(stream: IO[str]) -> bool:
    """Whether a stream has every letter."""
    return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name.startswith("utf")


def failure_of(stream: IO[str] | None) -> OSError | None:
    """Why a stream could not be written to the end; None where it was, or its reader left."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    if not isinstance(raw, _Outlet):
        return None
    assert stream is not None
    stream.flush()
    gone = raw.failure
    return None if gone is None or gone.errno in _READER_LEFT else gone


def outlive_terminal() -> None:
    """Go on when the terminal is closed, as under nohup: what was paid for is judged and reported.

    Ctrl-C and SIGTERM still end it; a child inherits this. Nor does a terminal that takes nothing
    hold it.
    """
    for stream in (sys.stdout, sys.stderr):
        raw = getattr(getattr(stream, "buffer", None), "raw", None)
        if isinstance(raw, _Outlet):
            raw.never_wait()
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def json_for(stream: IO[str], text: str) -> str:
    """A JSON document as the stream can hold it: the same value, letters it lacks as `\\u2265`."""
    if is_unicode(stream):
        return text
    return re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)


#: Lines that wait; more are dropped.
_MOST_WAITING = 1_000
#: How long the last lines are waited for, in s.
_LAST_S = 2.0


class Lines:
    """Standard error by a thread of its own, from the first line on."""

    def __init__(self) -> None:
        self._waiting: Queue[bytes | None] = Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        try:
            self._descriptor = sys.stderr.fileno()
        except (OSError, ValueError, AttributeError):  # not a file: a test's, or none at all
            self._descriptor = -1

    def say(self, line: str) -> None:
        """One line, soon."""
        if self._descriptor < 0:
            click.echo(line, err=True)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, daemon=True)
            self._thread.start()
        try:
            encoding = sys.stderr.encoding or "utf-8"
            self._waiting.put_nowait(f"{line}\n".encode(encoding, "backslashreplace"))
        except Full:
            return

    def close(self) -> None:
        """What is left, if anybody reads."""
        if self._thread is None:
            return
        try:
            self._waiting.put_nowait(None)
        except Full:
            try:  # nobody reads: what waits will not be read either
                self._waiting.get_nowait()
                self._waiting.put_nowait(None)
            except (Empty, Full):
                return
        self._thread.join(_LAST_S)

    def _write(self) -> None:
        # Past Python's own buffer, whose lock a write that hangs would hold at the process's end.
        gone = False
        while (rest := self._waiting.get()) is not None:
            while rest and not gone:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except OSError:
                    gone = True
