"""Addresses as users paste them, for each API of OpenAI's shape; queries and keys in them."""

from __future__ import annotations

import pytest

from bench.api.address import complete_url, refuse_key_in_query
from bench.plan.target import Target, check_base_url

DEPLOYED = "https://res.openai.azure.com/openai/deployments/d"
VERTEX = "https://aiplatform.googleapis.com/v1/projects/p/locations/global/endpoints/openapi"
OLD = "api-version=2024-10-21"


def target(api: str, base: str, **keys: object) -> Target:
    fields = {"description": "d", "name": "t", "base_url": base, "model": "m", "api": api, **keys}
    return Target.model_validate(fields)


@pytest.mark.parametrize("api", ["chat", "completions", "responses", "embeddings"])
@pytest.mark.parametrize(
    ("base", "home"),
    [
        ("http://h:8000", "http://h:8000/v1"),
        ("http://h:8000/", "http://h:8000/v1"),
        ("https://h/v1", "https://h/v1"),
        ("https://h/api/v3/", "https://h/api/v3"),
        ("http://[::1]:8", "http://[::1]:8/v1"),
        ("https://res.openai.azure.com", "https://res.openai.azure.com/openai/v1"),
        ("https://res.openai.azure.com/openai/v1/", "https://res.openai.azure.com/openai/v1"),
        ("https://r.services.ai.azure.com/openai", "https://r.services.ai.azure.com/openai/v1"),
        (
            "https://bedrock-runtime.us-west-2.amazonaws.com",
            "https://bedrock-runtime.us-west-2.amazonaws.com/openai/v1",
        ),
        (
            "https://bedrock-mantle.eu-west-1.api.aws/openai",
            "https://bedrock-mantle.eu-west-1.api.aws/openai/v1",
        ),
        (VERTEX, VERTEX),
        (
            "https://generativelanguage.googleapis.com",
            "https://generativelanguage.googleapis.com/v1beta/openai",
        ),
        ("https://api.groq.com/openai/v1", "https://api.groq.com/openai/v1"),
    ],
)
def test_a_base_is_completed_as_the_vendors_clients_do(api: str, base: str, home: str) -> None:
    """Without a path, with one, with a slash; and the whole path is left as it is."""
    ending = {"chat": "/chat/completions"}.get(api, f"/{api}")
    for pasted in (base, home + ending, f"{home}{ending}/"):
        made = target(api, pasted)
        assert (made.request_url, made.ready_url) == (home + ending, f"{home}/models")


@pytest.mark.parametrize(
    ("api", "base", "path"),
    [
        ("chat", "https://res.openai.azure.com/", "/openai/deployments/m/chat/completions"),
        ("chat", DEPLOYED, "/openai/deployments/d/chat/completions"),
        ("chat", f"{DEPLOYED}/chat/completions", "/openai/deployments/d/chat/completions"),
        ("completions", DEPLOYED, "/openai/deployments/d/completions"),
        ("embeddings", "https://res.openai.azure.com/openai", "/openai/deployments/m/embeddings"),
        ("responses", "https://res.openai.azure.com", "/openai/responses"),
    ],
)
def test_azures_older_address_by_a_query(api: str, base: str, path: str) -> None:
    """The version in the URL, or as a key: one request; the ready check carries it too."""
    home = "https://res.openai.azure.com"
    for made in (
        target(api, f"{base}?{OLD}"),
        target(api, base, query={"api-version": "2024-10-21"}),
        target(api, f"{base}?api-version=1", query={"api-version": "2024-10-21"}),
    ):
        assert made.request_url == f"{home}{path}?{OLD}"
        assert made.ready_url == f"{home}/openai/models?{OLD}"


@pytest.mark.parametrize(
    ("base", "url", "ready"),
    [
        ("http://h:80", "http://h:80/rerank", "http://h:80/v1/models"),
        ("http://h/v1", "http://h/v1/rerank", "http://h/v1/models"),
        ("http://h/v2/rerank/", "http://h/v2/rerank", "http://h/v1/models"),
        (
            "https://api.cohere.com",
            "https://api.cohere.com/v2/rerank",
            "https://api.cohere.com/v1/models",
        ),
        ("https://api.jina.ai/", "https://api.jina.ai/v1/rerank", "https://api.jina.ai/v1/models"),
    ],
)
def test_rerank_stands_at_the_root_but_where_a_vendor_has_it_elsewhere(
    base: str, url: str, ready: str
) -> None:
    """TEI knows `/rerank` alone; Cohere's own is of version 2."""
    made = target("rerank", base)
    assert (made.request_url, made.ready_url) == (url, ready)


@pytest.mark.parametrize(
    ("api", "base", "other"),
    [
        ("chat", "https://h/v1/responses", "responses"),
        ("chat", "https://h/v1/completions", "completions"),
        ("completions", "https://h/v1/chat/completions/", "chat"),
        ("embeddings", f"{DEPLOYED}/chat/completions?{OLD}", "chat"),
        ("rerank", "https://h/v1/embeddings", "embeddings"),
    ],
)
def test_the_path_of_another_api_is_refused(api: str, base: str, other: str) -> None:
    """Bent into ours it would be a 404; the sentence names both."""
    with pytest.raises(ValueError, match=f'ends in the path of api = "{other}"') as caught:
        target(api, base)
    assert f'speaks "{api}"; write api = "{other}"' in str(caught.value)


def test_a_query_of_the_users_stands_before_the_apis_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By name; values are percent-encoded, variables filled in for the wire and shown as
    written.
    """
    given = {"api-version": "7 a", "x": "${TP_X}"}
    url = complete_url("https://h/p?api-version=1&b=2", lambda path: path + "?alt=sse&b=3", given)
    assert url == "https://h/p?b=2&api-version=7%20a&x=${TP_X}&alt=sse"
    monkeypatch.setenv("TP_X", "a&b")
    made = target("chat", "https://h/v1", query={"x": "${TP_X}"})
    assert made.request_url == "https://h/v1/chat/completions?x=a%26b"
    assert made.shown_ready_url == "https://h/v1/models?x=${TP_X}"
    assert "TP_X" not in repr(made)


@pytest.mark.parametrize(
    "name", ["key", "api_key", "API-Key", "apikey", "token", "access_token", "sig", "code"]
)
def test_a_query_with_a_key_in_it_is_refused_without_the_key(name: str) -> None:
    """In a URL, percent-encoded too, and in the table; the value is in no message."""
    planted = "planted-0123"
    for refused in (
        lambda: check_base_url(f"https://h/v1?a=1&{name}={planted}"),
        lambda: check_base_url(f"https://h/v1?%{ord(name[0]):x}{name[1:]}={planted} x"),
        lambda: refuse_key_in_query({name: planted}),
        lambda: target("chat", "https://h/v1", query={name: "${TP_KEY}"}),
    ):
        with pytest.raises(ValueError, match=f"the query holds '{name}'") as caught:
            refused()
        assert planted not in str(caught.value.args[0] if caught.value.args else caught.value)


def test_names_of_no_key_are_kept() -> None:
    """What vendors do ask for in queries."""
    for name in ("api-version", "alt", "region", "beta", "max_tokens", "deployment-id"):
        refuse_key_in_query({name: "x"})
