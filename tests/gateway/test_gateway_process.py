"""The gateway as a process: its start, its end, and the truth it tells of itself."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.gateway.scenarios import load_scenario
from bench.gateway.virtual import Simulation
from bench.units import S
from tests.support.gateway_process import ROOT, GatewayProcess, chat_body, events, raw_request
from tests.support.patience import PATIENCE_S, STEP_S


def nearest_rank(values: list[int], share: float) -> float:
    """The plain definition, in ms."""
    return sorted(values)[math.ceil(len(values) * share) - 1] / 1e6


def test_ready_line_and_stop(start: Callable[..., GatewayProcess], scenario: str) -> None:
    """One JSON line says where and who; SIGTERM ends the process with 0, cutting open
    connections.
    """
    gateway = start("--scenarios", f"{scenario},vanity-average")
    assert gateway.ready == {
        "ready": True,
        "url": f"http://127.0.0.1:{gateway.port}",
        "pid": gateway.process.pid,
        "scenarios": ["menagerie", "vanity-average"],
    }
    with gateway.connect() as connection:
        connection.sendall(raw_request(chat_body("slow", stream=True)))
        connection.recv(1)
        assert gateway.stop() == (0, "")


def test_it_cannot_outlive_its_parent(start: Callable[..., GatewayProcess], scenario: str) -> None:
    """With --exit-with-parent the end of stdin ends the process."""
    gateway = start("--scenarios", scenario, "--exit-with-parent", stdin=subprocess.PIPE)
    assert gateway.chat("plain", tokens=1)[0] == 200
    stdin, gateway.process.stdin = gateway.process.stdin, None
    assert stdin is not None
    stdin.close()
    assert gateway.process.wait(STEP_S) == 0


def test_other_than_loopback_is_said_loudly(
    start: Callable[..., GatewayProcess], scenario: str
) -> None:
    """Bound to every address it works, and warns on stderr."""
    gateway = start("--scenarios", scenario, "--host", "0.0.0.0")  # noqa: S104
    _, errors = gateway.stop()
    assert "WARNING" in errors
    assert "NOT loopback" in errors


def test_by_hand_without_a_name_all_are_served() -> None:
    """`tailproof gateway` without --scenario serves every built-in scenario that it lists, and no
    census.
    """
    words = [sys.executable, "-m", "bench", "gateway"]
    listed = subprocess.run(
        [*words, "--list", "--format", "json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    ).stdout
    with subprocess.Popen(
        [*words, "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        served = json.loads(process.stdout.readline())["scenarios"]
        process.terminate()
    assert served == list(json.loads(listed)["scenarios"])
    assert "premium-placebo" in served
    assert "written-uptime" not in served


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scenarios", "vanity-averag"], "did you mean vanity-average"),
        (["--scenarios", "vanity-average,vanity-average"], "different names"),
        (["--scenarios", "vanity-average", "--request-timeout", "5"], "not a duration"),
        (["--scenarios", "vanity-average", "--host", "203.0.113.1"], "cannot listen on"),
        (
            ["--scenarios", "vanity-average", "--truth-log", "no/such/folder"],
            "--truth-log no/such/folder: cannot be written",
        ),
        (["--scenarios", "written-uptime"], "nothing to serve"),
    ],
)
def test_bad_arguments(arguments: list[str], words: str) -> None:
    """A bad name or address is one sentence on stderr and exit 2."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.gateway", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_truth_equals_the_log(
    start: Callable[..., GatewayProcess], scenario: str, tmp_path: Path
) -> None:
    """Quantiles and counts of /truth are those of the log's own lines; each request is one line."""
    log = tmp_path / "truth.jsonl"
    gateway = start("--scenarios", scenario, "--truth-log", str(log))
    for model, stream, tokens in [
        ("plain", True, 9),
        ("plain", True, 5),
        ("plain", False, 5),
        ("Pro/plain", True, 1),
        ("http_500", True, 1),
        ("nobody", True, 1),
        ("slow_tail", True, 3),
    ]:
        gateway.chat(model, stream=stream, tokens=tokens)
    facts = gateway.truth()
    assert gateway.stop() == (0, "")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["number"] for line in lines] == list(range(1, 8))
    assert facts["all"]["by_outcome"] == {"faulted": 1, "ok": 5, "refused": 1}
    assert facts["all"]["by_status"] == {"200": 5, "404": 1, "500": 1}
    for name, of in [
        ("all", lines),
        ("plain", [line for line in lines if line["model"] == "plain"]),
    ]:
        told = facts["all"] if name == "all" else facts["models"][name]
        for key in ("ttft", "e2e"):
            values = [
                line[f"{key}_ns"]
                for line in of
                if line["outcome"] == "ok" and line[f"{key}_ns"] is not None
            ]
            assert told[f"{key}_ms"]["n"] == len(values)
            assert told[f"{key}_ms"]["max"] == max(values) / 1e6
            assert told[f"{key}_ms"]["mean"] == pytest.approx(sum(values) / len(values) / 1e6)
            for share, quantile in [(0.5, "p50"), (0.9, "p90"), (0.99, "p99")]:
                assert told[f"{key}_ms"][quantile] == nearest_rank(values, share)


def test_plan_is_the_law_and_nothing_is_early(
    start: Callable[..., GatewayProcess], scenario: str, tmp_path: Path
) -> None:
    """Fixed laws are planned to the ns (30 ms, then 5 ms a token); no write comes before
    its plan.
    """
    log = tmp_path / "truth.jsonl"
    gateway = start("--scenarios", scenario, "--truth-log", str(log))
    for tokens in (1, 2, 9):
        gateway.chat("plain", stream=True, tokens=tokens)
    gateway.stop()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["planned_ttft_ns"] for line in lines] == [30_000_000] * 3
    assert [line["planned_e2e_ns"] for line in lines] == [30_000_000, 35_000_000, 70_000_000]
    assert all(line["ttft_ns"] >= line["planned_ttft_ns"] for line in lines)
    assert all(line["e2e_ns"] >= line["planned_e2e_ns"] for line in lines)


def test_reset_begins_the_scenario_again(
    start: Callable[..., GatewayProcess], tmp_path: Path
) -> None:
    """After a reset counts begin at nothing and the same draws come again."""
    path = tmp_path / "drawn.toml"
    path.write_text(
        'description = "d"\nseed = 4\n[[gateway.model]]\nname = "*"\npool = "p"\n[[gateway.pool]]\n'
        'name = "p"\ne2e = { exponential = "5ms" }\n[truth]\nsays = "drawn"\n'
    )
    log = tmp_path / "truth.jsonl"
    gateway = start("--scenarios", str(path), "--truth-log", str(log))
    for _ in range(2):
        for _ in range(5):
            gateway.chat("m", stream=True)
        assert gateway.truth("/drawn")["all"]["requests"] == 5
        assert json.loads(gateway.call("POST", "/drawn/reset")[2]) == {"reset": "drawn"}
        assert gateway.truth("/drawn")["all"]["requests"] == 0
    gateway.stop()
    planned = [json.loads(line)["planned_e2e_ns"] for line in log.read_text().splitlines()]
    assert planned[:5] == planned[5:]
    assert len(set(planned)) == 5


LIVE = """
description = "one law and one batch"
seed = 8
[[gateway.model]]
name = "law"
pool = "law"
[[gateway.model]]
name = "batch"
pool = "batch"
[[gateway.pool]]
name = "law"
e2e = { exponential = "20ms" }
[[gateway.pool]]
name = "batch"
[gateway.pool.batch]
sequences = 4
step = "10ms"
per_sequence = "1ms"
prefill_per_token = "100us"
prefix_blocks = 4
prefix_block = 16
[truth]
says = "as drawn, and as the load has it"
"""


def test_live_and_virtual_are_the_same_model(
    start: Callable[..., GatewayProcess], tmp_path: Path
) -> None:
    """The same requests have the same planned times live as in virtual time; a batch has its time
    by hand.
    """
    path, log = tmp_path / "live.toml", tmp_path / "truth.jsonl"
    path.write_text(LIVE)
    gateway = start("--scenarios", str(path), "--truth-log", str(log))
    answers = [gateway.chat("law", tokens=3, stream=stream) for stream in (True, False, True)]
    assert {answer[0] for answer in answers} == {200}
    prompt = "word " * 50
    batched = [
        gateway.chat(
            "batch", tokens=3, prompt=prompt, stream=True, stream_options={"include_usage": True}
        )[2]
        for _ in range(2)
    ]
    gateway.stop()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    drawn: dict[int, int] = {}
    simulation = Simulation(
        load_scenario(str(path)).gateway,
        8,
        lambda at, how: drawn.update({at: how.last_ns - at}),
        timeout_ns=60 * S,
    )
    for at in range(3):
        simulation.request(at * S, at * S, "law", 3, 3)
    simulation.finish()
    assert [line["planned_e2e_ns"] for line in lines[:3]] == list(drawn.values())
    # 10 + 5 ms to read 50 tokens, or 10 + 0.2 where 48 of them are known, then two steps of 10 + 1
    # ms
    assert [line["planned_ttft_ns"] for line in lines[3:]] == [15_000_000, 10_200_000]
    assert [line["planned_e2e_ns"] for line in lines[3:]] == [37_000_000, 32_200_000]
    assert [
        events(body)[-2]["usage"]["prompt_tokens_details"]["cached_tokens"] for body in batched
    ] == [0, 48]
    assert [len(events(body)) for body in batched] == [7, 7]


def test_streams_share_a_batch(start: Callable[..., GatewayProcess], tmp_path: Path) -> None:
    """Eight streams on four places all end, each with its tokens, the later ones after the
    first.
    """
    path, log = tmp_path / "live.toml", tmp_path / "truth.jsonl"
    path.write_text(LIVE)
    gateway = start("--scenarios", str(path), "--truth-log", str(log))
    with ExitStack() as stack:
        clients = [stack.enter_context(gateway.connect()) for _ in range(8)]
        for client in clients:
            client.sendall(raw_request(chat_body("batch", tokens=5, stream=True)))
        received = [b""] * 8
        for index, client in enumerate(clients):
            while b"[DONE]" not in received[index]:
                received[index] += client.recv(65536)
    gateway.stop()
    assert {body.count(b'"content":" ') for body in received} == {5}
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["ok"] * 8
    # one step to read and four to say the rest: nobody who had to wait can have had a first token
    # before that
    assert sorted(line["ttft_ns"] >= 50_000_000 for line in lines) == [False] * 4 + [True] * 4


def test_a_change_while_it_runs(start: Callable[..., GatewayProcess], scenario: str) -> None:
    """A change sent to a running scenario holds from then on; one that cannot hold is refused with
    a reason.
    """
    gateway = start("--scenarios", scenario)
    assert gateway.chat("plain", tokens=1)[0] == 200
    status, _, body = gateway.call("POST", "/change", {"region": "eu-1", "outage": True})
    assert (status, json.loads(body)["changed"]) == (200, "menagerie")
    assert gateway.chat("plain", tokens=1)[0] == 503
    assert gateway.chat("slow_tail", tokens=1)[0] == 200
    for change, words in [
        ({"pol": "plain", "outage": True}, "did you mean 'pool'"),
        ({"pool": "x", "outage": True}, "does not exist"),
        (b"{", "Expecting"),
        ([], ""),
    ]:
        status, _, body = gateway.call("POST", "/change", change)
        assert status == 400
        assert words in json.loads(body)["error"]["message"]


def test_a_reset_lets_go_of_what_is_under_way(
    start: Callable[..., GatewayProcess], scenario: str, tmp_path: Path
) -> None:
    """A stream that began before a reset ends as planned, in the log and not in the new counts."""
    log = tmp_path / "truth.jsonl"
    gateway = start("--scenarios", scenario, "--truth-log", str(log))
    with gateway.connect() as connection:
        connection.sendall(raw_request(chat_body("plain", tokens=40, stream=True)))
        connection.recv(1)
        gateway.call("POST", "/reset")
        received = b""
        while b"[DONE]" not in received:
            received += connection.recv(65536)
    assert received.count(b'"content":" ') == 40
    assert gateway.truth()["all"]["requests"] == 0
    gateway.stop()
    (line,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert (line["outcome"], line["output_tokens"]) == ("ok", 40)


def test_descriptors_are_given_back(menagerie: GatewayProcess) -> None:
    """A hundred clients that come and go leave no descriptor behind."""
    folder = Path(f"/proc/{menagerie.process.pid}/fd")
    if not folder.is_dir():
        pytest.skip("this platform has no /proc")
    menagerie.call("GET", "/v1/models")
    for _ in range(100):
        menagerie.connect().close()
    # the answer to a last request comes after the closes before it have been seen
    menagerie.call("GET", "/v1/models")
    assert len(list(folder.iterdir())) < 60
