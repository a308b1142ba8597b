"""One arm of a comparison: a lane's judged rows, and the facts that let two arms stand side by
side.

In: a run and one of its lanes, or a stored baseline. Out: an `Arm`, and why two arms should not
be compared. Must stay true: a failure is a latency above any other; rows cut off by the end of
the run are left out and counted; a place in time is one on the lane's own clock, so the arms of
two runs under one profile lie side by side.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from pathlib import Path

import numpy as np

from bench.errors import UserError
from bench.judge.fitness import fitness
from bench.judge.left_out import kept
from bench.judge.reached import came_to, undecided
from bench.judge.served import api_of
from bench.judge.spend import spend_of
from bench.judge.stats.groups import sessions_of, worth_of
from bench.judge.summary import token_cost
from bench.record.files import write_atomically
from bench.record.records.comparisons import ArmFacts
from bench.record.records.manifest import LaneRecord
from bench.record.run_folder import Run
from bench.record.samples import Bool, Columns, Float, Int, latency_ns

#: What served a row: the tier that was asked for, another one, one that the answer does not name or
#: nobody knows, none for it failed.
AS_ASKED, ELSEWHERE, UNNAMED, FAILED = 1, 0, -1, -2
#: Format history of a stored baseline: 1 = first.
BASELINE_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Arm:
    """The measured rows of a lane whose end is known. Arrays are twins."""

    name: str
    metric: str
    #: when each was due, ns after the lane's start
    at_ns: Int
    #: response latency in ns, np.inf for a failure
    values: Float
    #: index into facts.phases
    phase: Int
    #: index into facts.buckets
    bucket: Int
    #: rows left out, because the run ended before they did
    undecided: int
    facts: ArmFacts
    #: one of the four above a row; None where no tier was asked for, or no answer names one
    tier: Int | None = None
    #: the session of each row; None where each row is one of its own
    session: Int | None = None

    def __len__(self) -> int:
        return len(self.at_ns)

    def where(self, keep: Bool) -> Arm:
        """The rows that `keep` selects."""
        return dataclasses.replace(
            self,
            at_ns=self.at_ns[keep],
            values=self.values[keep],
            phase=self.phase[keep],
            bucket=self.bucket[keep],
            tier=None if self.tier is None else self.tier[keep],
            session=None if self.session is None else self.session[keep],
        )

    @property
    def sessions_worth(self) -> float:
        """Sessions of equal size that the rows are worth (Kish)."""
        return math.inf if self.session is None else worth_of(self.session)

    def spans(self, phase: str | None = None) -> list[tuple[int, int]]:
        """Measured stretches of the lane's clock, (start, end) in ns; those of one phase where it
        is named.
        """
        return [(start, end) for name, start, end in self.facts.spans if phase in (None, name)]


def arm_of(run: Run, index: int, metric: str) -> Arm:
    """The arm that a lane is."""
    lane = run.lanes[index]
    columns = kept(run, came_to(run).lane(index).measured())
    open_ended = undecided(columns)
    rows = columns.where(~open_ended)
    latency = latency_ns(rows.samples, metric)
    tier = _served_by(run, lane, rows)
    return Arm(
        name=lane.name,
        metric=metric,
        at_ns=np.maximum(rows.samples["due_ns"] - lane.start_ns, 0),
        values=np.where(rows.ok & (latency >= 0), latency, np.inf),
        phase=rows.schedule["phase"].astype(np.int64),
        bucket=rows.schedule["bucket"].astype(np.int64),
        undecided=int(open_ended.sum()),
        facts=_facts(run, lane, metric).replace(
            usd_per_request=_usd_of_route(run, index)
            if lane.legs
            else _usd_per_request(rows, lane),
            asked=lane.tier or None,
            elsewhere_tokens=_tokens_elsewhere(rows, tier),
            usd_per_million=_usd_per_million(lane),
        ),
        tier=tier,
        session=sessions_of(rows, closed_loop=lane.closed_loop),
    )


def _served_by(run: Run, lane: LaneRecord, rows: Columns) -> Int | None:
    """What served each row, as `Arm.tier`."""
    words = run.strings("served_tier")
    column = rows.samples["served_tier"].astype(np.int64)
    if not lane.tier or not (column >= 0).any():
        return None
    fits = [api_of(lane).honours(lane.tier, word) for word in words]
    kinds = {True: AS_ASKED, False: ELSEWHERE, None: UNNAMED}
    # The last entry is what the number -1 finds.
    kind = np.array([*(kinds[fit] for fit in fits), UNNAMED])[column]
    return np.where(rows.ok, kind, FAILED)


def _tokens_elsewhere(rows: Columns, tier: Int | None) -> tuple[int, int]:
    """Prompt and output tokens that another tier served than was asked for."""
    if tier is None:
        return 0, 0
    samples = rows.samples[tier == ELSEWHERE]
    prompt, output = (samples[f"{kind}_tokens"].astype(np.int64) for kind in ("prompt", "output"))
    return int(prompt[prompt >= 0].sum()), int(output[output >= 0].sum())


def _usd_per_million(lane: LaneRecord) -> tuple[float, float] | None:
    prices = lane.prices
    if prices is None:
        return None
    return float(prices.input_usd_per_million), float(prices.output_usd_per_million)


def _facts(run: Run, lane: LaneRecord, metric: str) -> ArmFacts:
    profile = {
        key: value for key, value in lane.profile.items() if key not in ("name", "description")
    }
    started = run.manifest.started_wall_ns
    contract = lane.contract
    limits = [
        clause.limit
        for clause in (contract.clauses if contract else ())
        if clause.metric == metric
        and clause.limit is not None
        and clause.view == "response"
        and not (clause.phase or clause.bucket)
    ]
    breach = contract.breach_cost_usd if contract else None
    health = fitness(run).of_lane(lane.stage, simulated=lane.simulated)
    return ArmFacts(
        run=run.manifest.run,
        machine=run.manifest.machine,
        clock=run.manifest.clock.get("source"),
        simulated=lane.simulated,
        profile=hashlib.sha256(json.dumps(profile, sort_keys=True).encode()).hexdigest(),
        closed_loop=lane.closed_loop,
        began_ns=started + lane.start_ns,
        ended_ns=started + lane.end_ns,
        phases=lane.phases,
        buckets=lane.buckets,
        spans=[
            (span.phase, span.start_ns - lane.start_ns, span.end_ns - lane.start_ns)
            for span in lane.measured_spans
        ],
        unfit=health.reasons[0] if health.state == "invalid" else None,
        limit_ns=limits[0] if limits else None,
        breach_usd=None if breach is None else float(breach),
        left_out=run.manifest.left_out_nodes,
    )


def _usd_per_request(rows: Columns, lane: LaneRecord) -> float | None:
    """Mean cost of a request's tokens at the lane's prices; None where prices or token counts are
    missing.
    """
    if len(rows) and bool((rows.samples["output_tokens"] >= 0).any()):
        cost = token_cost(rows, lane)
    else:
        cost = None
    if cost is None:
        return None
    return float(cost.usd) / len(rows)


def _usd_of_route(run: Run, index: int) -> float | None:
    """The same of a route: all calls of a request, each at its leg's prices."""
    spend = spend_of(run, index)
    rows = run.columns.lane(index)
    if isinstance(spend, str):
        return None
    paid = spend.paid[~rows.schedule["warmup"] & ~undecided(rows)]
    if len(paid):
        return float(paid.mean())
    return None


def differences(baseline: Arm, other: Arm) -> list[str]:
    """Why the two do not belong side by side: what besides the target was not the same."""
    first = baseline.facts
    second = other.facts
    said = []
    if first.profile != second.profile:
        said.append("the load profiles differ")
    changed = [
        key
        for key in sorted({*first.machine, *second.machine})
        if first.machine.get(key) != second.machine.get(key)
    ]
    if changed:
        said.append(f"the machines differ ({', '.join(changed)})")
    if first.clock != second.clock:
        said.append(f"the clock sources differ ({first.clock}, {second.clock})")
    if first.simulated != second.simulated:
        said.append("one of them is simulated")
    return said


def one_after_the_other(baseline: Arm, other: Arm) -> bool:
    """True where the two were never measured at the same time."""
    first = baseline.facts
    second = other.facts
    return bool(first.ended_ns <= second.began_ns or second.ended_ns <= first.began_ns)


def save_baseline(arm: Arm, path: Path) -> None:
    """Keep what a later comparison needs of an arm: every row's place and latency, and the
    facts.
    """
    rows = {
        "at_ns": arm.at_ns,
        "value_ns": np.where(np.isfinite(arm.values), arm.values, -1).astype(np.int64),
        "phase": arm.phase,
        "bucket": arm.bucket,
    }
    of_some = {"tier": arm.tier, "session": arm.session}
    rows |= {key: column for key, column in of_some.items() if column is not None}
    record = {
        "format": BASELINE_FORMAT,
        "name": arm.name,
        "metric": arm.metric,
        "undecided": arm.undecided,
        "facts": arm.facts.to_json(),
        "rows": {key: column.tolist() for key, column in rows.items()},
    }
    write_atomically(
        path, (json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n").encode()
    )


def load_baseline(path: Path) -> Arm:
    """The arm that `save_baseline` kept. Raises UserError naming what is wrong with the file."""
    try:
        record = json.loads(path.read_bytes())
        if record["format"] > BASELINE_FORMAT:
            raise UserError(
                f"has format {record['format']}; this tailproof reads up to {BASELINE_FORMAT}",
                where=str(path),
            )
        rows = {
            key: np.array(record["rows"][key], np.int64)
            for key in ("at_ns", "value_ns", "phase", "bucket", "tier", "session")
            if key not in ("tier", "session") or key in record["rows"]
        }
        if len({column.shape for column in rows.values()}) > 1:
            raise ValueError
        values = np.where(rows["value_ns"] >= 0, rows["value_ns"], np.inf)
        return Arm(
            record["name"],
            record["metric"],
            rows["at_ns"],
            values,
            rows["phase"],
            rows["bucket"],
            record["undecided"],
            ArmFacts.model_validate(record["facts"]),
            rows.get("tier"),
            rows.get("session"),
        )
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path)) from None
    except (ValueError, KeyError, TypeError):
        raise UserError(
            "is not a baseline that tailproof stored",
            where=str(path),
            remedy="make one with --save-baseline",
        ) from None
