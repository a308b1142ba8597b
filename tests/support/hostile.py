"""What hostile servers do.

A fault is done to the first request of a lane; every later one gets a sound answer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import socket
import ssl
import threading
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate

import trustme

from bench.clock import wall_ns
from bench.units import S
from tests.support.scripted_server import Peer, ScriptedServer, each
from tests.support.world import chunk

BLOCK = 1 << 16


@dataclasses.dataclass(frozen=True)
class Sound:
    """A sound answer, in parts of which any but the last few hold a token."""

    kind: bytes
    parts: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        """All parts."""
        return b"".join(self.parts)

    def head(self, *lines: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
        """A head with the content type and these lines."""
        return b"\r\n".join([status, b"Content-Type: " + self.kind, *lines, b"", b""])

    def whole(self, *lines: bytes, **more: bytes) -> bytes:
        """The answer with its length."""
        return self.head(*lines, b"Content-Length: %d" % len(self.body), **more) + self.body

    def chunked(self, *lines: bytes) -> list[bytes]:
        """Head, a chunk a part, the last chunk."""
        head = self.head(*lines, b"Transfer-Encoding: chunked")
        return [head, *(b"%x\r\n%s\r\n" % (len(part), part) for part in self.parts), b"0\r\n\r\n"]


TOKEN, LAST, DONE = chunk({"content": "w"}), chunk({}, "stop"), b"data: [DONE]\n\n"
STREAMED = Sound(b"text/event-stream", (chunk({"role": "assistant"}), TOKEN, TOKEN, LAST, DONE))
PLAIN = Sound(
    b"application/json",
    (b'{"choices":[{"message":', b'{"content":"w w"},', b'"finish_reason"', b':"stop"}]}'),
)

Script = Callable[[Peer, Sound], object]
Writes = list[bytes] | Callable[[Sound], list[bytes]]


@functools.cache
def authority() -> trustme.CA:
    """The issuer that clients trust."""
    return trustme.CA()


def certificate(
    host: str = "127.0.0.1", issuer: trustme.CA | None = None, days: int = 1
) -> ssl.SSLContext:
    """The server's side of TLS."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    now = datetime.now(UTC)
    issued = (issuer or authority()).issue_cert(
        host, not_before=now - timedelta(9), not_after=now + timedelta(days)
    )
    issued.configure_cert(made)
    return made


# ---- how a script ends


def closes(_peer: Peer, _sound: Sound) -> None:
    """Both directions, at once."""


def ends(peer: Peer, _sound: Sound) -> None:
    """FIN in one direction; it goes on listening."""
    peer.end()
    peer.until_closed()


def resets(peer: Peer, _sound: Sound) -> None:
    """RST."""
    peer.reset()


def stalls(peer: Peer, _sound: Sound) -> None:
    """Not a byte more."""
    peer.until_closed()


def hangs_up_behind(peer: Peer, _sound: Sound) -> None:
    """Without a word, when the next request is on its way: the worst moment."""
    peer.head()


def goes_on(peer: Peer, sound: Sound) -> None:
    """Sound answers on the same connection."""
    each(lambda peer, _: peer.send(*sound.chunked()))(peer)


def floods(block: bytes | Callable[[Sound], bytes], most: int = 1 << 40) -> Script:
    """The same bytes again and again, until the client hangs up; `most` bytes and then silence."""

    def flood(peer: Peer, sound: Sound) -> None:
        data = block(sound) if callable(block) else block
        for _ in range(most // len(data)):
            peer.send(data)
        peer.until_closed()

    return flood


def cuts_record(peer: Peer, _sound: Sound) -> None:
    """The header of a TLS record of 16 KiB, some bytes of it, and the end."""
    _bare(peer, b"\x17\x03\x03\x40\x00" + b"x" * 100)


def spoils_record(peer: Peer, _sound: Sound) -> None:
    """A whole TLS record that no key of the connection sealed."""
    _bare(peer, b"\x17\x03\x03\x00\x40" + b"x" * 64)
    peer.until_closed()


def _bare(peer: Peer, data: bytes) -> None:
    """Past TLS, into the socket itself."""
    with socket.socket(fileno=socket.dup(peer.sock.fileno())) as bare:
        bare.sendall(data)


# ---- scripts


def says(writes: Writes, ending: Script) -> Script:
    """Read a request, write this, end so."""

    def script(peer: Peer, sound: Sound) -> None:
        if peer.request():
            peer.send(*(writes(sound) if callable(writes) else writes))
            ending(peer, sound)

    return script


def over_tls(script: Script, context: Callable[[], ssl.SSLContext] = certificate) -> Script:
    """The script behind a handshake with this certificate."""

    def secured(peer: Peer, sound: Sound) -> None:
        with context().wrap_socket(peer.sock, server_side=True) as peer.sock:
            script(peer, sound)

    return secured


def hangs_up(peer: Peer, _sound: Sound) -> None:
    """In the middle of the handshake."""
    peer.sock.recv(BLOCK)


def speaks_plainly(peer: Peer, sound: Sound) -> None:
    """HTTP where TLS was asked for."""
    peer.sock.recv(BLOCK)
    peer.send(sound.whole())
    peer.until_closed()


def status(
    line: str, *lines: bytes, body: bytes = b'{"error":{"message":"no"}}', ending: Script = goes_on
) -> Script:
    """An answer with this status; the connection goes on, or ends as said."""

    def writes(_sound: Sound) -> list[bytes]:
        head = [f"HTTP/1.1 {line}".encode(), b"Content-Type: application/json", *lines]
        return [b"\r\n".join([*head, b"Content-Length: %d" % len(body), b"", body])]

    return says(writes, ending)


def redirects(line: str, host: str) -> Script:
    """To `host` at the same port: followed, it would be a further request here, key and all."""

    def script(peer: Peer, sound: Sound) -> None:
        port = peer.sock.getsockname()[1]
        status(line, f"Location: http://{host}:{port}/v1/chat/completions".encode())(peer, sound)

    return script


def instead(text: bytes, kind: bytes | None = None) -> Script:
    """A sound frame round another body."""
    return says(lambda s: [Sound(kind or s.kind, (text,)).whole()], goes_on)


def events(*parts: bytes) -> Script:
    """A stream of these events."""
    return says(lambda s: [Sound(s.kind, parts).whole()], goes_on)


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens on a lane's first connection, and where that is."""

    script: Script = goes_on
    tls: bool = False
    host: str = "127.0.0.1"
    #: listening, "closed" or "full" until the first row has ended
    port: str = "open"
    #: in place of the server's own address
    address: str | None = None
    connect_timeout: str = "20s"


def _half(sound: Sound) -> list[bytes]:
    """Head and a first token, chunked."""
    return sound.chunked()[:3]


def _but_the_end(sound: Sound) -> list[bytes]:
    """All but the last chunk."""
    return sound.chunked()[:-1]


def _in_seconds(seconds: int) -> bytes:
    return formatdate(wall_ns() / S + seconds, usegmt=True).encode()


@functools.cache
def _bomb() -> bytes:
    """128 MiB, gzipped."""
    press = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join(press.compress(bytes(1 << 20)) for _ in range(128)) + press.flush()


def _long_part(sound: Sound) -> bytes:
    """Parts that hold a long token, some tens of KiB."""
    return sound.parts[1].replace(b'"w', b'"' + b"w" * 4000, 1) * 16


def _busy_until(peer: Peer, sound: Sound) -> None:
    status("429 Too Many Requests", b"Retry-After: " + _in_seconds(100))(peer, sound)


#: an error inside an answer with status 200
ERROR = {
    STREAMED.kind: (*STREAMED.parts[:2], b'data: {"error":{"message":"overloaded"}}\n\n'),
    PLAIN.kind: (b'{"error":{"message":"overloaded"}}',),
}

#: by the names that docs/dev/faults.md gives them
FAULTS: dict[str, Fault] = {
    "port closed": Fault(port="closed"),
    "backlog full": Fault(port="full", connect_timeout="3s"),
    "name unknown": Fault(address="tailproof.invalid"),
    "IPv6 only": Fault(host="::1"),
    # TLS
    "unknown issuer": Fault(over_tls(goes_on, lambda: certificate(issuer=trustme.CA())), tls=True),
    "certificate expired": Fault(over_tls(goes_on, lambda: certificate(days=-1)), tls=True),
    "certificate of another host": Fault(
        over_tls(goes_on, lambda: certificate("other.example")), tls=True
    ),
    "no TLS": Fault(speaks_plainly, tls=True),
    "hangs up in the handshake": Fault(hangs_up, tls=True),
    "silent in the handshake": Fault(stalls, tls=True, connect_timeout="3s"),
    "record cut": Fault(over_tls(says(_half, cuts_record)), tls=True),
    "record spoilt": Fault(over_tls(says(_half, spoils_record)), tls=True),
    "TLS reset in the body": Fault(over_tls(says(_half, resets)), tls=True),
    # the connection ends
    "closes unanswered": Fault(says([], closes)),
    "half-closes unanswered": Fault(says([], ends)),
    "resets unanswered": Fault(says([], resets)),
    "closes in the head": Fault(says(lambda s: [s.head()[:-9]], closes)),
    "resets in the head": Fault(says(lambda s: [s.head()[:-9]], resets)),
    "closes after the head": Fault(says(lambda s: s.chunked()[:1], closes)),
    "resets after the head": Fault(says(lambda s: s.chunked()[:1], resets)),
    "closes in a chunk": Fault(says(lambda s: [*_half(s), b"ff\r\ndata"], closes)),
    "half-closes in a chunk": Fault(says(lambda s: [*_half(s), b"ff\r\ndata"], ends)),
    "resets in a chunk": Fault(says(lambda s: [*_half(s), b"ff\r\ndata"], resets)),
    "closes before the last chunk": Fault(says(_but_the_end, closes)),
    "resets before the last chunk": Fault(says(_but_the_end, resets)),
    "hangs up behind the answer": Fault(says(lambda s: s.chunked(), hangs_up_behind)),
    # silence
    "silent before the head": Fault(says([], stalls)),
    "silent in the head": Fault(says(lambda s: [s.head()[:-9]], stalls)),
    "silent after the head": Fault(says(lambda s: s.chunked()[:1], stalls)),
    "silent in the body": Fault(says(_half, stalls)),
    "silent before the last chunk": Fault(says(_but_the_end, stalls)),
    "one byte at a time": Fault(
        says(lambda s: [bytes([byte]) for byte in b"".join(s.chunked())], goes_on)
    ),
    # framing
    "not HTTP": Fault(says([b"SSH-2.0-OpenSSH_9.2\r\n\r\n"], closes)),
    "HTTP/1.0": Fault(says(lambda s: [s.head(status=b"HTTP/1.0 200 OK"), s.body], closes)),
    "1xx before the answer": Fault(
        says(
            lambda s: [
                b"HTTP/1.1 100 Continue\r\n\r\n",
                b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
                *s.chunked(),
            ],
            goes_on,
        )
    ),
    "switches protocols": Fault(
        says(
            [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"],
            stalls,
        )
    ),
    "surplus bytes": Fault(
        says(lambda s: [s.whole() + b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"], goes_on)
    ),
    "length too long": Fault(
        says(lambda s: [s.head(b"Content-Length: %d" % (len(s.body) + 9)), s.body], closes)
    ),
    "length too short": Fault(
        says(lambda s: [s.head(b"Content-Length: %d" % (len(s.body) // 2)), s.body], goes_on)
    ),
    "length negative": Fault(says(lambda s: [s.head(b"Content-Length: -1"), s.body], closes)),
    "length no number": Fault(says(lambda s: [s.head(b"Content-Length: five"), s.body], closes)),
    "two lengths that differ": Fault(says(lambda s: [s.whole(b"Content-Length: 5")], goes_on)),
    "two equal lengths": Fault(
        says(lambda s: [s.whole(b"Content-Length: %d" % len(s.body))], goes_on)
    ),
    "chunked, and a length": Fault(says(lambda s: s.chunked(b"Content-Length: 5"), goes_on)),
    "chunk size no number": Fault(says(lambda s: [*_half(s), b"zz\r\nab\r\n"], closes)),
    "chunk longer than its size": Fault(
        says(lambda s: [*_half(s), b"2\r\nlonger\r\n0\r\n\r\n"], closes)
    ),
    "header no header": Fault(says(lambda s: [s.head(b"no colon here"), s.body], closes)),
    # content
    "no body": Fault(instead(b"")),
    "204": Fault(says([b"HTTP/1.1 204 No Content\r\n\r\n"], goes_on)),
    "HTML": Fault(instead(b"<html><h1>Welcome</h1></html>", b"text/html")),
    "another API's JSON": Fault(instead(b'{"hello":"world"}', b"application/json")),
    "invalid JSON": Fault(
        says(lambda s: [Sound(s.kind, (s.parts[0], b'data: {"choices":[}\n\n')).whole()], goes_on)
    ),
    "invalid UTF-8": Fault(
        says(lambda s: [Sound(s.kind, (s.body.replace(b'"w', b'"\xff', 1),)).whole()], goes_on)
    ),
    "invalid UTF-8 in a later token": Fault(
        events(*STREAMED.parts[:2], TOKEN.replace(b'"w', b'"\xff'), LAST, DONE)
    ),
    "error inside 200": Fault(says(lambda s: [Sound(s.kind, ERROR[s.kind]).whole()], goes_on)),
    "neither [DONE] nor finish": Fault(events(TOKEN, TOKEN)),
    "no [DONE]": Fault(events(TOKEN, LAST)),
    "the other kind of answer": Fault(
        says(lambda s: [(PLAIN if s is STREAMED else STREAMED).whole()], goes_on)
    ),
    "gzip": Fault(
        says(
            lambda s: [
                Sound(s.kind, (zlib.compress(s.body, wbits=31),)).whole(b"Content-Encoding: gzip")
            ],
            goes_on,
        )
    ),
    # statuses
    "302 to itself": Fault(redirects("302 Found", "127.0.0.1")),
    "307 to another host": Fault(redirects("307 Temporary Redirect", "localhost")),
    "400": Fault(status("400 Bad Request")),
    "401": Fault(status("401 Unauthorized", b"WWW-Authenticate: Bearer")),
    "403": Fault(status("403 Forbidden")),
    "404": Fault(status("404 Not Found", body=b"<html>not found</html>")),
    "408": Fault(status("408 Request Timeout")),
    "413": Fault(status("413 Content Too Large")),
    "429, retry-after 7": Fault(status("429 Too Many Requests", b"Retry-After: 7")),
    "429, retry-after a date": Fault(_busy_until),
    "429, retry-after nonsense": Fault(status("429 Too Many Requests", b"Retry-After: soon")),
    "500": Fault(status("500 Internal Server Error", body=b"")),
    "502": Fault(status("502 Bad Gateway", body=b"<html>bad gateway</html>")),
    "503, retry-after 7": Fault(status("503 Service Unavailable", b"Retry-After: 7")),
    "504": Fault(status("504 Gateway Timeout")),
    "529": Fault(status("529 Overloaded")),
    "429, its text cut": Fault(
        says([b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 9\r\n\r\nslow"], closes)
    ),
    "503, its text silent": Fault(
        says([b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\n\r\nslow"], stalls)
    ),
}

#: those that send without end, or more than there is room for; one at a time, with an eye on the
#: memory
FLOODS: dict[str, Fault] = {
    "endless headers": Fault(
        says([b"HTTP/1.1 200 OK\r\n"], floods(b"X-More: and more\r\n" * 1000))
    ),
    "endless header": Fault(says([b"HTTP/1.1 200 OK\r\nX-Long: "], floods(b"x" * BLOCK))),
    "endless 1xx": Fault(says([], floods(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000))),
    "endless trailers": Fault(
        says(lambda s: [*_but_the_end(s), b"0\r\n"], floods(b"X-More: and more\r\n" * 1000))
    ),
    "100 MB line": Fault(
        says(lambda s: [s.head(), s.parts[0] + b'data: "'], floods(b"x" * BLOCK, 100 << 20))
    ),
    # Long tokens and comments: each event costs our side time, and it takes in megabytes of them.
    "endless body": Fault(says(lambda s: [s.head()], floods(_long_part))),
    "endless comments": Fault(
        says(lambda s: [s.head()], floods((b": still here " + b"." * 4000 + b"\n\n") * 16))
    ),
    "endless error text": Fault(
        says(lambda s: [s.head(status=b"HTTP/1.1 500 Internal Server Error")], floods(b"x" * BLOCK))
    ),
    "gzip bomb": Fault(says(lambda s: [s.head(b"Content-Encoding: gzip"), _bomb()], closes)),
}


@functools.cache
def absent() -> set[str]:
    """Faults that this machine cannot show: it has no IPv6, or a resolver that never answers."""
    missing = set()
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        missing.add("IPv6 only")
    asking = threading.Thread(target=_look_up, daemon=True)
    asking.start()
    asking.join(3)
    return missing | ({"name unknown"} if asking.is_alive() else set())


def _look_up() -> None:
    with contextlib.suppress(OSError):
        socket.getaddrinfo("tailproof.invalid", 80)


class Site:
    """A lane's server, hostile until `mend` is called or its first connection is over."""

    def __init__(self, fault: Fault, sound: Sound):
        self.connect_timeout, self._stack = fault.connect_timeout, contextlib.ExitStack()
        later = over_tls(goes_on) if fault.tls else goes_on
        scripts = [
            lambda peer, script=script: script(peer, sound) for script in (fault.script, later)
        ]
        self.server = ScriptedServer(*scripts, host=fault.host)
        host = fault.address or (f"[{fault.host}]" if ":" in fault.host else fault.host)
        self.url = f"{'https' if fault.tls else 'http'}://{host}:{self.server.port}/v1"
        self._mended = fault.port == "open"
        self._fillers: list[socket.socket] = []
        if self._mended:
            self._stack.enter_context(self.server)
        elif fault.port == "full":
            self._fill()

    def _fill(self) -> None:
        """Nobody accepts, and those who wait leave no place in the queue: the kernel answers no
        SYN.
        """
        self.server.listener.listen(0)
        for _ in range(4):
            self._fillers.append(socket.socket())
            self._fillers[-1].setblocking(False)
            self._fillers[-1].connect_ex(self.server.listener.getsockname())

    def mend(self) -> None:
        """Open what was closed."""
        if not self._mended:
            self._mended = True
            for filler in self._fillers:
                filler.close()
            self._stack.enter_context(self.server)

    def close(self) -> None:
        """Stop serving; raises what went wrong in the scripts."""
        self._stack.close()
