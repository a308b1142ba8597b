"""Keys and region with which requests to AWS are signed.

In: a target; the usual variables of AWS, else (with the extra `aws`) its chain of credentials. Out:
a signer. Must stay true: the region in the host's name wins, since AWS accepts no other there; a
request is never sent without a signature; no message holds a key.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.api.auth import AwsKeys, Header, Outgoing, Signer
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.plan.aws_chain import KeyChain
    from bench.plan.target import Target

#: Header names that only the signature may set.
_OWN_HEADERS = ("authorization", "x-amz-date", "x-amz-security-token")
#: The part of a host's name of AWS that is a region, and how such names end.
_REGION = re.compile(r"[a-z]{2,8}(?:-[a-z0-9]+)+-\d+")
_AWS_HOSTS = (".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws")
_MANTLE = "bedrock-mantle"


def aws_signer(target: Target) -> Callable[[Outgoing], list[Header]]:
    """What signs each request of a target. Raises UserError where keys or region are missing."""
    named = target.title
    host = ""
    for name, value in target.headers.items():
        if name.lower() in _OWN_HEADERS:
            raise UserError(
                "is set by the signature",
                where=f"{named}: headers.{name}",
                remedy='leave it out, or set auth = "none"',
            )
        if name.lower() == "host":
            host = value
    labels = (urlsplit(target.address).hostname or "").split(".")
    service = _MANTLE if _MANTLE in labels else "bedrock"
    return Signer(_source(named), _region(target), service, host).sign


def aws_secrets() -> list[str]:
    """What no file may hold: the keys that this process signs with."""
    keys = _from_environment() or (_chain().current if _with_chain() else None)
    return [text for text in (keys.access_key, keys.secret_key, keys.token) if text] if keys else []


def _region(target: Target) -> str:
    host = urlsplit(target.address).hostname or ""
    if host.endswith(_AWS_HOSTS):
        for label in host.split("."):
            if _REGION.fullmatch(label):
                return label
    found = target.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not found and _with_chain():
        found = _chain().region
    if not found:
        raise UserError(
            "a signature of AWS names a region, and none is known",
            where=f"{target.title}: region",
            remedy='write region = "eu-west-1", or export AWS_REGION',
        )
    return found


def _from_environment() -> AwsKeys | None:
    access, secret = (
        os.environ.get(name, "") for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    )
    if not access or not secret:
        return None
    keys = AwsKeys(access, secret, os.environ.get("AWS_SESSION_TOKEN", ""))
    for text in (access, secret, keys.token):
        # Their characters are those of base64; a line break would begin another header.
        if not text.isascii() or any(char.isspace() or not char.isprintable() for char in text):
            raise UserError(
                "one of the variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and"
                " AWS_SESSION_TOKEN holds a space, a line break or another character that no key"
                " has",
                remedy="export them again",
            )
    return keys


def _source(named: str) -> Callable[[], AwsKeys]:
    keys = _from_environment()
    if keys is not None:
        return lambda: keys
    if _with_chain():
        chain = _chain()
        if chain.current is not None:
            return chain.keys
        where_else = f"or sign in: no profile, role or SSO session gives any ({chain.failure})"
    else:
        where_else = "or pip install 'tailproof[aws]' for profiles, roles and SSO"
    raise UserError(
        "signs with the keys of AWS, and AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set",
        where=f"{named}: auth",
        remedy=f"export both (AWS_SESSION_TOKEN too, for temporary keys), {where_else}, or send a"
        ' key of Bedrock with auth = "bearer"',
    )


def _with_chain() -> bool:
    return importlib.util.find_spec("botocore") is not None


@functools.cache
def _chain() -> KeyChain:
    """One for the process: a chain may ask its owner, or a server."""
    from bench.plan.aws_chain import KeyChain

    return KeyChain()
