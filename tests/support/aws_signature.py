"""Whether a request that arrived carries the signature that botocore would give it."""

from __future__ import annotations

import re
from typing import NamedTuple

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


class Signed(NamedTuple):
    """What an Authorization of AWS says."""

    access_key: str
    day: str
    region: str
    service: str
    headers: tuple[str, ...]
    signature: str


_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
)


def verified(request: bytes, secret_key: str, scheme: str = "http") -> Signed:
    """What signs a request, given as the bytes that arrived; fails where it does not hold."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    sent = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    found = _AUTHORIZATION.fullmatch(sent["authorization"])
    assert found is not None, sent["authorization"]
    names = tuple(found[5].split(";"))
    signed = Signed(found[1], found[2], found[3], found[4], names, found[6])
    assert {"host", "x-amz-date"} <= set(names)
    assert ("x-amz-security-token" in sent) <= ("x-amz-security-token" in names)
    theirs = AWSRequest(
        method, f"{scheme}://{sent['host']}{target}", {name: sent[name] for name in names}, body
    )
    theirs.context["timestamp"] = sent["x-amz-date"]
    assert sent["x-amz-date"].startswith(signed.day)
    signer = SigV4Auth(Credentials(signed.access_key, secret_key), signed.service, signed.region)
    text = signer.string_to_sign(theirs, signer.canonical_request(theirs))
    assert signer.signature(text, theirs) == signed.signature
    return signed
