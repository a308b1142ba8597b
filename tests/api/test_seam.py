"""The seam for APIs: every one is registered, and one as foreign as any passes through framing,
request, target and sockets without a word of the house changed.
"""

from __future__ import annotations

import pkgutil
from array import array
from collections.abc import Iterator

import pytest

import bench.api
from bench.api import auth, registry
from bench.api.answer import Answer
from bench.api.auth import Outgoing
from bench.api.interface import Api
from bench.api.registry import MODULES, api_named
from bench.errors import UserError
from bench.load.request import Request
from bench.plan.budget import call_bound
from bench.plan.credentials import secrets_of
from bench.plan.target import Target
from bench.record.samples import Flag, Outcome
from bench.userfile import parse_model
from tests.api import toy_apis
from tests.api.toy_apis import SIGNED, Framed, Lines, Named, Vectors, frame, sign
from tests.support.heard import asked, target_for
from tests.support.scripted_server import answer, serving

TOYS: dict[str, type[Api]] = {"named": Named, "framed": Framed, "lines": Lines, "vectors": Vectors}


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The toys are registered, a line each."""
    for name, toy in TOYS.items():
        monkeypatch.setitem(registry.MODULES, name, toy_apis.__name__)
        monkeypatch.setattr(toy_apis, "API", toy(), raising=False)
        assert api_named(name).name == name
    monkeypatch.setitem(auth.STYLES, "signed", SIGNED)
    yield
    api_named.cache_clear()


def target(**keys: object) -> Target:
    """A target as its file would have it."""
    fields = {"description": "d", "name": "t", "base_url": "http://h:1/v1", "model": "m", **keys}
    return parse_model(Target, fields, "t.toml")


# ---- the registry


def test_every_api_is_registered_under_its_own_name() -> None:
    """A module with an `API` has a line, a line has such a module, and the names agree."""
    found = {
        f"bench.api.{module.name}"
        for module in pkgutil.iter_modules(bench.api.__path__)
        if hasattr(__import__(f"bench.api.{module.name}", fromlist=["API"]), "API")
    }
    assert set(MODULES.values()) == found
    for name in MODULES:
        api = api_named(name)
        assert isinstance(api, Api)
        assert api.name == name
        assert api.auth in auth.STYLES
        assert api.provider
        assert api.operation
        assert api.vllm_backend
        assert api.cut_note


def test_an_unknown_api_is_refused_with_the_list() -> None:
    """The message names the key, what stood there and what may."""
    with pytest.raises(UserError) as caught:
        target(api="grpc")
    assert "api: 'grpc' is no API that tailproof speaks" in str(caught.value)
    assert all(repr(name) in str(caught.value) for name in MODULES)


@pytest.mark.usefixtures("toys")
def test_a_target_asks_its_api_for_urls_keys_and_bounds() -> None:
    """The path, the query, own keys and what an answer may cost are the API's to say."""
    framed = target(api="framed", base_url="https://h/x")
    assert framed.request_url == "https://h/x/model/m/stream?alt=frames"
    assert framed.ready_url == "https://h/x/health"
    with pytest.raises(UserError, match="'texts' is set by tailproof"):
        target(api="named", extra_body={"texts": []})
    prices = {
        "input_usd_per_million": "1",
        "output_usd_per_million": "9",
        "as_of": "2026-11-30",
        "source": "made",
    }
    bound = call_bound(target(api="vectors", prices=prices))
    assert (bound.answer(10**6), bound.prompt(1) > 0) == (0, True)


# ---- answers, through a request


def flown(
    api: Api, body: bytes, content_type: bytes, *headers: tuple[bytes, bytes], cut: int = 1
) -> tuple[Request, list[tuple[Outcome, str]]]:
    """A request whose body came in pieces of `cut` bytes, and how it ended."""
    ends: list[tuple[Outcome, str]] = []
    request = Request(0, None, 0, True, array("q"), lambda _, how, note: ends.append((how, note)))
    request.api = api
    request.on_sent(10, False)
    request.on_head(200, [(b"content-type", content_type), *headers], 20, False)
    for stamp, begin in enumerate(range(0, len(body), cut), 30):
        request.on_body(body[begin : begin + cut], stamp)
    request.on_done(10_000)
    return request, ends


def answered(request: Request) -> Answer:
    assert request.answer is not None
    return request.answer


NAMED = (
    b'event: start\ndata: {"input":7,"model":"m-2","tier":"standard"}\n\n'
    b'event: delta\ndata: {"kind":"reasoning"}\n\n'
    b'event: delta\ndata: {"kind":"tool_call"}\n\n'
    b'event: count\ndata: {"output":1}\n\nevent: count\ndata: {"output":5,"stop":"end"}\n\n'
)


@pytest.mark.parametrize("cut", [1, 7, 10_000])
def test_events_with_names_cumulative_usage_and_headers(cut: int) -> None:
    """Names reach the API; later counts replace earlier ones and leave the others; its own headers
    are read.
    """
    stop = b"event: stop\ndata: {}\n\n"
    region = (b"toy-region", b"north")
    request, ends = flown(Named(), NAMED + stop, b"text/event-stream", region, cut=cut)
    found = answered(request)
    assert ends == [(Outcome.ok, "")]
    assert (found.prompt_tokens, found.output_tokens, found.finish) == (7, 5, "end")
    assert (found.model, found.tier, request.region) == ("m-2", "standard", "north")
    assert found.chunks == 2
    assert (found.first_token_ns < found.first_answer_token_ns) == (cut < 10_000)
    assert request.flags & Flag.STREAMED


def test_an_end_and_an_error_are_the_apis_own() -> None:
    """Without the API's own end the stream was cut, by its words; its error event ends the row."""
    assert flown(Named(), NAMED, b"text/event-stream")[1] == [
        (Outcome.truncated, "the toy's stream was cut")
    ]
    failed = NAMED + b'event: error\ndata: {"message":"overloaded"}\n\n'
    assert flown(Named(), failed, b"text/event-stream")[1] == [(Outcome.stream_error, "overloaded")]


@pytest.mark.parametrize("cut", [1, 3, 10_000])
def test_binary_frames(cut: int) -> None:
    """Another framing by content type: events, usage, region and an exception inside the stream."""
    begin = frame("contentBlockDelta", b"{}") * 3 + frame("messageStop", b'{"why":"end_turn"}')
    whole = begin + frame("metadata", b'{"in":4,"out":3,"at":"eu"}')
    request, ends = flown(Framed(), whole, b"application/x-toy-frames", cut=cut)
    found = answered(request)
    assert ends == [(Outcome.ok, "")]
    assert (found.chunks, found.prompt_tokens, found.output_tokens) == (3, 4, 3)
    assert (found.finish, found.region) == ("end_turn", "eu")
    thrown = begin + frame("throttlingException", b"slow down")
    assert flown(Framed(), thrown, b"application/x-toy-frames", cut=cut)[1] == [
        (Outcome.stream_error, "throttlingException: slow down")
    ]
    assert flown(Framed(), whole[:-1], b"application/x-toy-frames")[1][0][0] == Outcome.truncated


def test_json_lines() -> None:
    """A last line without its line end counts, if it is whole."""
    body = b'{"text":"a"}\n{"text":"b"}\n{"done":true}'
    request, ends = flown(Lines(), body, b"application/x-ndjson; charset=utf-8")
    assert ends == [(Outcome.ok, "")]
    assert answered(request).chunks == 2
    assert flown(Lines(), body[:-1], b"application/x-ndjson")[1][0][0] == Outcome.truncated


def test_an_answer_without_tokens_has_no_first_one() -> None:
    """Embeddings: usage, no instants, no finish; a body that is none is malformed and its usage
    stands.
    """
    request, ends = flown(Vectors(), b'{"usage":{"tokens":9},"data":[]}', b"application/json")
    found = answered(request)
    assert ends == [(Outcome.ok, "")]
    assert (found.prompt_tokens, found.chunks, found.first_token_ns) == (9, 0, -1)
    request, ends = flown(Vectors(), b'{"usage":{"tokens":9}}', b"application/json")
    assert ends == [(Outcome.malformed, "no vectors")]
    assert answered(request).prompt_tokens == 9


# ---- requests, over a socket


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("transport", ["tailproof", "httpx"])
def test_what_signs_sees_every_byte_that_is_sent(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signature that arrives is the one over method, URL, headers and body as they arrived; the
    key that signs is in no header and still a secret.
    """
    monkeypatch.setenv("TP_KEY", "signing-key-1")

    with serving(answer()) as server:
        made = target_for(server, transport, api="named", api_key_env="TP_KEY")
        assert "signing-key-1" in {secret.get_secret_value() for secret in secrets_of(made)}
        asked("asyncio", made, b'{"x":1}')
    ((_, request),) = server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    sent = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert first.startswith("POST /v1/toy ")
    assert sent["toy-version"] == "2026-11-30"
    assert "signing-key-1" not in head.decode()
    url = f"http://{sent.pop('host')}/v1/toy"
    sent.pop("content-length")
    signature = sent.pop("x-signature")
    outgoing = Outgoing("POST", url, tuple(sent.items()), body, 0)
    assert sign("signing-key-1", outgoing) == [("X-Signature", signature)]
