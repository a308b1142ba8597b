"""What a run printed as the command that would decide it is typed, and decides."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.errors import ExitCode
from tests.support.patience import PATIENCE_S
from tests.support.provider import Provider


@pytest.fixture
def provider() -> Iterator[Provider]:
    server = Provider()
    yield server
    server.shutdown()
    server.server_close()


def typed(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """tailproof, as it is typed."""
    command = [sys.executable, "-m", "bench", *words]
    environment = os.environ | {"OUR_KEY": "sk-secret"}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=cwd,
        env=environment,
    )


@pytest.mark.slow("two runs in real time")
def test_the_printed_command_decides(provider: Provider, tmp_path: Path) -> None:
    """12 requests cannot show a p80 kept; the command beside INCONCLUSIVE sends as many as do.

    The key comes from the environment, by name: it is in the command as it was typed.
    """
    url = f"http://127.0.0.1:{provider.server_port}/v1"
    size = ["--isl", "10", "--osl", "3", "--rate", "40/s", "--request-count", "12"]
    asked = ["--url", url, "--model", "a model", "--slo", "e2e:p80<5s", "--api-key-env", "OUR_KEY"]
    first = typed("run", *asked, *size, "--out", "first", cwd=tmp_path)
    assert first.returncode == ExitCode.INCONCLUSIVE, first.stderr
    (line,) = [line for line in first.stdout.splitlines() if line.startswith("next      ")]
    clause = clause_in(tmp_path / "first")
    command = clause["decide"]["command"]
    assert line == f"next      {command}"
    assert "sk-secret" not in command
    program, *again = shlex.split(command)
    assert program == "tailproof"
    second = typed(*again, "--out", "second", cwd=tmp_path)
    assert second.returncode == ExitCode.PASS, second.stderr
    decided = clause_in(tmp_path / "second")
    assert decided["n"] == clause["decide"]["requests"] > clause["n"] == 12
    assert (decided["verdict"], decided["decide"]) == ("PASS", None)


def clause_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "verdicts.json").read_text())["clauses"][0]
    return found
