"""What a route did for its users and to the bill, and how it bore a drill.

In: a run with routed lanes: rows, attempts, events, prices. Out: JSON records, no verdict. Must
stay true: warm-up is left out; latency is the row's, from its due time; every token that a provider
could bill is counted once, on the attempt that caused it; what cannot be told is None with its
reason, never a number made from nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from bench.judge.routing.policies import expectations, standings
from bench.judge.routing.residency import residency
from bench.judge.summary import view_ms
from bench.metrics import HEADLINES
from bench.quantiles import P50, P99, by_key
from bench.record.attempts import AttemptFlag, Reason
from bench.record.run_folder import Run
from bench.record.samples import Bool, Columns, Int, Outcome, Table, latency_ns
from bench.units import MS, nearest_rank

FORMAT = 1
#: Parts of a stage that a timeline is told in.
BINS = 48
#: A call that reached the model is billed for its prompt: it answered, or was cut off while it did.
_BILLED = (
    Outcome.ok,
    Outcome.censored,
    Outcome.timeout_first,
    Outcome.timeout_total,
    Outcome.truncated,
    Outcome.malformed,
    Outcome.stream_error,
)
_REACTIONS = (
    Reason.retry,
    Reason.error,
    Reason.slow,
    Reason.deadline,
    Reason.hedge,
    Reason.rerouted,
)


def route_run(run: Run) -> dict[str, Any] | None:
    """The value of routes.json; None for a run without routes, drills and allowed regions.

    {"format", "run", "routes": {NAME: `route_record`}, "stages": `policies.standings`, "drills":
    [`drill_records`], "failed": events that did not go well, "timelines": {NAME: `timeline`},
    "residency": {NAME: `residency.residency`}, "expects": `policies.expectations`}
    """
    routed = any(lane.get("route") for lane in run.lanes)
    events = run.manifest.get("events") or []
    regions = residency(run)
    if not routed and not events and not regions:
        return None
    attempts, stages = run.attempts, standings(run)
    routes, drills, timelines = {}, [], {}
    for index, lane in enumerate(run.lanes):
        rows = np.nonzero(
            (run.columns.schedule["lane"] == index) & ~run.columns.schedule["warmup"]
        )[0]
        own = attempts[np.isin(attempts["row"], rows)]
        columns = run.columns.where(rows)
        if lane.get("route"):
            planned = run.columns.schedule[own["row"]]
            routes[lane["name"]] = route_record(
                columns, own, planned, lane, run.strings("served_model")
            )
        changes = [
            change
            for change in run.manifest.get("leg_events") or []
            if change["lane"] == lane["name"]
        ]
        here = [event for event in events if event["stage"] == lane["stage"]]
        found = drill_records(columns, own, rows, here, changes, lane.get("legs") or ())
        drills += [{"target": lane["name"], "stage": lane["stage"], **record} for record in found]
        if found:
            timelines[lane["name"]] = timeline(columns, own, rows, lane, changes)
    failed = [
        {key: event[key] for key in ("name", "stage", "do", "detail")}
        for event in events
        if not event["ok"]
    ]
    return {
        "format": FORMAT,
        "run": run.manifest["run"],
        "routes": routes,
        "stages": stages,
        "drills": drills,
        "failed": failed,
        "timelines": timelines,
        "residency": regions,
        "expects": expectations(run, stages, drills),
    }


# ---- one policy


def route_record(
    columns: Columns, attempts: Table, planned: Table, lane: dict[str, Any], models: list[str]
) -> dict[str, Any]:
    """One routed lane; `planned` are the schedule's rows of the attempts, `models` the texts of
    served_model.
    """
    samples, ok = columns.samples, columns.ok
    answered = samples[ok]
    won, billed = _won(attempts), _billed(attempts)
    served = np.bincount(
        answered["served_model"][answered["served_model"] >= 0], minlength=len(models)
    )
    return {
        "requests": len(columns),
        "ok": len(answered),
        "success": len(answered) / len(columns) if len(columns) else None,
        "response_ms": view_ms(columns.where(ok), HEADLINES),
        "attempts": len(attempts),
        "attempts_per_request": len(attempts) / len(columns) if len(columns) else None,
        "by_reason": _counts(attempts["reason"], Reason),
        "cancelled": int(((attempts["flags"] & AttemptFlag.CANCELLED) != 0).sum()),
        "legs": [
            _leg(
                leg,
                number,
                attempts[attempts["leg"] == number],
                int((won & (attempts["leg"] == number)).sum()),
                len(answered),
            )
            for number, leg in enumerate(lane["legs"])
        ],
        "served_models": {
            model: int(count) / len(answered)
            for model, count in zip(models, served, strict=True)
            if count
        },
        "tokens": _tokens(attempts, planned, billed, won),
        "double_billed": _twice(attempts, billed),
        "cost": _cost(attempts, planned, billed, won, lane["legs"]),
    }


def _billed(attempts: Table) -> Bool:
    reached: Bool = (attempts["sent_ns"] >= 0) & np.isin(attempts["outcome"], _BILLED)
    return reached


def _won(attempts: Table) -> Bool:
    won: Bool = ((attempts["flags"] & AttemptFlag.CARRIED) != 0) & (
        attempts["outcome"] == Outcome.ok
    )
    return won


def _twice(attempts: Table, billed: Bool) -> int:
    """Rows for which two calls or more were billed."""
    return int((np.unique(attempts["row"][billed], return_counts=True)[1] > 1).sum())


def _counts(values: Int, names: Any) -> dict[str, int]:
    counts = np.bincount(values, minlength=len(names))
    return {names(index).name: int(count) for index, count in enumerate(counts) if count}


def _leg(leg: dict[str, Any], number: int, calls: Table, won: int, answered: int) -> dict[str, Any]:
    return {
        "leg": number,
        "name": leg["name"],
        "model": leg["model"],
        "calls": len(calls),
        "answered": won,
        "share_answered": won / answered if answered else None,
        "outcomes": _counts(calls["outcome"], Outcome),
    }


def _paid(attempts: Table, planned: Table, billed: Bool) -> tuple[Int, Int]:
    """(prompt, output) tokens of each attempt: the server's usage; the planned prompt of a call
    that was cut off.
    """
    prompt = np.where(
        attempts["prompt_tokens"] >= 0, attempts["prompt_tokens"], planned["prompt_tokens"]
    ).astype(np.int64)
    output = np.maximum(attempts["output_tokens"], 0).astype(np.int64)
    return np.where(billed, prompt, 0), np.where(billed, output, 0)


def _tokens(attempts: Table, planned: Table, billed: Bool, won: Bool) -> dict[str, int]:
    prompt, output = _paid(attempts, planned, billed)
    return {
        "prompt": int(prompt.sum()),
        "output": int(output.sum()),
        "wasted_prompt": int(prompt[~won].sum()),
        "wasted_output": int(output[~won].sum()),
    }


def _cost(
    attempts: Table, planned: Table, billed: Bool, won: Bool, legs: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """USD, exact to the token.

    `added_usd`: over the answers' own tokens at the price of the leg each row was planned for.
    """
    used = sorted({*attempts["leg"][billed].tolist(), *planned["leg"][won].tolist()})
    if missing := [legs[leg]["name"] for leg in used if legs[leg]["prices"] is None]:
        return {"usd": None, "reason": f"no price for {', '.join(missing)}"}
    prompt, output = _paid(attempts, planned, billed)

    def usd(chosen: Bool, leg_of: Int) -> Decimal:
        total = Decimal(0)
        for leg in used:
            prices, mine = legs[leg]["prices"], chosen & (leg_of == leg)
            total += int(prompt[mine].sum()) * Decimal(prices["input_usd_per_million"])
            total += int(output[mine].sum()) * Decimal(prices["output_usd_per_million"])
        return total / 1_000_000

    whole, wasted, plain = (
        usd(billed, attempts["leg"]),
        usd(billed & ~won, attempts["leg"]),
        usd(won, planned["leg"]),
    )
    return {
        "usd": float(whole),
        "wasted_usd": float(wasted),
        "added_usd": float(whole - plain),
        "added_share": float((whole - plain) / plain) if plain else None,
    }


# ---- drills


def drill_records(
    columns: Columns,
    attempts: Table,
    rows: Int,
    events: list[dict[str, Any]],
    changes: list[dict[str, Any]],
    legs: Sequence[dict[str, Any]] = (),
) -> list[dict[str, Any]]:
    """One record for each cut of a stage, as one lane bore it.

    `rows` are the numbers of `columns`' rows in the run, `events` the stage's drills in order,
    `changes` those of the lane's `legs`; without legs there is no `cost`. Times count from when the
    cut was really done; its window ends when it was healed, at the next cut, or with the run. A cut
    that failed has a record and no figures, a healing that failed healed nothing.
    """
    marks = [event for event in events if event["do"] in ("cut", "heal") and event["done_ns"] >= 0]
    records = [_never_cut(mark) for mark in marks if mark["do"] == "cut" and not mark["ok"]]
    marks = [mark for mark in marks if mark["ok"]]
    due = columns.samples["due_ns"]
    before_ns = 0
    for number, cut in enumerate(marks):
        if cut["do"] == "heal":
            before_ns = cut["done_ns"]
            continue
        following = marks[number + 1] if number + 1 < len(marks) else None
        heal = following if following is not None and following["do"] == "heal" else None
        begin, end = (
            cut["done_ns"],
            following["done_ns"] if following is not None else int(due.max(initial=0)) + 1,
        )
        last = next(
            (mark["done_ns"] for mark in marks[number + 1 :] if mark["do"] == "cut"),
            int(due.max(initial=0)) + 1,
        )
        before, during = (
            columns.where((due >= before_ns) & (due < begin)),
            columns.where((due >= begin) & (due < end)),
        )
        hit = np.isin(attempts["row"], rows[(due >= begin) & (due < end)])
        inside, billed = attempts[hit], _billed(attempts[hit])
        planned = during.schedule[
            np.searchsorted(rows[(due >= begin) & (due < end)], inside["row"])
        ]
        record = {
            "event": cut["name"],
            "at_ns": begin,
            "ok": cut["ok"],
            "healed_ns": heal["done_ns"] if heal is not None else None,
            **_detected(attempts, begin, end, before_ns, changes),
            "switch_ms": _switched_ms(attempts, begin, end),
            "fail_back_ms": _failed_back_ms(attempts, begin, heal["done_ns"], last)
            if heal is not None
            else None,
            **_suffered(before, during),
            "double_billed": _twice(inside, billed),
            "cost": _cost(inside, planned, billed, _won(inside), legs) if legs else None,
        }
        records.append(record)
    return records


def _never_cut(cut: dict[str, Any]) -> dict[str, Any]:
    figures = (
        "healed_ns",
        "detect_ms",
        "detected_by",
        "switch_ms",
        "fail_back_ms",
        "requests",
        "lost",
        "unknown",
        "delayed",
        "added_ms",
        "double_billed",
        "cost",
    )
    return {"event": cut["name"], "at_ns": cut["done_ns"], "ok": False, **dict.fromkeys(figures)}


def _detected(
    attempts: Table, begin: int, end: int, before_ns: int, changes: list[dict[str, Any]]
) -> dict[str, Any]:
    """When the route first did something that it had not done before the cut: a breaker opened, or
    a call was made for a reason not seen until then. What it does all the time anyway marks no
    moment.
    """
    started = attempts["start_ns"]
    usual = set(attempts["reason"][(started >= before_ns) & (started < begin)].tolist())
    moments = [
        (int(change["at_ns"]), "breaker")
        for change in changes
        if change["state"] == "open" and begin <= change["at_ns"] < end
    ]
    for reason in _REACTIONS:
        new = started[(attempts["reason"] == reason) & (started >= begin) & (started < end)]
        if reason not in usual and len(new):
            moments.append((int(new.min()), reason.name))
    at_ns, by = min(moments, default=(None, None))
    return {"detect_ms": None if at_ns is None else (at_ns - begin) / MS, "detected_by": by}


def _switched_ms(attempts: Table, begin: int, end: int) -> float | None:
    """When a row first began on another leg than planned, because the planned one was left
    alone.
    """
    moved = attempts["start_ns"][
        (attempts["reason"] == Reason.rerouted) & (attempts["start_ns"] >= begin)
    ]
    moved = moved[moved < end]
    return (int(moved.min()) - begin) / MS if len(moved) else None


def _failed_back_ms(attempts: Table, begin: int, heal: int, last: int) -> float | None:
    """When rows began on their planned legs for good: the first such after the last that was
    rerouted.
    """
    started = attempts["start_ns"]
    here = (started >= begin) & (started < last)
    moved = started[here & (attempts["reason"] == Reason.rerouted)]
    if not len(moved):
        return None
    planned = started[here & (attempts["reason"] == Reason.first) & (started > moved.max())]
    return (max(int(planned.min()), heal) - heal) / MS if len(planned) else None


def _suffered(before: Columns, during: Columns) -> dict[str, Any]:
    """Rows lost and delayed (slower than 99 of 100 before the cut), and what the cut added to the
    latency.
    """
    outcomes = during.samples["outcome"]
    unknown = outcomes == Outcome.censored
    usual, then = (np.sort(latency_ns(each.samples[each.ok], "e2e")) for each in (before, during))
    record: dict[str, Any] = {
        "requests": len(during),
        "lost": int((~during.ok & ~unknown).sum()),
        "unknown": int(unknown.sum()),
    }
    if not len(usual) or not len(then):
        return {**record, "delayed": None, "added_ms": None}
    p99 = int(_at(usual, P99))
    added = {name: (_at(then, q) - _at(usual, q)) / MS for name, q in by_key(P50, P99).items()}
    return {
        **record,
        "delayed": int((then > p99).sum()),
        "added_ms": {"mean": float(then.mean() - usual.mean()) / MS, **added},
    }


def _at(ordered: Int, q: Fraction) -> int:
    return int(ordered[nearest_rank(len(ordered), q) - 1])


def timeline(
    columns: Columns,
    attempts: Table,
    rows: Int,
    lane: dict[str, Any],
    changes: list[dict[str, Any]],
) -> dict[str, Any]:
    """How one lane's stage went, in `BINS` equal parts by due time: who answered, who was not
    answered, and the p99 (ms).

    p99_ms is None where nothing was answered; `states` are the changes of the legs' breakers.
    """
    samples, ok = columns.samples, columns.ok
    width = max(-(-(lane["end_ns"] - lane["start_ns"]) // BINS), 1)
    bins = np.clip((samples["due_ns"] - lane["start_ns"]) // width, 0, BINS - 1)
    p99 = [np.sort(latency_ns(samples[ok & (bins == number)], "e2e")) for number in range(BINS)]
    won = attempts[_won(attempts)]
    of_row = bins[np.searchsorted(rows, won["row"])]
    return {
        "stage": lane["stage"],
        "of": lane["target"],
        "start_ns": lane["start_ns"],
        "bin_ns": width,
        "requests": np.bincount(bins, minlength=BINS).tolist(),
        "lost": np.bincount(
            bins[~ok & (samples["outcome"] != Outcome.censored)], minlength=BINS
        ).tolist(),
        "p99_ms": [_at(values, P99) / MS if len(values) else None for values in p99],
        "legs": [
            {
                "name": leg["name"],
                "answered": np.bincount(of_row[won["leg"] == number], minlength=BINS).tolist(),
            }
            for number, leg in enumerate(lane.get("legs") or [])
        ],
        "states": [
            {"leg": change["leg"], "at_ns": change["at_ns"], "state": change["state"]}
            for change in changes
        ],
    }
