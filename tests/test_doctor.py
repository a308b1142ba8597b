"""`tailproof doctor` against servers whose every byte is the test's: what it finds, what it says to
do, what it never prints, and that a run takes what it writes.
"""

from __future__ import annotations

import json
import ssl
import tomllib
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import trustme

from bench.api.guess import candidates, is_about_model, key_variable, shape_of
from bench.api.rate_limits import limits_in
from bench.api.registry import MODULES
from bench.cli import main
from bench.clock import wall_ns
from bench.load.network_path import look_at
from bench.load.transport.pool import Origin
from bench.plan.target import Target, load_target
from bench.plan.target_text import target_toml
from tests.support.gateway_process import GatewayProcess
from tests.support.scripted_server import Peer, ScriptedServer, answer, chunked, each, unused_port
from tests.support.world import chunk

#: Method and path -> the writes of its answer; what is not there is a 404 in HTML.
Routes = Mapping[str, list[bytes]]
KEY = "sk-very-secret-0123456789"
HTML = answer(b"<html><body>Not Found</body></html>", status="404 Not Found")
WORDS = [chunk({"content": f"{n} "}) for n in range(6)]
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":6}}\n\n'
STREAM = [*WORDS, chunk({}, "stop"), USAGE, b"data: [DONE]\n\n"]
MODELS = answer(b'{"data":[{"id":"m"}]}')
CHAT = "POST /v1/chat/completions"


def refusal(status: str, error: Any, headers: bytes = b"") -> list[bytes]:
    return [answer(json.dumps({"error": error}).encode(), status=status, headers=headers)]


def server(routes: Routes, tls: ssl.SSLContext | None = None, key: bytes = b"") -> ScriptedServer:
    """With a `key`, whoever does not send it in this header gets a 401."""

    def reply(peer: Peer, request: bytes) -> None:
        method, path = request.split(b" ", 2)[:2]
        if key and key.lower() not in request.lower():
            peer.send(*refusal("401 Unauthorized", {"message": request.decode()[:600]}))
            return
        peer.send(*routes.get(f"{method.decode()} {path.decode()}", [HTML]))

    return ScriptedServer(each(reply), tls=tls)


Look = Callable[..., dict[str, Any]]


@pytest.fixture
def look(capsys: pytest.CaptureFixture[str]) -> Look:
    """The JSON of a look, with the exit code beside it; nothing that is printed holds the key."""

    def looked(url: str, *flags: str) -> dict[str, Any]:
        code = main(["doctor", "--url", url, *flags, "--format", "json"])
        out, err = capsys.readouterr()
        assert KEY not in out + err
        found: dict[str, Any] = json.loads(out)
        assert found["ready"] == (code == 0), err
        assert code in (0, 5)
        return found

    return looked


def at(found: ScriptedServer, path: str = "/v1", scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{found.port}{path}"


def said(found: dict[str, Any], about: str) -> dict[str, Any]:
    each_one: dict[str, Any] = next(each for each in found["findings"] if each["about"] == about)
    return each_one


def test_a_chat_server_that_says_all(look: Look) -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
        b"x-ratelimit-limit-requests: 60\r\nx-ratelimit-limit-tokens: 9000\r\n"
        b"Date: " + formatdate(wall_ns() / 1e9, usegmt=True).encode() + b"\r\n\r\n"
    )
    tiered = [part.replace(b'"choices"', b'"service_tier":"default","choices"') for part in STREAM]
    routes = {"GET /v1/models": [MODELS], CHAT: [head, *chunked(*tiered)[1:]]}
    with server(routes) as there:
        found = look(at(there), "--tier", "priority")
    assert (found["api"], found["model"], found["ready"]) == ("chat", "m", True)
    assert found["limits"] == {"requests_per_min": 60, "tokens_per_min": 9000}
    answered = found["answer"]
    assert (answered["prompt_tokens"], answered["output_tokens"]) == (9, 6)
    assert (answered["tier"], answered["token_events"], answered["streamed"]) == (
        "default",
        6,
        True,
    )
    assert said(found, "tier")["state"] == "note"
    assert found["clock"]["low_ms"] <= 0 <= found["clock"]["high_ms"] + 1000
    assert found["network"]["tls_ms"] is None
    assert found["network"]["connect_ms"] > 0
    assert found["next"].endswith("--rate 0.11")  # 9,000 tokens a minute are 16 requests
    assert tomllib.loads(found["target_toml"])["limits"] == found["limits"]
    assert len(found["attempts"]) == 1


MESSAGE_EVENTS = [
    f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
    for event in (
        {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "one"},
        },
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 3},
        },
        {"type": "message_stop"},
    )
]
GEMINI = (
    b'data: {"candidates":[{"content":{"parts":[{"text":"one"}]},"finishReason":"STOP"}],'
    b'"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":3}}\n\n'
)
DIALECTS: dict[str, tuple[Routes, str]] = {
    "messages": ({"POST /v1/messages": chunked(*MESSAGE_EVENTS)}, "/v1"),
    "gemini": (
        {"POST /v1beta/models/m:streamGenerateContent?alt=sse": chunked(GEMINI)},
        "",
    ),
    "embeddings": (
        {
            "POST /v1/embeddings": [
                answer(b'{"data":[{"embedding":[0.1],"index":0}],"usage":{"prompt_tokens":9}}')
            ]
        },
        "/v1",
    ),
}


@pytest.mark.parametrize("api", DIALECTS)
def test_the_api_is_found_by_asking(api: str, look: Look, tmp_path: Path) -> None:
    """Each refused request costs nothing; what is written leads a run to the same API."""
    routes, path = DIALECTS[api]
    with server(routes) as there:
        found = look(at(there, path), "--model", "m")
        assert found["api"] == api
        file = tmp_path / "target.toml"
        file.write_text(found["target_toml"])
        target = load_target(str(file))
        assert main(["doctor", str(file)]) == 0
    assert (target.api, target.model) == (api, "m")
    assert found["answer"]["prompt_tokens"] == 9
    assert said(found, "limits")["state"] == "unknown"


def test_no_api_at_all_names_what_was_tried_and_the_path(look: Look) -> None:
    with server({}) as there:
        found = look(at(there, "/api/v2"), "--model", "m")
    bad = said(found, "api")
    assert bad["says"].startswith("no API answers below http://127.0.0.1:")
    assert "check the path of --url" in bad["remedy"]
    assert {each["status"] for each in found["attempts"]} == {404}
    assert len(found["attempts"]) <= 8
    assert found["target_toml"] is None


def test_a_redirect_is_named_and_followed_by_nobody(look: Look) -> None:
    location = f"Location: https://api.example.com/v1/chat/completions?token={KEY}\r\n".encode()
    moved = answer(b"", status="308 Permanent Redirect", headers=location)
    with server({CHAT: [moved]}) as there:
        found = look(at(there), "--model", "m")
    assert said(found, "api")["remedy"] == "write --url https://api.example.com/v1"
    assert len(found["attempts"]) == 1


def test_a_key_that_a_command_prints_is_in_no_output(look: Look) -> None:
    routes = {"GET /v1/models": [MODELS], CHAT: chunked(*STREAM)}
    with server(routes, key=KEY.encode()) as there:
        found = look(at(there), "--api-key-command", f"echo {KEY}")
    assert found["ready"]
    assert "api_key_command" in found["target_toml"]


def test_a_proxy_of_the_environment_is_named_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:sk-0123456789@127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    assert main(["doctor", "--url", "http://api.invalid/v1", "--model", "m"]) == 2
    err = capsys.readouterr().err
    assert 'set transport = "httpx"' in err
    assert "sk-0123456789" not in err


def test_a_wrong_path_is_told_the_right_one(look: Look) -> None:
    with server({"GET /v1/models": [MODELS], CHAT: chunked(*STREAM)}) as there:
        found = look(at(there, "/api"), "--model", "m")
        better = at(there)
        assert said(found, "api")["remedy"] == f"write --url {better}: models are listed there"
        assert look(better, "--model", "m")["ready"]


def test_what_it_costs_is_said_where_a_price_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """9 tokens at 1,000,000 and 6 at 2,000,000 USD a million, by hand; the extra body is filled in
    from the environment as a run fills it in.
    """
    with server({CHAT: chunked(*STREAM)}, key=b'"team": "red"') as there:
        file = tmp_path / "t.toml"
        file.write_text(
            f"""
            description = "d"
            base_url = "{at(there)}"
            model = "m"
            extra_body = {{ team = "${{TEAM}}" }}
            [prices]
            input_usd_per_million = 1000000
            output_usd_per_million = 2000000
            as_of = 2026-12-01
            source = "made"
            """
        )
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("TEAM", "red")
            assert main(["doctor", str(file), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["usd"] == 21
    assert said(found, "cost")["says"] == "1 small request, 21.00 USD"
    assert "prices" in tomllib.loads(found["target_toml"])


def test_a_model_that_only_thinks_is_no_failure(look: Look) -> None:
    done = [chunk({"role": "assistant"}), chunk({}, "length"), b"data: [DONE]\n\n"]
    with server({CHAT: chunked(*done)}) as there:
        found = look(at(there), "--model", "m")
    assert found["ready"]
    assert "no token came" in said(found, "streaming")["says"]


@pytest.mark.parametrize("style", ["bearer", "api-key", "x-api-key"])
def test_a_key_is_sent_as_the_server_wants_it(
    style: str, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    sent = {"bearer": f"authorization: Bearer {KEY}"}.get(style, f"\n{style}: {KEY}")
    routes = {"GET /v1/models": [MODELS], CHAT: chunked(*STREAM)}
    with server(routes, key=sent.encode()) as there:
        found = look(at(there), "--model", "m", "--api-key-env", "SOME_KEY")
    assert found["ready"]
    assert said(found, "auth")["says"] == f"the key in SOME_KEY is taken, sent as {style}"
    written = tomllib.loads(found["target_toml"])
    assert written["api_key_env"] == "SOME_KEY"
    assert written.get("auth", "bearer") == style


def test_a_missing_key_and_a_wrong_one_are_told_apart(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    with server({}, key=b"another key") as there:
        missing = said(look(at(there), "--model", "m"), "auth")
        wrong = said(look(at(there), "--model", "m", "--api-key-env", "SOME_KEY"), "auth")
    assert missing["says"] == "the server wants a key and got none (HTTP 401)"
    assert missing["remedy"] == "export API_KEY=…, and add --api-key-env API_KEY"
    assert wrong["says"] == "the key in SOME_KEY is refused (HTTP 401, sent as bearer)"


@pytest.mark.parametrize(
    ("routes", "flags", "about", "says"),
    [
        (
            {
                CHAT: refusal("404 Not Found", {"message": "The model `x` does not exist"}),
                "GET /v1/models": [MODELS],
            },
            ("--model", "x"),
            "model",
            "the server does not know the model 'x'",
        ),
        (
            {"GET /v1/models": [answer(b'{"data":[{"id":"a"},{"id":"b"}]}')]},
            (),
            "model",
            "no model is named, and the server has 2: a, b",
        ),
        ({}, (), "model", "lists none (answers 404)"),
        (
            {
                CHAT: refusal(
                    "429 Too Many Requests", {"message": "slow", "code": "rate_limit_exceeded"}
                )
            },
            ("--model", "m"),
            "limits",
            "the rate limit of the key is used up",
        ),
        (
            {
                CHAT: refusal(
                    "429 Too Many Requests", {"message": "pay", "code": "insufficient_quota"}
                )
            },
            ("--model", "m"),
            "limits",
            "the credit of the key is used up",
        ),
        (
            {CHAT: refusal("500 Oops", {"message": "out of memory"})},
            ("--model", "m"),
            "api",
            "fails (http_5xx: HTTP 500: out of memory)",
        ),
    ],
)
def test_what_stands_in_the_way_is_one_sentence_with_its_remedy(
    routes: Routes, flags: tuple[str, ...], about: str, says: str, look: Look
) -> None:
    with server(routes) as there:
        found = look(at(there), *flags)
    bad = [each for each in found["findings"] if each["state"] == "bad"]
    assert [each["about"] for each in bad] == [about]
    assert says in bad[0]["says"]
    assert bad[0]["remedy"]
    assert not found["ready"]


def test_options_that_a_server_refuses_are_written_away(look: Look) -> None:
    """It knows neither stream_options nor max_tokens: three requests, and the file says so."""

    def reply(peer: Peer, request: bytes) -> None:
        if not request.startswith(b"POST"):
            peer.send(HTML)
        elif b"stream_options" in request:
            peer.send(*refusal("400 Bad", {"message": "unknown field stream_options"}))
        elif b'"max_tokens"' in request:
            peer.send(*refusal("400 Bad", {"message": "use max_completion_tokens instead"}))
        else:
            peer.send(*chunked(*WORDS, chunk({}, "stop"), b"data: [DONE]\n\n"))

    with ScriptedServer(each(reply)) as there:
        found = look(at(there), "--model", "m")
    written = tomllib.loads(found["target_toml"])
    assert written["include_usage"] is False
    assert written["max_tokens_field"] == "max_completion_tokens"
    assert len(found["attempts"]) == 3
    assert said(found, "usage")["state"] == "note"


def test_a_whole_answer_in_place_of_a_stream_is_written_so(look: Look) -> None:
    body = b'{"choices":[{"message":{"content":"w"},"finish_reason":"stop"}]}'
    routes = {CHAT: [answer(body, headers=b"Content-Type: application/json\r\n")]}
    with server(routes) as there:
        found = look(at(there), "--model", "m")
    assert tomllib.loads(found["target_toml"])["stream"] is False
    assert said(found, "streaming")["state"] == "note"
    assert "--no-streaming" in found["next"]


def test_a_proxy_that_holds_the_stream_back_is_seen(look: Look) -> None:
    """The same answer in one write, and a chunk at a time."""
    whole = b"".join(chunked(*STREAM))
    with server({CHAT: [whole]}) as there:
        held = look(at(there), "--model", "m")
    assert held["answer"]["buffered"] is True
    assert said(held, "buffering")["state"] == "note"
    assert "proxy_buffering off" in said(held, "buffering")["remedy"]


@pytest.mark.parametrize(("off_s", "word"), [(3600, "behind"), (-3600, "ahead of")])
def test_a_clock_that_is_an_hour_off_is_told(off_s: int, word: str, look: Look) -> None:
    date = formatdate(wall_ns() / 1e9 + off_s, usegmt=True).encode()
    models = answer(b'{"data":[{"id":"m"}]}', headers=b"Date: " + date + b"\r\n")
    with server({"GET /v1/models": [models], CHAT: chunked(*STREAM)}) as there:
        found = look(at(there))
    assert found["clock"]["low_ms"] <= off_s * 1000 <= found["clock"]["high_ms"] + 1000
    assert said(found, "clock")["state"] == "note"
    assert word in said(found, "clock")["says"]
    assert found["ready"]


def test_tls_is_timed_verified_and_its_versions_told(look: Look, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with server({CHAT: chunked(*STREAM)}, tls=context) as there:
        url = at(there, scheme="https")
        unknown = look(url, "--model", "m")
        trusted = look(url, "--model", "m", "--ca-file", str(tmp_path / "ca.pem"))
        insecure = look(url, "--model", "m", "--insecure")
        context.set_alpn_protocols(["h2", "http/1.1"])
        origin = Origin("127.0.0.1", there.port, tls=True, ca_file=str(tmp_path / "ca.pem"))
        assert look_at(origin).alpn == "h2"
    assert said(unknown, "network")["state"] == "bad"
    assert "--ca-file" in said(unknown, "network")["remedy"]
    assert said(insecure, "tls")["state"] == "note"
    assert trusted["ready"]
    assert trusted["network"]["tls_ms"] > 0
    assert (trusted["network"]["tls_version"], trusted["network"]["alpn"]) == (
        "TLSv1.3",
        "http/1.1",
    )
    assert tomllib.loads(trusted["target_toml"])["ca_file"] == str(tmp_path / "ca.pem")


def test_nobody_there(look: Look) -> None:
    found = look(f"http://127.0.0.1:{unused_port()}/v1", "--model", "m")
    assert said(found, "network")["remedy"] == "check that the server runs and the port is right"
    assert found["attempts"] == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "--url: is required"),
        (("--url", f"http://h/v1?api_key={KEY}"), "name an environment variable in api_key_env"),
        (("--url", f"http://u:{KEY}@h/v1"), "the URL holds credentials"),
        (("--url", "h/v1"), "is not a base URL"),
        (("--url", "http://127.0.0.1:9/v1", "--api-key-env", "NOT_SET"), "NOT_SET is not set"),
        (("--url", "embedded"), "write an address"),
        (("default",), "is the built-in simulator"),
    ],
)
def test_bad_input_is_one_sentence(
    words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.count("\n") == 1
    assert KEY not in err


@pytest.fixture(scope="module")
def simulator() -> Iterator[str]:
    """The base URL of a scenario that speaks every API."""
    gateway = GatewayProcess(["--scenarios", "vanity-average"])
    yield f"http://{gateway.host}:{gateway.port}/vanity-average"
    gateway.stop()


def test_the_screen_fits_a_window_and_ends_with_the_command(
    simulator: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{simulator}/v1"
    assert main(["doctor", "--url", url, "--model", "m"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "READY  The model m answers in the API chat"
    assert len(lines) <= 24
    assert lines[-1].startswith(f"next      tailproof run --url {url} --model m --slo")


@pytest.mark.parametrize("api", MODULES)
def test_every_api_that_runs_speak_is_looked_at(api: str, simulator: str, look: Look) -> None:
    unsigned = ("--auth", "none") if api == "converse" else ()
    found = look(simulator, "--model", "m", "--api", api, *unsigned)
    assert (found["ready"], found["api"]) == (True, api)
    assert found["answer"]["prompt_tokens"] > 0
    assert found["answer"]["streamed"] == (api not in ("embeddings", "rerank"))


def test_headers_that_were_typed_are_left_out_of_what_is_printed(look: Look) -> None:
    with server({CHAT: chunked(*STREAM)}, key=KEY.encode()) as there:
        found = look(at(there), "--model", "m", "--header", f"X-Team: {KEY}")
    assert found["ready"]
    assert any("left out" in each["says"] for each in found["findings"])


@pytest.mark.parametrize(
    ("headers", "limits"),
    [
        # OpenAI: one used of 60, back within a second: a minute's
        ({"limit": "60", "remaining": "59", "reset": "1s"}, {"requests_per_min": 60}),
        # Groq's own example: 30 of 14,400 come back within 2m59.56s: a day's
        (
            {"limit": "14400", "remaining": "14370", "reset": "2m59.56s"},
            {"requests_per_day": 14400},
        ),
        ({"limit": "200", "remaining": "199", "reset": "7m12s"}, {"requests_per_day": 200}),
        ({"limit": "-1", "remaining": "0", "reset": ""}, {}),
        ({"limit": "60", "remaining": "60", "reset": "soon"}, {"requests_per_min": 60}),
    ],
)
def test_requests_a_minute_or_a_day(headers: dict[str, str], limits: dict[str, int]) -> None:
    given = [
        (f"x-ratelimit-{key}-requests".encode(), text.encode()) for key, text in headers.items()
    ]
    assert limits_in(given) == limits


def test_limits_by_the_names_of_other_vendors() -> None:
    anthropic = [
        (b"anthropic-ratelimit-requests-limit", b"50"),
        (b"anthropic-ratelimit-input-tokens-limit", b"30000"),
        (b"anthropic-ratelimit-output-tokens-limit", b"8000"),
    ]
    assert limits_in(anthropic) == {
        "requests_per_min": 50,
        "input_tokens_per_min": 30000,
        "output_tokens_per_min": 8000,
    }
    assert limits_in([(b"ratelimit-policy", b'"default";q=100;w=60')]) == {"requests_per_min": 100}
    assert limits_in([(b"ratelimit-policy", b"100;w=3600")]) == {}


@pytest.mark.parametrize(
    ("url", "model", "first"),
    [
        ("https://api.anthropic.com", "", "messages"),
        ("https://r.services.ai.azure.com/anthropic", "", "messages"),
        ("https://generativelanguage.googleapis.com", "", "gemini"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "", "chat"),
        ("https://bedrock-runtime.eu-west-1.amazonaws.com", "", "converse"),
        ("https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1", "", "chat"),
        ("http://h/v1", "text-embedding-3-small", "embeddings"),
        ("http://h/v1", "bge-reranker", "rerank"),
        ("http://h/v1/responses", "", "responses"),
        ("http://h/v1", "m", "chat"),
    ],
)
def test_what_an_address_suggests_is_tried_first(url: str, model: str, first: str) -> None:
    found = candidates(url, model)
    assert found[0] == first
    assert len(found) in (1, 8)


def test_guesses_from_refusals() -> None:
    anthropic = b'{"type":"error","error":{"type":"not_found_error","message":"x"}}'
    google = b'{"error":{"code":404,"status":"NOT_FOUND","message":"x"}}'
    assert shape_of([], anthropic) == "messages"
    assert shape_of([], google) == "gemini"
    assert shape_of([(b"x-amzn-errortype", b"UnknownOperation")], b"") == "converse"
    assert shape_of([], b'{"error":{"message":"x"}}') is None
    assert not is_about_model(404, b'{"error":{"message":"Invalid URL: no /v9/x here"}}', "m")
    assert is_about_model(404, b'{"error":{"message":"m not found","code":"model_not_found"}}', "m")
    assert key_variable("https://api.anthropic.com/v1") == "ANTHROPIC_API_KEY"


def test_a_target_is_written_as_it_is_read(tmp_path: Path) -> None:
    """Every kind of value, quotes and line ends among them, comes back the same."""
    target = Target.model_validate(
        {
            "description": 'a "quoted" \\ text\n with ü',
            "base_url": "https://h/v1",
            "model": "m",
            "query": {"api-version": "2024-10-21"},
            "headers": {"X-Team": "${TEAM}"},
            "extra_body": {"temperature": 0, "stop": ["a", "b"], "nested": {"deep": True}},
            "api_key_command": ["pass", "show it"],
            "timeout": "1500ms",
            "prices": {
                "input_usd_per_million": "0.25",
                "output_usd_per_million": "2",
                "as_of": "2026-12-01",
                "source": "https://h/prices",
            },
        }
    )
    file = tmp_path / "written.toml"
    file.write_text(target_toml(target, {"requests_per_min": 60}))
    read = load_target(str(file))
    limits = read.limits
    assert limits is not None
    assert limits.requests_per_min == 60
    assert read.model_copy(update={"limits": None, "name": ""}) == target
