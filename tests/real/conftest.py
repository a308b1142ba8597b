"""Real servers: an engine and a gateway for the whole session, and engines that a test may kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.real_servers import KEY, KEY_ENV, Server, start_engine


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers' key, where runs look for it."""
    monkeypatch.setenv(KEY_ENV, KEY)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One llama.cpp for all tests that let it live."""
    server = start_engine(tmp_path_factory.mktemp("engine") / "engine.log")
    yield server
    server.kill()


@pytest.fixture
def another(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """`another(alias, port=0)`: an engine of the test's own."""
    started: list[Server] = []

    def start(alias: str, port: int = 0) -> Server:
        started.append(start_engine(tmp_path / f"{alias}.log", alias, port))
        return started[-1]

    yield start
    for server in started:
        server.kill()
