"""Every API of the gateway, as tailproof's own readers see it: what was asked, served and told, and
what each fault of a scenario comes to.

What is expected stands here by hand, from docs/apis.md and docs/dev/faults.md.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.api.registry import MODULES
from bench.plan.target import Target
from tests.support.gateway_process import GatewayProcess
from tests.support.heard import target_for
from tests.support.one_request import Ended, requested

WITHOUT_TOKENS = ("embeddings", "rerank")
EACH_API = pytest.mark.parametrize("api", MODULES)
PROMPT = b"one two three four five six"
#: of those whose answers are the same for APIs of OpenAI's shape
OPENAI = ("chat", "completions", "responses", "embeddings", "rerank")

#: fault -> (outcome, cause) in general, and for APIs that differ
IN_PLACE = {
    "http_500": {"": ("http_5xx", "server")},
    "http_503": {"": ("http_5xx", "overload"), "converse": ("http_5xx", "capacity")},
    "overload": {"": ("http_5xx", "overload"), "converse": ("http_5xx", "capacity")},
    "capacity": {
        "": ("rate_limited", "capacity"),
        "messages": ("http_5xx", "overload"),
        "converse": ("http_5xx", "capacity"),
    },
    "reset": {"": ("reset", "network")},
    "truncate": {"": ("truncated", "server")},
    "garbage": {"": ("malformed", "server")},
    "slow_tail": {"": ("ok", "")},
    "nobody": {"": ("http_4xx", "request")},
}
STREAMED = {
    **IN_PLACE,
    "stream_error": {"": ("stream_error", "server")},
    "stream_overload": {
        "": ("stream_error", "overload"),
        "converse": ("stream_error", "capacity"),
    },
}
#: A whole answer of Bedrock's that fails says so by its status.
PLAIN = {
    **IN_PLACE,
    "stream_error": {"": ("stream_error", "server"), "converse": ("http_5xx", "server")},
    "stream_overload": {
        "": ("stream_error", "overload"),
        "converse": ("http_5xx", "capacity"),
    },
}


def target(gateway: GatewayProcess, api: str, model: str, **keys: Any) -> Target:
    """A target of the scenario, without a key."""
    url = f"{gateway.ready['url']}/menagerie/v1"
    return target_for(url, api=api, model=model, **{"auth": "none", **keys})


def keyed(key: str) -> dict[str, Any]:
    """Keys of a target that sends this one, whatever its API signs with."""
    return {"auth": "none", "headers": {"Authorization": f"Bearer {key}"}}


@EACH_API
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
def test_each_fault_has_its_outcome_and_cause(
    menagerie: GatewayProcess, api: str, stream: bool
) -> None:
    """On every API, streamed and plain; a stall ends nothing and leaves its first tokens."""
    if stream and api in WITHOUT_TOKENS:
        pytest.skip("nothing streams")
    documented = STREAMED if stream else PLAIN
    targets = [target(menagerie, api, fault, stream=stream) for fault in documented]
    ended = requested(targets, PROMPT, 4)
    found = {fault: each.end for fault, each in zip(documented, ended, strict=True)}
    assert found == {fault: ends.get(api, ends[""]) for fault, ends in documented.items()}
    (stalled,) = requested(
        [target(menagerie, api, "stall", stream=stream)], PROMPT, 4, patience_s=0.2
    )
    assert stalled.outcome is None
    assert (stalled.request.answer is not None and stalled.request.answer.chunks == 2) is stream


@EACH_API
def test_tokens_model_and_the_servers_own_time_are_read(
    menagerie: GatewayProcess, api: str
) -> None:
    """As many as were sent and planned, streamed or not; the server's own time is its law's."""
    streams = [False] if api in WITHOUT_TOKENS else [True, False]
    for ended in requested(
        [target(menagerie, api, "Pro/plain", stream=stream) for stream in streams], PROMPT, 4
    ):
        answer = ended.request.answer
        assert answer is not None
        assert ended.end == ("ok", "")
        # a ranking of ten documents from six words: the query counts with each, words come again
        assert answer.prompt_tokens == (20 if api == "rerank" else 6)
        assert answer.output_tokens == (0 if api in WITHOUT_TOKENS else 4)
        assert (ended.request.served_model or answer.model) == "plain-v2"
        assert ended.request.request_id
        told_ns = answer.server_ns if answer.server_ns >= 0 else ended.request.server_ns
        if api == "messages":
            assert told_ns == -1
        else:  # 30 ms to the first of four tokens, 5 ms between
            first_only = api in WITHOUT_TOKENS or (ended.request.streamed and api != "converse")
            assert round(told_ns / 1e6) == (30 if first_only else 45)


#: api -> (tier of the target, word where it is honoured, word where it is not)
TIERS = {
    "chat": ("fast", "priority", "default"),
    "responses": ("ultrafast", "ultrafast", "default"),
    "messages": ("priority", "priority", "standard"),
    "gemini": ("priority", "priority", "standard"),
    "converse": ("priority", "priority", "default"),
}


@pytest.mark.parametrize("api", TIERS)
def test_the_tier_that_answered_is_read(menagerie: GatewayProcess, api: str) -> None:
    """Honoured where the scenario honours it, the downgrade's where it does not, nothing where
    the provider keeps quiet; and the gateway's truth counts the same.
    """
    tier, honoured, fallen = TIERS[api]
    truth = menagerie.truth("/menagerie")["models"]
    wanted = {"plain": honoured, "falls": fallen, "keeps-quiet": honoured}
    for stream in (True, False):
        targets = [target(menagerie, api, model, stream=stream, tier=tier) for model in wanted]
        ended = requested(targets, PROMPT, 4)
        assert [each.tier for each in ended] == list(wanted.values())
    now = menagerie.truth("/menagerie")["models"]
    for model, word in wanted.items():
        really = fallen if model == "keeps-quiet" else word
        before = truth.get(model, {}).get("tiers", {"served": {}, "told": {}})
        tiers = now[model]["tiers"]
        assert tiers["served"][really] - before["served"].get(really, 0) == 2
        assert tiers["told"][word] - before["told"].get(word, 0) == 2


def test_other_ways_to_say_a_tier(menagerie: GatewayProcess) -> None:
    """Spillover by headers, Anthropic's speed, Bedrock's latency, Vertex AI's headers and traffic
    type.
    """
    vertex = f"{menagerie.ready['url']}/menagerie/v1/projects/p/locations/l"
    ended = requested(
        [
            target(menagerie, "chat", "spills"),
            target(menagerie, "messages", "plain", tier="fast"),
            target(menagerie, "messages", "falls", tier="fast"),
            target(menagerie, "converse", "falls", tier="optimized", stream=False),
            target(menagerie, "gemini", "plain", base_url=vertex, tier="dedicated"),
            target(menagerie, "gemini", "falls", base_url=vertex, tier="priority"),
        ],
        PROMPT,
        4,
    )
    assert [each.end for each in ended] == [("ok", "")] * 6
    assert [each.tier for each in ended] == [
        "spillover",
        "fast",
        "standard",
        "default",
        "PROVISIONED_THROUGHPUT",
        "ON_DEMAND",
    ]


@EACH_API
def test_a_limit_is_the_buyers_quota(menagerie: GatewayProcess, api: str) -> None:
    """Two requests of a key pass, the third is its own fault; the wait is read where it is said."""
    limited = target(menagerie, api, "limited", **keyed(f"quota-{api}"))
    ends = [requested([limited], PROMPT, 2)[0] for _ in range(3)]
    assert [each.end for each in ends] == [("ok", ""), ("ok", ""), ("rate_limited", "quota")]
    wait_ms = ends[2].request.retry_after_ms
    if api in ("gemini", "converse"):
        assert wait_ms == -1
    else:
        assert 50_000 <= wait_ms <= 60_000


def expired(gateway: GatewayProcess, api: str, key: str) -> Ended:
    """One request with a key to the scenario whose keys last for two."""
    url = f"{gateway.ready['url']}/expiring/v1"
    (ended,) = requested([target_for(url, api=api, model="m", **keyed(key))], PROMPT, 2)
    return ended


@EACH_API
def test_a_key_expires_until_another_comes(menagerie: GatewayProcess, api: str) -> None:
    """Two requests pass, then each is refused as the buyer's; a fresh key passes."""
    ends = [expired(menagerie, api, key).end for key in [f"{api}-1"] * 4 + [f"{api}-2"]]
    refused = ("http_4xx", "auth")
    assert ends == [("ok", ""), ("ok", ""), refused, refused, ("ok", "")]
