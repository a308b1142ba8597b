"""The null server tells what it did, and calibration finds the errors that follow from it."""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.api.registry import api_named
from bench.cli import main
from bench.errors import UserError
from bench.load.calibrate import _three, calibrate, within_budget
from bench.record.records.calibration import CalibrationStep
from tests.support.patience import STEP_S


def test_the_null_server_streams_and_owns_up() -> None:
    """Two requests, one of them split over two writes: whole streams come back, and the truth names
    their rows and times.
    """
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "bench.load.nullserver",
            "--ttft-ms",
            "30",
            "--gap-ms",
            "5",
            "--tokens",
            "4",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        port = json.loads(process.stdout.readline())["port"]
        bodies = []
        with socket.create_connection(("127.0.0.1", port), timeout=STEP_S) as sock:
            for row, cut in ((7, None), (9, 40)):
                request = (
                    b"POST /v1/chat/completions HTTP/1.1\r\nX-Request-Id: run-%d\r\nContent-Length:"
                    b" 2\r\n\r\n{}" % row
                )
                sock.sendall(request[:cut])
                if cut is not None:
                    sock.sendall(request[cut:])
                data = b""
                while not data.endswith(b"0\r\n\r\n"):
                    data += sock.recv(65536)
                bodies.append(data)
        with socket.create_connection(("127.0.0.1", port), timeout=STEP_S) as sock:
            sock.sendall(b"GET /truth HTTP/1.1\r\nHost: x\r\n\r\n")
            told = b""
            while not told.endswith(b"]"):
                told += sock.recv(65536)
    finally:
        process.stdin.close()
        assert process.wait(STEP_S) == 0
        process.stdout.close()
    for data in bodies:
        answer, reader = api_named("chat").open(True)
        lines = data.partition(b"\r\n\r\n")[2].split(b"\r\n")
        for chunk in lines[1::2]:
            reader.feed(chunk, 1)
        reader.close()
        assert (answer.chunks, answer.finish, answer.complete) == (4, "stop", True)
    truth = np.array(json.loads(told.partition(b"\r\n\r\n")[2])).reshape(-1, 4)
    assert truth[:, 0].tolist() == [7, 9]
    assert (truth[:, 2] - truth[:, 1] >= 30_000_000).all()
    assert (
        truth[:, 3] - truth[:, 1] >= 40_000_000
    ).all()  # the first may be late, and the last is not for that


def step(rate: int, sent: float, ttft_p99: float, e2e_p50: float) -> CalibrationStep:
    """A step with these figures; p99.9 and single rows far off, which do not count."""
    return CalibrationStep(
        rate_rps=rate,
        sent_rps=sent,
        ttft_error_ms=(0.1, ttft_p99, 20.0),
        e2e_error_ms=(e2e_p50, 0.1, 20.0),
        row_error_p99_ms=20.0,
        lag_p99_ms=0.1,
        cpu_us_per_request=100.0,
    )


def test_what_counts_as_within_budget() -> None:
    """p50 and p99 of both metrics within 1 ms of the truth on either side, and 99 % of the plan
    answered.
    """
    assert within_budget(step(100, 100, 0.99, -0.99))
    assert not within_budget(step(100, 100, 1.01, 0.5))
    assert not within_budget(step(100, 100, 0.5, -1.01))
    assert not within_budget(step(100, 98.9, 0.5, 0.5))


def test_without_an_answer_the_error_has_no_bound() -> None:
    """A rate at which nothing was answered is over budget, whatever the truth was."""
    nothing, some = np.array([], np.int64), np.array([3, 1, 2], np.int64) * 10**6
    assert _three(nothing) == (float("inf"),) * 3
    assert _three(some) == (2.0, 3.0, 3.0)


def test_calibration_needs_the_kernels_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Linux it says so before it begins."""
    monkeypatch.delattr(select, "epoll")
    with pytest.raises(UserError, match="calibrate on Linux"):
        calibrate(lambda _: None)


@pytest.mark.slow("three steps, each after a second of warm-up")
def test_calibration_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A short ladder through the command: a line a step, a record on disk whose ceiling is a rate
    that was within budget.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    seen: list[CalibrationStep] = []
    record = calibrate(seen.append, tokens=3, seconds=0.5, ladder=(20, 40))
    assert [found.rate_rps for found in seen] == [20, 40]
    assert all(
        found.sent_rps > 0 and np.isfinite(found.ttft_error_ms + found.e2e_error_ms).all()
        for found in seen
    )
    assert record.ceiling_rps in {0, *(found.rate_rps for found in seen if within_budget(found))}
    assert record.ceiling_events_per_s == record.ceiling_rps * 3
    assert main(["calibrate", "--seconds", "1", "--tokens", "2", "--max-rate", "100"]) == 0
    # which rate that is, and whether there is one, is the machine's affair
    assert "This machine measures " in capsys.readouterr().out
    assert json.loads((tmp_path / "tailproof" / "calibration.json").read_text())["tokens"] == 2
