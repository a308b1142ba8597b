"""Completions, Responses, embeddings and rankings of a real llama.cpp server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.real_servers import MODEL, Server, run, start_engine

ISL, OSL, REQUESTS = 40, 6, 4


def flags(url: str, api: str) -> list[str]:
    """Of a short run."""
    sizes = ["--isl", str(ISL), "--osl", str(OSL), "--request-count", str(REQUESTS)]
    return ["--url", url, "--api", api, *sizes, "--slo", "e2e:p50<60s"]


@pytest.mark.parametrize("streaming", ["--streaming", "--no-streaming"])
@pytest.mark.parametrize(
    # A chat's template is not in the plan; of Responses llama.cpp says nothing of the limit.
    ("api", "template", "finish"),
    [("completions", False, "length"), ("responses", True, "completed")],
)
def test_texts(
    api: str, template: bool, finish: str, streaming: str, engine: Server, tmp_path: Path
) -> None:
    """Every row has its tokens, and in a stream its first one before its end."""
    rows, _ = run(tmp_path, *flags(engine.url, api), streaming)
    assert [(row["outcome"], row["served_model"]) for row in rows] == [("ok", MODEL)] * REQUESTS
    assert {(row["output_tokens"], row["finish"]) for row in rows} == {(OSL, finish)}
    assert all((row["prompt_tokens"] > ISL) == template for row in rows)
    if streaming == "--streaming":
        assert {row["chunks"] for row in rows} == {OSL}
        assert all(row["ttft_ms"] < row["e2e_ms"] for row in rows)
    else:
        assert {row["ttft_ms"] for row in rows} == {None}


@pytest.mark.parametrize(
    ("api", "pooling", "body"),
    [
        ("embeddings", "MEAN", {}),
        ("embeddings", "MEAN", {"input": 4}),
        ("rerank", "RANK", {"documents": 3}),
    ],
)
def test_what_has_no_tokens(api: str, pooling: str, body: dict[str, int], tmp_path: Path) -> None:
    """The server counts as many prompt tokens as were planned: of a ranking the query with each
    document.
    """
    engine = start_engine(tmp_path / "engine.log", pooling=pooling)
    try:
        rows, _ = run(tmp_path, *flags(engine.url, api), body=body)
    finally:
        engine.kill()
    assert [(row["outcome"], row["served_model"]) for row in rows] == [("ok", MODEL)] * REQUESTS
    assert {(row["prompt_tokens"], row["output_tokens"], row["chunks"]) for row in rows} == {
        (ISL, 0, 0)
    }
    assert {row["ttft_ms"] for row in rows} == {None}
    assert all(row["e2e_ms"] > 0 for row in rows)
