"""The facts of a run in words: was the harness fit, which nodes do the verdicts leave out, on what
and with what was the run made, its digests.

In: a run's manifest, summary and verdicts. Out: sentences, and pairs of a name and a sentence or
list. Must stay true: each fact is given once, with its unit; nothing is cut inside a word; what is
too long for a page is named as standing in run.json; what is set aside is counted, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.judge.left_out import ASKED_FOR
from bench.judge.verify import Verified
from bench.record.records.manifest import Manifest
from bench.record.records.summary import Summary
from bench.record.records.verdicts import LeftOutVerdict, Verdicts
from bench.record.run_folder import Run
from bench.show.document import Code, Node, Pair, Text, Verdict
from bench.show.result import Result
from bench.show.wording import ABSENT, CUT, count, milliseconds, number, per_cent, visible
from bench.units import show_duration

_SEGMENTS_MOST = 20
#: What verdicts are worth that a degraded harness came to.
SENT_LATE = (
    "Sending late only lengthens latencies: every PASS stands; a latency FAIL stands only where it"
    " also fails counted from sending"
)
#: Ends of names that carry a unit -> how the value is written; the name is shown without it.
_UNITS = {
    "_events_per_s": lambda value: f"{number(value)} chunks/s",
    "_rps": lambda value: f"{number(value)} requests/s",
    "_ms": milliseconds,
    "_s": lambda value: f"{number(value)} s",
    "_ns": show_duration,
    "share": per_cent,
}
#: Said of each target, node or of the run, or, worker by worker, in run.json alone.
_ELSEWHERE = ("senders", "gateway", "state", "by_worker", "nodes")


def health_line(summary: Summary) -> str:
    """`valid: sent 0.06 ms late at p99 (budget 8 ms); all 12,000 requests sent`, or the reasons
    against it.
    """
    health, facts = summary.health, summary.health.facts
    reasons = "; ".join(visible(reason) for reason in health.reasons)
    if not reasons and "harness_lag_p99_ms" in facts:
        reasons = _sent_late(facts)
    calibration = facts.get("calibration")
    if calibration:
        used = f"busiest second {per_cent(calibration['share'], 0)} of what "
        beyond = "calibrate found possible here: calibrate again"
        used += beyond if float(calibration["share"]) > 1 else "this machine can measure"
        reasons = f"{reasons}; {used}" if reasons else used
    if health.state == "degraded":
        reasons += f". {SENT_LATE}"
    if all(target.simulated for target in summary.targets.values()) and summary.targets:
        return "nothing was sent: all requests were computed by the simulator"
    return f"{visible(health.state, 20)}: {reasons}" if reasons else visible(health.state, 20)


def _sent_late(facts: Mapping[str, Any]) -> str:
    said = f"sent {milliseconds(facts['harness_lag_p99_ms'])} late at p99"
    if "harness_lag_budget_ms" in facts:
        said += f" (budget {milliseconds(facts['harness_lag_budget_ms'])})"
    if "due" not in facts or "never_sent" not in facts:
        return said
    due, unsent = facts["due"], facts["never_sent"]
    if unsent:
        return f"{said}; {count(unsent)} of {count(due)} requests not sent"
    return f"{said}; all {count(due)} requests sent"


def run_facts(run: Run, summary: Summary) -> Iterator[Pair]:
    """When, with what and on what the run was made; then what it is known by."""
    manifest = run.manifest
    yield "run", visible(manifest.run, 120)
    yield "state", visible(run.state, 20)
    yield "started", visible(manifest.started_utc, 40)
    yield "seed", visible(manifest.seed, 40)
    for title in ("versions", "machine", "clock", "tokenizer"):
        if found := getattr(manifest, title):
            yield title, in_words(found) if isinstance(found, Mapping) else visible(found)
    harness = {**manifest.harness.to_json(), **summary.health.facts}
    if said := in_words({name: value for name, value in harness.items() if name not in _ELSEWHERE}):
        yield "harness", said
    yield from _digests(manifest)


def _digests(manifest: Manifest) -> Iterator[Pair]:
    """SHA-256 of what was read, planned and recorded; that of the manifest pins all of them."""
    for item in manifest.inputs:
        yield f"sha256 of {visible(item.name, 120)}", visible(item.sha256, 64)
    yield "sha256 of the schedule", visible(manifest.schedule_sha256 or ABSENT, 64)
    segments = manifest.segments
    for segment in segments[:_SEGMENTS_MOST]:
        yield f"sha256 of {visible(segment.file, 80)}", visible(segment.sha256, 64)
    if len(segments) > _SEGMENTS_MOST:
        yield "further segments", f"{count(len(segments) - _SEGMENTS_MOST)}, listed in run.json"
    for name, digest in manifest.files.items():
        yield f"sha256 of {visible(name, 80)}", visible(digest, 64)
    if manifest.manifest_sha256 is not None:
        yield (
            "sha256 of the manifest",
            (
                f"{visible(manifest.manifest_sha256, 64)} (of everything in run.json, the"
                " digests above among it)"
            ),
        )


def in_words(facts: Mapping[str, Any]) -> str:
    """`loop stalls 3, gc pause max 12.3 ms`: names without the unit that the value carries; empty
    ones left out.
    """
    return ", ".join(
        _fact(name, value) for name, value in facts.items() if value not in (None, "", [], {})
    )


def _fact(name: str, value: Any) -> str:
    unit = next((end for end in _UNITS if name.endswith(end)), "")
    plain = visible((name.removesuffix(unit).strip("_") or name).replace("_", " "), 60)
    if isinstance(value, Mapping):
        return f"{plain}: {in_words(value) or 'none'}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"{plain}: {' and '.join(visible(one, 80) for one in value)}"
    if isinstance(value, bool):
        return f"{plain} {'yes' if value else 'no'}"
    if isinstance(value, (int, float)):
        if unit:
            return f"{plain} {_UNITS[unit](value)}"
        return f"{plain} {number(value) if isinstance(value, float) else count(value)}"
    return f"{plain} {visible(value)}"


# ---- nodes that the verdicts leave out


def left_out_sentences(verdicts: Verdicts) -> list[str]:
    """`node-2 is left out of the verdict, as was asked for: ...`, one a node."""
    return [_left_out(entry) for entry in verdicts.left_out]


def _left_out(entry: LeftOutVerdict) -> str:
    asked = entry.why == ASKED_FOR
    said = (
        f"{visible(entry.node, 60)} is left out of the"
        f" verdict{', as was asked for' if asked else ''}: the {count(entry.requests)} of"
        f" {count(entry.of)} requests that were its part are set aside, and {_load(entry)}"
    )
    return said if asked else f"{said}; the reason: {visible(entry.why, 2 * CUT)}"


def _load(entry: LeftOutVerdict) -> str:
    """What became of the load of a node that is left out."""
    if not entry.sent:
        return "none of them was sent"
    if entry.sent == entry.requests:
        return "their load was there all the same"
    return f"the load of the {count(entry.sent)} that were sent was there all the same"


def for_buyers(left_out: Sequence[LeftOutVerdict]) -> str:
    """The same for a reader who is no engineer, of all nodes together."""
    names = " and ".join(f"“{visible(entry.node, 60)}”" for entry in left_out)
    part, several = sum(entry.requests for entry in left_out), len(left_out) > 1
    asked = [entry.why == ASKED_FOR for entry in left_out]
    unfit = f"because {'they were' if several else 'it was'} not valid"
    why = (
        "as was asked for"
        if all(asked)
        else f"partly as was asked for, partly {unfit}"
        if any(asked)
        else unfit
    )
    return (
        f"The terms are judged without the {count(part)} of {count(left_out[0].of)} requests"
        f" sent from {names}, {why}."
    )


# ---- what differs in a run's folder


def verified_result(found: Verified) -> Result:
    """Whether anything differs, and what was looked at; then what does, one a line."""
    differences = found.differences
    several = "s" * (len(differences) > 1)
    clauses = f"{count(found.clauses)} clause{'s' * (found.clauses != 1)}"
    looked = f"{count(found.files)} files by digest and judged {clauses} anew"
    said = f"{count(len(differences))} difference{several}" if differences else "nothing differs"
    lead: list[Node] = [
        Verdict("FAIL" if differences else "PASS", "", f"  {said}: looked at {looked}"),
        *(Text(visible(note, 400), "note") for note in found.notes),
    ]
    return Result(lead, [Code(visible(each.text, 400)) for each in differences])
