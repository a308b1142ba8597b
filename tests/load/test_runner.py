"""Whole runs on real sockets: what the folder says, what it must not say, and how a run that breaks
ends.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import anyio
import pytest

from bench.clock import monotonic_ns
from bench.errors import RunFolderError, TargetUnreachable, UserError
from bench.load.options import Listeners, RunOptions
from bench.load.player import Player
from bench.load.runner import check_descriptors, play
from bench.load.work import Work
from bench.plan.clause import Clause
from bench.plan.contract import Contract
from bench.plan.schedule import Plan
from bench.record.run_folder import Run, RunWriter
from bench.record.samples import Flag, Outcome
from bench.units import MS
from tests.support.heard import on_loop
from tests.support.records import manifest_of, review_json
from tests.support.scripted_server import (
    PATIENCE_S,
    Peer,
    ScriptedServer,
    answer,
    chunked,
    each,
    unused_port,
)
from tests.support.world import plan_for, text

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
BOTH = pytest.mark.parametrize("transport", ["tailproof", "httpx"])
FAST = {"kind": "constant", "rate": "100/s"}
KEY, HEADER = "opaque-key.4711/AbCdEfGhIjKlMn", "tenant+secret~0815-xyz"


@pytest.fixture(autouse=True)
def _no_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of this machine, if there is one, would warn while other programs keep it busy."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no-cache"))


def event(**body: Any) -> bytes:
    """One event of a stream."""
    return b"data: " + json.dumps(body).encode() + b"\n\n"


TOKENS = [
    event(model="served", choices=[{"delta": {"content": word}, "finish_reason": None}])
    for word in ("a", "b", "c")
]
LAST = event(choices=[{"delta": {}, "finish_reason": "length"}])
USAGE = event(choices=[], usage={"prompt_tokens": 12, "completion_tokens": 3})
CHAT = chunked(*TOKENS, LAST, USAGE, b"data: [DONE]\n\n")


def chat(*writes: bytes, models: bytes | None = None) -> ScriptedServer:
    """A server that answers `GET /models` with 404 and every chat request with the same writes."""

    def reply(peer: Peer, request: bytes) -> None:
        listing = request.startswith(b"GET ")
        peer.send(*([models or answer(status="404 Not Found")] if listing else writes or CHAT))

    return ScriptedServer(each(reply))


def plan_to(
    server: ScriptedServer | str,
    requests: int = 10,
    target: dict[str, Any] | None = None,
    **profile: Any,
) -> Plan:
    """A plan for the server."""
    url = server if isinstance(server, str) else f"http://127.0.0.1:{server.port}/v1"
    return plan_for(FAST, {"base_url": url, **(target or {})}, requests=requests, **profile)


def run(
    plan: Plan,
    folder: Path,
    loop: str = "asyncio",
    on_tick: Callable[[int, Any], str | None] = lambda *_: None,
) -> tuple[Run, list[str]]:
    """Play the plan; the folder read back, and the warnings."""
    warnings: list[str] = []

    async def main() -> Path:
        with anyio.fail_after(2 * PATIENCE_S):
            return await play(
                plan,
                text(),
                {"repeat_command": "again"},
                RunOptions(folder=folder),
                Listeners(warnings.append, on_tick),
            )

    return Run(on_loop(loop, main)), warnings


def test_each_key_is_asked_for_before_a_run(tmp_path: Path) -> None:
    """Two targets of one URL, keys from two files: the ready check asks with each."""
    with chat(models=answer(status="401 Unauthorized")) as server:
        plan = plan_for(
            FAST, {"base_url": f"http://127.0.0.1:{server.port}/v1"}, targets=2, requests=1
        )
        lanes = []
        for lane in plan.lanes:
            (tmp_path / lane.name).write_text(f"key-of-{lane.name}")
            target = lane.target.model_copy(update={"api_key_file": str(tmp_path / lane.name)})
            lanes.append(dataclasses.replace(lane, target=target))
        _, warnings = run(dataclasses.replace(plan, lanes=tuple(lanes)), tmp_path / "run")
    assert [warning.split(":")[0] for warning in warnings] == ["target t0", "target t1"]
    assert all("api_key_file" in warning for warning in warnings)


@LOOPS
@BOTH
def test_a_run_leaves_what_happened_in_its_folder(
    loop: str, transport: str, tmp_path: Path
) -> None:
    """Ten requests: one row each, in order in time, with the server's counts; the manifest names
    loop and transport.
    """
    with chat() as server:
        done, warnings = run(
            plan_to(server, target={"transport": transport}), tmp_path / "run", loop
        )
    rows, manifest = done.columns.samples, done.manifest
    assert (done.state, warnings, manifest.repeat_command) == ("complete", [], "again")
    assert {Outcome(value) for value in rows["outcome"]} == {Outcome.ok}
    for earlier, later in (
        ("sent", "headers"),
        ("headers", "first_byte"),
        ("first_byte", "first_token"),
        ("first_token", "last_token"),
        ("last_token", "done"),
    ):
        assert (rows[f"{earlier}_ns"] <= rows[f"{later}_ns"]).all(), (earlier, later)
    assert (rows["due_ns"] == done.columns.schedule["due_ns"]).all()
    assert (rows["sent_ns"] >= rows["due_ns"]).all()
    assert {*rows["chunks"]} == {3} == {*rows["output_tokens"]}
    assert {*rows["prompt_tokens"]} == {12}
    assert (done.strings("finish"), done.strings("served_model")) == (["length"], ["served"])
    harness = manifest.harness
    assert loop in str(harness.loop)
    assert harness.senders["t0"]["transport"].startswith(transport)
    assert (harness.alarm == "timerfd") == sys.platform.startswith("linux")
    assert (tmp_path / "run" / "histograms.hlog").stat().st_size > 500
    paths = [request.split(b" ")[1] for _, request in server.requests]
    assert sorted(paths) == [b"/v1/chat/completions"] * 10 + [b"/v1/models"]
    assert len({request.partition(b"\r\n\r\n")[2] for _, request in server.requests}) == 11
    if transport == "tailproof":
        assert harness.senders["t0"]["connections_opened"] == int(
            ((rows["flags"] & Flag.NEW_CONNECTION) != 0).sum()
        )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kernel stamps are Linux's")
def test_rows_carry_kernel_stamps(tmp_path: Path) -> None:
    """Over loopback all rows but perhaps the first few are stamped by the kernel, and the manifest
    says so.
    """
    with chat() as server:
        done, _ = run(plan_to(server, 30), tmp_path / "run")
    assert done.manifest.harness.senders["t0"]["stamps"] == "kernel"
    assert ((done.columns.samples["flags"] & Flag.USER_STAMP) == 0).sum() >= 25


@LOOPS
@BOTH
def test_an_answer_given_up_inside_a_read_makes_room_for_the_next_row(
    loop: str, transport: str, tmp_path: Path
) -> None:
    """Cap 1 and garbage inside every stream, the rest of the answer in the same read: each row is
    malformed, none hangs.
    """
    with chat(b"".join(chunked(*TOKENS, b"data: {garbage\n\n", LAST))) as server:
        done, _ = run(
            plan_to(server, 12, {"transport": transport}, max_in_flight=1), tmp_path / "run", loop
        )
    assert [Outcome(value) for value in done.columns.samples["outcome"]] == [Outcome.malformed] * 12
    assert {*done.columns.samples["chunks"]} == {3}
    if transport == "tailproof":
        assert (
            len({number for number, request in server.requests if request.startswith(b"POST")})
            == 12
        )


@LOOPS
@BOTH
def test_a_refused_option_costs_each_row_under_way_one_more_request(
    loop: str, transport: str, tmp_path: Path
) -> None:
    """A server without stream_options answers all rows; the bodies it got tell which attempt was
    which.
    """

    def reply(peer: Peer, request: bytes) -> None:
        if b"stream_options" in request:
            peer.send(
                answer(
                    b'{"error":{"message":"stream_options: extra fields not permitted"}}',
                    status="400 Bad Request",
                )
            )
        else:
            peer.send(*CHAT)

    with ScriptedServer(each(reply)) as server:
        done, _ = run(plan_to(server, 12, {"transport": transport}), tmp_path / "run", loop)
    rows = done.columns.samples
    assert {Outcome(value) for value in rows["outcome"]} == {Outcome.ok}
    asked_twice = (rows["flags"] & Flag.OPTION_DROPPED) != 0
    assert (rows["attempts"] == 1 + asked_twice).all()
    assert asked_twice[0]
    assert (
        sum(request.startswith(b"POST") for _, request in server.requests) == rows["attempts"].sum()
    )


# ---- secrets


@BOTH
@pytest.mark.parametrize(
    "place", ["error", "long error", "stream error", "header", "model", "finish", "html"]
)
def test_no_key_and_no_header_value_reaches_a_file(
    transport: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that echoes what it was sent, wherever it can, leaves no trace of it in any file."""
    monkeypatch.setenv("LOAD_TEST_KEY", KEY)
    monkeypatch.setenv("LOAD_TEST_TENANT", HEADER)
    told = f"you sent Bearer {KEY} and {HEADER}"
    long = f"{'.' * 170}{KEY}{'.' * 98}{KEY}{'.' * 1660}{HEADER}" + "." * 50
    sound = {"delta": {"content": "a"}, "finish_reason": "stop"}
    writes = {
        "error": [answer(json.dumps({"error": {"message": told}}).encode(), status="401 No")],
        "long error": [answer(json.dumps({"error": {"message": long}}).encode(), status="500 No")],
        "stream error": chunked(event(error={"message": told})),
        "header": [
            chunked()[0][:-2] + f"X-Served-Model: {KEY}\r\nX-MS-Region: {HEADER}\r\n\r\n".encode(),
            *chunked(event(choices=[sound]))[1:],
        ],
        "model": chunked(event(model=told, choices=[sound])),
        "finish": chunked(event(choices=[{**sound, "finish_reason": told}])),
        "html": [answer(f"<html>{told}</html>".encode(), status="503 No")],
    }[place]
    target = {
        "api_key_env": "LOAD_TEST_KEY",
        "headers": {"X-Tenant": "v1 ${LOAD_TEST_TENANT}"},
        "transport": transport,
    }
    with chat(*writes) as server:
        done, _ = run(plan_to(server, 3, target), tmp_path / "run")
    assert any(
        KEY.encode() in request and HEADER.encode() in request for _, request in server.requests
    )
    kept = b"".join(path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file())
    for secret in (KEY, HEADER):
        assert not any(
            secret[start : start + 8].encode() in kept for start in range(len(secret) - 7)
        )
    texts = (
        done.strings("note")
        + done.strings("served_model")
        + done.strings("served_region")
        + done.strings("finish")
    )
    assert any("[redacted]" in written for written in texts)


# ---- before anything is sent


@pytest.mark.parametrize(
    ("status", "warns"),
    [
        ("404 Not Found", False),
        ("200 OK", False),
        ("500 No", False),
        ("401 No", True),
        ("403 No", True),
    ],
)
def test_any_answer_means_ready_and_a_refused_key_is_said(
    status: str, warns: bool, tmp_path: Path
) -> None:
    """The ready check wants an HTTP answer, no particular one; 401 and 403 point at the key."""
    with chat(models=answer(b"{}", status=status)) as server:
        done, warnings = run(plan_to(server, 1), tmp_path / "run")
    assert done.state == "complete"
    assert [("api_key_env" in warning) for warning in warnings] == [True] * warns


def silent(peer: Peer) -> None:
    """Accepts, reads, never answers."""
    peer.until_closed()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, "refused"),
        ("http://a..b:80/v1", "dns"),
        (lambda peer: peer.send(b"SSH-2.0-x\r\n\r\n"), "malformed"),
    ],
    ids=["refused", "no name", "not HTTP"],
)
@BOTH
def test_a_target_that_does_not_answer_ends_the_run_before_it_began(
    transport: str, script: Callable[[Peer], None] | str | None, words: str, tmp_path: Path
) -> None:
    """One sentence with the target and what to check; no request, no folder."""
    folder = tmp_path / "run"
    target = {"transport": transport, "connect_timeout": "300ms"}
    with ScriptedServer(script if callable(script) else silent) as server:
        url = (
            script
            if isinstance(script, str)
            else f"http://127.0.0.1:{server.port if script else unused_port()}/v1"
        )
        with pytest.raises(TargetUnreachable, match=words) as caught:
            run(plan_to(url, target=target), folder)
    assert "target t0" in str(caught.value)
    assert "check" in str(caught.value)
    assert not folder.exists()
    assert not any(request.startswith(b"POST") for _, request in server.requests)


@pytest.mark.parametrize("script", [silent, lambda peer: peer.reset()], ids=["silent", "reset"])
def test_a_server_that_does_not_answer_the_check_is_measured(
    script: Callable[[Peer], None], tmp_path: Path
) -> None:
    """Some proxies serve POST alone: a warning, and the requests say how it is."""
    target = {"connect_timeout": "300ms", "timeout": "300ms"}
    with ScriptedServer(script) as server:
        plan = plan_to(f"http://127.0.0.1:{server.port}/v1", target=target)
        done, warnings = run(plan, tmp_path / "run")
    assert done.state == "complete"
    assert ["does not answer" in warning for warning in warnings] == [True]


def test_a_folder_that_holds_a_run_is_refused_before_a_request_leaves(tmp_path: Path) -> None:
    """The second run into one folder changes nothing there and sends no generation request."""
    with chat() as server:
        run(plan_to(server, 2), tmp_path / "run")
        before = {
            path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()
        }
        with pytest.raises(RunFolderError, match="holds a run already"):
            run(plan_to(server, 2), tmp_path / "run")
    assert {
        path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()
    } == before
    assert sum(request.startswith(b"POST") for _, request in server.requests) == 2


def test_a_plan_beyond_the_descriptor_limit_names_the_ulimit_that_would_do() -> None:
    """A cap that cannot fit is refused with the number to ask for."""
    plan = plan_for({"kind": "constant", "rate": "10/s"}, requests=1, max_in_flight=10**9)
    huge = dataclasses.replace(
        plan, lanes=tuple(dataclasses.replace(lane, requests=10**9) for lane in plan.lanes)
    )
    with pytest.raises(UserError, match="ulimit -n 1000000064"):
        check_descriptors(huge, 1, lambda _: None)


# ---- runs that break off


@LOOPS
def test_ctrl_c_ends_the_run_and_keeps_the_record(loop: str, tmp_path: Path) -> None:
    """SIGINT after the third request: nothing more is sent, every row has its outcome, the state
    says so.
    """
    told: list[int] = []

    def interrupt(_now: int, counters: Callable[[], Any]) -> None:
        if not told and sum(counters().done) >= 3:
            told.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    with chat() as server:
        done, _ = run(plan_to(server, 300), tmp_path / "run", loop, interrupt)
    outcomes = [Outcome(value) for value in done.columns.samples["outcome"]]
    assert (done.state, done.manifest.state) == ("interrupted", "interrupted")
    assert 3 <= outcomes.count(Outcome.ok) < 300
    assert set(outcomes) <= {Outcome.ok, Outcome.never_sent, Outcome.censored}
    assert sum(request.startswith(b"POST") for _, request in server.requests) < 300


class MineError(Exception):
    """An error of ours."""


def test_a_reason_to_end_early_is_told_once_and_kept(tmp_path: Path) -> None:
    """What `on_tick` answers ends the run as complete; whoever watches hears why, the manifest
    keeps it.
    """
    with chat() as server:
        done, warnings = run(plan_to(server, 2000), tmp_path / "run", on_tick=lambda *_: "enough")
    assert warnings == ["the run ends early: enough"]
    assert (done.state, done.manifest.ended_early) == ("complete", "enough")
    assert (done.columns.samples["sent_ns"] < 0).any()


@LOOPS
def test_an_error_on_the_screen_ends_the_run_with_itself(loop: str, tmp_path: Path) -> None:
    """What `on_tick` raises comes out as it is, not as a group, and what was gathered stays
    readable.
    """

    def broken(now: int, _counters: object) -> None:
        if now > 50 * MS:
            raise MineError("screen")

    with chat() as server, pytest.raises(MineError, match="screen"):
        run(plan_to(server, 300), tmp_path / "run", loop, broken)
    assert len(Run(tmp_path / "run").columns) == 300


@LOOPS
@BOTH
@pytest.mark.parametrize("where", ["record", "fold"])
@pytest.mark.parametrize("answers", [True, False])
def test_an_error_while_recording_ends_the_run_and_does_not_hang(
    loop: str, transport: str, where: str, answers: bool, tmp_path: Path
) -> None:
    """A callback of ours that raises on the loop would leave its row under way for ever: the run
    ends with it.
    """

    class Broken:
        """Raises after a few calls; stands in for the journal's method."""

        calls = 0

        def __call__(self, *_: object, **__: object) -> None:
            self.calls += 1
            if self.calls > 1:
                raise MineError(where)

    async def main(server: ScriptedServer) -> None:
        url = server if answers else f"http://127.0.0.1:{unused_port()}/v1"
        plan = plan_to(url, 300, {"transport": transport}, max_in_flight=2)
        folder = RunWriter(tmp_path / "run", manifest_of([]), plan.schedule).folder
        player = Player(Work(plan.lanes, plan.schedule, folder, "r"), text())
        setattr(player.journal, where, Broken())
        player.journal.seal_every_s = 0.05  # what "fold" is called for
        with anyio.fail_after(PATIENCE_S):
            await player.play(lambda *_: None)

    with chat() as server, pytest.raises((MineError, ExceptionGroup)) as caught:
        on_loop(loop, lambda: main(server))
    first: BaseException = caught.value
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    assert (type(first), str(first)) == (MineError, where)


def test_a_stalled_client_is_noticed_and_condemns_nobody(tmp_path: Path) -> None:
    """A third of the time the loop stands still for 250 ms: responses show it, service does not,
    health says so, no FAIL.
    """
    stalled_until = 0

    def stall(now_ns: int, _counters: Any) -> None:
        nonlocal stalled_until
        if now_ns - stalled_until > 500 * MS:
            end = monotonic_ns() + 250 * MS
            while monotonic_ns() < end:
                pass
            stalled_until = now_ns + 250 * MS

    limit = Clause(metric="e2e", quantile=Fraction(9, 10), limit="100ms")
    with chat() as server:
        done, _ = run(plan_to(server, requests=300), tmp_path / "run", "uvloop", stall)
    summary, verdicts = review_json(done, Contract(title="t", name="t", clause=[limit]))  # type: ignore[call-arg]
    (found,) = summary["targets"].values()
    assert found["response_ms"]["e2e"]["p90"] > 100
    assert found["service_ms"]["e2e"]["p90"] < 100
    assert summary["health"]["state"] != "valid"
    assert verdicts["clauses"][0]["verdict"] == "INCONCLUSIVE"
