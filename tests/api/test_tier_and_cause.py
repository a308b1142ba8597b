"""What servers say of tiers, faults, waits and their own time: read from the pages of the vendors
that say it, and written down here by hand.
"""

from __future__ import annotations

from array import array

import pytest

from bench.api.cause import Cause
from bench.api.decoding import server_timing_ns
from bench.api.registry import api_named
from bench.api.tier import TierClass
from bench.errors import UserError
from bench.load.request import Request
from bench.load.transport.wire import headers_of
from bench.plan.target import Target
from bench.record.samples import Outcome
from bench.userfile import parse_model

CHAT = api_named("chat")
Headers = list[tuple[bytes, bytes]]


def target(**keys: object) -> Target:
    """A target as its file would have it."""
    fields = {"description": "d", "name": "t", "base_url": "http://h:1/v1", "model": "m", **keys}
    return parse_model(Target, fields, "t.toml")


def ended(status: int, headers: Headers, *bodies: bytes) -> tuple[Request, Outcome, Cause | None]:
    """A request that was answered so: its outcome, and its cause where it failed."""
    ends: list[tuple[Outcome, str]] = []
    request = Request(0, None, 0, True, array("q"), lambda _, how, note: ends.append((how, note)))
    request.api = CHAT
    request.on_sent(10, False)
    request.on_head(status, headers, 20, False)
    for body in bodies:
        request.on_body(body, 30)
    request.on_done(40)
    ((outcome, note),) = ends
    return request, outcome, None if outcome is Outcome.ok else request.cause(outcome, note)


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (401, b'{"error":{"message":"no","type":"invalid_request_error"}}', Cause.auth),
        (401, b'{"error":{"message":"no","code":"invalid_api_key"}}', Cause.auth),
        (401, b"nothing", Cause.auth),
        (403, b"{}", Cause.auth),
        (404, b'{"error":{"code":"model_not_found","type":"x"}}', Cause.request),
        (404, b"", Cause.request),
        (429, b'{"error":{"code":"rate_limit_exceeded","type":"requests"}}', Cause.quota),
        (429, b'{"error":{"code":"insufficient_quota"}}', Cause.spend),
        (429, b'{"error":{"code":"resource_unavailable"}}', Cause.capacity),
        (429, b'{"error":{"code":429,"message":"slow"}}', Cause.quota),
        (498, b'{"error":{"message":"full"}}', Cause.capacity),
        (500, b"<html>", Cause.server),
        (503, b"{}", Cause.overload),
        (529, b'{"type":"error","error":{"type":"overloaded_error"}}', Cause.overload),
        (400, b'{"error":{"code":"content_filter"}}', Cause.filter),
        (402, b"", Cause.spend),
    ],
)
def test_an_error_answer_names_its_cause(status: int, body: bytes, cause: Cause) -> None:
    """The vendor's code goes before the status; without one the status decides."""
    assert ended(status, [], body)[2] is cause


def test_an_error_inside_a_stream_names_its_cause_too() -> None:
    """The status was 200: only the code can say."""
    event = b'data: {"error":{"message":"busy","code":"overloaded"}}\n\n'
    request, outcome, cause = ended(200, [(b"content-type", b"text/event-stream")], event)
    assert (outcome, cause, request.error_code) == (
        Outcome.stream_error,
        Cause.overload,
        "overloaded",
    )


def test_a_cut_stream_is_the_servers_and_a_redirect_ours() -> None:
    """Nobody said a word: how it ended decides."""
    stream = [(b"content-type", b"text/event-stream")]
    assert ended(200, stream, b'data: {"choices":[]}\n\n')[1:] == (Outcome.truncated, Cause.server)
    assert ended(301, [])[1:] == (Outcome.malformed, Cause.request)


@pytest.mark.parametrize(
    ("headers", "wait_ms"),
    [
        ([(b"retry-after", b"2")], 2000),
        ([(b"retry-after", b"2"), (b"retry-after-ms", b"1700")], 1700),
        ([(b"retry-after-ms", b"1700"), (b"retry-after", b"2")], 1700),
        ([(b"retry-after-ms", b"soon"), (b"retry-after", b"2")], 2000),
        ([(b"llm_provider-retry-after", b"20"), (b"retry-after", b"5")], 5000),
        ([(b"retry-after", b"5"), (b"llm_provider-retry-after", b"2")], 5000),
        ([(b"llm_provider-retry-after", b"20")], 20_000),
        ([], -1),
    ],
)
def test_the_finest_wait_of_the_nearest_server_counts(headers: Headers, wait_ms: int) -> None:
    """Whatever their order."""
    assert ended(429, headers)[0].retry_after_ms == wait_ms


def test_headers_name_the_request_the_servers_time_and_what_is_left() -> None:
    """As OpenAI and Azure send them."""
    headers = [
        (b"x-request-id", b"req_1"),
        (b"openai-processing-ms", b"53"),
        (b"x-ratelimit-remaining-requests", b"4999"),
        (b"x-ratelimit-remaining-tokens", b"-1"),
    ]
    request = ended(200, headers)[0]
    assert (request.request_id, request.server_ns) == (b"req_1", 53_000_000)
    assert (request.requests_left, request.tokens_left) == (4999, -1)


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        (b"total;dur=53.2", 53_200_000),
        (b'cache;desc="hit";dur=1, app ; dur="47.5"', 47_500_000),
        (b"miss", -1),
        (b"x;dur=soon", -1),
    ],
)
def test_server_timing_is_the_longest_duration(value: bytes, ns: int) -> None:
    """By the examples of the W3C's page."""
    assert server_timing_ns(value) == ns


def test_the_last_tier_that_an_answer_names_counts_and_spillover_is_one() -> None:
    """The first chunk may repeat what was asked for."""
    chunk = b'data: {"service_tier":"%s","choices":[{"delta":{"content":"a"}}]}\n\n'
    last = b'data: {"service_tier":"default","choices":[],"usage":{"prompt_tokens":1}}\n\n'
    request = ended(200, [], chunk % b"priority", last, b"data: [DONE]\n\n")[0]
    assert request.answer is not None
    assert request.answer.tier == "default"
    assert CHAT.tier_class("default") is TierClass.standard
    assert CHAT.tier_class("Priority") is TierClass.priority
    assert CHAT.tier_class("gold") is TierClass.unknown
    for header in ((b"x-ms-is-spilled-over", b"True"), (b"x-ms-spillover-from-deployment", b"p")):
        # The deployment that answered names a tier of its own.
        spilled = ended(200, [header], chunk % b"default", last, b"data: [DONE]\n\n")[0]
        assert spilled.tier == "spillover"


def test_a_tier_is_asked_for_as_its_api_wants_it() -> None:
    """A body field for OpenAI's; nothing where the deployment says it; a conflict is refused."""
    assert target(tier="priority").tier_ask.body == {"service_tier": "priority"}
    assert target(tier="Standard").tier_ask.body == {"service_tier": "default"}
    assert target(tier="provisioned").tier_ask == ({}, ())
    assert target().tier_ask == ({}, ())
    assert "tier" not in str(headers_of(target(tier="priority")))
    with pytest.raises(
        UserError, match=r"tier: .gold. cannot be asked for in 'chat'; it knows auto"
    ):
        target(tier="gold")
    with pytest.raises(UserError, match="ask for different tiers"):
        target(tier="priority", extra_body={"service_tier": "flex"})


@pytest.mark.parametrize(
    ("bought", "served", "honoured"),
    [
        ("priority", "priority", True),
        ("priority", "default", False),
        ("priority", "gold", None),
        ("provisioned", "default", True),
        ("provisioned", "spillover", False),
        ("reserved", "default", False),
    ],
)
def test_a_tier_that_was_bought_is_honoured_or_not(
    bought: str, served: str, honoured: bool | None
) -> None:
    """By OpenAI's words; Azure's spillover is told by its header alone."""
    assert CHAT.honours(bought, served) is honoured
