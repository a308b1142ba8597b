"""The wire format, by hand and against what real providers sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.gateway.apis.chat import ChatFrames, parse_chat
from bench.gateway.apis.paths import place_of
from bench.gateway.apis.seam import Asked, Incoming, Served
from bench.gateway.wire import MAX_OUTPUT_TOKENS, RequestError, head

CAPTURES = Path(__file__).resolve().parents[2] / ".." / "shared" / "captures"
MESSAGES = [{"role": "user", "content": "hello"}]


def captured(name: str) -> dict[str, Any]:
    """The `error` object of a captured answer; skips where the captures are not at hand."""
    path = CAPTURES / name
    if not path.is_file():
        pytest.skip("the captured answers are not beside this checkout")
    _, _, body = path.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")
    error: dict[str, Any] = json.JSONDecoder().raw_decode(body.decode())[0]["error"]
    return error


def refused(body: object) -> tuple[int, dict[str, Any]]:
    """Status and error of a body that must be refused."""
    with pytest.raises(RequestError) as caught:
        parse_chat(body if isinstance(body, bytes) else json.dumps(body).encode())
    error: dict[str, Any] = json.loads(caught.value.body)["error"]
    return caught.value.status, error


def test_stream_bytes_by_hand() -> None:
    """Role, token, finish and usage events are these bytes, each one HTTP chunk."""
    asked = Asked("m", "", 5, 3, stream=True, include_usage=True)
    frames = ChatFrames(Served(asked, 1, "r", "m", 7, 3))
    start = (
        b'data: {"id":"chatcmpl-000000000001","object":"chat.completion.chunk",'
        b'"created":7,"model":"m","choices":'
    )
    role = (
        start + b'[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
    )
    token = start + b'[{"index":0,"delta":{"content":" tail"},"finish_reason":null}]}\n\n'
    finish = start + b'[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n'
    assert frames.begin() == b"%x\r\n%b\r\n" % (len(role), role)
    assert frames.token(1) == b"%x\r\n%b\r\n" % (len(token), token)
    end = frames.end()
    assert end.startswith(b"%x\r\n%b\r\n" % (len(finish), finish))
    assert end.endswith(b"\r\ne\r\ndata: [DONE]\n\n\r\n")
    usage = json.loads(end.split(b"\r\n")[3].removeprefix(b"data: "))
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


def test_prompt_tokens_are_words() -> None:
    """A prompt token is a word between white space, over all messages and text parts."""
    messages = [
        {"role": "system", "content": " be  brief\n"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "one two"},
                {"type": "image_url", "image_url": {}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": []},
    ]
    chat = parse_chat(json.dumps({"model": "m", "messages": messages}).encode())
    assert chat.prompt_tokens == 4
    assert chat.output_tokens is None
    assert not chat.stream


def test_max_completion_tokens_goes_first() -> None:
    """The newer name of the maximum wins over the older one."""
    body = {"model": "m", "messages": MESSAGES, "max_tokens": 3, "max_completion_tokens": 5}
    assert parse_chat(json.dumps(body).encode()).output_tokens == 5


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": None}]}, "messages[0]"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": MAX_OUTPUT_TOKENS + 1}, "max_completion_tokens"),
        ({"max_completion_tokens": 5, "max_tokens": -1}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"n": 2}, "n"),
        ({"stream_options": {}}, "stream_options"),
        ({"stream": True, "stream_options": []}, "stream_options"),
    ],
)
def test_bad_bodies_name_the_parameter(change: dict[str, object], param: str) -> None:
    """Each mistake is a 400 of type invalid_request_error that names the parameter."""
    status, error = refused({"model": "m", "messages": MESSAGES} | change)
    assert (status, error["type"], error["param"]) == (400, "invalid_request_error", param)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b'{"model": NaN', b"[" * 100_000])
def test_bodies_that_are_not_json_objects(body: bytes) -> None:
    """What is not a JSON object is a 400, however deep or odd."""
    status, error = refused(body)
    assert (status, error["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("m\r\nx-mine: 1", b"m\\r\\nx-mine: 1"),
        ("模", b"\\u6a21"),
        ("m\ud800", b"m\\ud800"),
        ("Pro/m-1.5", b"Pro/m-1.5"),
    ],
)
def test_no_model_name_breaks_a_head(name: str, written: bytes) -> None:
    """A name that a client made up makes no header of its own and never fails to be written."""
    lines = head(
        200, [("x-served-model", name)], length=0, content_type="text/plain", close=False
    ).split(b"\r\n")
    assert lines == [
        b"HTTP/1.1 200 OK",
        b"content-type: text/plain",
        b"content-length: 0",
        b"x-served-model: " + written,
        b"connection: keep-alive",
        b"",
        b"",
    ]


def test_error_shape_is_that_of_the_captures() -> None:
    """Errors have the keys that a captured gateway's have, and the type a captured engine gives."""
    _, error = refused(b"{")
    assert set(error) == set(captured("litellm_error_429.txt"))
    assert error["type"] == captured("llama_error_bad_json.txt")["type"]


#: Keys that the APIs read, and values that none of them expects.
KEYS = st.sampled_from(
    [
        *("model", "messages", "input", "prompt", "contents", "parts", "content", "text", "role"),
        *("query", "documents", "max_tokens", "stream", "maxOutputTokens", "generationConfig"),
        *("inferenceConfig", "maxTokens", "serviceTier", "service_tier", "type", "speed", "n"),
        *("system", "systemInstruction", "instructions", "performanceConfig", "latency"),
        *("dimensions", "encoding_format", "stream_options"),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
PLACES = [
    "v1/chat/completions",
    "v1/completions",
    "v1/responses",
    "v1/messages",
    "v1/embeddings",
    "v2/rerank",
    "v1beta/models/m:generateContent",
    "v1/publishers/google/models/m:streamGenerateContent",
    "model/m/converse",
]


@pytest.mark.parametrize("path", PLACES)
@given(data=st.dictionaries(KEYS, VALUES, max_size=6))
@settings(max_examples=40, deadline=None)
def test_no_body_breaks_an_api(path: str, data: dict[str, object]) -> None:
    """Whatever JSON it is asked with, an API reads it or refuses it in words of its own."""
    place = place_of(path)
    assert place is not None
    headers = {"anthropic-version": "2023-06-01"}
    incoming = Incoming(json.dumps(data).encode(), headers, place.model, place.stream)
    try:
        asked = place.api.parse(incoming)
    except RequestError as error:
        refusal = place.api.refuse(error, "r")
        assert refusal.status == 400
        assert json.loads(refusal.body)
    else:
        answer = place.api.plain(Served(asked, 1, "r", asked.model, 7, asked.output_tokens or 3))
        assert json.loads(answer)


@pytest.mark.parametrize(
    ("path", "name", "model"),
    [
        ("v1/chat/completions", "chat", ""),
        ("openai/v1/responses", "responses", ""),
        ("openai/deployments/d%201/chat/completions", "chat", "d 1"),
        (
            "v1/model/us.amazon.nova-pro-v1%3A0/converse-stream",
            "converse",
            "us.amazon.nova-pro-v1:0",
        ),
        ("v1/models/Pro/a-b:streamGenerateContent", "gemini", "Pro/a-b"),
        ("v1/projects/p/locations/l/publishers/google/models/m:generateContent", "gemini", "m"),
        ("v1/images", None, ""),
        ("v1/models/m", None, ""),
    ],
)
def test_a_path_belongs_to_one_api(path: str, name: str | None, model: str) -> None:
    """As each vendor's own client writes it; what is no API's is nobody's."""
    place = place_of(path)
    assert (place.api.name, place.model) == (name, model) if place else name is None
