"""A run and its records -> the contents of its report.

In: a run, its summary and its verdicts. Out: one `Page`. Must stay true: verdicts come first, what
must be known before the first number is read stands above it, failures are never left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.record.run_folder import Run
from bench.show.definitions import DEFINITIONS
from bench.show.facts import health_line, run_facts
from bench.show.left_out import left_out_sentences
from bench.show.page import NO_CONTRACT, Page
from bench.show.paragraph import buyers_paragraph
from bench.show.promises import expect_table, remarks, verdict_table
from bench.show.target import target_part
from bench.show.wording import CUT, visible

Record = Mapping[str, Any]


def build_page(run: Run, summary: Record, verdicts: Record) -> Page:
    """Gather the page. Draws the figures: some tenths of a second a lane."""
    manifest = run.manifest
    return Page(
        run=visible(manifest["run"], 120),
        title=visible(manifest["suite"]["name"], 80),
        description=visible(manifest["suite"].get("description", "")),
        overall=visible(summary["overall"], 20),
        rehearsal=_rehearsal(verdicts),
        alerts=_alerts(run, summary, verdicts),
        verdicts=verdict_table(verdicts),
        remarks=remarks(verdicts, manifest.get("early_stop")),
        expects=expect_table(verdicts),
        health=health_line(summary),
        paragraph=buyers_paragraph(manifest, summary, verdicts),
        parts=[
            target_part(run, index, lane, summary["targets"][lane["name"]], verdicts)
            for index, lane in enumerate(run.lanes)
        ],
        attested=[
            f"{visible(item['contract'], 60)}: {visible(item['term'])}"
            for item in verdicts.get("attested", [])
        ],
        notes=[
            visible(note, 2 * CUT)
            for note in (*manifest.get("notes", []), *verdicts.get("not_applied", []))
        ],
        facts=list(run_facts(run, summary)),
        repeat=visible(manifest.get("repeat_command", ""), 2000),
        definitions=list(DEFINITIONS),
        unjudged=(
            "A part of the load is held against no contract."
            if "shard" in manifest
            else NO_CONTRACT
        ),
    )


def _rehearsal(verdicts: Record) -> str:
    expects = verdicts.get("expects", [])
    met = sum(item["met"] for item in expects)
    said = "as rehearsed" if met == len(expects) else "NOT as rehearsed"
    return f"{said}: {met} of {len(expects)} known answers met" if expects else ""


def _alerts(run: Run, summary: Record, verdicts: Record) -> list[str]:
    """What must be known before the first number is read."""
    said = []
    if summary["overall"] == "INVALID":
        said.append(
            "INVALID: the measuring side was itself the limit. No number below judges a target."
        )
    if run.state == "interrupted":
        said.append("The run was interrupted: what follows rests on the part that was carried out.")
    elif run.state != "complete":
        said.append("The run is still going on. Later rows are missing.")
    if shard := summary["health"]["facts"].get("shard"):
        said.append(f"This is {visible(shard)}.")
    gaps = [visible(gap, 300) for gap in summary["health"]["facts"].get("gaps", [])]
    said += [f"{gap[0].upper()}{gap[1:]}." for gap in gaps]
    if ended := run.manifest.get("ended_early"):
        said.append(f"The run ended before its plan: {visible(ended)}.")
    said += [f"{sentence}." for sentence in left_out_sentences(verdicts)]
    if summary.get("simulated"):
        virtual = [visible(lane["name"], 60) for lane in run.lanes if lane.get("simulated")]
        whose = (
            "these rows" if len(virtual) == len(run.lanes) else f"the rows of {', '.join(virtual)}"
        )
        said.append(f"SIMULATED: {whose} were computed from a model. No request was sent for them.")
    if unverified := [visible(lane["name"], 60) for lane in run.lanes if lane.get("insecure")]:
        said.append(
            f"TLS certificates were NOT verified: {', '.join(unverified)}. Another server may have"
            " answered, and may have the key."
        )
    closed = [visible(lane["name"], 60) for lane in run.lanes if lane.get("closed_loop")]
    if closed:
        said.append(f"Closed loop, not valid for an SLA verdict: {', '.join(closed)}.")
    return said
