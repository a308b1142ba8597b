"""Runs against a real llama.cpp server and a real small model, held to what the engine's own log
says of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

from tests.real.real_servers import KEY_ENV, MODEL, Server, kill_when, run, wait_for

BOTH = pytest.mark.parametrize("transport", ["tailproof", "httpx"])
#: Where our times may lie beside the engine's, in the median of few requests on a busy machine:
#: ours begin when the write has returned, and end when the last token was read. On a quiet machine
#: they are about 1 ms above.
AHEAD_MS, BEHIND_MS = 5, 50


@BOTH
@pytest.mark.parametrize("streaming", ["--streaming", "--no-streaming"])
def test_times_and_tokens_are_those_of_the_engines_log(
    transport: str, streaming: str, engine: Server, tmp_path: Path
) -> None:
    """All rows succeed; TTFT is the engine's time for the prompt, TPOT its time a token, and the
    tokens are those it counted.
    """
    before = len(engine.timings())
    rows, out = run(
        tmp_path,
        "--url",
        engine.url,
        "--transport",
        transport,
        streaming,
        "--request-rate",
        "4",
        "--request-count",
        "3",
        "--isl",
        "16",
        "--osl",
        "24",
        "--slo",
        "e2e:p50<60s",
    )
    wait_for(lambda: len(engine.timings()) == before + 3, engine)
    said = engine.timings()[before:]
    assert [(row["outcome"], row["status"], row["served_model"]) for row in rows] == [
        ("ok", 200, MODEL)
    ] * 3
    assert [(row["prompt_tokens"], row["output_tokens"]) for row in rows] == [
        (prompt, answer) for _, prompt, _, answer in said
    ]
    assert not any(row["counted_tokens"] for row in rows)
    assert {(row["finish"], row["output_tokens"]) for row in rows} == {("length", 24)}
    whole = [
        row["service_e2e_ms"] - prompt_ms - answer_ms
        for row, (prompt_ms, _, answer_ms, _) in zip(rows, said, strict=True)
    ]
    assert -AHEAD_MS < median(whole) < BEHIND_MS
    assert {row["streamed"] for row in rows} == {streaming == "--streaming"}
    if streaming == "--streaming":
        prompts = [
            row["service_ttft_ms"] - prompt_ms
            for row, (prompt_ms, *_) in zip(rows, said, strict=True)
        ]
        steps = [
            row["tpot_ms"] - answer_ms / (answer - 1)
            for row, (*_, answer_ms, answer) in zip(rows, said, strict=True)
        ]
        assert -AHEAD_MS < median(prompts) < BEHIND_MS
        assert abs(median(steps)) < BEHIND_MS / 23
        assert all(
            row["service_ttft_ms"] < row["service_e2e_ms"] and 1 < row["chunks"] <= 24
            for row in rows
        )
    (clause,) = json.loads((out / "verdicts.json").read_text())["clauses"]
    assert clause["measured"] == pytest.approx(median(row["e2e_ms"] for row in rows), abs=0.01)


@BOTH
def test_a_prompt_that_the_context_cannot_hold_is_the_clients_error(
    transport: str, engine: Server, tmp_path: Path
) -> None:
    """A real refusal: HTTP 400 is `http_4xx`, the engine's sentence is kept, no token is
    made up.
    """
    (row,), _ = run(
        tmp_path,
        "--url",
        engine.url,
        "--transport",
        transport,
        "--request-count",
        "1",
        "--isl",
        "1500",
        "--osl",
        "4",
    )
    assert (row["outcome"], row["status"], row["output_tokens"]) == ("http_4xx", 400, None)
    assert "context size (1024 tokens)" in row["note"]


@BOTH
def test_a_wrong_key_is_the_clients_error(
    transport: str, engine: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real 401 is `http_4xx`, for every request of the run."""
    monkeypatch.setenv(KEY_ENV, "another-key")
    rows, _ = run(
        tmp_path,
        "--url",
        engine.url,
        "--transport",
        transport,
        "--request-count",
        "2",
        "--isl",
        "16",
        "--osl",
        "4",
    )
    assert [(row["outcome"], row["status"]) for row in rows] == [("http_4xx", 401)] * 2
    assert "Invalid API Key" in rows[0]["note"]


@BOTH
def test_a_connection_that_the_engine_closed_while_idle_costs_a_new_one_and_no_row(
    transport: str, engine: Server, tmp_path: Path
) -> None:
    """Plain answers keep their connection for 5 s: the next request within them reuses it, one
    after them opens another.
    """
    rows, _ = run(
        tmp_path,
        "--url",
        engine.url,
        "--transport",
        transport,
        "--no-streaming",
        "--arrival",
        "constant",
        "--request-rate",
        "6/min",
        "--request-count",
        "2",
        "--isl",
        "16",
        "--osl",
        "2",
        kept=True,
    )
    assert [(row["outcome"], row["attempts"], row["new_connection"]) for row in rows] == [
        ("ok", 1, True)
    ] * 2


def test_a_connection_that_the_engine_keeps_is_used_again(engine: Server, tmp_path: Path) -> None:
    """Requests that wait for one another and are not streamed share one connection."""
    rows, _ = run(
        tmp_path,
        "--url",
        engine.url,
        "--no-streaming",
        "--request-rate",
        "20",
        "--request-count",
        "4",
        "--isl",
        "16",
        "--osl",
        "2",
        kept=True,
    )
    assert [(row["outcome"], row["new_connection"]) for row in rows] == [("ok", True)] + [
        ("ok", False)
    ] * 3


def test_a_connection_that_the_engine_hangs_up_behind_a_stream_costs_one_row_at_most(
    engine: Server, tmp_path: Path
) -> None:
    """Streams one right behind the other: the first race may be lost, then each has a connection of
    its own, and the report says so.
    """
    rows, out = run(
        tmp_path,
        "--url",
        engine.url,
        "--request-rate",
        "20",
        "--request-count",
        "12",
        "--isl",
        "16",
        "--osl",
        "2",
        kept=True,
    )
    lost = [row for row in rows if row["outcome"] != "ok"]
    assert {(row["outcome"], row["new_connection"]) for row in lost} <= {("reset", False)}
    assert len(lost) <= 1
    (sender,) = json.loads((out / "run.json").read_text())["harness"]["senders"].values()
    assert sender["connections_opened"] == 12 - len(lost)
    assert sender["connections_held_back"] >= 8
    assert "the server hangs up behind answers" in (out / "report.html").read_text()


def test_an_engine_that_dies_in_mid_answer_is_reported(
    another: Callable[..., Server], tmp_path: Path
) -> None:
    """Answered until it died, then cut, then refused: every row has its class, and the run ends as
    a run does.
    """
    mortal = another("mortal")
    # One at a time: with the second request begun the first has been answered.
    killer = kill_when(mortal, lambda: mortal.begun() == 2 and mortal.decoded() >= 4)
    rows, out = run(
        tmp_path,
        "--url",
        mortal.url,
        "--request-rate",
        "20",
        "--request-count",
        "6",
        "--isl",
        "16",
        "--osl",
        "48",
        "--slo",
        "uptime>=99%",
    )
    killer.join()
    order = ["ok", "truncated", "reset", "refused"]
    outcomes = [row["outcome"] for row in rows]
    # A dying process may take a connection or two more before its port closes.
    assert outcomes == sorted(outcomes, key=order.index)
    assert (outcomes[0], outcomes[1], outcomes[-1]) == ("ok", "truncated", "refused")
    summary, manifest = (
        json.loads((out / name).read_text()) for name in ("summary.json", "run.json")
    )
    assert manifest["state"] == "complete"
    (target,) = summary["targets"].values()
    assert (target["requests"], target["ok"], target["outcomes"]["refused"]) == (
        6,
        1,
        outcomes.count("refused"),
    )
    assert "refused" in (out / "report.html").read_text()
