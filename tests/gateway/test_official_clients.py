"""The clients of OpenAI, Anthropic, Google and AWS against the gateway: answers, errors by their
own classes, tiers by their own fields. (`chat` has a file of its own.)

The clients of Anthropic and Google take 1.5 and 0.6 s to import, so the tests that use them import
them: every process that the suite is spread over reads this file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import openai
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from tests.support.aws_signature import verified
from tests.support.gateway_process import GatewayProcess
from tests.support.tee import tee

FOUR = "one two three four"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"  # noqa: S105 AWS's own example


def base(gateway: GatewayProcess) -> str:
    """What stands before the path that each client adds."""
    return f"{gateway.ready['url']}/menagerie"


@pytest.fixture(scope="module")
def of_openai(menagerie: GatewayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{base(menagerie)}/v1", api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def of_anthropic(menagerie: GatewayProcess) -> Iterator[Any]:
    import anthropic

    with anthropic.Anthropic(base_url=base(menagerie), api_key="k", max_retries=0) as client:
        yield client


def google_client(gateway: GatewayProcess, headers: dict[str, str] | None = None) -> Any:
    """Of Vertex AI where headers ask for its tiers, else of the Gemini API."""
    from google import genai
    from google.genai import types

    options = types.HttpOptions(base_url=base(gateway), headers=headers)
    return genai.Client(api_key="k", vertexai=headers is not None, http_options=options)


def aws_client(url: str) -> Any:
    return boto3.client(
        "bedrock-runtime",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="AKID",
        aws_secret_access_key=SECRET,
        config=Config(retries={"max_attempts": 0}),
    )


# ---- OpenAI


def test_openai_completions(of_openai: openai.OpenAI) -> None:
    """Whole and streamed, with usage at the end."""
    whole = of_openai.completions.create(model="plain", prompt=FOUR, max_tokens=3)
    chunks = list(
        of_openai.completions.create(
            model="plain",
            prompt=FOUR,
            max_tokens=3,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    texts = [choice.text for chunk in chunks for choice in chunk.choices]
    assert "".join(texts) == whole.choices[0].text == " the tail of"
    assert chunks[-1].usage == whole.usage
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (4, 3)


def test_openai_responses(of_openai: openai.OpenAI) -> None:
    """Events in order, none missing; the first repeats the tier that was asked for, the last says
    which one served.
    """
    with of_openai.responses.create(
        model="falls", input=FOUR, max_output_tokens=3, service_tier="priority", stream=True
    ) as stream:
        events: list[Any] = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    first, last = events[0].response, events[-1].response
    assert (first.service_tier, last.service_tier) == ("priority", "default")
    assert last.output_text == " the tail of"
    assert (last.status, last.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert (last.usage.input_tokens, last.usage.output_tokens) == (4, 3)
    whole = of_openai.responses.create(model="plain", input=FOUR)
    assert (whole.status, len(whole.output_text.split())) == ("completed", 64)


def test_openai_responses_that_fail(of_openai: openai.OpenAI) -> None:
    """A failed answer says why in its object, an overloaded service in an event."""

    def last(model: str) -> Any:
        arguments: Any = {"model": model, "input": "one", "max_output_tokens": 4}
        with of_openai.responses.create(**arguments, stream=True) as stream:
            return list(stream)[-1]

    assert last("stream_error").response.error.code == "server_error"
    overloaded = last("stream_overload")
    assert (overloaded.type, overloaded.code) == ("error", "slow_down")


def test_openai_embeddings(of_openai: openai.OpenAI) -> None:
    """A vector a text, as numbers and as base64, which the client asks for by itself."""
    texts = ["one two", "three"]
    packed = of_openai.embeddings.create(model="plain", input=texts, dimensions=4)
    plain = of_openai.embeddings.create(
        model="plain", input=texts, dimensions=4, encoding_format="float"
    )
    assert [each.embedding for each in packed.data] == [each.embedding for each in plain.data]
    assert [each.embedding for each in plain.data] == [[1, 0, 0, 0], [0, 1, 0, 0]]
    assert packed.usage.prompt_tokens == 3


@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        ("overload", openai.InternalServerError, "slow_down"),
        ("capacity", openai.RateLimitError, "resource_unavailable"),
        ("nobody", openai.NotFoundError, "model_not_found"),
    ],
)
def test_openai_errors(
    of_openai: openai.OpenAI, model: str, error: type[openai.APIError], code: str
) -> None:
    """Each as the client's own class, with its code."""
    with pytest.raises(error) as caught:
        of_openai.completions.create(model=model, prompt=FOUR)
    assert caught.value.code == code


# ---- Anthropic


def messages(model: str, **more: Any) -> dict[str, Any]:
    """Arguments of a request."""
    turns = [{"role": "user", "content": FOUR}]
    return {"model": model, "max_tokens": 3, "messages": turns, **more}


def streamed(client: Any, model: str, **more: Any) -> Any:
    with client.messages.stream(**messages(model, **more)) as stream:
        return stream.get_final_message()


@pytest.mark.parametrize(
    ("model", "asked", "served"),
    [
        ("plain", {}, "standard"),
        ("plain", {"service_tier": "auto"}, "priority"),
        ("falls", {"service_tier": "auto"}, "standard"),
    ],
)
def test_anthropic_messages(
    of_anthropic: Any, model: str, asked: dict[str, str], served: str
) -> None:
    """Streamed as whole: text, usage, finish, and the tier that served."""
    for answer in (
        streamed(of_anthropic, model, **asked),
        of_anthropic.messages.create(**messages(model, **asked)),
    ):
        assert (answer.content[0].text, answer.stop_reason) == (" the tail of", "max_tokens")
        usage = answer.usage
        assert (usage.input_tokens, usage.output_tokens, usage.service_tier) == (4, 3, served)


def test_claude_at_vertex(menagerie: GatewayProcess) -> None:
    """The model in the path, Google's version in the body."""
    from anthropic import AnthropicVertex, NotFoundError

    url = f"{base(menagerie)}/v1"
    with AnthropicVertex(base_url=url, region="eu", project_id="p", access_token="k") as client:  # noqa: S106 none
        for answer in (streamed(client, "plain"), client.messages.create(**messages("plain"))):
            assert (answer.content[0].text, answer.model) == (" the tail of", "plain")
        with pytest.raises(NotFoundError):
            client.messages.create(**messages("nobody"))


@pytest.mark.parametrize("way", [streamed, lambda c, model: c.messages.create(**messages(model))])
@pytest.mark.parametrize(
    ("model", "error", "status", "kind"),
    [
        ("http_500", "InternalServerError", 500, "api_error"),
        ("overload", "APIStatusError", 529, "overloaded_error"),
        ("nobody", "NotFoundError", 404, "not_found_error"),
    ],
)
def test_anthropic_errors(
    of_anthropic: Any,
    model: str,
    error: str,
    status: int,
    kind: str,
    way: Callable[[Any, str], Any],
) -> None:
    """Each as the client's own class, with its type and the request's id."""
    import anthropic

    with pytest.raises(getattr(anthropic, error)) as caught:
        way(of_anthropic, model)
    found: Any = caught.value
    assert (found.status_code, found.type) == (status, kind)
    assert found.request_id.startswith("req-")


def test_anthropic_overload_inside_a_stream(of_anthropic: Any) -> None:
    """Raised with the type that the event names; models can be listed."""
    import anthropic

    with pytest.raises(anthropic.APIStatusError) as caught:
        streamed(of_anthropic, "stream_overload")
    assert caught.value.type == "overloaded_error"
    assert {"plain", "Pro/plain"} <= {model.id for model in of_anthropic.models.list()}


# ---- Google


def of_google(gateway: GatewayProcess, model: str, **more: Any) -> list[Any]:
    """The parts of a streamed answer, and the whole one behind them."""
    from google.genai import types

    config = types.GenerateContentConfig(max_output_tokens=3, **more)
    arguments = {"model": model, "contents": FOUR, "config": config}
    with google_client(gateway) as client:
        parts = list(client.models.generate_content_stream(**arguments))
        return [*parts, client.models.generate_content(**arguments)]


@pytest.mark.parametrize(
    ("model", "asked", "served"),
    [
        ("plain", {}, "standard"),
        ("plain", {"service_tier": "priority"}, "priority"),
        ("falls", {"service_tier": "priority"}, "standard"),
    ],
)
def test_google_content(
    menagerie: GatewayProcess, model: str, asked: dict[str, str], served: str
) -> None:
    """Every part is an answer whose usage counts all so far; the tier stands in a header."""
    *parts, whole = of_google(menagerie, model, **asked)
    assert [part.text for part in parts] == [" the", " tail", " of", ""]
    assert [part.usage_metadata.candidates_token_count for part in parts] == [1, 2, 3, 3]
    assert whole.text == " the tail of"
    assert whole.candidates[0].finish_reason is parts[-1].candidates[0].finish_reason
    assert whole.candidates[0].finish_reason.name == "MAX_TOKENS"
    assert (whole.usage_metadata.prompt_token_count, whole.usage_metadata.total_token_count) == (
        4,
        7,
    )
    for answer in (parts[0], whole):
        assert answer.sdk_http_response.headers["x-gemini-service-tier"] == served


@pytest.mark.parametrize(
    ("model", "asked", "traffic"),
    [
        ("plain", {"X-Vertex-AI-LLM-Request-Type": "dedicated"}, "PROVISIONED_THROUGHPUT"),
        ("plain", {"X-Vertex-AI-LLM-Shared-Request-Type": "flex"}, "ON_DEMAND_FLEX"),
        ("falls", {"X-Vertex-AI-LLM-Shared-Request-Type": "priority"}, "ON_DEMAND"),
    ],
)
def test_google_traffic_of_vertex(
    menagerie: GatewayProcess, model: str, asked: dict[str, str], traffic: str
) -> None:
    """Asked for by headers, told in usage."""
    with google_client(menagerie, asked) as client:
        answer = client.models.generate_content(model=model, contents=FOUR)
    assert answer.usage_metadata.traffic_type.value == traffic


@pytest.mark.parametrize(
    ("model", "error", "code", "status"),
    [
        ("http_500", "ServerError", 500, "INTERNAL"),
        ("overload", "ServerError", 503, "UNAVAILABLE"),
        ("capacity", "ClientError", 429, "RESOURCE_EXHAUSTED"),
        ("nobody", "ClientError", 404, "NOT_FOUND"),
        ("stream_error", "ServerError", 500, "INTERNAL"),
        ("stream_overload", "ServerError", 503, "UNAVAILABLE"),
    ],
)
def test_google_errors(
    menagerie: GatewayProcess, model: str, error: str, code: int, status: str
) -> None:
    """Each as the client's own class, also inside a stream."""
    from google.genai import errors

    with pytest.raises(getattr(errors, error)) as caught:
        of_google(menagerie, model)
    found: Any = caught.value
    assert (found.code, found.status) == (code, status)


def test_google_lists_models(menagerie: GatewayProcess) -> None:
    """By Google's names for them."""
    with google_client(menagerie) as client:
        assert {"models/plain"} <= {model.name for model in client.models.list()}


# ---- AWS


def converse(model: str, **more: Any) -> dict[str, Any]:
    """Arguments of a request."""
    turns = [{"role": "user", "content": [{"text": FOUR}]}]
    settings = {"maxTokens": 3}
    return {"modelId": model, "messages": turns, "inferenceConfig": settings, **more}


def events(client: Any, model: str, **more: Any) -> list[dict[str, Any]]:
    with contextlib.closing(client.converse_stream(**converse(model, **more))["stream"]) as stream:
        return list(stream)


@pytest.mark.parametrize(("model", "served"), [("plain", "priority"), ("falls", "default")])
def test_aws_converse(menagerie: GatewayProcess, model: str, served: str) -> None:
    """Streamed as whole, through frames whose checksums AWS's own client verifies; every request
    signed as AWS signs.
    """
    tier = {"serviceTier": {"type": "priority"}}
    with tee(menagerie.host, menagerie.port) as door:
        client = aws_client(f"http://127.0.0.1:{door.port}/menagerie")
        *said, last = events(client, model, **tier)
        whole = client.converse(**converse(model, **tier))
        client.close()
        for request in bytes(b"".join(door.sent)).split(b"POST ")[1:]:
            assert verified(b"POST " + request, SECRET).service == "bedrock"
    deltas = [event["contentBlockDelta"] for event in said if "contentBlockDelta" in event]
    text = whole["output"]["message"]["content"][0]["text"]
    assert "".join(delta["delta"]["text"] for delta in deltas) == text == " the tail of"
    assert said[-1]["messageStop"]["stopReason"] == whole["stopReason"] == "max_tokens"
    for end in (last["metadata"], whole):
        assert (end["usage"]["inputTokens"], end["usage"]["outputTokens"]) == (4, 3)
        assert end["serviceTier"]["type"] == served
        assert end["metrics"]["latencyMs"] == 40  # 30 ms to the first of three, 5 ms between


@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        ("http_500", ClientError, "InternalServerException"),
        ("overload", ClientError, "ServiceUnavailableException"),
        ("nobody", ClientError, "ValidationException"),
        ("stream_error", EventStreamError, "modelStreamErrorException"),
        ("stream_overload", EventStreamError, "serviceUnavailableException"),
    ],
)
def test_aws_errors(
    menagerie: GatewayProcess, model: str, error: type[ClientError], code: str
) -> None:
    """Each as the client's own class, by its exception's name."""
    client = aws_client(base(menagerie))
    with pytest.raises(error) as caught:
        events(client, model)
    client.close()
    assert caught.value.response["Error"]["Code"] == code
