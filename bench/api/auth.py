"""How a request proves who sends it: a header that holds the key, or AWS Signature Version 4.

In: a key and, for what signs, the request as it will be sent. Out: headers. Must stay true: no I/O
and no clock of its own; what signs sees every byte that is sent; nothing here is kept or printed
but the signing key of a day, which is derived once. Host, Content-Type and X-Amz-* are signed, what
proxies may change is not; the path is encoded once more than it is sent, as every service but S3
wants it.

Source: AWS IAM user guide, "Create a signed AWS API request".
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes, urlsplit

from bench.units import S

Header = tuple[str, str]


class Outgoing(NamedTuple):
    """A request as it will be sent."""

    method: str
    url: str
    #: names in lower case; Host and Content-Length follow from the URL and the body
    headers: tuple[Header, ...]
    body: bytes
    #: Unix time, for what dates its signature
    wall_ns: int


class Auth(NamedTuple):
    """One style: headers that hold the key as it is, or a signature of each request."""

    #: the same for every request, made once
    headers: Callable[[str], list[Header]]
    #: made for each request, on the way to its socket
    sign: Callable[[str, Outgoing], list[Header]] | None = None
    #: signed with keys of an AWS account, of which there is more than one (bench/plan/aws.py)
    aws: bool = False
    #: without a key of the target's own: tokens of Google's default credentials
    #: (bench/plan/google_token.py)
    google: bool = False


def _in(name: str, scheme: str = "") -> Auth:
    """A header that holds the key as it is, behind a scheme where it has one."""
    return Auth(lambda key: [(name, f"{scheme}{key}")])


#: One line a style: its name, and what makes its headers.
STYLES = {
    "bearer": _in("Authorization", "Bearer "),
    "api-key": _in("api-key"),
    "x-api-key": _in("x-api-key"),
    "x-goog-api-key": _in("x-goog-api-key"),
    "sigv4": Auth(lambda _key: [], aws=True),
    "google": _in("Authorization", "Bearer ")._replace(google=True),
    "none": Auth(lambda _key: []),
}
#: Headers by which servers know who sends (lower case): a request has one of them from one source.
PROOFS = ("authorization", "api-key", "x-api-key", "x-goog-api-key")


_ALGORITHM = "AWS4-HMAC-SHA256"
_PORTS = {"http": 80, "https": 443}


@dataclasses.dataclass(frozen=True)
class AwsKeys:
    """What AWS knows a caller by."""

    access_key: str = dataclasses.field(repr=False)
    secret_key: str = dataclasses.field(repr=False)
    #: of temporary keys
    token: str = dataclasses.field(default="", repr=False)


class Signer:
    """Signs the requests of one target. `keys` is asked each time: temporary ones change."""

    __slots__ = ("_derived", "_host", "_keys", "_region", "_service")

    def __init__(
        self,
        keys: Callable[[], AwsKeys],
        region: str,
        service: str,
        host: str = "",
    ):
        """`host`: the Host header, where the user gives one of his own."""
        self._keys = keys
        self._region = region
        self._service = service
        self._host = host
        #: secret key and day, and what follows from them
        self._derived = ("", "", b"")

    def sign(self, request: Outgoing) -> list[Header]:
        """The headers to add."""
        keys = self._keys()
        instant = _instant(request.wall_ns // S)
        made = [("X-Amz-Date", instant)]
        if keys.token:
            made.append(("X-Amz-Security-Token", keys.token))
        host, path, query = _canonical_url(request.url)
        headers = {"host": self._host or host}
        for name, value in (*request.headers, *made):
            lower = name.lower()
            if lower == "content-type" or lower.startswith("x-amz-"):
                headers[lower] = " ".join(value.split())
        names = sorted(headers)
        signed = ";".join(names)
        lines = [f"{name}:{headers[name]}" for name in names]
        body = hashlib.sha256(request.body).hexdigest()
        canonical = "\n".join([request.method, path, query, *lines, "", signed, body])
        scope = f"{instant[:8]}/{self._region}/{self._service}/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"{_ALGORITHM}\n{instant}\n{scope}\n{digest}"
        signature = hmac.digest(self._key(keys.secret_key, instant[:8]), text.encode(), "sha256")
        proof = f"SignedHeaders={signed}, Signature={signature.hex()}"
        made.append(
            ("Authorization", f"{_ALGORITHM} Credential={keys.access_key}/{scope}, {proof}")
        )
        return made

    def _key(self, secret: str, day: str) -> bytes:
        if self._derived[:2] != (secret, day):
            key = b"AWS4" + secret.encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._derived = (secret, day, key)
        return self._derived[2]


@functools.lru_cache(8)
def _instant(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%SZ")


@functools.lru_cache(64)
def _canonical_url(url: str) -> tuple[str, str, str]:
    """Host, path and query as they are signed."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    if parts.port not in (None, _PORTS.get(parts.scheme)):
        host += f":{parts.port}"
    kept: list[str] = []
    for segment in parts.path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    path = "/" + "/".join(kept) + ("/" if kept and parts.path.endswith("/") else "")
    pairs = [pair.partition("=") for pair in parts.query.split("&")] if parts.query else []
    query = sorted((_encoded(name), _encoded(value)) for name, _, value in pairs)
    return host, quote(path, safe="/~"), "&".join(f"{name}={value}" for name, value in query)


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text), safe="-_.~")
