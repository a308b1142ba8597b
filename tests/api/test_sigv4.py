"""Signatures of AWS: its published test suite, and botocore's own signer on random requests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from bench.api.auth import AwsKeys, Outgoing, Signer

#: Keys and instant of AWS's test suite (github.com/awslabs/aws-c-auth,
#: tests/aws-signing-test-suite/v4), whose requests carry no header but Host and X-Amz-Date.
KEYS = AwsKeys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
INSTANT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TOKEN = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"  # noqa: S105 AWS publishes it
VANILLA = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"


def signed(
    keys: AwsKeys, request: Outgoing, region: str = "us-east-1", service: str = "service"
) -> dict[str, str]:
    """The headers that sign a request."""
    return dict(Signer(lambda: keys, region, service).sign(request))


def outgoing(method: str, url: str, *headers: tuple[str, str], body: bytes = b"") -> Outgoing:
    return Outgoing(method, url, headers, body, int(INSTANT.timestamp()) * 10**9 + 999_999_999)


@pytest.mark.parametrize(
    ("name", "method", "target", "token", "signature"),
    [
        ("get-vanilla", "GET", "/", "", VANILLA),
        ("get-slash-dot-slash-normalized", "GET", "/./", "", VANILLA),
        ("get-relative-normalized", "GET", "/example/..", "", VANILLA),
        (
            "get-slashes-normalized",
            "GET",
            "//example//",
            "",
            "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
        ),
        (
            "get-utf8",
            "GET",
            "/ሴ",
            "",
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
        ),
        (
            "get-space-normalized",
            "GET",
            "/example space/",
            "",
            "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
        ),
        (
            "get-unreserved",
            "GET",
            f"/{UNRESERVED}",
            "",
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        ),
        (
            "get-vanilla-query-order-key-case",
            "GET",
            "/?Param2=value2&Param1=value1",
            "",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "get-vanilla-query-order-encoded",
            "GET",
            "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
            "",
            "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
        ),
        (
            "get-vanilla-query-unreserved",
            "GET",
            f"/?{UNRESERVED}={UNRESERVED}",
            "",
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        ),
        (
            "get-vanilla-with-session-token",
            "GET",
            "/",
            TOKEN,
            "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
        ),
        (
            "post-vanilla",
            "POST",
            "/",
            "",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
    ],
)
def test_signatures_are_those_of_awss_test_suite(
    name: str, method: str, target: str, token: str, signature: str
) -> None:
    """Path, query and token as AWS publishes them."""
    keys = AwsKeys(KEYS.access_key, KEYS.secret_key, token)
    made = signed(keys, outgoing(method, f"https://example.amazonaws.com{target}"))
    names = "host;x-amz-date" + (";x-amz-security-token" if token else "")
    assert made["X-Amz-Date"] == "20150830T123600Z"
    assert made["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    ), name
    assert made.get("X-Amz-Security-Token", "") == token


def authorization_of_botocore(request: Outgoing, keys: AwsKeys, region: str, service: str) -> str:
    """What botocore writes for the same request at the same instant; it asks no clock here."""
    theirs = AWSRequest(request.method, request.url, dict(request.headers), request.body)
    signer = SigV4Auth(Credentials(keys.access_key, keys.secret_key, keys.token), service, region)
    stamp = datetime.fromtimestamp(request.wall_ns // 10**9, UTC)
    theirs.context["timestamp"] = stamp.strftime("%Y%m%dT%H%M%SZ")
    signer._modify_request_before_signing(theirs)
    canonical = signer.canonical_request(theirs)
    signature = signer.signature(signer.string_to_sign(theirs, canonical), theirs)
    signer._inject_signature_to_request(theirs, signature)
    return str(theirs.headers["Authorization"])


WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)
SEGMENTS = st.text("abcXYZ019-._~:%/+@!$'()*,;=", max_size=12)
ENCODED = st.text("abcXYZ019-._~", max_size=6) | st.sampled_from(["%2F", "%20x", "%E1%88%B4", ""])
QUERIES = st.lists(st.tuples(ENCODED, ENCODED).map("=".join), max_size=4).map("&".join)
HOSTS = st.sampled_from(
    ["https://a.amazonaws.com", "http://h:80", "https://h:8443", "http://[::1]:8", "http://H.com"]
)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)


@given(
    st.tuples(WORDS, WORDS, st.just("") | WORDS).map(lambda three: AwsKeys(*three)),
    st.tuples(st.sampled_from(["GET", "POST"]), HOSTS, SEGMENTS, QUERIES),
    st.dictionaries(st.sampled_from(["content-type", "x-amz-target", "X-Amz-Z"]), VALUES),
    st.binary(max_size=40),
    st.integers(0, 4_000_000_000),
)
def test_botocore_signs_the_same(
    keys: AwsKeys, where: Any, headers: dict[str, str], body: bytes, second: int
) -> None:
    """Any keys, path, encoded query, headers and body, at any second."""
    method, host, path, query = where
    url = f"{host}/{path}" + (f"?{query}" if query else "")
    request = Outgoing(method, url, tuple(headers.items()), body, second * 10**9)
    made = signed(keys, request, "eu-west-1", "bedrock")
    assert made["Authorization"] == authorization_of_botocore(request, keys, "eu-west-1", "bedrock")


def test_what_a_proxy_may_change_is_not_signed() -> None:
    """Accept, User-Agent and the like."""
    bare = outgoing("POST", "https://h/", ("content-type", "application/json"))
    more = (*bare.headers, ("user-agent", "x"), ("x-request-id", "1"), ("accept", "*/*"))
    assert signed(KEYS, bare._replace(headers=more)) == signed(KEYS, bare)
    assert signed(KEYS, bare._replace(headers=())) != signed(KEYS, bare)
    assert signed(KEYS, bare._replace(body=b"x")) != signed(KEYS, bare)


def test_a_query_is_signed_as_the_service_reads_it() -> None:
    """However it was encoded: `+` is no space, `/` and `%2f` are one."""
    plain, encoded = (
        signed(KEYS, outgoing("GET", f"https://h/?{query}"))
        for query in ("b=x/y&a=1%2b+", "a=1%2B%2B&b=x%2Fy")
    )
    assert plain == encoded


def test_new_keys_and_new_days_are_used_at_once() -> None:
    """A signer that lives on signs as a new one does."""
    keys = [KEYS, AwsKeys("B", "secret", "token"), KEYS]
    days = [0, 0, 86_400, 86_399]
    turns = iter([one for one in keys for _ in days])
    signer = Signer(lambda: next(turns), "us-east-1", "service")
    for now in keys:
        for day in days:
            request = Outgoing("GET", "https://h/", (), b"", day * 10**9)
            assert dict(signer.sign(request)) == signed(now, request)


def test_keys_are_not_printed() -> None:
    """Neither of them, nor the token."""
    assert repr(AwsKeys("AKIDEXAMPLE", "hidden", "hidden too")) == "AwsKeys()"
