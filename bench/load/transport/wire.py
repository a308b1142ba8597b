"""A target's requests on the wire: URL, headers and TLS, by the rules of httpx.

In: a target; what is installed, and TAILPROOF_HTTPX (`httpx` or `httpx2`) where one is wanted. Out:
the module `httpx` (httpx2, its maintained continuation with the same API, where installed),
headers, an origin, a TLS context. Must stay true: nothing else imports either httpx; the manifest
names the one in use; a key's text leaves its `SecretStr` here and in `plan/credentials` alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import ssl
from typing import TYPE_CHECKING

from bench import __version__
from bench.errors import UserError
from bench.load.transport.pool import Origin, tls_context
from bench.plan.credentials import request_headers
from bench.plan.target import Target

if TYPE_CHECKING:
    import httpx
else:
    _wanted = os.environ.get("TAILPROOF_HTTPX")
    _names = [_wanted] if _wanted in ("httpx", "httpx2") else ["httpx2", "httpx"]
    httpx = importlib.import_module(
        next((name for name in _names if importlib.util.find_spec(name)), "httpx")
    )

__all__ = ["empty_request", "headers_of", "httpx", "in_use", "origin_of", "verify_of"]


def in_use() -> str:
    """Name and version: `httpx 0.28.1`, `httpx2 2.16.2`."""
    return f"{httpx.__name__} {httpx.__version__}"


def headers_of(target: Target) -> list[tuple[str, str]]:
    """The headers of every request, the user's in place of our own."""
    api = target.spoken
    defaults = [
        ("Accept", f"{api.stream_type}, application/json"),
        ("Accept-Encoding", "identity"),
        ("Connection", "keep-alive"),
        ("User-Agent", f"tailproof/{__version__}"),
        ("Content-Type", "application/json"),
        *api.headers,
        *target.tier_ask.headers,
    ]
    given = request_headers(target)
    named = {name.lower() for name, _ in given}
    return [
        *((name, value) for name, value in defaults if name.lower() not in named),
        *((name, value.get_secret_value()) for name, value in given),
    ]


def signed_headers(headers: httpx.Headers) -> tuple[tuple[str, str], ...]:
    """What a signature may cover: Host follows from the URL, the length from the body."""
    aside = ("host", "content-length")
    return tuple((name, value) for name, value in headers.items() if name not in aside)


def empty_request(method: str, url: str, target: Target) -> httpx.Request:
    """An httpx request without a body; httpx refuses what is no URL or header."""
    try:
        return httpx.Request(method, url, headers=headers_of(target))
    except (httpx.InvalidURL, UnicodeEncodeError, ValueError) as error:
        raise UserError(f"cannot be requested ({error})", where=target.title) from None


def origin_of(target: Target) -> Origin:
    """The origin that a target's requests go to."""
    url = httpx.URL(target.request_url)
    tls = url.scheme == "https"
    certificate = (target.client_cert_file, target.client_key_file)
    return Origin(
        host=url.host,
        port=url.port or (443 if tls else 80),
        tls=tls,
        insecure=target.insecure,
        ca_file=target.ca_file,
        client_cert=certificate if certificate[0] and certificate[1] else None,  # type: ignore[arg-type]
        connect_timeout_ns=target.connect_timeout,
        unix_path=target.unix_socket,
    )


def verify_of(target: Target) -> ssl.SSLContext | bool:
    """What httpx takes as `verify`. False without TLS: building a context costs 30 ms."""
    origin = origin_of(target)
    try:
        return tls_context(origin) if origin.tls else False
    except OSError as error:
        raise UserError(
            f"cannot be used ({error})",
            where=f"{target.title}: ca_file, client_cert_file or client_key_file",
        ) from None
