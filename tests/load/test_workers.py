"""A run shared among processes: real processes, real sockets, the same rows as alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from bench.clock import monotonic_ns, sleep_s
from bench.load.player import Counters
from bench.plan.contract import load_contract
from bench.plan.profile import load_profile
from bench.plan.schedule import compile_plan
from bench.plan.stored import LANES, dump_lanes
from bench.plan.suite import Stage, Suite
from bench.plan.target import Target
from bench.record.digests import marks
from bench.record.histogram import Histogram
from bench.record.parts import Share
from bench.record.run_folder import Run
from bench.record.samples import Outcome
from bench.units import S
from bench.userfile import builtin_names
from tests.support.flags import small_requests
from tests.support.patience import PATIENCE_S
from tests.support.scripted_server import Peer, ScriptedServer, chunked, each

_DATA = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n'
_END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chat(peer: Peer, request: bytes) -> bool:
    """Three tokens at once, or a list of models."""
    if request.startswith(b"GET"):
        peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    else:
        body = b"".join(chunked(_DATA * 3 + _END)[1:])
        peer.send(_HEAD + body)
    return True


def run_on(server: ScriptedServer, out: Path, *more: str) -> subprocess.Popen[str]:
    """`tailproof run` against the server."""
    flags = small_requests(server.port, "--out", str(out), *more)
    command = [sys.executable, "-m", "bench", "run", *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_shares_cover_every_session_once_and_caps_add_up() -> None:
    """Each row belongs to one share, a session to one share whole; the parts of a cap sum to the
    cap.
    """
    schedule = np.zeros(60, [("session", "<i4"), ("turn", "<i4")])
    schedule["session"], schedule["turn"] = np.arange(60) // 3, np.arange(60) % 3
    for workers in (1, 2, 3, 7):
        shares = [Share(worker, workers) for worker in range(workers)]
        owners = np.array([share.rows(schedule) for share in shares])
        assert (owners.sum(axis=0) == 1).all()
        assert all(
            (owner.reshape(20, 3).all(axis=1) | ~owner.reshape(20, 3).any(axis=1)).all()
            for owner in owners
        )
        for cap in (workers, 20, 23):
            assert sum(share.cap(cap) or 0 for share in shares) == cap
        assert all(share.cap(None) is None for share in shares)


@pytest.mark.parametrize("profile", builtin_names("load"))
def test_lanes_travel_to_a_worker_unchanged(profile: str) -> None:
    """Every built-in profile, traces too, is the same lane after the way to a worker and back."""
    target = Target(
        description="d",
        name="t",
        base_url="http://127.0.0.1:1/v1",
        model="m",
        headers={"X": "${Y}"},
    )
    stage = Stage(
        name="s",
        targets=[target],
        profile=load_profile(profile),
        contract=load_contract("enterprise"),
        scenario=None,
        settle_ns=0,
        expect=[],
    )
    lanes = list(
        compile_plan(Suite(name="s", description="d", seed=1, stages=[stage], files=[])).lanes
    )
    assert LANES.validate_python(json.loads(json.dumps(dump_lanes(lanes)))) == lanes


def test_counters_travel_as_json_and_add_up() -> None:
    """Two workers' counts sum lane by lane and outcome by outcome, their histograms cell by cell;
    the latest events stay.
    """
    one, two = Histogram(), Histogram()
    one.record_many_ns(np.array([1_000_000, 2_000_000]))
    two.record_many_ns(np.array([5_000_000_000_000]))  # over an hour: the overflow must arrive too
    ended, kinds = {Outcome.ok: 3, Outcome.rate_limited: 2}, len(Outcome)
    first = Counters(
        started=[9, 1],
        waiting=[0, 2],
        in_flight=[1, 0],
        outcomes=[[ended.get(o, 0) for o in Outcome], [0] * kinds],
        prompt_tokens=[30, 0],
        output_tokens=[12, 0],
        without_usage=[2, 0],
        response=[one, Histogram()],
        first_token=[Histogram(), one],
        harness_lag=Histogram(),
        events=[(4, "e"), (5, "f"), (9, "i"), (11, "k")],
    )
    second = Counters(
        started=[3, 0],
        waiting=[4, 0],
        in_flight=[0, 5],
        outcomes=[[0] * kinds, [1] * kinds],
        prompt_tokens=[7, 8],
        output_tokens=[1, 2],
        without_usage=[0, 1],
        response=[two, one],
        first_token=[two, two],
        harness_lag=one,
        events=[(7, "g"), (8, "h")],
    )
    total = Counters.total(
        [Counters.from_plain(json.loads(json.dumps(part.plain()))) for part in (first, second)], 2
    )
    assert (total.started, total.waiting, total.in_flight) == ([12, 1], [4, 2], [1, 5])
    assert (total.prompt_tokens, total.output_tokens, total.without_usage) == (
        [37, 8],
        [13, 2],
        [2, 1],
    )
    assert total.outcomes == [[0, 3, 0, 2, *[0] * (kinds - 4)], [1] * kinds]
    assert (total.done, total.failed) == ([5, kinds], [2, kinds - 1])
    assert (total.response[0].n, total.response[0].overflow, total.harness_lag.n) == (3, 1, 2)
    assert [histogram.n for histogram in total.first_token] == [1, 3]
    assert total.response[0].percentile_ns(Fraction(1, 3)) == one.percentile_ns(Fraction(1, 2))
    assert total.events == [(7, "g"), (8, "h"), (9, "i"), (11, "k")]
    assert total.with_events([(10, "j")]).events == [(8, "h"), (9, "i"), (10, "j"), (11, "k")]
    nothing = Counters.total([], 2)
    assert (nothing.done, nothing.events, nothing.response[1].n) == ([0, 0], [], 0)


def test_two_workers_send_what_one_would(tmp_path: Path) -> None:
    """The same schedule, every row answered, both workers at work, one table and one log at the
    end.
    """
    with ScriptedServer(each(chat)) as server:
        for workers in ("1", "2"):
            process = run_on(
                server,
                tmp_path / workers,
                "--request-rate",
                "100",
                "--request-count",
                "60",
                "--workers",
                workers,
            )
            output, _ = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0, output
    alone, shared = Run(tmp_path / "1"), Run(tmp_path / "2")
    assert (alone.columns.schedule == shared.columns.schedule).all()
    assert (shared.columns.samples["outcome"] == Outcome.ok).all()
    assert (shared.columns.samples["chunks"] == 3).all()
    assert shared.columns.samples["worker"].tolist() == [row % 2 for row in range(60)]
    assert shared.strings("finish") == ["stop"]
    assert [path.name for path in (tmp_path / "2" / "samples").iterdir()] == ["rows.npy"]
    gaps = json.loads((tmp_path / "2" / "summary.json").read_text())["targets"]["target"][
        "inter_chunk_ms"
    ]
    assert gaps["n"] == 60 * 2
    found = [
        re.search(rb"(?i)x-request-id: \S+-(\d+)\r", request)
        for _, request in server.requests
        if request[:4] == b"POST"
    ]
    ids = {match.group(1) for match in found if match is not None}
    assert ids == {str(row).encode() for row in range(60)}


def test_a_cap_that_cannot_be_divided_is_refused(tmp_path: Path) -> None:
    """Three workers cannot share two requests in flight: exit 2, nothing written."""
    with ScriptedServer(each(chat)) as server:
        process = run_on(
            server, tmp_path / "r", "--request-rate", "10", "--concurrency", "2", "--workers", "3"
        )
        output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert "--workers" in output
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("dies", [False, True], ids=["interrupted", "a worker dies"])
def test_what_is_left_of_a_shared_run(tmp_path: Path, dies: bool) -> None:
    """Ctrl-C ends every worker with what it has; a dead worker's rows stay never_sent and the run
    is invalid.
    """
    begun = threading.Event()

    def reply(peer: Peer, request: bytes) -> bool:
        if len(server.requests) > 20:
            begun.set()
        return chat(peer, request)

    with ScriptedServer(each(reply)) as server:
        process = run_on(
            server,
            tmp_path / "r",
            "--request-rate",
            "50",
            "--duration",
            "3s" if dies else "40s",
            "--workers",
            "2",
        )
        assert begun.wait(PATIENCE_S)
        if dies:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(children[-1]), signal.SIGKILL)
        else:
            process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE_S)
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    outcomes = summary["targets"]["target"]["outcomes"]
    assert sum(outcomes.values()) == summary["targets"]["target"]["requests"]
    assert outcomes["never_sent"] > 0
    if dies:
        assert summary["health"]["state"] == "invalid"
        assert any("died" in reason for reason in summary["health"]["reasons"])
        workers = Run(tmp_path / "r").columns.samples["worker"]
        assert (workers == 0).any()
    else:
        assert process.returncode == 130, output
        assert summary["state"] == "interrupted"


def test_what_a_dying_worker_takes_with_it(tmp_path: Path) -> None:
    """Killed once its marks reach beyond a second: its rows under way are cut off, those after them
    never sent; the other one's are answered.
    """

    def reply(peer: Peer, request: bytes) -> bool:
        found = re.search(rb"(?i)x-request-id: \S+-(\d+)\r", request)
        if found is not None and int(found[1]) % 2:
            peer.until_closed()  # rows of worker 1 hang
            return False
        return chat(peer, request)

    folder = tmp_path / "r"
    with ScriptedServer(each(reply)) as server:
        process = run_on(
            server,
            folder,
            "--request-rate",
            "20",
            "--arrival",
            "constant",
            "--duration",
            "4s",
            "--workers",
            "2",
        )
        deadline = monotonic_ns() + int(PATIENCE_S * S)
        while not folder.is_dir() or marks(folder).get("w1", 0) < 1 * S:
            assert monotonic_ns() < deadline
            sleep_s(0.01)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)
        mark_ns = marks(folder)["w1"]
        output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (0, 4), output
    run = Run(folder)
    samples, notes = run.columns.samples, run.strings("note")
    its = run.columns.schedule["session"] % 2 == 1
    assert {*samples["outcome"][~its]} == {Outcome.ok}
    under_way = its & (samples["due_ns"] <= mark_ns)
    assert {*samples["outcome"][under_way]} == {Outcome.censored}
    assert {notes[number] for number in samples["note"][under_way]} == {
        "under way when worker 1 died"
    }
    later = its & (samples["due_ns"] > mark_ns + S)
    assert later.any()
    assert {*samples["outcome"][later]} == {Outcome.never_sent}
    assert {notes[number] for number in samples["note"][later]} == {
        "worker 1 died before this row was sealed"
    }
    assert (samples["due_ns"] == run.columns.schedule["due_ns"]).all()
    reasons = json.loads((folder / "summary.json").read_text())["health"]["reasons"]
    assert any("worker 1 died" in reason for reason in reasons)
