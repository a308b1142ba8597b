"""How a request proves who sends it.

In: a key and, for what signs, the request as it will be sent. Out: headers. Must stay true: no I/O
and no clock of its own; what signs sees every byte that is sent; nothing here is kept or printed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

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
