"""Standard streams that are closed, cut off, full, or of few letters."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import streams
from tests.support.patience import PATIENCE_S
from tests.support.status_by_turn import provider

ROOT = Path(__file__).parents[2]
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="the system has no full device")


def stream_on(descriptor: int, encoding: str = "utf-8") -> io.TextIOWrapper:
    """As Python makes standard output."""
    return io.TextIOWrapper(os.fdopen(descriptor, "wb", closefd=False), encoding)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437", "koi8-r"])
def test_a_stream_that_is_not_unicode_gets_plain_letters(tmp_path: Path, encoding: str) -> None:
    with (tmp_path / "out").open("wb") as file:
        out = streams.settled(stream_on(file.fileno(), encoding))
        out.write("p99 ≤ 5 µs · Zoë → 日\udce9\n")
        out.flush()
    assert (tmp_path / "out").read_bytes() == b"p99 <= 5 us - Zoe -> ??\n"


def test_letters_are_put_into_bytes_alone() -> None:
    """The handler mends what is written; bytes that cannot be read are nobody's letters."""
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("utf-8", streams._HANDLER)
    assert "½ ≤".encode("ascii", streams._HANDLER) == b"12 <="
    with pytest.raises(LookupError):
        codecs.lookup("tailproof-nothing")
    assert codecs.lookup(streams._ASCII).decode(b"a")[0] == "a"


def test_unicode_stays_and_a_name_that_is_none_is_marked(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        out = streams.settled(stream_on(file.fileno()))
        out.write("≤ 日\udce9")
        out.flush()
    assert (tmp_path / "out").read_bytes() == "≤ 日?".encode()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_says_the_same_in_every_encoding(encoding: str) -> None:
    value = {"name": "Zoë 日 \U0001f600 ≤"}
    out = io.TextIOWrapper(io.BytesIO(), encoding)
    text = streams.json_for(out, json.dumps(value, ensure_ascii=False))
    assert json.loads(text.encode(encoding)) == value


@needs_full
def test_what_a_full_disk_takes_is_kept_as_the_failure() -> None:
    with FULL.open("wb") as full:
        out = streams.settled(stream_on(full.fileno()))
        for _ in range(3):
            out.write("x" * 100_000)
        failure = streams.failure_of(out)
    assert failure is not None
    assert failure.strerror == "No space left on device"


def test_a_reader_that_left_is_no_failure() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    out = streams.settled(stream_on(writing))
    out.write("x" * 100_000)
    assert streams.failure_of(out) is None
    os.close(writing)


def test_a_descriptor_closed_under_us_is_let_go() -> None:
    reading, writing = os.pipe()
    out = streams.settled(stream_on(writing))
    os.close(reading)
    os.close(writing)
    out.write("x")
    failure = streams.failure_of(out)
    assert failure is not None
    assert "Bad file" in str(failure.strerror)


def test_a_stream_of_somebody_else_is_left_alone() -> None:
    mine = io.StringIO()
    assert streams.settled(mine) is mine


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """A command line of bash, in which TP is the command."""
    words = line.replace("TP", f"'{sys.executable}' -m bench")
    return subprocess.run(
        ["bash", "-c", words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


@needs_full
@pytest.mark.parametrize(
    ("line", "code"),
    [("TP profiles > /dev/full", 74), ("TP profiles >&-", 0), ("TP profiles 2>&- <&- | wc -l", 0)],
)
def test_what_is_printed_alone_fails_when_the_disk_is_full(line: str, code: int) -> None:
    ended = shell(line)
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr
    if code:
        assert re.fullmatch(r"tailproof: standard output cannot be written \(.+\)\n", ended.stderr)


@pytest.mark.slow("two runs in processes of their own")
@needs_full
def test_a_run_is_whole_with_no_standard_streams_and_a_full_disk_for_its_log(
    tmp_path: Path,
) -> None:
    closed, full = tmp_path / "closed", tmp_path / "full"
    size = "--request-rate 50 --request-count 4 --isl 8 --osl 1 --yes"
    with provider(lambda _: 200) as (url, _):
        run = f"TP run --url {url} --model m {size} --workers 2 --slo 'uptime>=99%'"
        ended = shell(
            f"{run} --out {closed} >&- 2>&- <&- & {run} --out {full} > /dev/full 2> /dev/full;"
            " a=$?; wait $!; exit $((a * 16 + $?))"
        )
    # four requests decide no uptime of 99 %
    assert (ended.returncode // 16, ended.returncode % 16) == (3, 3)
    assert (closed / "report.html").exists()
    assert (full / "report.html").exists()


def test_a_terminal_that_closes_does_not_end_what_plays() -> None:
    before = signal.getsignal(signal.SIGHUP)
    try:
        streams.outlive_terminal()
        os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_takes_nothing_holds_nothing_that_plays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More is printed than a stopped terminal holds; once it is read, it shows what comes then.

    The shell's own descriptor of it goes on to block.
    """
    screen, terminal = pty.openpty()
    shells = os.dup(terminal)
    out = streams.settled(stream_on(terminal))
    monkeypatch.setattr(sys, "stdout", out)
    before = signal.getsignal(signal.SIGHUP)
    try:
        streams.outlive_terminal()
        for _ in range(300):
            print("x" * 1000, flush=True)
        assert streams.failure_of(out) is None
        os.set_blocking(screen, False)
        with contextlib.suppress(BlockingIOError):
            while os.read(screen, 1 << 16):
                pass
        print("last", flush=True)
        select.select([screen], [], [], PATIENCE_S)
        assert os.read(screen, 1 << 16).endswith(b"last\r\n")
        assert os.get_blocking(shells)
    finally:
        signal.signal(signal.SIGHUP, before)
        for descriptor in (screen, terminal, shells):
            os.close(descriptor)
