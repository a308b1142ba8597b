"""A real LiteLLM gateway between tailproof and the engines: its fallback, its limits and how it
ends a stream that broke.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.real_servers import Server, free_port, kill_when, run, start_gateway, wait_for

BOTH = pytest.mark.parametrize("transport", ["tailproof", "httpx"])
#: Where engines may be started that are to die, a port a test.
MORTAL = {transport: free_port() for transport in ("tailproof", "httpx")}


@pytest.fixture(scope="module")
def gateway(engine: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """LiteLLM: `chat-<transport>` goes to an engine that may die, and then to `backup`."""
    primaries: dict[str, tuple[str, dict[str, int]]] = {
        f"chat-{name}": (f"http://127.0.0.1:{port}/v1", {}) for name, port in MORTAL.items()
    }
    models = {"backup": (engine.url, {}), "limited": (engine.url, {"rpm": 1}), **primaries}
    server = start_gateway(
        tmp_path_factory.mktemp("litellm"), models, dict.fromkeys(primaries, "backup")
    )
    yield server
    server.kill()


@BOTH
def test_fallback_shows_and_a_stream_that_breaks_is_an_error(
    transport: str, gateway: Server, another: Callable[..., Server], tmp_path: Path
) -> None:
    """Answered by the primary until it dies; its cut stream is a `stream_error` inside a 200; then
    the backup answers, and is named.
    """
    primary = another(f"primary-{transport}", MORTAL[transport])
    killer = kill_when(primary, lambda: primary.begun() == 2 and primary.decoded() >= 4)
    rows, _ = run(
        tmp_path,
        "--url",
        gateway.url,
        "--transport",
        transport,
        "--model",
        f"chat-{transport}",
        "--request-rate",
        "20",
        "--request-count",
        "4",
        "--isl",
        "16",
        "--osl",
        "48",
    )
    killer.join()
    assert [(row["outcome"], row["served_model"]) for row in rows] == [
        ("ok", f"chat-{transport}"),
        ("stream_error", f"chat-{transport}"),
        ("ok", "backup"),
        ("ok", "backup"),
    ]
    assert {row["status"] for row in rows} == {200}


def test_a_limit_of_the_gateway_is_a_rate_limit_with_its_wait(
    gateway: Server, tmp_path: Path
) -> None:
    """LiteLLM's 429 names its wait in `llm_provider-retry-after`, the header it gives to what a
    provider said.
    """
    rows, _ = run(
        tmp_path,
        "--url",
        gateway.url,
        "--model",
        "limited",
        "--request-rate",
        "20",
        "--request-count",
        "4",
        "--isl",
        "16",
        "--osl",
        "2",
    )
    limited = [row for row in rows if row["outcome"] == "rate_limited"]
    # One a minute by the clock: a minute may end between two of them.
    assert (rows[0]["outcome"], len(limited) >= 2) == ("ok", True)
    assert all(row["status"] == 429 and 0 < row["retry_after_ms"] <= 60_000 for row in limited)


def test_usage_and_times_come_through(gateway: Server, engine: Server, tmp_path: Path) -> None:
    """Behind the gateway TTFT is at least the engine's time for the prompt, and tokens are those of
    the engine's log.
    """
    before = len(engine.timings())
    rows, _ = run(
        tmp_path,
        "--url",
        gateway.url,
        "--model",
        "backup",
        "--request-count",
        "2",
        "--isl",
        "16",
        "--osl",
        "12",
    )
    wait_for(lambda: len(engine.timings()) == before + 2, engine)
    said = engine.timings()[before:]
    assert [(row["outcome"], row["prompt_tokens"], row["output_tokens"]) for row in rows] == [
        ("ok", prompt, answer) for _, prompt, _, answer in said
    ]
    assert all(
        row["service_ttft_ms"] > prompt_ms for row, (prompt_ms, *_) in zip(rows, said, strict=True)
    )
