"""What a watch makes of its folders while it goes on: records, events, the user's hook.

In: a watch's folder, jobs in a queue. Out: where each target stands; lines in watch.jsonl; calls of
the hook. Must stay true: everything follows from the run folders, nothing else is kept;
this is one thread of its own, so neither reading nor a slow hook delays a probe; a hook that fails
or hangs is a line in the log, never the end of the watch; a run that cannot be read is named.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from zoneinfo import ZoneInfo

from bench.clock import sleep_s, utc_text, wall_ns
from bench.errors import RunFolderError, UserError
from bench.judge.census.periods import spans
from bench.judge.census.standing import (
    before,
    changes,
    joined,
    lane_logs,
    standing,
    with_period,
)
from bench.machine import lock
from bench.plan.contract import Contract
from bench.record.files import refuse_foreign
from bench.record.records.watch import (
    Outages,
    TargetStanding,
    Today,
    WatchEvent,
    WatchStatus,
)
from bench.record.request_log import RequestLog
from bench.record.run_folder import Run, read_manifest
from bench.units import S

#: The hook is killed after this.
HOOK_S = 30.0
#: What it is called for.
HOOKED = ("breach", "recovery", "outage", "outage_end", "budget")
#: A target that was not probed for so long is not known to be well.
STALE_NS = 3600 * S
LOG = "watch.jsonl"
LOCK = "watch.lock"
Logs = dict[str, RequestLog]


def zone_of(contract: Contract | None) -> ZoneInfo:
    """Where the days of a watch begin: the zone of the contract's period, else UTC."""
    return ZoneInfo((contract and contract.period and contract.period.time_zone) or "UTC")


def day_of(moment_ns: int, zone: ZoneInfo) -> tuple[str, int, int]:
    """(name, first moment, first moment of the next day) of the day that holds a moment;
    Unix ns.
    """
    day = datetime.fromtimestamp(moment_ns // S, zone).date()
    edges = (
        datetime(each.year, each.month, each.day, tzinfo=zone)
        for each in (day, day + timedelta(days=1))
    )
    start, end = (int(edge.timestamp()) * S for edge in edges)
    return day.isoformat(), start, end


@contextmanager
def only_watch(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which dies with this process.

    Raises UserError while another watch holds it, and for a folder of foreign files.
    """
    if not any((folder / name).exists() for name in (LOCK, LOG)):
        refuse_foreign(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = (folder / LOCK).open("a")
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror})", where=str(folder)) from None
    with handle:
        for _ in range(3):  # `--status` holds it for a moment while it looks
            if lock(handle.fileno()):
                break
            sleep_s(0.1)
        else:
            raise UserError(
                "another watch writes to this folder",
                where=str(folder),
                remedy="choose another --out",
            )
        yield


def watched_now(folder: Path) -> bool:
    """True while a watch holds the folder."""
    with (folder / LOCK).open("a") as handle:
        return not lock(handle.fileno())


@dataclass
class WatchedRuns:
    """A watch's runs, each read once; those still at work are read anew."""

    folder: Path
    _read: dict[Path, Logs] = field(default_factory=dict)
    _last_live: Path | None = None
    #: sentences about runs that could not be read: their time counts as unobserved
    unreadable: dict[Path, str] = field(default_factory=dict)

    def runs(self, since_day: str = "") -> list[Path]:
        """Run folders from this day on, in order of time."""
        return sorted(
            path.parent
            for path in self.folder.glob("????-??-??/*/run.json")
            if path.parts[-3] >= since_day
        )

    def logs(self, since_day: str = "", live: Path | None = None) -> Logs:
        """All rows of each target from this day on. `live` is the run still at work."""
        runs = self.runs(since_day)
        self._read = {path: logs for path, logs in self._read.items() if path in runs}
        for path in runs:
            if path not in self._read or path in (live, self._last_live):
                self._take(path)
        self._last_live = live
        names = dict.fromkeys(name for logs in self._read.values() for name in logs)
        return {
            name: joined(
                [self._read[path][name] for path in runs if name in self._read.get(path, {})]
            )
            for name in names
        }

    def _take(self, path: Path) -> None:
        self._read.pop(path, None)
        self.unreadable.pop(path, None)
        try:
            named = str(path.relative_to(self.folder))
            self._read[path] = {
                name: replace(log, names=[named]) for name, log in lane_logs(Run(path)).items()
            }
        except RunFolderError as error:
            self.unreadable[path] = str(error)
        except Exception as error:  # what was edited makes us stumble anywhere
            self.unreadable[path] = f"{path}: cannot be read ({type(error).__name__}: {error})"


def needed_since(contract: Contract | None, now_ns: int) -> str:
    """The first day that counts: one before the present period, for an outage that reaches
    into it.
    """
    start = now_ns
    if contract is not None:
        start = spans(with_period(contract).period, now_ns, now_ns)[-1].start_ns
    return day_of(start - 86400 * S, zone_of(contract))[0]


def standings(
    logs: Logs, contracts: Mapping[str, Contract | None], now_ns: int
) -> dict[str, TargetStanding]:
    """Where each target stands at a moment."""
    found = {}
    for name, log in logs.items():
        contract = contracts.get(name)
        if (past := before(log, now_ns)) is not None:
            found[name] = standing(past, contract, now_ns, day_of(now_ns, zone_of(contract))[:2])
    return found


def overall(found: Mapping[str, TargetStanding]) -> list[str]:
    """The verdict so far of each target that is held to a contract; what cannot be judged yet is
    INCONCLUSIVE.
    """
    return [
        each.period.overall if each.period else "INCONCLUSIVE"
        for each in found.values()
        if each.period or each.note
    ]


def _as_known(
    found: TargetStanding | None, since_day: str, now_ns: int, zone: ZoneInfo
) -> TargetStanding:
    """Where a target with a contract stands, as far as it is known by now: a watch that died, or
    stands still, vouches for nothing after its last probe. A broken clause stays broken.
    """
    if found is None:
        name, start_ns, _ = day_of(now_ns, zone)
        return TargetStanding(
            probes=0,
            first_utc="",
            last_utc="",
            today=Today(
                day=name,
                probes=0,
                failed=0,
                unknown=0,
                observed_minutes=0,
                minutes=max(0, (now_ns - start_ns) // (60 * S)),
                outages=0,
            ),
            outages=Outages(count=0, last=[]),
            open_outage=None,
            period=None,
            note=f"no probe since {since_day} is on record, so nothing is known of it",
        )
    first, last = (_ns_of(text) for text in (found.first_utc, found.last_utc))
    usual_ns = (last - first) // max(found.probes - 1, 1)
    period = found.period
    if period is None or period.overall != "PASS" or now_ns - last <= max(STALE_NS, 3 * usual_ns):
        return found
    return found.replace(
        period=period.replace(overall="INCONCLUSIVE"),
        note=f"no probe since {found.last_utc} is on record, so what came after it is not known",
    )


def _ns_of(utc: str) -> int:
    return int(datetime.fromisoformat(utc).timestamp()) * S


def status(
    folder: Path, override: Contract | None = None, now_ns: int | None = None
) -> WatchStatus:
    """The value of `watch --status`. Raises UserError where no watch has been."""
    watched, now = WatchedRuns(folder), wall_ns() if now_ns is None else now_ns
    runs = watched.runs()
    if not runs:
        raise UserError(
            "is not the folder of a watch",
            where=str(folder),
            remedy="give the folder that the watch writes to, as in its --out",
        )
    lanes = read_manifest(runs[-1]).lanes
    contracts = {
        str(lane.name): override.for_models(lane.models) if override else lane.contract
        for lane in lanes
    }
    first = next(iter(contracts.values()))
    since = needed_since(first, now)
    found = standings(watched.logs(since), contracts, now)
    for name, contract in contracts.items():
        if contract is not None:
            found[name] = _as_known(found.get(name), since, now, zone_of(contract))
    return WatchStatus(
        format=WatchStatus.FORMAT,
        folder=str(folder),
        now_utc=utc_text(now),
        watched_now=watched_now(folder),
        next_roll_utc=utc_text(day_of(now, zone_of(first))[2]),
        targets=found,
        unreadable=list(watched.unreadable.values()),
    )


@dataclass(frozen=True)
class _Judge:
    """Look at the folders: rows due before `until_ns` (Unix ns) have all ended."""

    live: Path | None
    until_ns: int


class Recorder:
    """The thread that judges and calls the hook, one job after the other."""

    def __init__(
        self,
        folder: Path,
        contracts: Mapping[str, Contract | None],
        hook: Sequence[str],
        notify: Callable[[str], None],
        clean: Callable[[str], str] = str,
        hook_s: float = HOOK_S,
    ):
        """`notify` prints a sentence; `clean` makes a text fit to be kept; a hook may take
        `hook_s`.
        """
        self._folder, self._contracts, self._hook, self._notify, self._clean = (
            folder,
            contracts,
            hook,
            notify,
            clean,
        )
        self._watched, self._known = WatchedRuns(folder), dict[str, TargetStanding]()
        self._hook_s = hook_s
        self._jobs: SimpleQueue[_Judge | WatchEvent | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self, until_ns: int) -> Logs:
        """Take up what the folders say already, without events; then work."""
        contract = next(iter(self._contracts.values()))
        logs = self._watched.logs(needed_since(contract, until_ns))
        self._known = standings(logs, self._contracts, until_ns)
        self._thread.start()
        return logs

    def judge(self, live: Path | None, until_ns: int) -> None:
        """Have the folders looked at."""
        if self._jobs.qsize() < 2:  # a look that has not begun yet will see the same
            self._jobs.put(_Judge(live, until_ns))

    def event(self, event: WatchEvent) -> None:
        """Log it, and call the hook where it is one of those that it is called for."""
        self._jobs.put(event)

    def close(self) -> None:
        """Finish what waits; each hook has its time and no more."""
        self._jobs.put(None)
        self._thread.join()

    def overall(self) -> list[str]:
        """The overall verdict so far of each target that has a contract; after `close`."""
        return overall(self._known)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                if isinstance(job, _Judge):
                    self._look(job)
                else:
                    self._report(job)
            except Exception:  # whatever it is, probing goes on
                fault = self._clean(traceback.format_exc(limit=-3))
                self._log(WatchEvent(event="fault", text=fault))

    def _look(self, job: _Judge) -> None:
        contract = next(iter(self._contracts.values()))
        known = set(self._watched.unreadable)
        found = standings(
            self._watched.logs(needed_since(contract, job.until_ns), job.live),
            self._contracts,
            job.until_ns,
        )
        for path in self._watched.unreadable.keys() - known:
            self._log(WatchEvent(event="unreadable", text=self._watched.unreadable[path]))
        earlier, self._known = self._known, found
        for name, record in found.items():
            # A target's first record is held against nothing known: what is broken then is news.
            for event in changes(earlier.get(name), record):
                self._report(event.replace(target=name))

    def _report(self, event: WatchEvent) -> None:
        event = event.replace(at_utc=utc_text(wall_ns()))
        self._log(event)
        if self._hook and event.event in HOOKED:
            self._call(event)

    def _log(self, event: WatchEvent) -> None:
        line = json.dumps(event.to_json(), ensure_ascii=False)
        with suppress(OSError), (self._folder / LOG).open("a", encoding="utf-8") as handle:
            handle.write(line + "\n")
        since = f" since {event.start_utc}" if event.start_utc else ""
        self._notify(f"{event.event} {event.target}{since} {event.text}".strip())

    def _call(self, event: WatchEvent) -> None:
        """Run the hook in a process group of its own, so that Ctrl-C is not for it and all of it
        can be ended.
        """
        try:
            process = subprocess.Popen(  # noqa: S603 the user's own command
                [*self._hook],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "TAILPROOF_EVENT": event.event},
                process_group=0,
            )
        except OSError as error:
            self._hook_failed(f"the hook cannot be run ({error.strerror})")
            return
        try:
            process.communicate(json.dumps(event.to_json()).encode(), self._hook_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            self._hook_failed(f"the hook was killed after {self._hook_s:g} s")
            return
        if process.returncode:
            self._hook_failed(f"the hook ended with {process.returncode}")

    def _hook_failed(self, text: str) -> None:
        self._log(WatchEvent(event="hook_failed", text=text))
