"""Gateways for the tests of this folder."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import EXPIRING, MENAGERIE, GatewayProcess


@pytest.fixture
def start() -> Iterator[Callable[..., GatewayProcess]]:
    """Start gateways that end with the test."""
    running: list[GatewayProcess] = []

    def begin(*arguments: str, stdin: int = subprocess.DEVNULL) -> GatewayProcess:
        running.append(GatewayProcess(list(arguments), stdin=stdin))
        return running[-1]

    yield begin
    for gateway in running:
        if not gateway.process.stdout.closed:  # type: ignore[union-attr]
            gateway.stop()


@pytest.fixture(scope="session")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a scenario with every kind of answer, named `menagerie`."""
    path = tmp_path_factory.mktemp("gateway") / "menagerie.toml"
    path.write_text(MENAGERIE)
    return str(path)


@pytest.fixture(scope="session")
def menagerie(scenario: str) -> Iterator[GatewayProcess]:
    """One gateway for all tests that only ask for answers; it plays `expiring` too."""
    expiring = Path(scenario).with_name("expiring.toml")
    expiring.write_text(EXPIRING)
    gateway = GatewayProcess(["--scenarios", f"{scenario},{expiring}"])
    yield gateway
    code, errors = gateway.stop()
    assert code == 0
    assert errors == ""
