"""What a process may use of its machine; the answers of other systems are laid out as files."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import machine
from bench.errors import UserError


def grouped(folder: Path, line: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A /proc and a /sys/fs/cgroup."""
    (folder / "proc" / "self").mkdir(parents=True)
    (folder / "proc" / "self" / "cgroup").write_text(line)
    for name, text in files.items():
        path = folder / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "proc", folder / "groups"


@pytest.mark.parametrize(
    ("line", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 16),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "350000 100000"}, 3),
        ("0::/a\n", {"a/cpu.max": "50000 100000"}, 1),
        # named as the host sees it, mounted as the container does
        ("0::/kubepods/pod1/c1\n", {"cpu.max": "400000 100000"}, 4),
        ("0::/../../x\n", {"cpu.max": "400000 100000"}, 4),
        (
            "4:cpu,cpuacct:/d\n1:memory:/d\n",
            {
                "cpu,cpuacct/d/cpu.cfs_quota_us": "100000",
                "cpu,cpuacct/d/cpu.cfs_period_us": "50000",
            },
            2,
        ),
        (
            "4:cpu:/d\n0::/\n",
            {"cpu/d/cpu.cfs_quota_us": "-1\n", "cpu/d/cpu.cfs_period_us": "100000\n"},
            16,
        ),
        ("0::/\n", {"cpu.max": "rubbish"}, 16),
        ("rubbish", {}, 16),
    ],
)
def test_cores_by_quota(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    files: dict[str, str],
    cores: int,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert machine.cores(*grouped(tmp_path, line, files)) == cores


def test_cores_by_affinity_and_where_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 9}, raising=False)
    assert machine.cores(tmp_path, tmp_path) == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert machine.cores(tmp_path, tmp_path) == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cores(tmp_path, tmp_path) == 1


class Limits:
    """A kernel's limits: the soft one may be raised to at most `bound`."""

    RLIM_INFINITY, RLIMIT_NOFILE = resource.RLIM_INFINITY, 7

    def __init__(self, soft: int, hard: int, bound: int):
        self.now, self.bound = (soft, hard), bound

    def getrlimit(self, _: int) -> tuple[int, int]:
        return self.now

    def setrlimit(self, _: int, wanted: tuple[int, int]) -> None:
        if wanted[0] == self.RLIM_INFINITY or wanted[0] > self.bound:
            raise ValueError("current limit exceeds maximum limit")
        self.now = wanted


INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "bound", "limit"),
    [
        (1024, 4096, 4096, 4096),
        (4096, 4096, 4096, 4096),
        (1024, INFINITE, 1 << 20, 1 << 20),
        (256, INFINITE, 10_240, 10_240),  # macOS
        (20_000, INFINITE, 10_240, 20_000),
        (1024, 1 << 30, 1024, 1024),  # a limit that the kernel does not let us reach
    ],
)
def test_descriptor_limits(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, bound: int, limit: int
) -> None:
    monkeypatch.setattr(machine, "_resource", Limits(soft, hard, bound))
    assert machine.raise_descriptor_limit() == limit


def test_an_unlimited_limit_is_not_minus_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_resource", Limits(INFINITE, INFINITE, 0))
    assert machine.descriptor_limit() == machine.raise_descriptor_limit() == sys.maxsize


def test_without_unix_what_plays_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    machine.refuse_without_unix("run")
    monkeypatch.setattr(machine, "_fcntl", None)
    with pytest.raises(UserError, match=r"tailproof run: runs on Linux and macOS.*WSL 2"):
        machine.refuse_without_unix("run")
    assert machine.lock(0)


def test_a_user_without_name_and_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nameless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", staticmethod(nameless))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert machine.cache_folder() is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert machine.cache_folder() == tmp_path


def test_temporary_files_stand_with_the_results_where_there_is_no_other_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    kept = SimpleNamespace(gettempdir=nowhere, tempdir=None)
    monkeypatch.setattr(machine, "tempfile", kept)
    machine.temporary_files_in(tmp_path)
    assert kept.tempdir == str(tmp_path)
