"""Probing for days or weeks: one ordinary run folder after another, rolled by day.

In: a suite of one stage, a folder, a rate. Out: DIR/DAY/RUN/ folders, each as `tailproof run`
leaves them; events as they happen. Must stay true: every probe is on disk a second after it ended,
so a kill loses no more; a new start is a new run folder, and what lies between is unobserved, never
up; a target that does not answer is data, never the end of the watch; no probe is sent before the
moment that a server's retry-after names, and the probe's row says so.
"""

from __future__ import annotations

import asyncio
import dataclasses
import shlex
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import anyio

from bench.app.watch_plan import lasting, most_usd
from bench.app.watch_records import Recorder, WatchedRuns, day_of, only_watch, zone_of
from bench.clock import monotonic_ns, utc_text, wall_ns
from bench.errors import TailproofError, TargetUnreachable, UserError
from bench.judge.census.episodes import OutageTracker, Probe
from bench.judge.census.standing import outage_record, silent, tracked
from bench.judge.mistakes import mistakes_of
from bench.judge.review import file_records
from bench.load.ceiling import share_of_ceiling, unreadable
from bench.load.endpoint import Endpoint
from bench.load.guard import Caps
from bench.load.player import Player, make_endpoints, run_secrets
from bench.load.request import Request
from bench.load.runner import check_descriptors
from bench.load.texts import Strings
from bench.load.transport.sender import check_ready
from bench.load.work import Work
from bench.plan.prompts import PromptText
from bench.plan.schedule import Plan, compile_plan
from bench.plan.suite import Suite
from bench.record.gather import harness_of
from bench.record.histogram import write_histograms
from bench.record.identity import plan_facts, run_id
from bench.record.records.harness import ProcessRecord, State
from bench.record.records.record import Json
from bench.record.records.watch import WatchEvent
from bench.record.run_folder import Run, RunWriter
from bench.record.samples import Columns, Outcome
from bench.units import MS, S, show_duration, show_usd

DAY_NS = 86400 * S
#: Wall clock and monotonic clock may part by so much before the run is ended: from then on its
#: dates were wrong.
STEP_NS = S
#: No server silences a watch for longer at a time.
MOST_WAIT_NS = 3600 * S
#: A run holds about so many probes at most, so that reading one that lasts stays cheap.
MOST_ROWS = 3_000
#: Pause before another try where no probe falls into what is left of a day.
_LEAST_NS = S
WAITED = "not sent: the server's retry-after had not passed"


class PatientEndpoint(Endpoint):
    """An endpoint that is left alone while its server has asked to wait."""

    __slots__ = ("_sent", "_until_ns")

    def __init__(self, endpoint: Endpoint):
        super().__init__(endpoint.sender, endpoint.writer, endpoint.key_refused)
        self._sent: list[Request] = []
        self._until_ns = 0

    def send(self, request: Request, request_id: str) -> None:
        """Begin; or end it as never sent, without the slot that would make that our own failure."""
        now = monotonic_ns()
        for each in [each for each in self._sent if each.ended]:
            self._until_ns = max(
                self._until_ns, each.done_ns + min(max(each.retry_after_ms, 0) * MS, MOST_WAIT_NS)
            )
            self._sent.remove(each)
        if now < self._until_ns:
            request.slot_free_ns = -1
            request.fail(Outcome.never_sent, WAITED, now)
            return
        self._sent.append(request)
        super().send(request, request_id)


@dataclasses.dataclass(frozen=True)
class Terms:
    """How a watch goes about it.

    The last four are for tests: days of seconds, another wall clock.
    """

    folder: Path
    seed: int = 1
    hook: Sequence[str] = ()
    #: None = until it is told to stop
    lasts_ns: int | None = None
    max_usd_per_day: Decimal | None = None
    repeat_command: str = ""
    #: called with each run's folder
    opened: Callable[[Path], None] = lambda _: None
    roll: Callable[[int], int] | None = None
    wall: Callable[[], int] = wall_ns
    judge_every_ns: int = 60 * S
    most_rows: int = MOST_ROWS


class Watch:
    """One watch while it lasts; lives on one loop."""

    def __init__(self, suite: Suite, terms: Terms, notify: Callable[[str], None]):
        self.suite, self.terms, self._notify = suite, terms, notify
        self._contract = suite.stages[0].contract
        self._zone = zone_of(self._contract)
        self._player: Player | None = None
        self._stop = anyio.Event()
        self._trackers: dict[str, OutageTracker] = {}
        self._judged_ns = 0
        #: nothing was ever served to this watch, so that first answers may say that we ask wrongly
        self._unserved = False

    async def go_on(self) -> list[str]:
        """Probe until told to stop.

        Returns the overall verdict so far of each target with a contract.

        Raises UserError before the first probe; TargetUnreachable where nothing answers, or the
        first answers all refuse what is asked, and the folder holds no earlier watch;
        RunFolderError where the disk is full.
        """
        terms, day = self.terms, compile_plan(lasting(self.suite, DAY_NS), self.terms.seed)
        if terms.max_usd_per_day is not None and (usd := most_usd(day)) > Fraction(
            terms.max_usd_per_day
        ):
            raise UserError(
                f"a day of these probes costs up to {show_usd(usd)} USD, above"
                f" {terms.max_usd_per_day}",
                where="--max-cost-per-day",
                remedy="lower --rate or raise the cap",
            )
        check_descriptors(day, 1, self._notify)
        if (why := unreadable()) is not None:
            self._notify(why)
        with only_watch(terms.folder):
            recorder = Recorder(
                terms.folder,
                {lane.name: lane.contract for lane in day.lanes},
                terms.hook,
                self._notify,
                Strings(run_secrets(day.lanes)).clean,
            )
            began = terms.wall()
            earlier = recorder.start(began)
            try:
                self._trackers = {name: tracked(log) for name, log in earlier.items()}
                self._unserved = not WatchedRuns(terms.folder).runs()
                await self._check_ready(day, fatal=self._unserved)
                status = shlex.join(["tailproof", "watch", "--status", str(terms.folder)])
                self._notify(f"probing into {terms.folder}; `{status}` tells where it stands")
                # From the first probe on, however long the check before it took.
                begins = terms.wall()
                await self._play_on(
                    recorder, None if terms.lasts_ns is None else begins + terms.lasts_ns
                )
            finally:
                recorder.close()
            return recorder.overall()

    @property
    def stopped(self) -> bool:
        """Ended by Ctrl-C or SIGTERM."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Send nothing more; what is under way has a few seconds, and none when stopped twice."""
        self._stop.set()
        if self._player is not None:
            self._player.generator.stop()

    async def _check_ready(self, plan: Plan, *, fatal: bool) -> None:
        for target in [target for lane in plan.lanes for target in lane.target.endpoints]:
            if target.unverified:
                self._notify(f"WARNING: the TLS certificate of {target.name} is NOT verified")
            try:
                warning = await check_ready(target)
            except TargetUnreachable as error:
                if fatal:
                    raise
                warning = str(error)
            if warning is not None:
                self._notify(warning)

    async def _play_on(self, recorder: Recorder, end_ns: int | None) -> None:
        loop = asyncio.get_running_loop()
        kinds = (signal.SIGINT, signal.SIGTERM)
        for kind in kinds:
            loop.add_signal_handler(kind, self.stop)
        try:
            while not self.stopped and (end_ns is None or self.terms.wall() < end_ns):
                await self._run(recorder, end_ns)
        finally:
            for kind in kinds:
                loop.remove_signal_handler(kind)

    async def _run(self, recorder: Recorder, end_ns: int | None) -> None:
        """One run folder: up to the next roll, or until clocks part or the watch is stopped."""
        started = self.terms.wall()
        until = self._until(started, end_ns)
        try:
            plan = compile_plan(
                lasting(self.suite, max(until - started, 1)), self.terms.seed + started // S
            )
        except UserError:  # the day's plan was sound: none of it falls into what is left
            await self._rest(max(until - started, _LEAST_NS))
            return
        writer, player = self._opened(plan, started, until)
        live = _Live(plan, player, started, str(writer.folder.relative_to(self.terms.folder)))
        parted_ns = await self._played(writer, player, live, recorder)
        why = None
        if parted_ns is not None:
            why = (
                f"wall clock and monotonic clock parted by {show_duration(parted_ns)}: suspended,"
                " or set; what lies between is unobserved"
            )
            recorder.event(WatchEvent(event="clock", run=live.run, text=why))
        _seal(writer, plan, player, started, why)
        with suppress(TailproofError):  # one that cannot be judged yet is named by the recorder
            file_records(Run(writer.folder))
        self._unserved &= not any(ended[Outcome.ok] for ended in player.journal.outcomes)
        refused = player.guard is not None and player.guard.why is not None
        if (refused or self._unserved) and (mistakes := mistakes_of(Run(writer.folder))):
            raise TargetUnreachable(mistakes[0].text)
        recorder.judge(writer.folder, self.terms.wall())
        if parted_ns is None:
            await self._rest(until - self.terms.wall())

    def _until(self, started_ns: int, end_ns: int | None) -> int:
        """When the run that begins now ends: with the day, with its rows, or with the watch."""
        rate = self.suite.stages[0].profile.arrivals.rate or 1
        next_day = day_of(started_ns, self._zone)[2]
        roll = next_day if self.terms.roll is None else self.terms.roll(started_ns)
        full = started_ns + int(self.terms.most_rows / rate * S)
        return min(roll, full, end_ns or started_ns + 2 * DAY_NS)

    def _opened(self, plan: Plan, started_ns: int, until_ns: int) -> tuple[RunWriter, Player]:
        """The run's folder, and who plays it."""
        text = PromptText(plan.seed, None)
        endpoints = make_endpoints(plan.lanes, plan.schedule, text)
        for lane, made in zip(plan.lanes, endpoints, strict=True):
            if lane.target.route is None:
                made[:] = [PatientEndpoint(endpoint) for endpoint in made]
        name = run_id(plan, started_ns)
        facts = plan_facts(plan, name, started_ns).replace(
            repeat_command=self.terms.repeat_command,
            watch={"next_roll_utc": utc_text(until_ns)},
        )
        day = day_of(started_ns, self._zone)[0]
        writer = RunWriter(self.terms.folder / day / name, facts, plan.schedule)
        self.terms.opened(writer.folder)
        caps = Caps(first_answers=self._unserved)
        work = Work(plan.lanes, plan.schedule, writer.folder, name, caps=caps)
        player = Player(work, text, endpoints, lambda _: player.generator.stop())
        return writer, player

    async def _played(
        self, writer: RunWriter, player: Player, live: _Live, recorder: Recorder
    ) -> int | None:
        """Play it to its end; by how much the clocks parted where they did, which ends it early."""
        offset_ns = self.terms.wall() - monotonic_ns()
        parted_ns: int | None = None

        def tick(_now_ns: int, _counters: object) -> None:
            nonlocal parted_ns
            self._take_ended(live, recorder)
            now_ns = monotonic_ns()
            step_ns = self.terms.wall() - now_ns - offset_ns
            if abs(step_ns) > STEP_NS and parted_ns is None:
                parted_ns = step_ns
                player.generator.stop()
                # The second cuts what is under way: a sleep of ours is no failure of the target's.
                player.generator.stop()
            if now_ns - self._judged_ns >= self.terms.judge_every_ns:
                self._judged_ns = now_ns
                recorder.judge(writer.folder, live.known_until(self.terms.wall()))

        self._player = player
        await player.play(tick)
        self._player = None
        self._take_ended(live, recorder)
        return parted_ns

    async def _rest(self, length_ns: int) -> None:
        with anyio.move_on_after(max(length_ns, 0) / S):
            await self._stop.wait()

    def _take_ended(self, live: _Live, recorder: Recorder) -> None:
        for name, probe in live.ended():
            outage = self._trackers.setdefault(name, OutageTracker()).feed(probe)
            if outage is not None:
                event = WatchEvent(
                    event="outage" if outage.open else "outage_end",
                    target=name,
                    definition="failed probes in a row",
                    **dict(outage_record(outage)),
                )
                recorder.event(event)


class _Live:
    """The probes of a run under way, handed on in the order in which they were due."""

    def __init__(self, plan: Plan, player: Player, started_ns: int, run: str):
        self._plan, self._samples, self._started, self.run = (
            plan,
            player.journal.samples,
            started_ns,
            run,
        )
        self._rows = [(plan.schedule["lane"] == lane.index).nonzero()[0] for lane in plan.lanes]
        self._next = [0] * len(plan.lanes)

    def ended(self) -> list[tuple[str, Probe]]:
        """(lane, probe) of those that ended since the last call and have none before them under
        way.
        """
        found = []
        for lane in self._plan.lanes:
            rows, at = self._rows[lane.index], self._next[lane.index]
            while at < len(rows) and self._samples["done_ns"][rows[at]] >= 0:
                one = rows[at : at + 1]
                columns = Columns(self._plan.schedule[one], self._samples[one])
                failed = None if silent(columns)[0] else not columns.ok[0]
                at += 1
                found.append(
                    (
                        lane.name,
                        Probe(
                            self._started + int(columns.samples["due_ns"][0]), failed, self.run, at
                        ),
                    )
                )
            self._next[lane.index] = at
        return found

    def known_until(self, now_ns: int) -> int:
        """Every probe that was due before this moment (Unix ns) has ended."""
        due = [
            int(self._plan.schedule["due_ns"][rows[at]])
            for rows, at in zip(self._rows, self._next, strict=True)
            if at < len(rows)
        ]
        return min([now_ns, *(self._started + each for each in due)])


def _seal(writer: RunWriter, plan: Plan, player: Player, started_ns: int, why: str | None) -> None:
    """Close the folder as an ordinary run's; `why` it ended early by our own decision."""
    journal, process = player.journal, ProcessRecord.model_validate(player.facts())
    state: State = "interrupted" if player.generator.interrupted else "complete"
    write_histograms(writer.folder, plan, journal.samples, journal.gap_histograms, started_ns)
    harness = harness_of(
        [process],
        state=state,
        workers=1,
        dead_workers=[],
        calibration=share_of_ceiling(plan, 1),
    )
    facts: Json = {
        "ended_wall_ns": wall_ns(),
        "harness": harness,
        "strings": journal.texts(),
        "ended_early": why,
        "events": [],
        "leg_events": journal.leg_events,
    }
    writer.finish(
        state,
        journal.samples,
        facts,
        journal.attempts() if any(lane.target.route for lane in plan.lanes) else None,
    )
