"""A run on each API whose answers differ in kind, from flags to files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from tests.api.test_responses import STREAM
from tests.support import aws_frames
from tests.support.aws_signature import verified
from tests.support.scripted_server import ScriptedServer, answer, chunked, serving

JSON = b"Content-Type: application/json\r\n"
VECTOR = b'{"model":"e-1","data":[{"embedding":[0.5,1]}],"usage":{"prompt_tokens":64}}'
RANKED = b'{"results":[{"index":0,"relevance_score":1}],"usage":{"total_tokens":64}}'


def ran(server: ScriptedServer, folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """Exit code and the target's summary of twenty requests against it."""
    url = f"http://127.0.0.1:{server.port}"
    given = ["run", "--url", url, "--model", "m", "--isl", "64", "--out", str(folder), "--quiet"]
    code = main([*given, "--request-count", "20", "--request-rate", "100", *words])
    summary = json.loads((folder / "summary.json").read_text())
    (target,) = summary["targets"].values()
    return code, target


@pytest.mark.parametrize(("api", "body"), [("embeddings", VECTOR), ("rerank", RANKED)])
def test_a_run_without_tokens_is_judged_by_its_length(
    api: str, body: bytes, tmp_path: Path
) -> None:
    """First tokens are null everywhere, not 0; end to end, uptime and prompt tokens are there."""
    with serving(answer(body, headers=JSON)) as server:
        code, found = ran(server, tmp_path / "run", "--api", api, "--slo", "e2e:p50<30s")
    assert code == 0, found
    assert (found["ok"], found["uptime"]["request_ratio"]) == (20, 1.0)
    assert found["response_ms"]["e2e"]["n"] == 20
    assert found["response_ms"]["ttft"] is None
    assert found["service_ms"]["ttft"] is None
    assert (found["tokens"]["prompt"], found["tokens"]["output"]) == (20 * 64, 0)
    paths = {request.split(b" ", 2)[1] for _, request in server.requests}
    assert paths == {b"/v1/models", b"/v1/embeddings" if api == "embeddings" else b"/rerank"}
    assert (tmp_path / "run" / "report.md").is_file()


def test_a_run_of_streamed_responses(tmp_path: Path) -> None:
    """Tokens by usage, the first of them and the first of the answer."""
    with serving(*chunked(STREAM)) as server:
        words = ["--api", "responses", "--slo", "ttft:p50<30s", "--query", "api-version=1"]
        code, found = ran(server, tmp_path / "run", *words)
    assert code == 0, found
    assert found["response_ms"]["ttft"]["n"] == 20
    assert found["tokens"] | {"prompt_error": None} == {
        "prompt": 20 * 36,
        "output": 20 * 87,
        "source": "usage",
        "prompt_error": None,
    }
    assert all(b"?api-version=1 HTTP" in request for _, request in server.requests)


def test_a_run_on_bedrock_is_signed_and_leaves_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every request by its own signature, tokens by usage, TTFT from binary frames."""
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"  # noqa: S105 AWS's own example
    for name, value in (("ACCESS_KEY_ID", "AKID"), ("SECRET_ACCESS_KEY", secret), ("REGION", "r")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    kind = b"Content-Type: application/vnd.amazon.eventstream\r\n"
    whole = aws_frames.answer("a", "b", "c", tier="default")
    with serving(answer(whole, headers=kind)) as server:
        words = ["--api", "converse", "--slo", "ttft:p50<30s", "--osl", "5"]
        code, found = ran(server, tmp_path / "run", *words)
    assert code == 0, found
    assert found["response_ms"]["ttft"]["n"] == 20
    assert (found["tokens"]["prompt"], found["tokens"]["output"]) == (20 * 7, 20 * 3)
    signed = [verified(request, secret) for _, request in server.requests]
    assert len({each.signature for each in signed}) == len(signed) == 21
    body = json.loads(server.requests[-1][1].partition(b"\r\n\r\n")[2])
    assert body["inferenceConfig"] == {"maxTokens": 5}
    files = b"".join(each.read_bytes() for each in (tmp_path / "run").rglob("*") if each.is_file())
    assert secret.encode() not in files
