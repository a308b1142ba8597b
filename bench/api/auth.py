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


def _bearer(key: str) -> list[Header]:
    return [("Authorization", f"Bearer {key}")]


#: One line a style: its name, and what makes its headers.
STYLES = {
    "bearer": Auth(_bearer),
    "sigv4": Auth(lambda _key: [], aws=True),
}
