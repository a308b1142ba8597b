"""The load generator's rules on a clock of its own, and what its clients see as sample rows.

In: lanes of one scenario and their planned rows, a simulated world. Out: samples, gap histograms
and texts of all rows. Must stay true: a row leaves when it is due or, behind a cap, when a slot
is free; whatever a client over HTTP would have seen stands in the row, and nothing else.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from bench.gateway.scenarios import Gateway
from bench.gateway.virtual import ANONYMOUS, Caller, Ended, Simulation
from bench.plan.schedule import Lane, Plan
from bench.record.histogram import Histogram
from bench.record.pieces import STRING_KINDS
from bench.record.samples import Flag, Int, Outcome, Table, causes_of, empty_samples
from bench.units import S

_CODE = {outcome.name: int(outcome) for outcome in Outcome}
#: What is kept of each end until it becomes a row: whole numbers, moments in the scenario's time.
_COLUMNS = (
    "row",
    "outcome",
    "region",
    "cold",
    "status",
    "sent",
    "start",
    "head",
    "first",
    "last",
    "ended",
    "tokens",
    "cached",
    "gap",
    "retry",
)
_AT_ONCE = 1 << 16


class Answers:
    """The samples of a plan, filled as its requests end."""

    def __init__(self, plan: Plan, samples: Table):
        self.plan, self.samples = plan, samples
        #: times that exist before anything is sent; a row that waits for another learns its own
        #: later
        self.samples["due_ns"] = plan.schedule["due_ns"]
        self._texts: dict[str, dict[str, int]] = {kind: {} for kind in STRING_KINDS}
        self._streams = np.array([lane.target.stream for lane in plan.lanes])
        self._usage = np.array(
            [lane.target.include_usage or not lane.target.stream for lane in plan.lanes]
        )
        self._models = np.zeros(len(plan.lanes), np.int16)
        #: (lane, phase) -> for each power of two, the gaps that came that many times over
        self._gaps: dict[tuple[int, int], dict[int, Histogram]] = {}

    def number(self, kind: str, text: str) -> int:
        """The number that stands for a text in its column."""
        return self._texts[kind].setdefault(text, len(self._texts[kind]))

    def texts(self) -> dict[str, list[str]]:
        """The texts behind the numbers, by kind."""
        return {kind: list(numbers) for kind, numbers in self._texts.items()}

    def serve(self, lane: Lane, gateway: Gateway) -> None:
        """Which name the answers of a lane will carry."""
        entry = gateway.match(lane.target.model)
        served = entry.served if entry is not None else ""
        self._models[lane.index] = self.number("served_model", served or lane.target.model)

    def fill(self, ends: array[int], origin_ns: int) -> None:
        """Rows from ends, `_COLUMNS` each; `origin_ns` is the scenario's zero in the run's time."""
        seen = dict(
            zip(_COLUMNS, np.frombuffer(ends, np.int64).reshape(-1, len(_COLUMNS)).T, strict=True)
        )
        rows, outcome, status = seen["row"], seen["outcome"], seen["status"]
        lane = self.plan.schedule["lane"][rows]
        stream, ok = self._streams[lane], outcome == Outcome.ok
        begun = stream & (seen["head"] >= 0)
        status = np.where(begun & (status == 0), 200, status)
        answered = status == 200
        out = empty_samples(len(rows))
        moments = {
            "sent": seen["sent"],
            "slot_free": seen["sent"],
            "done": seen["ended"],
            "headers": np.where(begun, seen["head"], np.where(status > 0, seen["ended"], -1)),
        }
        moments["first_byte"] = np.where(answered, moments["headers"], -1)
        moments |= {
            name: np.where(stream, seen[source], -1)
            for name, source in (
                ("first_token", "first"),
                ("first_answer_token", "first"),
                ("last_token", "last"),
            )
        }
        for name, moment in moments.items():
            out[f"{name}_ns"] = np.where(moment >= 0, moment + origin_ns, -1)
        out["due_ns"] = self.samples["due_ns"][rows]
        tokens = seen["tokens"]
        with_usage = ok & self._usage[lane]
        counted = stream & (tokens > 0) & ~with_usage
        out["chunks"] = np.where(stream, tokens, ok)
        out["output_tokens"] = np.where(with_usage | counted, tokens, -1)
        out["prompt_tokens"] = np.where(with_usage, self.plan.schedule["prompt_tokens"][rows], -1)
        out["cached_tokens"] = np.where(with_usage, seen["cached"], -1)
        out["flags"] = np.where(stream & answered, int(Flag.STREAMED), 0) | np.where(
            counted, int(Flag.COUNTED_TOKENS), 0
        )
        out["flags"] |= np.where(ok & (seen["cold"] > 0), int(Flag.COLD_START), 0).astype(
            out["flags"].dtype
        )
        steps = np.where(stream, tokens - 1, 0)
        span = seen["last"] - seen["first"]
        out["gap_sum_ns"] = np.where(steps > 0, span, -1)
        evenly = (steps > 0) & (seen["gap"] < 0)
        out["gap_max_ns"] = np.where(
            evenly, -(-span // np.maximum(steps, 1)), np.where(steps > 0, seen["gap"], -1)
        )
        out["outcome"], out["status"], out["attempts"] = outcome, status, 1
        out["retry_after_ms"] = np.where(seen["retry"] >= 0, -(-seen["retry"] // S) * 1000, -1)
        out["served_model"] = np.where(answered, self._models[lane], -1)
        out["served_region"] = np.where(answered, seen["region"], -1)
        out["finish"] = np.where(ok, self.number("finish", "length"), -1)
        out["note"] = self._notes(outcome, status, lane)
        out["cause"] = causes_of(outcome, status)
        self.samples[rows] = out
        self._count_gaps(rows[evenly], lane[evenly], (span[evenly] // steps[evenly]), steps[evenly])

    def _notes(self, outcome: Int, status: Int, lane: npt.NDArray[np.uint16]) -> Int:
        notes = np.full(len(outcome), -1)
        failed = outcome != Outcome.ok
        kinds, which = np.unique(
            np.stack([outcome, status, lane])[:, failed], axis=1, return_inverse=True
        )
        texts = [
            _note(Outcome(int(code)), int(answer), self.plan.lanes[int(index)])
            for code, answer, index in kinds.T
        ]
        notes[failed] = np.array([self.number("note", text) for text in texts], np.int64)[
            which.reshape(-1)
        ]
        return notes

    def _count_gaps(self, rows: Int, lane: npt.NDArray[np.uint16], gap: Int, times: Int) -> None:
        """Each gap as often as it came: by the bits of how often, so that no gap is spelled out."""
        phase = self.plan.schedule["phase"][rows]
        for index, part in np.unique(np.stack([lane, phase]), axis=1).T.tolist():
            mine = (lane == index) & (phase == part)
            levels = self._gaps.setdefault((index, part), {})
            for bit in range(int(times[mine].max()).bit_length()):
                levels.setdefault(bit, Histogram()).record_many_ns(
                    gap[mine & (times >> bit & 1 > 0)]
                )

    def gap_histograms(self) -> list[list[Histogram]]:
        """Gaps between tokens by lane and phase, of pools that spread them evenly; none of
        others.
        """
        return [
            [_doubled(self._gaps.get((lane.index, phase), {})) for phase in range(len(lane.phases))]
            for lane in self.plan.lanes
        ]

    def give_up(self, rows: Sequence[int], now_ns: int) -> None:
        """Rows that still waited for a slot when the run ended."""
        waited = np.array(rows, np.int64)
        self.samples["done_ns"][waited] = now_ns
        if len(waited):
            note = "still waiting behind the in-flight cap when the run ended"
            self.samples["note"][waited] = self.number("note", note)


def _note(outcome: Outcome, status: int, lane: Lane) -> str:
    patience = f"{lane.target.timeout / S:g} s"
    if status >= 400:
        return f"HTTP {status}"
    return {
        Outcome.timeout_first: f"no token within {patience}",
        Outcome.timeout_total: f"not finished within {patience}",
        Outcome.censored: "still under way when the run ended",
    }.get(outcome, f"simulated fault: {outcome.name}")


def _doubled(levels: dict[int, Histogram]) -> Histogram:
    """The sum of each level's histogram taken 2**level times."""
    total = Histogram()
    for bit in range(max(levels, default=-1), -1, -1):
        total.add(total)
        total.add(levels.get(bit, Histogram()))
    return total


class _LaneState:
    """The moving parts of one lane."""

    __slots__ = (
        "caller",
        "cap",
        "in_flight",
        "model",
        "plain",
        "stops_at_ns",
        "waiting",
    )

    def __init__(self, lane: Lane, plain: bool):
        target = lane.target
        self.model, self.cap, self.in_flight = (
            target.model,
            lane.profile.max_in_flight or lane.requests,
            0,
        )
        region = next(
            (value for name, value in target.headers.items() if name.lower() == "x-region"), None
        )
        self.caller = Caller(target.api_key_env or ANONYMOUS.key, target.timeout, region)
        #: no row of it waits for another or for a slot, or may meet a prefix cache
        self.plain = plain and lane.profile.max_in_flight is None
        self.waiting: deque[int] = deque()
        self.stops_at_ns = (
            lane.end_ns if lane.profile.closed_loop and lane.profile.duration is not None else None
        )


class VirtualClient:
    """Sends the rows of one scenario's lanes."""

    def __init__(self, gateway: Gateway, seed: int, lanes: Sequence[Lane], answers: Answers):
        self._schedule, self._answers = answers.plan.schedule, answers
        mine = np.isin(self._schedule["lane"], [lane.index for lane in lanes])
        self._rows = np.flatnonzero(mine & (self._schedule["due_ns"] >= 0))
        #: a scenario begins with its first request, as it does over HTTP
        self._origin_ns = int(self._schedule["due_ns"][self._rows[0]])
        dependent = np.flatnonzero(mine & (self._schedule["after_row"] >= 0))
        self._next_of = np.full(len(self._schedule) if len(dependent) else 0, -1, np.int32)
        self._next_of[self._schedule["after_row"][dependent]] = dependent
        follows = set(np.unique(self._schedule["lane"][dependent]).tolist())
        caches = {
            pool.name: pool.batch.prefix_block
            for pool in gateway.pool
            if pool.batch and pool.batch.prefix_blocks
        }
        #: lane -> (tokens of a block, tokens of its shared prefix), where its requests may meet a
        #: prefix cache
        self._cached = {
            lane.index: (
                block,
                lane.profile.shared_prefix.tokens if lane.profile.shared_prefix else 0,
            )
            for lane in lanes
            if (entry := gateway.match(lane.target.model)) is not None
            and (block := next((caches[name] for name in entry.pool if name in caches), None))
            is not None
        }
        self._lanes = {
            lane.index: _LaneState(lane, lane.index not in follows | set(self._cached))
            for lane in lanes
        }
        self._all_plain = all(lane.plain for lane in self._lanes.values())
        self._regions: dict[str, int] = {"": -1}
        for pool in gateway.pool:
            self._regions[pool.region] = answers.number("served_region", pool.region)
        for lane in lanes:
            answers.serve(lane, gateway)
        self._ends: array[int] = array("q")
        self._world = Simulation(gateway, seed, self._ended, timeout_ns=60 * S)

    def play(self, until_ns: int, on_played: Callable[[int], None]) -> None:
        """Send every row and see it end; what is still under way at `until_ns` (the run's time) is
        censored.
        """
        schedule, origin, request, lanes = (
            self._schedule,
            self._origin_ns,
            self._world.request,
            self._lanes,
        )
        for start in range(0, len(self._rows), _AT_ONCE):
            rows = self._rows[start : start + _AT_ONCE]
            part = schedule[rows]
            columns = (
                rows,
                part["due_ns"] - origin,
                part["lane"],
                part["prompt_tokens"],
                part["output_tokens"],
            )
            for row, due_ns, index, prompt, output in zip(
                *(column.tolist() for column in columns), strict=True
            ):
                lane = lanes[index]
                if lane.plain:
                    request(
                        due_ns,
                        row,
                        lane.model,
                        prompt,
                        output,
                        caller=lane.caller,
                    )
                else:
                    self._world.run_until(due_ns)
                    self._due(due_ns, row)
            on_played(len(rows))
        self._world.finish(until_ns - origin)
        self._settle()

    def cut_off(self) -> None:
        """End now: what is under way is censored, what comes later was never sent."""
        self._world.cut_off(self._world.now_ns)
        self._settle()

    def _settle(self) -> None:
        """Answers that have ended become rows, and so do those still queued."""
        self._write()
        for lane in self._lanes.values():
            self._answers.give_up(lane.waiting, self._world.now_ns + self._origin_ns)

    def _due(self, due_ns: int, row: int) -> None:
        """A row is due: it leaves, or waits behind its lane's cap."""
        lane = self._lanes[int(self._schedule["lane"][row])]
        self._answers.samples["due_ns"][row] = due_ns + self._origin_ns
        if lane.in_flight < lane.cap:
            lane.in_flight += 1
            self._send(due_ns, row)
        else:
            lane.waiting.append(row)

    def _send(self, now_ns: int, row: int) -> None:
        planned = self._schedule[row]
        index, prompt = int(planned["lane"]), int(planned["prompt_tokens"])
        lane = self._lanes[index]
        blocks = self._blocks(planned, *self._cached[index]) if index in self._cached else ()
        self._world.request(
            now_ns,
            row,
            lane.model,
            prompt,
            int(planned["output_tokens"]),
            caller=lane.caller,
            blocks=blocks,
        )

    @staticmethod
    def _blocks(planned: np.void, block: int, prefix: int) -> tuple[int, ...]:
        """Names for the prompt's blocks: those inside the shared prefix are the group's, the others
        the session's.
        """
        group, own = (
            -1 - int(planned["prefix_group"]),
            int(planned["lane"]) << 32 | int(planned["session"]),
        )
        whole = int(planned["prompt_tokens"]) // block
        return tuple(
            hash((group if (index + 1) * block <= prefix else own, index)) for index in range(whole)
        )

    def _ended(self, row: int, how: Ended) -> None:
        self._ends.extend(
            (row, _CODE[how.outcome], self._regions[how.region], how.cold, *how[1:12])
        )
        if len(self._ends) >= _AT_ONCE * len(_COLUMNS):
            self._write()
        if self._all_plain or how.outcome == "censored":
            return
        lane = self._lanes[int(self._schedule["lane"][row])]
        if lane.plain:
            return
        now_ns = how.ended_ns
        lane.in_flight -= 1
        following = int(self._next_of[row]) if len(self._next_of) else -1
        if following >= 0:
            due_ns = now_ns + int(self._schedule["think_ns"][following])
            if lane.stops_at_ns is None or due_ns + self._origin_ns < lane.stops_at_ns:
                self._world.later(due_ns, self._due, following)
        if lane.waiting:
            lane.in_flight += 1
            self._world.later(now_ns, self._send, lane.waiting.popleft())

    def _write(self) -> None:
        ends, self._ends = self._ends, array("q")
        if ends:
            self._answers.fill(ends, self._origin_ns)
