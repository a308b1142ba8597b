"""`tailproof ui` and a run that goes on: its events, its states, and what the run itself
comes to.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from bench.record.pieces import SegmentWriter
from bench.record.run_folder import RunWriter
from bench.record.samples import Outcome, Table
from tests.support.made_runs import fail, lane_of, manifest_of, samples_of, schedule_of
from tests.support.served import seen, served

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
from bench.cli import main
from bench.extras.ui.growing import Growing
from bench.extras.ui.server import PORT, listening, may_be_asked
from bench.extras.ui.so_far_figures import figures
from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[3]
STRINGS: dict[str, list[str]] = {"served_model": [], "served_region": [], "finish": [], "note": []}
SCENARIO = """
description = "A provider that loses a fifth"
[[gateway.model]]
name = "*"
pool = "one"
[[gateway.pool]]
name = "one"
e2e = { fixed = "50ms" }
[[gateway.timeline]]
pool = "one"
fault = "http_503"
share = "20%"
[truth]
says = "four in five answer after 50 ms"
[[stage]]
name = "only"
targets = ["pro"]
profile = "load.toml"
settle = "0s"
"""
LOAD = 'description = "steady"\nduration = "4s"\n[arrivals]\nkind = "constant"\nrate = "50/s"\n'


@pytest.fixture
def going_on(tmp_path: Path) -> tuple[RunWriter, Table]:
    """A run of 1,200 rows whose writer is this process, and what its rows will come to: 100 of them
    failures.
    """
    schedule = schedule_of(1200, 30, 1)
    samples = samples_of(schedule, 7)
    fail(samples, slice(200, 300), Outcome.http_5xx)
    writer = RunWriter(
        tmp_path / "results" / "live", manifest_of([lane_of("pro", 0, 30, 1200)], STRINGS), schedule
    )
    return writer, samples


def sealed(writer: RunWriter, samples: Table, first: int, end: int, worker: int = 0) -> None:
    """One more piece on disk, as a run's process leaves it."""
    SegmentWriter(writer.folder, worker).append(np.arange(first, end), samples[first:end], STRINGS)


def p99_ms(samples: Table) -> float:
    """By hand: response end-to-end time at the nearest rank of the rows that succeeded."""
    good = samples[samples["outcome"] == Outcome.ok]
    times = sorted((good["last_token_ns"] - good["due_ns"]).tolist())
    return float(times[-(-99 * len(times) // 100) - 1]) / 1e6


def shown_ms(text: str) -> float:
    """The number of a latency as it is shown."""
    shown = re.fullmatch(r"([\d.,]+) ms", text)
    assert shown, text
    return float(shown[1].replace(",", ""))


def test_a_growing_folder_is_read_piece_by_piece(going_on: tuple[RunWriter, Table]) -> None:
    """Counts and quantiles after each piece, warm-up in the one and not in the other; a piece is
    never read again.
    """
    writer, samples = going_on
    growing = Growing(writer.folder)
    assert (growing.now().state, growing.now().lanes[0].outcomes) == ("running", {})
    sealed(writer, samples, 0, 240)
    (lane,) = growing.now().lanes
    assert (lane.planned, lane.outcomes) == (1200, {"ok": 200, "http_5xx": 40})
    (writer.folder / "samples" / "w0-000000.npy").unlink()
    sealed(writer, samples, 240, 900, worker=1)
    standing = growing.now()
    assert standing.lanes[0].outcomes == {"ok": 800, "http_5xx": 100}
    assert standing.lanes[0].quantiles_ms["e2e"]["p99"] == pytest.approx(
        p99_ms(samples[120:900]), rel=1e-3
    )
    assert standing.elapsed_ns == samples["done_ns"][:900].max()
    sealed(writer, samples, 240, 900, worker=2)  # the same rows once more
    assert growing.now().lanes[0].ended == 900
    writer.finish("complete", samples, {"strings": STRINGS})
    assert growing.now().state == "complete"
    assert growing.now().lanes[0].outcomes == {"ok": 1100, "http_5xx": 100}


def test_a_run_that_goes_on_is_drawn_without_a_verdict(going_on: tuple[RunWriter, Table]) -> None:
    """Slices of time count the measured rows that ended by when they were due, the failed ones
    apart; the curve has no number from the share on that failed.
    """
    writer, samples = going_on
    growing = Growing(writer.folder)
    assert figures(growing.now()) == ""
    sealed(writer, samples, 0, 600)
    standing = growing.now()
    (lane,) = standing.lanes
    measured = samples[120:600]
    when = measured["due_ns"] * 60 // (lane.length_ns)
    failed = measured["outcome"] == Outcome.http_5xx
    assert lane.slices.requests == [int((when == part).sum()) for part in range(60)]
    assert lane.slices.failed == [int(failed[when == part].sum()) for part in range(60)]
    assert sum(lane.slices.failed) == 100
    numbers = [(share, ms) for share, ms in lane.curve if ms is not None]
    assert lane.curve[-1][1] is None
    assert numbers[-1][0] < 380 / 480 <= lane.curve[-1][0] + 1e-6
    answers = np.sort((measured["last_token_ns"] - measured["due_ns"])[~failed])
    for share, ms in numbers:
        at = int(np.ceil(share * 480 - 1e-3)) - 1
        assert (
            answers[max(at - 1, 0)] / 1e6 * 0.998 <= ms <= answers[min(at + 1, 379)] / 1e6 * 1.002
        )
    drawn = str(figures(standing))
    assert "How slow so far?" in drawn
    assert "When was it slow?" in drawn
    assert not any(word in drawn for word in ("PASS", "FAIL", "INCONCLUSIVE"))


def test_events_follow_a_run_until_it_is_sealed(going_on: tuple[RunWriter, Table]) -> None:
    """Each event holds what is on disk by then; the last says that the run is over, and the stream
    ends.
    """
    writer, samples = going_on
    with served(writer.folder.parent) as ui:
        listed = seen(ui.text("/"))
        assert (listed.rows[1][3], "/watch/live" in listed.links) == ("running", True)
        heard = ui.events("live")
        kind, said = next(heard)
        assert (kind, said["state"], said["lane-0-rows"], said["lane-0-e2e-p99"]) == (
            "standing",
            "running",
            "0 of 1,200",
            "–",
        )
        sealed(writer, samples, 0, 600)
        kind, said = next(event for event in heard if event[1]["lane-0-rows"] != "0 of 1,200")
        assert (kind, said["lane-0-rows"], said["lane-0-failed"]) == (
            "standing",
            "600 of 1,200",
            "100 http_5xx",
        )
        writer.finish("complete", samples, {"strings": STRINGS})
        kind, said = list(heard)[-1]
        assert (kind, said["state"], said["lane-0-rows"]) == ("over", "complete", "1,200 of 1,200")
        assert said["lane-0-ok"] == "91.67 %"
        assert shown_ms(said["lane-0-e2e-p99"]) == pytest.approx(p99_ms(samples[120:]), rel=2e-3)
        row = seen(ui.text("/watch/live")).rows[1]
        assert row[0:3] == ["pro", "1,200 of 1,200", "91.67 %"]


def test_a_run_that_goes_on_has_no_report_and_no_comparison(
    going_on: tuple[RunWriter, Table],
) -> None:
    """Its report leads to where it can be watched, its comparison to a sentence."""
    writer, _ = going_on
    with served(writer.folder.parent) as ui:
        answer = ui.answer("/report/live")
        assert (answer.status, answer.headers["Location"]) == (307, "/watch/live")
        page = ui.text("/compare", run=["live", "live"], baseline="live/pro", other="live/pro")
        assert "is still going on" in seen(page).alerts[0]


def test_a_run_whose_process_died_is_interrupted(going_on: tuple[RunWriter, Table]) -> None:
    """It says `running` and nobody holds it: so named in the list and by its events, which end, and
    it has a report.
    """
    writer, samples = going_on
    sealed(writer, samples, 0, 600)
    writer._let_go()
    with served(writer.folder.parent) as ui:
        assert seen(ui.text("/")).rows[1][3] == "interrupted"
        ((kind, said),) = ui.events("live")
        assert (kind, said["state"], said["lane-0-rows"]) == ("over", "interrupted", "600 of 1,200")
        assert "The run was interrupted" in ui.text("/report/live")


def test_a_torn_piece_ends_the_events_with_a_sentence(going_on: tuple[RunWriter, Table]) -> None:
    """The reader is told which file cannot be read, and the server lives on."""
    writer, _ = going_on
    (writer.folder / "samples" / "w0-000000.npy").write_bytes(b"\x93NUMPY torn")
    with served(writer.folder.parent) as ui:
        ((kind, said),) = ui.events("live")
        assert kind == "failure"
        assert "w0-000000.npy: cannot be read" in said["failure"]
        assert "cannot be read" in ui.text("/watch/live", 404)
        assert seen(ui.text("/")).rows[1][2].startswith("live\n")


def test_the_server_ends_on_a_signal_though_somebody_listens(
    going_on: tuple[RunWriter, Table],
) -> None:
    """Ctrl-C with an open stream: exit 0 and nothing on the standard error but the server's own
    notice.
    """
    writer, _ = going_on
    with served(writer.folder.parent) as ui:
        heard = ui.events("live")
        next(heard)
        ui.process.send_signal(signal.SIGINT)
        assert ui.process.wait(PATIENCE_S) == 0
        heard.close()


@pytest.mark.slow("a run in real time, watched over HTTP")
def test_a_real_run_is_watched_to_its_end(tmp_path: Path) -> None:
    """`tailproof run` on the embedded gateway: counts never fall, and the last event equals
    summary.json.
    """
    (tmp_path / "short.toml").write_text(SCENARIO)
    (tmp_path / "load.toml").write_text(LOAD)
    results = tmp_path / "results"
    results.mkdir()
    command = [
        sys.executable,
        "-m",
        "bench",
        "run",
        "short.toml",
        "--out",
        "results/live",
        "--quiet",
    ]
    with (
        served(results) as ui,
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as run,
    ):
        pause = threading.Event()
        while not (results / "live" / "run.json").exists():
            assert run.poll() is None
            pause.wait(0.02)
        heard = [said for _, said in ui.events("live")]
        run.wait(PATIENCE_S)
        counts = [int(said["lane-0-rows"].partition(" ")[0]) for said in heard]
        assert counts == sorted(counts)
        found = json.loads((results / "live" / "summary.json").read_text())["targets"]["pro"]
        assert (heard[-1]["state"], counts[-1]) == ("complete", found["requests"])
        assert heard[-1]["lane-0-failed"] == f"{found['outcomes']['http_5xx']} http_5xx"
        assert shown_ms(heard[-1]["lane-0-e2e-p99"]) == pytest.approx(
            found["response_ms"]["e2e"]["p99"], rel=0.01
        )


@pytest.mark.parametrize(
    ("header", "bound", "answered"),
    [
        ("runs.example:8765", "runs.example", True),
        ("127.0.0.1", "runs.example", True),
        ("evil.example", "::", False),
        ("192.0.2.7:8765", "::", True),
        ("[2001:db8::1]:8765", "::", True),
        ("192.0.2.7", "192.0.2.8", False),
    ],
)
def test_beyond_loopback_only_numbers_and_the_given_name_are_answered(
    header: str, bound: str, answered: bool
) -> None:
    """A rebinding attack needs a name of its own; whoever is bound to all addresses answers to
    numbers.
    """
    assert may_be_asked(header, bound) is answered


def test_a_taken_port_is_told_and_the_usual_one_makes_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --port the next free one is taken; a named one that is taken is the user's error.

    Beyond loopback is said.
    """
    with listening("127.0.0.1", None) as first, listening("127.0.0.1", None) as second:
        ports = [each.getsockname()[1] for each in (first, second)]
        assert PORT <= ports[0] < ports[1]
        assert main(["ui", str(tmp_path), "--host", "0.0.0.0", "--port", str(ports[0])]) == 2  # noqa: S104 refused
        said = capsys.readouterr().err
        assert "NOT loopback" in said
        assert f"0.0.0.0:{ports[0]}: cannot be listened on" in said
    assert main(["ui", str(tmp_path / "nowhere")]) == 2


def test_without_its_extra_the_command_names_it(tmp_path: Path) -> None:
    """An interpreter that cannot import the server ends with exit 2 and the line to install it."""
    program = (
        "import sys; sys.modules['uvicorn'] = None; from bench.cli import main;"
        " sys.exit(main(['ui', sys.argv[1]]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "pip install 'tailproof[ui]'" in ran.stderr
