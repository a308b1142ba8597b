"""Requests to AWS as they arrive: botocore finds the signature of each to hold."""

from __future__ import annotations

import functools

import pytest

from bench.load.transport.sender import check_ready
from tests.support.aws_frames import answer as eventstream
from tests.support.aws_signature import verified
from tests.support.heard import asked, on_loop, target_for
from tests.support.scripted_server import answer, serving

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"  # noqa: S105 AWS's own example
MODEL = "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.amazon.nova-pro-v1:0"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary keys in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")


@pytest.mark.parametrize("transport", ["tailproof", "httpx"])
def test_a_request_carries_a_signature_of_what_arrived(transport: str) -> None:
    """Over path, query, headers and body, whatever the model's name."""
    reply = answer(
        eventstream("a"), headers=b"Content-Type: application/vnd.amazon.eventstream\r\n"
    )
    with serving(reply) as server:
        made = target_for(server, transport, api="converse", model=MODEL, region="eu-west-1")
        (heard,) = asked("asyncio", made, b'{"messages":[]}')
    ((_, request),) = server.requests
    assert heard.body == eventstream("a")
    signed = verified(request, SECRET)
    assert signed[:1] + signed[2:4] == ("AKIDEXAMPLE", "eu-west-1", "bedrock")
    assert signed.headers == ("content-type", "host", "x-amz-date", "x-amz-security-token")
    assert SECRET.encode() not in request


def test_the_ready_check_is_signed_too() -> None:
    """A GET without a body; where it is refused the signature is named, and no key."""
    for status in ("404 Not Found", "403 Forbidden"):
        with serving(answer(b"{}", status=status)) as server:
            made = target_for(server, api="converse", model=MODEL, region="eu-west-1")
            said = on_loop("asyncio", functools.partial(check_ready, made))
        ((_, request),) = server.requests
        assert request.startswith(b"GET ")
        assert verified(request, SECRET).region == "eu-west-1"
        assert (said is not None) == (status[:3] == "403")
        assert said is None or said.endswith(
            "check the keys and region that sign, auth and headers"
        )
