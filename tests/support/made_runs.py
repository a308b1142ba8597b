"""Run folders made from a stated law, for the rooms that show them.

In: a seed and what shall have gone wrong. Out: a `Made` run: folder, summary and verdicts in
the shapes that `judge` hands on. Must stay true: the numbers are computed here by sorting, not
by the code under test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import __version__
from bench.judge.review import Records
from bench.plan.profile import bucket_names
from bench.record.records.attribution import Attribution
from bench.record.records.manifest import LaneRecord, Manifest
from bench.record.records.summary import Summary
from bench.record.records.verdicts import ClauseVerdict, Verdicts
from bench.record.run_folder import Run, RunWriter
from bench.record.samples import (
    SCHEDULE_DTYPE,
    Flag,
    Outcome,
    Table,
    empty_samples,
    latency_ns,
    outcome_counts,
)

S, MS = 10**9, 10**6
PHASES = ["warmup", "steady", "burst"]


@dataclass
class Made:
    """A run and what the judge would have said of it."""

    run: Run
    summary: Summary
    verdicts: Verdicts

    @property
    def records(self) -> Records:
        """All records of a run that was not compared, routed or counted over a month."""
        nothing = Attribution(format=1, run="r", state="complete", simulated=False, targets={})
        return Records(self.summary, self.verdicts, nothing, None, None, None)

    def say(self, **health: Any) -> None:
        """Other values of the harness's health."""
        self.summary = self.summary.replace(health=self.summary.health.replace(**health))

    def measure(self, target: str, **values: Any) -> None:
        """Other values of a target's summary."""
        changed = self.summary.targets[target].replace(**values)
        self.summary = self.summary.replace(targets={**self.summary.targets, target: changed})

    def judge(self, place: int | slice, **values: Any) -> None:
        """Other values of a clause's verdict, or of several."""
        clauses = [*self.verdicts.clauses]
        for at in range(len(clauses))[place] if isinstance(place, slice) else [place]:
            clauses[at] = clauses[at].replace(**values)
        self.verdicts = self.verdicts.replace(clauses=clauses)


MakeRun = Callable[..., Made]


def schedule_of(rows: int, seconds: float, lanes: int) -> Table:
    """Evenly due rows: the first tenth warm-up, then steady, the last third burst."""
    table = np.zeros(rows * lanes, SCHEDULE_DTYPE)
    table["due_ns"] = np.repeat(
        np.linspace(0, seconds * S, rows, endpoint=False).astype(np.int64), lanes
    )
    table["lane"] = np.tile(np.arange(lanes), rows)
    share = table["due_ns"] / (seconds * S)
    table["phase"] = np.where(share < 0.1, 0, np.where(share < 0.65, 1, 2))
    table["warmup"] = (table["phase"] == 0) & (rows > 10)
    table["bucket"] = np.arange(len(table)) % 7 // 2
    for name in ("after_row", "prefix_group", "session"):
        table[name] = -1
    return table


def samples_of(schedule: Table, seed: int) -> Table:
    """Lognormal answers of median 210 ms; in lane 0 every 20th row of the burst takes ten times as
    long.
    """
    rng = np.random.default_rng(seed)
    table = empty_samples(len(schedule))
    whole = rng.lognormal(math.log(210 * MS), 0.25, len(table))
    slow = (schedule["lane"] == 0) & (schedule["phase"] == 2) & (rng.random(len(table)) < 0.05)
    whole = np.where(slow, whole * 10, whole).astype(np.int64)
    table["outcome"] = Outcome.ok
    table["due_ns"] = table["slot_free_ns"] = schedule["due_ns"]
    table["sent_ns"] = table["due_ns"] + rng.integers(20_000, 90_000, len(table))
    table["first_token_ns"] = table["first_answer_token_ns"] = table["sent_ns"] + whole * 2 // 5
    table["last_token_ns"] = table["sent_ns"] + whole
    table["done_ns"] = table["last_token_ns"] + 100_000
    table["flags"] = Flag.STREAMED
    table["status"] = 200
    table["output_tokens"], table["prompt_tokens"], table["chunks"] = 64, 500, 64
    table["gap_max_ns"] = whole // 20
    return table


def fail(samples: Table, rows: Any, outcome: Outcome, note: int = -1) -> None:
    """Let rows end badly: no token ever came."""
    samples["outcome"][rows] = outcome
    samples["note"][rows] = note
    for name in ("first_token", "first_answer_token", "last_token", "done"):
        samples[f"{name}_ns"][rows] = -1
    if outcome == Outcome.never_sent:
        samples["sent_ns"][rows] = -1


def lane_of(name: str, index: int, seconds: float, rows: int) -> LaneRecord:
    """One lane's record of the manifest."""
    spans = [(PHASES[0], 0, 0.1), (PHASES[1], 0.1, 0.65), (PHASES[2], 0.65, 1)]
    return LaneRecord.model_validate(
        {
            "name": name,
            "target": name,
            "model": ["deepseek-ai/DeepSeek-V3.2", "Pro/deepseek-ai/DeepSeek-V3.2"][index % 2],
            "tier": ["standard", "pro"][index % 2],
            "region": "sg",
            "base_url": "http://127.0.0.1:8080/v1",
            "transport": "tailproof",
            "stage": "chat",
            "scenario": None,
            "simulated": False,
            "profile": {
                "name": "chat",
                "description": "mixed chat traffic with a burst",
                "arrivals": {"kind": "constant", "rate": "40/s"},
                "max_in_flight": None,
            },
            "contract": None,
            "phases": PHASES,
            "phase_spans": [
                {
                    "phase": phase,
                    "start_ns": round(a * seconds * S),
                    "end_ns": round(b * seconds * S),
                    "warmup": phase == "warmup",
                }
                for phase, a, b in spans
            ],
            "buckets": bucket_names(),
            "start_ns": 0,
            "end_ns": round(seconds * S),
            "requests": rows,
            "timeout_ns": 60 * S,
            "max_in_flight": None,
            "closed_loop": False,
            "closed_by_duration": False,
            "prices": None,
            "expect": [],
            "notes": [],
        }
    )


def rank(values: Any, q: float) -> float:
    """Nearest rank, by sorting."""
    ordered = sorted(values)
    return float(ordered[max(math.ceil(round(q * len(ordered), 9)), 1) - 1])


def q_of(values_ns: Any) -> dict[str, float] | None:
    """The Q record of summary.json in ms; None for an empty set."""
    values = [value / MS for value in values_ns if value >= 0]
    if not values:
        return None
    named = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999, "max": 1.0}
    return {
        "n": len(values),
        "mean": sum(values) / len(values),
        **{key: rank(values, q) for key, q in named.items()},
    }


def part_of(samples: Table) -> dict[str, Any]:
    """What by_phase and by_bucket hold."""
    good = samples[samples["outcome"] == Outcome.ok]
    return {
        "requests": len(samples),
        "ok": len(good),
        "response_ms": {
            "ttft": q_of(latency_ns(good, "ttft")),
            "e2e": q_of(latency_ns(good, "e2e")),
        },
    }


def target_of(schedule: Table, samples: Table, lane: LaneRecord, seconds: float) -> dict[str, Any]:
    """One target's record of summary.json."""
    measured = samples[~schedule["warmup"]]
    good = measured[measured["outcome"] == Outcome.ok]
    plan = schedule[~schedule["warmup"]]
    return {
        "simulated": lane.simulated,
        "requests": len(samples),
        "reached": len(samples),
        "ok": int((samples["outcome"] == Outcome.ok).sum()),
        "warmup": int(schedule["warmup"].sum()),
        "outcomes": outcome_counts(samples),
        "offered_rps": len(samples) / seconds,
        "sent_rps": int((samples["sent_ns"] >= 0).sum()) / seconds,
        "response_ms": {
            metric: q_of(latency_ns(good, metric))
            for metric in ("ttft", "ttft_answer", "e2e", "tpot")
        },
        "service_ms": {
            metric: q_of(latency_ns(good, metric, "service")) for metric in ("ttft", "e2e")
        },
        "inter_chunk_ms": q_of(good["gap_max_ns"]),
        "inter_chunk_max_ms": q_of(latency_ns(good, "inter_chunk_max")),
        "lag_ms": q_of(latency_ns(measured, "lag")),
        "harness_lag_ms": q_of(latency_ns(measured, "harness_lag")),
        "connect_ms": None,
        "tls_ms": None,
        "new_connections": 0,
        "uptime": {"request_ratio": len(good) / len(measured) if len(measured) else None},
        "tokens": {
            "prompt": int(good["prompt_tokens"].sum()),
            "output": int(good["output_tokens"].sum()),
            "source": "usage" if len(good) else "none",
            "prompt_error": None,
        },
        "cost": None,
        "by_phase": {
            name: part_of(measured[plan["phase"] == index])
            for index, name in enumerate(lane.phases)
            if (plan["phase"] == index).any()
        },
        "by_bucket": {
            name: part_of(measured[plan["bucket"] == index])
            for index, name in enumerate(lane.buckets)
            if (plan["bucket"] == index).any()
        },
    }


def clause_of(target: str, number: int, text: str, metric: str, **more: Any) -> ClauseVerdict:
    """One clause's record of verdicts.json with plain defaults."""
    base = {
        "target": target,
        "stage": "chat",
        "contract": "enterprise",
        "number": number,
        "text": text,
        "metric": metric,
        "view": "response",
        "quantile": None,
        "limit_ms": None,
        "share": None,
        "phase": None,
        "bucket": None,
        "report_only": False,
        "confidence": 0.95,
        "measured": None,
        "interval": [None, None],
        "n": 0,
        "k": 0,
        "unknown": 0,
        "allowed_k": -1,
        "fail_k": 1,
        "p0": 0.01,
        "p_interval": [0.0, 1.0],
        "p_limits": [0.0, 1.0],
        "p_fail": 1.0,
        "design_effect": 1.0,
        "blocks": 0,
        "block_s": 0.0,
        "worst_block": None,
        "method": None,
        "n_effective": 0,
        "at_least_tps": None,
        "decided_by": "exact",
        "statistic": "quantile",
        "excluded": {},
        "with_excluded": None,
        "projected_credit": None,
        "steadiness": None,
        "unit": "share" if metric in ("uptime", "error_share") else "ms",
        "operator": ">=" if metric == "uptime" else "<=",
        "verdict": "INCONCLUSIVE",
        "reason": "no rows to judge",
        "needed_n": None,
    }
    return ClauseVerdict.model_validate({**base, **more})


def verdicts_of(names: list[str], overall: str = "FAIL") -> Verdicts:
    """A failed, an undecided, a kept and a reported clause for the first target; kept ones for the
    others.
    """
    e2e: dict[str, Any] = {"metric": "e2e", "quantile": 0.99, "limit_ms": 800.0, "n": 12_000}
    up: dict[str, Any] = {"metric": "uptime", "share": 0.999, "n": 12_000}
    clauses = [
        clause_of(
            names[0],
            1,
            "response e2e p99 ≤ 800 ms",
            **e2e,
            measured=3870.4,
            bound=[3610.2, 4020.0],
            interval=[3610.2, 4020.0],
            k=611,
            allowed_k=100,
            fail_k=143,
            verdict="FAIL",
            reason="611 of 12,000 requests took longer, 100 may",
        ),
        clause_of(
            names[0],
            2,
            "uptime, request ratio ≥ 99.9 %",
            **up,
            measured=0.9983,
            bound=[0.9974, 0.9990],
            interval=[0.9974, 0.9990],
            k=20,
            allowed_k=5,
            fail_k=22,
            needed_n=21_000,
            verdict="INCONCLUSIVE",
            reason="20 failed, between 5 and 22",
        ),
        clause_of(
            names[0],
            3,
            "response TTFT p95",
            "ttft",
            quantile=0.95,
            report_only=True,
            measured=181.0,
            bound=[177.5, None],
            interval=[177.5, None],
            n=12_000,
            k=0,
            verdict="REPORTED",
            reason="shown, judged by nobody",
        ),
    ]
    for name in names[1:]:
        clauses += [
            clause_of(
                name,
                1,
                "response e2e p99 ≤ 800 ms",
                **e2e,
                measured=402.13,
                bound=[391.4, 418.0],
                interval=[391.4, 418.0],
                k=2,
                allowed_k=100,
                fail_k=143,
                verdict="PASS",
                reason="2 of 12,000 requests took longer, 100 may",
            ),
            clause_of(
                name,
                2,
                "uptime, request ratio ≥ 99.9 %",
                **up,
                measured=1.0,
                bound=[0.99975, 1.0],
                interval=[0.99975, 1.0],
                allowed_k=5,
                fail_k=22,
                verdict="PASS",
                reason="none failed",
            ),
        ]
    return Verdicts(
        format=Verdicts.FORMAT,
        run="2026-11-23T10-04-11Z-chat-3fa9",
        overall=overall,
        exit_code=1,
        confidence=0.95,
        simulated=False,
        clauses=clauses,
        forecasts=[],
        expects=[],
        attested=[{"contract": "enterprise", "term": "data stay in the region"}],
        projected_breach_usd=None,
    )


def manifest_of(lanes: list[LaneRecord], strings: dict[str, list[str]]) -> Manifest:
    """A manifest as the runner writes it."""
    return Manifest.begun("2026-11-23T10-04-11Z-chat-3fa9", lanes).replace(
        suite={"name": "chat-tiers", "description": "shared against dedicated"},
        seed=7,
        started_utc="2026-11-23T10:04:11Z",
        started_wall_ns=1_795_514_651 * S,
        repeat_command="tailproof run chat-tiers --seed 7",
        versions={"tailproof": __version__, "numpy": "2.0"},
        machine={"system": "Linux", "cores": 2, "cpu": "a processor"},
        clock={"source": "clock_gettime", "resolution_ns": 1.0},
        inputs=[{"name": "chat-tiers.toml", "sha256": "ab" * 32}],
        strings=strings,
    )


def spoil_nothing(schedule: Table, samples: Table) -> None:
    """Every request succeeds."""


def spoil_some(schedule: Table, samples: Table) -> None:
    """0.5 % of lane 0 fail in four ways, mostly in the burst; its last rows are still open at the
    end.
    """
    mine = np.flatnonzero((schedule["lane"] == 0) & (schedule["phase"] == 2))
    fail(samples, mine[::60], Outcome.http_5xx, note=0)
    fail(samples, mine[7:40:11], Outcome.rate_limited)
    fail(samples, mine[50:55], Outcome.timeout_total)
    fail(samples, mine[-3:], Outcome.censored)


def spoil_all(schedule: Table, samples: Table) -> None:
    """Nothing ever succeeds."""
    fail(samples, slice(None), Outcome.refused)


def make_in(
    parent: Path,
    names: list[str] | None = None,
    rows: int = 1200,
    seconds: float = 30,
    seed: int = 7,
    *,
    spoil: Callable[[Table, Table], None] = spoil_nothing,
    notes: list[str] | None = None,
    state: Any = "complete",
    models: list[str] | None = None,
) -> Made:
    """A run in a new folder of `parent`: `rows` a lane over `seconds`, `spoil` edits the samples
    before they are sealed.
    """
    names = ["standard", "pro"] if names is None else names
    schedule = schedule_of(rows, seconds, len(names))
    samples = samples_of(schedule, seed)
    spoil(schedule, samples)
    lanes = [lane_of(name, index, seconds, rows) for index, name in enumerate(names)]
    strings = {
        "served_model": models or [],
        "served_region": [],
        "finish": [],
        "note": notes or [],
    }
    folder = parent / f"run-{len(list(parent.iterdir()))}"
    writer = RunWriter(folder, manifest_of(lanes, strings), schedule)
    writer.finish(state, samples, {"harness": {"kernel_stamps": True}})
    targets = {}
    for index, lane in enumerate(lanes):
        mine = schedule["lane"] == index
        targets[lane.name] = target_of(schedule[mine], samples[mine], lane, seconds)
    verdicts = verdicts_of(names)
    summary = {
        "format": 1,
        "run": "2026-11-23T10-04-11Z-chat-3fa9",
        "state": state,
        "simulated": False,
        "targets": targets,
        "overall": verdicts.overall,
        "health": {
            "state": "valid",
            "reasons": ["late p99 0.06 ms, sent 100.0 % of schedule"],
            "facts": {"harness_lag_p99_ms": 0.06},
        },
    }
    return Made(Run(folder), Summary.model_validate(summary), verdicts)
