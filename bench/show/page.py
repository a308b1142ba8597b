"""What a report says, in the order in which it says it, before it is HTML or Markdown.

In: a run, its summary and its verdicts. Out: one `Page` of strings and tables. Must stay true:
verdicts come first, failures are never left out, and every string that a server or a user's
file supplied has passed through `wording.visible`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.plan.clause import LATENCIES
from bench.record.run_folder import Run
from bench.record.samples import Columns, Outcome
from bench.show import wording
from bench.show.definitions import DEFINITIONS
from bench.show.paragraph import buyers_paragraph
from bench.show.plots import latency_over_time, percentile_spectrum
from bench.show.wording import ABSENT, count, milliseconds, number, per_cent, visible
from bench.units import show_duration

Record = Mapping[str, Any]
_QUANTILES = ("p50", "p90", "p95", "p99", "p999", "max")
_NOTES_MOST = 3


@dataclass(frozen=True)
class Table:
    """A caption, the headings, rows of strings, and how many leading columns are words."""

    caption: str
    head: list[str]
    rows: list[list[str]]
    words: int = 1


@dataclass(frozen=True)
class Figure:
    """An SVG, its title, and the name of its file below plots/."""

    title: str
    file: str
    svg: str


@dataclass(frozen=True)
class Part:
    """Everything about one lane."""

    name: str
    about: list[tuple[str, str]]
    tables: list[Table]
    figures: list[Figure]
    notes: list[str]


@dataclass(frozen=True)
class Page:
    """The whole report."""

    title: str
    description: str
    overall: str
    #: for a suite of known answers: how many were met
    rehearsal: str
    alerts: list[str]
    verdicts: Table | None
    expects: Table | None
    health: str
    paragraph: str
    parts: list[Part]
    attested: list[str]
    notes: list[str]
    facts: list[tuple[str, str]]
    repeat: str
    definitions: tuple[tuple[str, str], ...] = field(default=DEFINITIONS)


def build_page(run: Run, summary: Record, verdicts: Record) -> Page:
    """Gather the page. Draws the figures: some tenths of a second a lane."""
    suite = run.manifest["suite"]
    return Page(
        title=visible(suite["name"], 80), description=visible(suite.get("description", "")),
        overall=visible(summary["overall"], 20), rehearsal=_rehearsal(verdicts), alerts=_alerts(run, summary),
        verdicts=verdict_table(verdicts), expects=_expect_table(verdicts), health=health_line(summary),
        paragraph=buyers_paragraph(run.lanes, summary, verdicts),
        parts=[_part(run, index, lane, summary["targets"][lane["name"]], verdicts) for index, lane in enumerate(run.lanes)],
        attested=[f"{visible(item['contract'], 60)}: {visible(item['term'])}" for item in verdicts.get("attested", [])],
        notes=[*_notes(run), *map(visible, verdicts.get("not_applied", []))], facts=list(_facts(run, summary)), repeat=visible(run.manifest.get("repeat_command", ""), 2000),
    )  # fmt: skip


def _rehearsal(verdicts: Record) -> str:
    expects = verdicts.get("expects", [])
    met = sum(item["met"] for item in expects)
    return (
        f"{'as rehearsed' if met == len(expects) else 'NOT as rehearsed'}: {met} of {len(expects)} known answers met"
        if expects
        else ""
    )


def _alerts(run: Run, summary: Record) -> list[str]:
    """What must be known before the first number is read."""
    said = []
    if summary["overall"] == "INVALID":
        said.append("INVALID: the measuring side was itself the limit. No number below judges a target.")
    if run.state == "interrupted":
        said.append("The run was interrupted: what follows rests on the part that was carried out.")
    elif run.state != "complete":
        said.append("The run was never closed: it is still going on, or its process died. Later rows are missing.")
    if summary.get("simulated"):
        virtual = [visible(lane["name"], 60) for lane in run.lanes if lane.get("simulated")]
        whose = "these rows" if len(virtual) == len(run.lanes) else f"the rows of {', '.join(virtual)}"
        said.append(f"SIMULATED: {whose} were computed from a model. No request was sent for them.")
    closed = [visible(lane["name"], 60) for lane in run.lanes if lane.get("closed_loop")]
    if closed:
        said.append(f"Closed loop, not valid for an SLA verdict: {', '.join(closed)}.")
    return said


def verdict_table(verdicts: Record) -> Table | None:
    """One row a clause; None without a contract."""
    contracts = list(dict.fromkeys(visible(clause["contract"], 40) for clause in verdicts["clauses"]))
    several = len(contracts) > 1
    spells = any(clause["decided_by"] == "blocks" for clause in verdicts["clauses"])
    rows = [
        [visible(clause["target"], 60), *([visible(clause["contract"], 40)] if several else []), wording.clause_name(clause),
         clause["verdict"], wording.measured(clause), wording.interval(clause), wording.limit(clause), count(clause["n"]),
         *([wording.worth(clause)] if spells else []), wording.decider(clause)]
        for clause in verdicts["clauses"]
    ]  # fmt: skip
    head = [
        "target",
        *(["contract"] if several else []),
        "clause",
        "verdict",
        "measured",
        wording.interval_title(verdicts),
        "limit",
        "rows",
        *(["worth"] if spells else []),
        "decided by",
    ]
    caption = "Verdicts" if several else f"Verdicts by contract {''.join(contracts)}"
    return Table(caption, head, rows, words=2 + several) if rows else None


def _beside_the_verdicts(clauses: Sequence[Record]) -> Iterator[Table]:
    """What a contract set aside, credits that a period like this run would bring, and whether the run was steady."""
    aside = [[wording.clause_name(clause), visible(reason), count(rows), f"{count(clause['k'])} of {count(clause['n'])}",
              f"{count(clause['with_excluded']['k'])} of {count(clause['with_excluded']['n'])}"]
             for clause in clauses for reason, rows in clause["excluded"].items()]  # fmt: skip
    if aside:
        yield Table(
            "Set aside by the contract",
            ["clause", "reason", "rows", "broke it", "broke it, nothing set aside"],
            aside,
            words=2,
        )
    projected = [[wording.clause_name(clause), per_cent(found["share"]), f"{per_cent(found['at_least'])} – {per_cent(found['at_most'])}"]
               for clause in clauses if (found := clause["projected_credit"])]  # fmt: skip
    if projected:
        yield Table(
            "Credit if the whole period were like this run (projected, never due)",
            ["clause", "credit", "by the limits"],
            projected,
        )
    steady = [[wording.clause_name(clause), wording.measured(clause), wording.measured({**clause, "measured": found["measured_without"]}),
               count(found["mser5_drops"]), "yes" if found["steady"] else "NO", wording.trend(found)]
              for clause in clauses if (found := clause.get("steadiness"))]  # fmt: skip
    if steady:
        head = [
            "clause",
            "all rows",
            "without MSER-5's warm-up",
            "rows that would drop",
            "settled by MSER-5",
            "trend of breaches",
        ]
        yield Table("Was the run one thing? (diagnostics: no row was dropped)", head, steady)


def _expect_table(verdicts: Record) -> Table | None:
    rows = [[visible(item["target"], 60), visible(item["clause"]), visible(item["expected"], 20), visible(item["got"], 20),
             "met" if item["met"] else "NOT MET"] for item in verdicts.get("expects", [])]  # fmt: skip
    return (
        Table(
            "Known answers rehearsed by this suite",
            ["target", "clause", "expected", "got", "as expected"],
            rows,
            words=5,
        )
        if rows
        else None
    )


def health_line(summary: Record) -> str:
    """`valid: late p99 0.06 ms, 0 of 12,000 due requests unsent`, or the reasons against it."""
    health, facts = summary["health"], summary["health"].get("facts", {})
    reasons = "; ".join(visible(reason) for reason in health["reasons"])
    if not reasons and "harness_lag_p99_ms" in facts:
        reasons = f"late p99 {milliseconds(facts['harness_lag_p99_ms'])}"
        if "due" in facts and "never_sent" in facts:
            reasons += f", {count(facts['never_sent'])} of {count(facts['due'])} due requests unsent"
    calibration = facts.get("calibration")
    if calibration:
        used = f"busiest second {per_cent(calibration['share'], 0)} of what this machine can measure"
        reasons = f"{reasons}; {used}" if reasons else used
    if health["state"] == "degraded":
        reasons += "; lateness only lengthens: a PASS stands, a FAIL of latency only where it fails without it"
    if all(target.get("simulated") for target in summary["targets"].values()) and summary["targets"]:
        reasons = "nothing was sent, all rows were computed from a model"
    return f"{visible(health['state'], 20)}: {reasons}" if reasons else visible(health["state"], 20)


def _part(run: Run, index: int, lane: Record, target: Record, verdicts: Record) -> Part:
    rows = run.columns.lane(index)
    tables = [_key_numbers(target), _outcomes(run, rows, target)]
    tables += [_slices(title, first, target[key]) for title, first, key in
               (("By phase, ms", "phase", "by_phase"), ("By context bucket, ms", "prompt tokens", "by_bucket"))
               if target.get(key)]  # fmt: skip
    clauses = [clause for clause in verdicts["clauses"] if clause["target"] == lane["name"]]
    tables += _beside_the_verdicts(clauses)
    figures = list(_figures(index, rows, lane, clauses, _confidence(clauses, verdicts)))
    return Part(visible(lane["name"], 60), list(_about(run, rows, lane, target)), tables, figures,
                [visible(note) for note in lane.get("notes", [])])  # fmt: skip


def _confidence(clauses: Sequence[Record], verdicts: Record) -> float:
    """The level of this lane's own contract, else the highest of the run."""
    return float(
        next(
            (clause["confidence"] for clause in clauses if "confidence" in clause),
            wording.confidence_levels(verdicts)[-1],
        )
    )


def _about(run: Run, rows: Columns, lane: Record, target: Record) -> Iterator[tuple[str, str]]:
    warmup = f" ({count(target['warmup'])} of them warm-up, not judged)" if target.get("warmup") else ""
    yield "requests", f"{count(target['requests'])}{warmup}"
    came = target.get("reached", target["requests"])
    succeeded = target["ok"] / came if came else None
    yield "succeeded", f"{count(target['ok'])} ({per_cent(succeeded)})"
    ratio = (target.get("uptime") or {}).get("request_ratio")
    yield "uptime, request ratio", per_cent(ratio)
    yield (
        "offered and sent",
        " and ".join(
            ABSENT if rate is None else f"{number(rate)}/s" for rate in (target["offered_rps"], target["sent_rps"])
        ),
    )
    yield "model asked for", visible(lane["model"], 120)
    served = [visible(run.strings("served_model")[which], 120) for which in np.unique(rows.samples["served_model"])
              if 0 <= which < len(run.strings("served_model"))]  # fmt: skip
    if served:
        yield (
            "model named by the server",
            ", ".join(served[:5]) + (f" and {len(served) - 5} more" if len(served) > 5 else ""),
        )
    yield "tier, region", f"{visible(lane['tier'], 40) or ABSENT}, {visible(lane['region'], 40) or ABSENT}"
    yield "endpoint", visible(lane["base_url"])
    profile = lane["profile"]
    rate = profile.get("arrivals", {}).get("rate")
    asked = f" at {visible(rate, 20)}" if rate else ""
    yield "load", f"{visible(profile.get('name', ''), 60)}{asked}: {visible(profile.get('description', ''))}"
    if lane.get("scenario"):
        yield "scenario of the simulated gateway", visible(lane["scenario"], 80)
    yield (
        "request timeout, in-flight cap",
        f"{show_duration(lane['timeout_ns'])}, {count(lane.get('max_in_flight')) if lane.get('max_in_flight') else 'none'}",
    )
    tokens = target.get("tokens")
    if tokens:
        source = {"usage": "as the server's usage says", "counted": "output counted from chunks", "none": "unknown",
                  "mixed": "partly from the server's usage, partly counted from chunks"}.get(tokens["source"], "")  # fmt: skip
        yield "tokens in and out", f"{count(tokens['prompt'])} and {count(tokens['output'])}, {source}"
        error = tokens.get("prompt_error")
        if error:
            yield (
                "planned against billed prompt size",
                f"median error {per_cent(error['median'])}, p95 {per_cent(error['p95'])}",
            )
    cost = target.get("cost")
    if cost:
        yield "cost at list price", f"{float(cost['usd']):,.4f} USD"


def _q_row(name: str, found: Record | None) -> list[str]:
    values = found or {}
    return [name, count(values.get("n", 0)), *(number(values.get(key)) for key in (*_QUANTILES, "mean"))]


def _key_numbers(target: Record) -> Table:
    """Response beside service, the network's share beside TTFT; requests that succeeded, without warm-up."""
    response, service = target["response_ms"], target["service_ms"]
    reasoned = response.get("ttft_answer") != response.get("ttft")
    named = [
        ("TTFT, response", response.get("ttft"), True), ("TTFT, service", service.get("ttft"), True),
        ("TTFT of the answer, response", response.get("ttft_answer") if reasoned else None, False),
        ("connect, network's share", target.get("connect_ms"), True), ("TLS, network's share", target.get("tls_ms"), False),
        ("e2e, response", response.get("e2e"), True), ("e2e, service", service.get("e2e"), True),
        ("TPOT", response.get("tpot"), True), ("inter-chunk gap", target.get("inter_chunk_ms"), True),
        ("longest inter-chunk gap of each answer", target.get("inter_chunk_max_ms"), False),
        ("lag behind schedule", target.get("lag_ms"), True), ("of which harness", target.get("harness_lag_ms"), True),
    ]  # fmt: skip
    rows = [_q_row(name, found) for name, found, always in named if always or found is not None]
    return Table(
        "Key numbers of the requests that succeeded, ms",
        ["metric", "n", "p50", "p90", "p95", "p99", "p99.9", "max", "mean"],
        rows,
    )


def _outcomes(run: Run, rows: Columns, target: Record) -> Table:
    """Every outcome with its share and what the server most often said."""
    texts = run.strings("note")
    table = []
    for name, times in target["outcomes"].items():
        mine = rows.samples["note"][rows.samples["outcome"] == Outcome[name]]
        kinds, counts = np.unique(mine[(mine >= 0) & (mine < len(texts))], return_counts=True)
        often = sorted(zip(counts.tolist(), kinds.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))[
            :_NOTES_MOST
        ]
        said = "; ".join(f"{visible(texts[kind])} ({count(number_of)})" for number_of, kind in often)
        table.append([visible(name, 40), count(times), per_cent(times / max(target["requests"], 1)), said])
    return Table("How every request ended, warm-up included", ["outcome", "requests", "share", "what was said"], table)


def _slices(title: str, first: str, parts: Mapping[str, Record]) -> Table:
    rows = []
    for name, part in parts.items():
        ttft, e2e = part["response_ms"].get("ttft") or {}, part["response_ms"].get("e2e") or {}
        rows.append([visible(name, 40), count(part["requests"]), count(part["ok"]),
                     *(number(values.get(key)) for values in (ttft, e2e) for key in ("p50", "p99", "max"))])  # fmt: skip
    head = [first, "requests", "ok", "TTFT p50", "TTFT p99", "TTFT max", "e2e p50", "e2e p99", "e2e max"]
    return Table(title, head, rows)


def _figures(index: int, rows: Columns, lane: Record, clauses: Sequence[Record], confidence: float) -> Iterator[Figure]:
    """A percentile spectrum a metric, and latency over time for e2e and every metric with a limit."""
    limited = {clause["metric"] for clause in clauses if clause["limit_ms"] is not None}
    slug = re.sub(r"[^a-z0-9]+", "-", lane["name"].lower())[:40].strip("-") or "lane"
    measured = rows.measured()
    for metric in (metric for metric in LATENCIES if metric in {"e2e", "ttft"} | limited):
        drawn = {"percentiles": percentile_spectrum(measured, lane, metric, clauses, confidence)}
        if metric in {"e2e"} | limited:
            drawn["over-time"] = latency_over_time(rows, lane, metric, clauses)
        for kind, svg in drawn.items():
            if svg is not None:
                yield Figure(f"{metric} {kind}".replace("-", " "), f"{index:02d}-{slug}-{metric}-{kind}.svg", svg)


def _notes(run: Run) -> list[str]:
    """Notes of the whole run; each lane shows its own."""
    return [visible(note) for note in run.manifest.get("notes", [])]


def _facts(run: Run, summary: Record) -> Iterator[tuple[str, str]]:
    manifest = run.manifest
    yield "run", visible(manifest["run"], 120)
    yield "state", visible(run.state, 20)
    yield "started", visible(manifest["started_utc"], 40)
    yield "seed", visible(manifest["seed"], 40)
    for title, key in (("versions", "versions"), ("machine", "machine"), ("clock", "clock"), ("harness", "harness")):
        found = manifest.get(key)
        if found:
            yield title, _listed(found)
    if summary["health"].get("facts"):
        yield "health", _listed(summary["health"]["facts"])
    for item in manifest.get("inputs", []):
        yield f"sha256 of {visible(item['name'], 120)}", visible(item["sha256"], 64)
    yield "sha256 of the schedule", visible(manifest.get("schedule_sha256", ABSENT), 64)
    for item in manifest.get("segments", [])[:20]:
        yield f"sha256 of {visible(item['file'], 80)}", visible(item["sha256"], 64)


def _listed(facts: Record) -> str:
    return ", ".join(
        f"{visible(name, 60)} {visible(value if isinstance(value, str) else json.dumps(value))}"
        for name, value in facts.items()
    )
