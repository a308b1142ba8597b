"""The way to an origin, a step at a time: name, connection, TLS and the version of HTTP.

In: an origin. Out: how long each step took, what the server chose; or the failure. Must stay true:
no request is sent and no certificate goes unverified that a run would verify; the connection is
closed again.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass

from bench.clock import monotonic_ns
from bench.load.transport.interface import TransportFailure, classify
from bench.load.transport.pool import Origin, tls_context
from bench.units import S


@dataclass(frozen=True)
class NetworkPath:
    """What the steps took; -1 for one that there is not."""

    address: str
    dns_ns: int
    connect_ns: int
    tls_ns: int = -1
    #: `TLSv1.3`
    tls_version: str = ""
    #: what the server chose of `h2` and `http/1.1`; empty: it chose nothing, or there is no TLS
    alpn: str = ""


def look_at(origin: Origin) -> NetworkPath:
    """Go there once. Raises TransportFailure."""
    try:
        return _look(origin)
    except (OSError, UnicodeError) as error:
        raise TransportFailure(*classify(error)) from None


def _look(origin: Origin) -> NetworkPath:
    began = monotonic_ns()
    found = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    dns_ns = monotonic_ns() - began
    failure: OSError | None = None
    for family, kind, protocol, _, address in found:
        with contextlib.closing(socket.socket(family, kind, protocol)) as sock:
            sock.settimeout(origin.connect_timeout_ns / S)
            began = monotonic_ns()
            try:
                sock.connect(address)
            except OSError as error:
                failure = error
                continue
            connect_ns = monotonic_ns() - began
            path = NetworkPath(str(address[0]), dns_ns, connect_ns)
            return _with_tls(origin, sock, path) if origin.tls else path
    assert failure is not None
    raise failure


def _with_tls(origin: Origin, sock: socket.socket, path: NetworkPath) -> NetworkPath:
    context = tls_context(origin)
    context.set_alpn_protocols(["h2", "http/1.1"])
    began = monotonic_ns()
    with context.wrap_socket(sock, server_hostname=origin.host) as tls:
        tls_ns = monotonic_ns() - began
        return NetworkPath(
            address=path.address,
            dns_ns=path.dns_ns,
            connect_ns=path.connect_ns,
            tls_ns=tls_ns,
            tls_version=tls.version() or "",
            alpn=_chosen(tls),
        )


def _chosen(tls: ssl.SSLSocket) -> str:
    return tls.selected_alpn_protocol() or ""
