"""Runs whose results lie on a disk that is really full, or really read-only: mounts of their own,
real processes.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bench.cli import main
from bench.clock import monotonic_ns
from bench.record.run_folder import Run
from bench.record.samples import Outcome
from benchmarks.kills import said
from tests.support.patience import PATIENCE_S, until
from tests.support.provider import Provider
from tests.support.pulse import Pulse

SIZE = "4m"


class Disk:
    """A small file system that only processes of its own mount namespace see; `seen` is the way
    there for the others.
    """

    def __init__(self, folder: Path):
        """Skips the test where this machine lets nobody mount."""
        if shutil.which("unshare") is None or shutil.which("nsenter") is None:
            pytest.skip("no unshare and nsenter here (util-linux)")
        folder.mkdir()
        mount = 'mount -t tmpfs -o size="$1" tmpfs "$2" && echo mounted && exec cat'
        refused = ""
        for user in ([], ["--user", "--map-root-user"]):
            self._room = subprocess.Popen(
                ["unshare", *user, "--mount", "sh", "-c", mount, "sh", SIZE, str(folder)],
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            assert self._room.stdout is not None
            if self._room.stdout.readline():
                break
            refused = self._room.communicate()[1].strip()
        else:
            pytest.skip(f"no mount namespace here: {refused}")
        enter = ["nsenter", "--target", str(self._room.pid), "--mount"]
        self._enter = [*enter, *(["--user", "--preserve-credentials"] if user else []), "--"]
        self.folder, self.seen = folder, Path(f"/proc/{self._room.pid}/root{folder}")

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A process that sees the disk."""
        return subprocess.Popen(
            [*self._enter, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def remount(self, how: str) -> bool:
        """`ro` or `rw`; False while a file is being written."""
        process = self.start("mount", "-o", f"remount,bind,{how}", str(self.folder))
        process.communicate(timeout=PATIENCE_S)
        return process.returncode == 0

    def fill(self) -> None:
        """Take every block there is."""
        with (
            (self.seen / "ballast").open("ab", buffering=0) as ballast,
            contextlib.suppress(OSError),
        ):
            while True:
                ballast.write(bytes(4096))

    def end(self) -> None:
        """Let go of it."""
        self._room.communicate(timeout=PATIENCE_S)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 4 MiB."""
    made = Disk(tmp_path / "disk")
    yield made
    made.end()


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A server that writes down what it answered."""
    server = Provider()
    yield server
    server.shutdown()
    server.server_close()


def command(provider: Provider, disk: Disk, *more: str) -> list[str]:
    """`run` against the server, into the disk."""
    return [
        "run",
        "--url",
        f"http://127.0.0.1:{provider.server_port}/v1",
        "--model",
        "m",
        "--request-rate",
        "60/s",
        "--isl",
        "10",
        "--osl",
        "3",
        "--duration",
        "4s",
        "--slo",
        "e2e:p90<500ms",
        "--quiet",
        "--out",
        str(disk.folder / "r"),
        *more,
    ]


def broken_off(
    provider: Provider, disk: Disk, spoil: Callable[[], object], *more: str
) -> tuple[int, str]:
    """A run whose disk is spoilt again and again after 60 answers; (what was answered before this
    moment was on disk when it first was, what it said).

    It ends with exit 2.
    """
    process = disk.start(sys.executable, "-m", "bench", *command(provider, disk, *more))
    with Pulse() as pulse:
        until(lambda: len(provider.answered) >= 60)
        moment = monotonic_ns()
        until(lambda: [spoil(), process.poll() is not None][1])
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2, output
    return moment - pulse.loss_ns, output


def sentences(output: str) -> list[str]:
    """What was said: lines of ours and nothing else, so no traceback."""
    lines = output.strip().splitlines()
    assert all(line.startswith("tailproof: ") for line in lines), output
    return lines


def nothing_is_lost(provider: Provider, disk: Disk, before_ns: int) -> None:
    """What had been answered before that moment is on the disk, in a run that broke off."""
    run = Run(disk.seen / "r")
    ok = {*np.flatnonzero(run.columns.samples["outcome"] == Outcome.ok).tolist()}
    assert {row for row, at_ns in provider.answered.items() if at_ns < before_ns} <= ok
    assert run.state == "interrupted"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_disk_that_fills_up_ends_the_run_with_a_sentence(
    workers: str, provider: Provider, disk: Disk
) -> None:
    """Exit 2, the file and the remedy; what was sealed stays, and is reported as soon as there is
    room.
    """
    before_ns, output = broken_off(provider, disk, disk.fill, "--workers", workers)
    assert all(
        "cannot be written (No space left on device); free some space" in line
        for line in sentences(output)
    )
    assert f"{disk.folder}/r/" in output
    assert len(sentences(output)) == 1 or workers == "2"
    nothing_is_lost(provider, disk, before_ns)
    code, output = said("report", str(disk.seen / "r"))
    assert (code, len(sentences(output))) == (2, 1)
    assert "r/summary.json: cannot be written (No space left on device); free some space" in output
    (disk.seen / "ballast").unlink()
    assert main(["report", str(disk.seen / "r")]) == 0
    assert "the record ends" in (disk.seen / "r" / "report.md").read_text().lower()
    assert main(["verify", str(disk.seen / "r")]) == 0
    nothing_is_lost(provider, disk, before_ns)


def test_results_that_become_read_only_end_the_run_with_a_sentence(
    provider: Provider, disk: Disk
) -> None:
    """Exit 2, the file and the remedy; it can be verified as it is, a copy reported, and once it is
    writable gone on with.
    """
    before_ns, output = broken_off(provider, disk, lambda: disk.remount("ro"))
    (line,) = sentences(output)
    assert f"{disk.folder}/r/" in line
    assert (
        "cannot be written (Read-only file system); make it writable, or choose another folder"
        in line
    )
    nothing_is_lost(provider, disk, before_ns)
    code, output = said("report", str(disk.seen / "r"))
    assert (code, len(sentences(output))) == (2, 1)
    assert main(["verify", str(disk.seen / "r")]) == 0
    copy = disk.folder.with_name("copy")
    shutil.copytree(disk.seen / "r", copy)
    assert main(["report", str(copy)]) == 0
    until(lambda: disk.remount("rw"))
    assert main(["resume", str(disk.seen / "r"), "--quiet"]) in (0, 1, 3, 4)
    assert Run(disk.seen / "r").state == "complete"
    assert {len(moments) for moments in provider.asked.values()} == {1}


@pytest.mark.parametrize(
    ("spoilt", "refusal"),
    [
        ("full", "/r/schedule.npy: cannot be written (No space left on device); free some space"),
        (
            "read-only",
            (
                "/r: cannot be written (Read-only file system); make it writable, or choose another"
                " folder"
            ),
        ),
    ],
    ids=["full", "read-only"],
)
def test_a_disk_that_takes_nothing_is_refused_before_anything_is_sent(
    spoilt: str, refusal: str, provider: Provider, disk: Disk
) -> None:
    """Exit 2 with the place and the remedy, no request, and nothing left behind."""
    if spoilt == "full":
        disk.fill()
    else:
        until(lambda: disk.remount("ro"))
    process = disk.start(sys.executable, "-m", "bench", *command(provider, disk))
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, sentences(output)) == (2, [f"tailproof: {disk.folder}{refusal}"])
    assert provider.asked == {}
    assert not (disk.seen / "r").exists()
