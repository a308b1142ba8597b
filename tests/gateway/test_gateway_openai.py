"""The official `openai` client against the gateway: what it understands without a special case."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.gateway_process import GatewayProcess

openai = pytest.importorskip("openai")


@pytest.fixture
def client(menagerie: GatewayProcess) -> Any:
    """A client without retries, closed with the test."""
    with openai.OpenAI(
        base_url=f"{menagerie.ready['url']}/menagerie/v1", api_key="none", max_retries=0
    ) as made:
        yield made


def ask(client: Any, model: str, **more: Any) -> Any:
    return client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "one two three"}], **more
    )


def test_plain_answer(client: Any) -> None:
    """Text, finish reason and usage of an answer that is not streamed; the served name is the
    gateway's.
    """
    answer = ask(client, "Pro/plain", max_tokens=4)
    assert (answer.model, answer.choices[0].finish_reason) == ("plain-v2", "length")
    assert len(answer.choices[0].message.content.split()) == 4
    assert (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
        answer.usage.total_tokens,
    ) == (3, 4, 7)


def test_stream(client: Any) -> None:
    """Four tokens, a finish reason, usage at the end because it was asked for."""
    chunks = list(
        ask(client, "plain", max_tokens=4, stream=True, stream_options={"include_usage": True})
    )
    texts = [
        chunk.choices[0].delta.content
        for chunk in chunks
        if chunk.choices and chunk.choices[0].delta.content
    ]
    assert len(texts) == 4
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    assert (chunks[-1].choices, chunks[-1].usage.completion_tokens) == ([], 4)


def test_headers_and_models(client: Any) -> None:
    """Region and request id can be read from the raw answer; the catalogue can be listed."""
    raw = client.chat.completions.with_raw_response.create(
        model="plain", max_tokens=1, messages=[{"role": "user", "content": "one"}]
    )
    assert raw.headers["x-served-region"] == "eu-1"
    assert raw.headers["x-request-id"].startswith("req-")
    assert {"plain", "Pro/plain"} <= {model.id for model in client.models.list()}


@pytest.mark.parametrize(
    ("model", "more", "error", "code"),
    [
        ("nobody", {}, "NotFoundError", "model_not_found"),
        ("plain", {"max_tokens": -1}, "BadRequestError", "integer_below_min_value"),
        ("plain", {"max_tokens": 90}, "BadRequestError", "context_length_exceeded"),
        ("http_500", {}, "InternalServerError", "500"),
        ("reset", {}, "APIConnectionError", None),
    ],
)
def test_errors_have_their_classes(
    client: Any, model: str, more: dict[str, Any], error: str, code: str | None
) -> None:
    """Each refusal arrives as the client's own class with the gateway's code."""
    with pytest.raises(getattr(openai, error)) as caught:
        ask(client, model, **more)
    assert caught.value.code == code


def test_rate_limit(menagerie: GatewayProcess) -> None:
    """The third of three at once is a RateLimitError that says when to come back."""
    with openai.OpenAI(
        base_url=f"{menagerie.ready['url']}/menagerie/v1", api_key="greedy", max_retries=0
    ) as client:
        for _ in range(2):
            ask(client, "limited", max_tokens=1)
        with pytest.raises(openai.RateLimitError) as caught:
            ask(client, "limited", max_tokens=1)
    assert caught.value.code == "rate_limit_exceeded"
    assert 50 <= int(caught.value.response.headers["retry-after"]) <= 60


def test_error_inside_a_stream(client: Any) -> None:
    """Tokens come, then the error event is raised as an APIError."""
    stream = ask(client, "stream_error", max_tokens=4, stream=True)
    with pytest.raises(openai.APIError, match="upstream"):
        list(stream)
