"""Many runs of one plan at random times: the driver that waits, plays, and goes on after a kill.

In: a folder, how many runs within how long, what plays one. Out: OUT/run-01, OUT/run-02 … as
`tailproof run` leaves them, and runs.json. Must stay true: starts are drawn from the seed before
the first, and again only where nobody was there for one; runs never overlap; what runs.json says of
a run that broke off is checked against its folder; a run that was begun is finished or counted as
broken off, never begun again; a service that does not answer is data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.app.conclude import Finished
from bench.clock import sleep_s, utc_text, wall_ns
from bench.errors import ExitCode, TailproofError, UserError
from bench.machine import lock
from bench.plan.draws import random_starts
from bench.plan.schedule import Plan
from bench.record.files import refuse_foreign, unwritable, write_json
from bench.record.identity import plan_digest, plan_facts
from bench.record.records.manifest import Manifest
from bench.record.records.record import read_record
from bench.record.records.runs import RunsRecord, RunStart
from bench.record.run_folder import read_manifest
from bench.units import S, show_duration

#: A start that is later than this found nobody there: the machine slept, or the driver was dead.
LATE_NS = 60 * S
#: Between two runs, for processes to start and files to be written.
_BREATH_NS = 1 * S
#: A wait looks at the wall clock so often: the machine may sleep meanwhile.
_LOOK_S = 30.0


def room_ns(plan: Plan) -> int:
    """Time that one run needs for itself: its plan, and what its last answer may take."""
    waits = [each.timeout for lane in plan.lanes for each in lane.target.endpoints]
    return plan.end_ns + max(waits) + _BREATH_NS


@dataclasses.dataclass(frozen=True)
class Terms:
    """How a repeat goes about it. The last two are for tests: another wall clock, no sleep."""

    folder: Path
    repeat: int
    over_ns: int
    seed: int
    repeat_command: str = ""
    wall: Callable[[], int] = wall_ns
    rest: Callable[[float], None] = sleep_s


@dataclasses.dataclass(frozen=True)
class Players:
    """What plays a run into its folder, and what goes on with one that broke off."""

    #: with the start's folder, its seed, and whether it is the first, where what nobody answers or
    #: what all answers refuse is our mistake
    begin: Callable[[Path, int, bool], Finished]
    #: raises UserError for a run that cannot be gone on with
    resume: Callable[[Path], Finished]
    #: what became of a run that cannot
    conclude: Callable[[Path], Finished]


class Repeat:
    """One repeat while it lasts."""

    def __init__(self, plan: Plan, terms: Terms, players: Players, notify: Callable[[str], None]):
        self._plan, self.terms, self._players, self._notify = plan, terms, players, notify
        self.record = self._fitting()

    def go_on(self) -> bool:
        """Play what is left; False where Ctrl-C or SIGTERM ended it.

        Raises UserError for a folder of other runs, TargetUnreachable where the very first run
        finds nobody.
        """
        with _only_driver(self.terms.folder):
            self._take_up()
            self._save()
            try:
                return self._finish_broken_off() and self._play_on()
            except KeyboardInterrupt:
                return False

    # ---- what is to be done

    def _fitting(self) -> RunsRecord:
        """A first draw. Raises UserError where the runs do not fit."""
        terms, room = self.terms, room_ns(self._plan)
        if terms.repeat * room > terms.over_ns:
            raise UserError(
                f"{terms.repeat} runs of {show_duration(room)} each, with the last answers, overlap"
                f" within {show_duration(terms.over_ns)}",
                where="--over",
                remedy=f"give at least {show_duration(-(-terms.repeat * room // S) * S)}",
            )
        now = terms.wall()
        record = RunsRecord(
            format=RunsRecord.FORMAT,
            suite=self._plan.suite.name,
            plan_sha256=plan_digest(plan_facts(self._plan, "", now).lanes),
            seed=terms.seed,
            over_ns=terms.over_ns,
            room_ns=room,
            begun_wall_ns=now,
            begun_utc=utc_text(now),
            repeat_command=terms.repeat_command,
            draws=1,
            starts=[],
        )
        starts = random_starts(terms.seed, 1, terms.repeat, terms.over_ns, room)
        return record.replace(
            starts=[
                RunStart(
                    number=number,
                    folder=f"run-{number:02}",
                    seed=terms.seed + number - 1,
                    planned_wall_ns=now + at_ns,
                    planned_utc=utc_text(now + at_ns),
                    draw=1,
                    state="planned",
                )
                for number, at_ns in enumerate(starts, 1)
            ]
        )

    def _take_up(self) -> None:
        """The folder's own record in place of the new one, where it holds one."""
        folder = self.terms.folder
        if not (folder / RunsRecord.FILE).is_file():
            refuse_foreign(folder)
            return
        found = read_record(RunsRecord, folder)
        for name, asked in (("plan_sha256", "plan"), ("seed", "seed"), ("over_ns", "--over")):
            if getattr(found, name) != getattr(self.record, name):
                raise UserError(
                    f"holds runs of another {asked}",
                    where=str(folder),
                    remedy="repeat its own command to go on, or choose another --out",
                )
        if len(found.starts) != len(self.record.starts):
            raise UserError(
                f"holds {len(found.starts)} runs, not {len(self.record.starts)}",
                where=str(folder),
                remedy="repeat its own command to go on, or choose another --out",
            )
        self.record = found.replace(starts=[_as_it_lies(folder, each) for each in found.starts])
        self._draw_again()

    def _draw_again(self) -> None:
        """New times for the starts to come, where nobody was there for one of them."""
        now, record = self.terms.wall(), self.record
        waiting = [each for each in record.starts if each.state == "planned"]
        if all(each.planned_wall_ns >= now - LATE_NS for each in waiting):
            return
        left_ns = record.ends_wall_ns - now
        fits = max(min(len(waiting), left_ns // record.room_ns), 0)
        draw = record.draws + 1
        at_ns = random_starts(record.seed, draw, fits, left_ns, record.room_ns) if fits else []
        for each, start_ns in zip(waiting, at_ns, strict=False):
            planned = now + start_ns
            record = record.with_start(
                each.replace(planned_wall_ns=planned, planned_utc=utc_text(planned), draw=draw)
            )
        for each in waiting[fits:]:
            record = record.with_start(each.replace(state="missed"))
        self.record = record.replace(draws=draw)
        if len(waiting) > fits:
            self._notify(
                f"{len(waiting) - fits} of the runs no longer fit into what is left of the time"
            )

    # ---- doing it

    def _finish_broken_off(self) -> bool:
        for start in self.record.starts:
            if start.state != "interrupted":
                continue
            folder = self.terms.folder / start.folder
            self._notify(f"{start.folder} broke off: what it left is sent now")
            try:
                done = self._players.resume(folder)
            except UserError as error:
                self._notify(f"{start.folder} counts as it is ({error})")
                done = self._players.conclude(folder)
                self._ended(start, done, state="complete")
                continue
            if not self._ended(start, done):
                return False
        return True

    def _play_on(self) -> bool:
        while (start := self._next()) is not None:
            if not self._wait(start):
                self._draw_again()
                self._save()
                continue
            began = utc_text(self.terms.wall())
            start = start.replace(state="running", started_utc=began)
            self.record = self.record.with_start(start)
            self._save()
            first = all(each.state != "complete" for each in self.record.starts)
            try:
                done = self._players.begin(self.terms.folder / start.folder, start.seed, first)
            except TailproofError:
                self.record = self.record.with_start(start.replace(state="planned"))
                self._save()
                raise
            if not self._ended(start, done):
                return False
        return True

    def _next(self) -> RunStart | None:
        return next((each for each in self.record.starts if each.state == "planned"), None)

    def _wait(self, start: RunStart) -> bool:
        """Until its time; False where it passed while the machine slept."""
        wait_ns = start.planned_wall_ns - self.terms.wall()
        if wait_ns <= 0:
            return True  # it waited for the run before
        self._notify(f"{start.folder} of {len(self.record.starts)} begins at {start.planned_utc}")
        for kind in (signal.SIGINT, signal.SIGTERM):  # a run of ours has left its own
            signal.signal(kind, signal.default_int_handler)
        while (wait_ns := start.planned_wall_ns - self.terms.wall()) > 0:
            self.terms.rest(min(wait_ns / S, _LOOK_S))
        return wait_ns >= -LATE_NS

    def _ended(self, start: RunStart, done: Finished, state: str | None = None) -> bool:
        """Write down what a run came to; False where it was interrupted."""
        state = state or ("complete" if done.records.summary.state == "complete" else "interrupted")
        manifest = read_manifest(done.folder)
        self.record = self.record.with_start(
            start.replace(state=state, started_utc=manifest.started_utc)
        )
        self._save()
        overall = done.records.verdicts.overall
        self._notify(f"{start.folder}: {overall}, by itself")
        if done.exit_code is ExitCode.UNREACHABLE and start.number == 1:
            raise UserError(
                "the first run was refused: " + "; ".join(done.records.summary.health.reasons[:1]),
                where=str(done.folder),
                remedy="mend it, and begin in another --out",
            )
        return state == "complete"

    def _save(self) -> None:
        write_json(self.terms.folder / RunsRecord.FILE, self.record.to_json())


def _as_it_lies(folder: Path, start: RunStart) -> RunStart:
    """A start as its folder has it: its driver may have been killed before it wrote that down."""
    if start.state not in ("running", "interrupted"):
        return start
    run = folder / start.folder
    if not (run / Manifest.FILE).is_file():  # nothing was sent
        return start.replace(state="planned")
    manifest = read_manifest(run)
    state = "complete" if manifest.state == "complete" else "interrupted"
    return start.replace(state=state, started_utc=manifest.started_utc)


@contextlib.contextmanager
def _only_driver(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which dies with this process. Raises UserError, RunFolderError."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise unwritable(folder, error) from None
    try:
        if not lock(descriptor):
            raise UserError(
                "another driver is at work here",
                where=str(folder),
                remedy="wait for its end, or choose another --out",
            )
        yield
    finally:
        os.close(descriptor)
