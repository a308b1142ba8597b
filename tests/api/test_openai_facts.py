"""Tiers and errors of OpenAI, and of the clouds that serve its APIs: asked for, served, whose
fault.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.api.answer import Said
from bench.api.cause import Cause
from bench.api.interface import BodyOptions
from bench.api.registry import api_named
from bench.api.tier import TierClass
from bench.plan.target import Target

BEDROCK = "https://bedrock-runtime.us-east-1.amazonaws.com"
VERTEX = "https://aiplatform.googleapis.com/v1/projects/p/locations/global/endpoints/openapi"
GOOGLES = "X-Vertex-AI-LLM"
OPENAI = "https://api.openai.com/v1"


def target(api: str, base: str, tier: str) -> Target:
    fields = {"description": "d", "name": "t", "base_url": base, "model": "m", "api": api}
    return Target.model_validate({**fields, "tier": tier})


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize(
    ("base", "tier", "field", "headers"),
    [
        (OPENAI, "priority", "priority", ()),
        (OPENAI, "Fast", "fast", ()),
        (OPENAI, "standard", "default", ()),
        (OPENAI, "reserved", None, ()),
        (BEDROCK, "reserved", "reserved", ()),
        (BEDROCK, "priority", "priority", ()),
        (VERTEX, "provisioned", None, ((f"{GOOGLES}-Request-Type", "dedicated"),)),
        (
            VERTEX,
            "flex",
            None,
            ((f"{GOOGLES}-Request-Type", "shared"), (f"{GOOGLES}-Shared-Request-Type", "flex")),
        ),
    ],
)
def test_a_tier_is_asked_for_in_the_words_of_the_cloud_at_the_address(
    api: str, base: str, tier: str, field: str | None, headers: tuple[tuple[str, str], ...]
) -> None:
    """In a field of the body, in a header, or not at all where a name says it."""
    asked = target(api, base, tier).tier_ask
    assert asked.headers == headers
    options = BodyOptions("m", True, True, "max_tokens", {}, asked.body)
    body = json.loads(api_named(api).body_format(options).write((b"a",), 1))
    assert body.get("service_tier") == field


@pytest.mark.parametrize("api", ["completions", "embeddings", "rerank"])
def test_what_sells_no_tiers_by_the_request_is_not_asked_for_one(api: str) -> None:
    """A deployment may still be called by what was bought."""
    with pytest.raises(ValueError, match=f"'priority' cannot be asked for in '{api}'"):
        target(api, OPENAI, "priority")
    assert target(api, OPENAI, "provisioned").tier_ask.body == {}


@pytest.mark.parametrize(
    ("word", "worth"),
    [
        ("priority", TierClass.priority),
        ("default", TierClass.standard),
        ("spillover", TierClass.standard),
        ("PROVISIONED_THROUGHPUT", TierClass.dedicated),
        ("ON_DEMAND_OFFPEAK", TierClass.flex),
        ("auto", TierClass.unknown),
    ],
)
def test_what_a_served_tier_is_worth(word: str, worth: TierClass) -> None:
    """`auto` is what was asked for, not what answered."""
    assert api_named("responses").tier_class(word) is worth


def test_vertex_names_the_tier_in_its_usage() -> None:
    """In front of chat there is no field of its own for it."""
    usage = {"prompt_tokens": 1, "extra_properties": {"google": {"traffic_type": "ON_DEMAND"}}}
    said = api_named("chat").read_event("", json.dumps({"choices": [], "usage": usage}).encode())
    assert (said.tier, api_named("chat").tier_class("ON_DEMAND")) == (
        "ON_DEMAND",
        TierClass.standard,
    )


EXHAUSTED = {"code": 429, "message": "Resource exhausted.", "status": "RESOURCE_EXHAUSTED"}


@pytest.mark.parametrize(
    ("api", "status", "body", "code", "cause"),
    [
        ("chat", 404, {"error": {"code": "DeploymentNotFound"}}, "DeploymentNotFound", "request"),
        ("responses", 400, {"error": {"code": "invalid_prompt"}}, "invalid_prompt", "filter"),
        ("embeddings", 429, {"message": "x", "type": "overloaded"}, "overloaded", "overload"),
        ("rerank", 429, {"error": "x", "error_type": "overloaded"}, "overloaded", "overload"),
        ("rerank", 429, {"message": "trial keys: 20 a minute"}, "", "quota"),
        ("rerank", 413, {"error": "x", "error_type": "validation"}, "validation", "request"),
        ("chat", 429, {"error": "full", "error_type": "overloaded"}, "overloaded", "overload"),
        ("chat", 503, {"error": {"type": "server_error"}}, "server_error", "overload"),
        ("chat", 500, {"error": {"type": "server_error"}}, "server_error", "server"),
        ("chat", 200, {"error": {"code": 503, "message": "x"}}, "503", "overload"),
        # Google in front of OpenAI's shape
        ("chat", 429, [{"error": EXHAUSTED}], "RESOURCE_EXHAUSTED", "capacity"),
        ("chat", 503, {"error": {"status": "UNAVAILABLE"}}, "UNAVAILABLE", "overload"),
    ],
)
def test_whose_fault_an_error_status_is(
    api: str, status: int, body: Any, code: str, cause: str
) -> None:
    """By the vendor's code, wherever it stands."""
    spoken = api_named(api)
    found = spoken.error_code(json.dumps(body).encode())
    assert (found, spoken.cause(status, found, "")) == (code, Cause(cause))
    assert spoken.error_code(b"<html>") == ""


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (
            {"type": "error", "code": "server_error", "message": "m"},
            Said(error_code="server_error"),
        ),
        ({"type": "error", "error": {"type": "slow_down"}}, Said(error_code="slow_down")),
        ({"type": "error", "message": "m"}, Said()),
        (
            {"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded"}}},
            Said(error_code="rate_limit_exceeded"),
        ),
        ({"type": "response.failed", "response": {"status": "failed"}}, Said()),
    ],
)
def test_an_error_event_says_its_code(event: dict[str, Any], said: Said) -> None:
    """Not the event's own type."""
    found = api_named("responses").read_event("", json.dumps(event).encode())
    assert found.error is not None
    assert found.error_code == said.error_code
