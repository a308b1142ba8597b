"""What this process may use of the machine it runs on: cores, descriptors, locks, a home.

In: the system's limits, control groups and environment. Out: numbers and paths. Must stay true: a
limit that cannot be read limits nothing; what Unix alone has is imported here and nowhere else, so
that what only reads files works without it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from bench.errors import UserError

_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
#: Soft limits to try where the hard one is unlimited: the kernel's own bounds on Linux
#: (fs.nr_open by default) and macOS (OPEN_MAX).
_MANY_DESCRIPTORS = (1 << 20, 10_240)


def _unix_module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_fcntl, _resource = _unix_module("fcntl"), _unix_module("resource")


def is_unix() -> bool:
    """Whether runs can be played here: their folders need locks, their sockets limits."""
    return _fcntl is not None and _resource is not None


def refuse_without_unix(command: str) -> None:
    """Raises UserError for what plays or serves runs, on a system that is no Unix."""
    if not is_unix():
        raise UserError(
            f"runs on Linux and macOS, and this is {sys.platform}: it has no Unix locks and limits",
            where=f"tailproof {command}",
            remedy=(
                "use WSL 2 or a Linux container; plan, judge, report, compare, verify and export"
                " work here"
            ),
        )


def lock(descriptor: int, *, shared: bool = False) -> bool:
    """Take a file's or folder's lock; False where another process holds it.

    Without Unix nothing can hold one, since nothing plays runs.
    """
    if _fcntl is None:
        return True
    try:
        kind = _fcntl.LOCK_SH if shared else _fcntl.LOCK_EX
        _fcntl.flock(descriptor, kind | _fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def cores(proc: Path = _PROC, groups: Path = _GROUPS) -> int:
    """How many cores this process may keep busy: the machine's, those it is bound to, and the
    quota of its control groups, whichever is least.
    """
    counts = [os.cpu_count() or 1]
    with contextlib.suppress(AttributeError, OSError):  # macOS binds no process to cores
        counts.append(len(os.sched_getaffinity(0)))
    counts += (max(1, int(quota)) for quota in _quotas(proc, groups))
    return max(1, min(counts))


def load_per_core() -> float | None:
    """Programs that want a core, of each core, over the last minute; None where it is not told."""
    try:
        return round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)
    except (AttributeError, OSError):  # Windows
        return None


def _quotas(proc: Path, groups: Path) -> Iterator[float]:
    """Cores that each control group above this process allows; a group may be tighter than those
    within it.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        names = controllers.split(",")
        if controllers and "cpu" not in names:
            continue
        # A container sees its own group as the root of the mount, but may be named by its path.
        within = PurePosixPath("/", *(part for part in PurePosixPath(path).parts if part != ".."))
        for group in (within, *within.parents):
            for mount in (controllers, "cpu") if controllers else ("",):
                quota = _quota(groups / mount / str(group).lstrip("/"), version_2=not controllers)
                if quota is not None:
                    yield quota


def _quota(group: Path, *, version_2: bool) -> float | None:
    try:
        if version_2:
            quota, period = (group / "cpu.max").read_text("utf-8").split()
        else:
            quota, period = (
                (group / f"cpu.cfs_{name}_us").read_text("utf-8") for name in ("quota", "period")
            )
        cores_of = float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max" is no number: no limit
        return None
    return cores_of if cores_of > 0 else None


def descriptor_limit() -> int:
    """How many files and sockets this process may have open."""
    if _resource is None:
        return sys.maxsize
    soft = int(_resource.getrlimit(_resource.RLIMIT_NOFILE)[0])
    return sys.maxsize if soft == _resource.RLIM_INFINITY else soft


def raise_descriptor_limit() -> int:
    """Raise it as far as a process without privileges may; returns the limit."""
    if _resource is None:
        return sys.maxsize
    now, hard = descriptor_limit(), int(_resource.getrlimit(_resource.RLIMIT_NOFILE)[1])
    steps = (hard, *_MANY_DESCRIPTORS) if hard == _resource.RLIM_INFINITY else (hard,)
    for wanted in steps:
        if wanted == hard or wanted > now:
            with contextlib.suppress(ValueError, OSError):  # more than the kernel gives
                _resource.setrlimit(_resource.RLIMIT_NOFILE, (wanted, hard))
                break
    return descriptor_limit()


def home() -> Path | None:
    """The user's home; None for a user without a name, or without one."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def cache_folder() -> Path | None:
    """Where this user's programs keep what can be made again; None where there is no home."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():  # a relative one is to be ignored, says its specification
        return named
    at = home()
    return None if at is None else at / ".cache"


def temporary_files_in(folder: Path) -> None:
    """Put temporary files into `folder` where the system has no place for them: a container whose
    root is read-only and that mounts the folder of its results alone.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        tempfile.tempdir = str(folder)
