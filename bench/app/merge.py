"""The shards of one run -> the run.

In: folders that `run --shard` wrote, or a cluster's nodes. Out: a run's folder like any other. Must
stay true: parts of different runs are refused before anything is written; each planned row stands
in it once, in the schedule's order; what a shard did not play is there as never sent, and says why;
of the rows one part at a time is in memory.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.app.shard_folders import COMMON, Part, check_sealed, read_parts
from bench.clock import utc_text
from bench.load.runner import worst_facts
from bench.load.shard import WHOLE_TABLE, rows_of_shards
from bench.record.digests import OWN
from bench.record.files import json_bytes, read_table, write_json
from bench.record.histogram import Histogram, Interval, read_hlog, write_hlog
from bench.record.identity import named
from bench.record.parts import Gathered
from bench.record.pieces import STRING_KINDS
from bench.record.run_folder import PLAN_FILE, RunWriter, State
from bench.record.samples import (
    ATTEMPT_DTYPE,
    SAMPLE_DTYPE,
    SCHEDULE_DTYPE,
    Table,
    empty_samples,
    in_order,
)
from bench.record.sittings import untouched
from bench.units import MS

Record = dict[str, Any]
#: Rows in memory at once.
_AT_ONCE = 1 << 18
#: A row as one value: numpy would copy a record field by field.
_ROW = f"V{SAMPLE_DTYPE.itemsize}"
#: What a merged manifest takes over from its first shard.
_FIRST = ("versions", "machine", "clock", "notes", "repeat_command")


def merge(folders: Sequence[Path], out: Path) -> Path:
    """Make the run of its shards, sealed and not yet judged; returns `out`.

    Raises UserError for folders that are not shards of one run, RunFolderError for one that is
    still going on, damaged or edited, and where `out` cannot be written.
    """
    parts = read_parts(folders)
    first = parts[0]
    began_ns: int = first.manifest["start"]["agreed_wall_ns"] or min(
        part.manifest["start"]["wall_ns"] for part in parts
    )
    check_sealed(first.folder / WHOLE_TABLE, first.whole_sha256)
    whole = read_table(first.folder / WHOLE_TABLE, SCHEDULE_DTYPE, mapped=True)
    counts = np.bincount(whole["lane"], minlength=len(first.manifest["lanes"])).tolist()
    manifest = {
        "run": named(first.manifest["suite"]["name"], began_ns, first.whole_sha256.encode()),
        "started_utc": utc_text(began_ns),
        "started_wall_ns": began_ns,
        **{key: first.manifest.get(key) for key in (*COMMON, *_FIRST)},
        "lanes": [
            lane | {"requests": count}
            for lane, count in zip(first.manifest["lanes"], counts, strict=True)
        ],
    }
    writer = RunWriter(out, manifest, whole, _whole_plan(first.folder, counts))
    try:
        fill(writer, parts, whole, first.of, {})
        census = first.folder / "census.json"
        if census.is_file():  # of the suite's own logs, the same for all
            write_json(out / "census.json", json.loads(census.read_bytes()))
    except BaseException:
        writer.discard()
        raise
    return out


def _whole_plan(folder: Path, requests: list[int]) -> bytes | None:
    """A shard's plan.json as that of all shards, whose lanes have so many requests."""
    if not (folder / PLAN_FILE).is_file():
        return None
    kept = json.loads((folder / PLAN_FILE).read_bytes())
    for lane, count in zip(kept["plan"]["lanes"], requests, strict=True):
        lane["requests"] = count
    return json_bytes(kept)


def fill(
    writer: RunWriter, parts: Sequence[Part], whole: Table, of: int, known: Mapping[int, Record]
) -> None:
    """Seal the `of` shards' rows as those of the run that `writer` began, and close it.

    `known`: what else the manifest is to keep of a shard; `lost` says why its part is missing or
    breaks off.
    """
    _align(parts, writer.manifest["started_wall_ns"])
    strings: dict[str, list[str]] = {kind: [] for kind in STRING_KINDS}
    writer.seal("samples", _samples(parts, whole, strings, of, known), len(whole), SAMPLE_DTYPE)
    tried = [part.tried(whole, strings) for part in parts if part.attempts is not None]
    if tried:
        attempts = in_order(np.concatenate(tried))
        writer.seal("attempts", [attempts], len(attempts), ATTEMPT_DTYPE)
    write_hlog(
        writer.folder / "histograms.hlog", _histograms(parts), writer.manifest["started_wall_ns"]
    )
    state, facts = _ending(parts)
    harness = _harness(parts, writer.manifest, of) | {"state": state}
    writer.close(
        state, facts | {"strings": strings, "harness": harness, "shards": _shards(parts, of, known)}
    )


def _align(parts: Sequence[Part], began_ns: int) -> None:
    """Place each shard in the run's time, whose zero is `began_ns` (Unix ns), and among its
    workers.

    Where an instant was agreed on, each counts from it as its own clock had it; else from when it
    began.
    """
    workers = 0
    for part in parts:
        start = part.manifest["start"]
        part.shift_ns = 0 if start["agreed_wall_ns"] else start["wall_ns"] - began_ns
        part.first_worker = workers
        workers += part.workers


def _shards(parts: Sequence[Part], of: int, known: Mapping[int, Record]) -> list[Record]:
    """Every shard that something is known of, as the merged manifest keeps it."""
    told = {part.number: _told(part) for part in parts}
    return [
        {"number": number, "of": of, **told.get(number, {}), **known.get(number, {})}
        for number in range(1, of + 1)
        if number in told or number in known
    ]


def _told(part: Part) -> Record:
    """A shard, as the merged manifest keeps it."""
    ours = part.manifest
    sent_from = {key: ours["shard"][key] for key in ("place", "clock") if key in ours["shard"]}
    return {
        "number": part.number,
        "of": part.of,
        "run": ours["run"],
        "state": part.state,
        "ended_early": ours.get("ended_early"),
        "start": ours["start"],
        "workers": [part.first_worker, part.workers],
        "machine": ours["machine"],
        "manifest_sha256": ours[OWN],
        **sent_from,
    }


def _samples(
    parts: Sequence[Part],
    whole: Table,
    strings: dict[str, list[str]],
    of: int,
    known: Mapping[int, Record],
) -> Iterator[Table]:
    """The samples of all rows in the schedule's order, part by part."""
    given = {part.number: part for part in parts}
    taken = [0] * of
    for start in range(0, len(whole), _AT_ONCE):
        planned = whole[start : start + _AT_ONCE]
        samples = np.empty(len(planned), SAMPLE_DTYPE)
        for index, mine in enumerate(rows_of_shards(planned, of)):
            first, taken[index] = taken[index], taken[index] + len(mine)
            part, shard = given.get(index + 1), f"shard {index + 1} of {of}"
            lost = known.get(index + 1, {}).get("lost")
            gone = None if lost is None else f"{shard} was lost: {lost}"
            rows = (
                empty_samples(len(mine))
                if part is None
                else part.rows(first, taken[index], strings)
            )
            if part is None:
                _lost(Gathered(planned[mine], rows, strings), gone or f"{shard} was not given")
            elif _left_by_others(part, parts):
                _lost(
                    Gathered(planned[mine], rows, strings), gone or f"{shard} ended before this row"
                )
            samples.view(_ROW)[mine] = rows.view(_ROW)
        yield samples


def _left_by_others(part: Part, parts: Sequence[Part]) -> bool:
    """Whether a shard ended before its plan while others went on: what it left was due all the
    same.
    """
    return not part.whole and any(other.whole for other in parts)


def _lost(gathered: Gathered, why: str) -> None:
    """Rows of which nothing is on record: never sent, though due where the plan says when."""
    gathered.never_sent(untouched(gathered.samples), why)


def _histograms(parts: Sequence[Part]) -> list[Interval]:
    """Those of all shards, tag by tag; a shard that was killed wrote none."""
    total: dict[str, Interval] = {}
    for part in parts:
        path = part.folder / "histograms.hlog"
        for interval in read_hlog(path)[1] if path.is_file() else ():
            if interval.tag not in total:
                total[interval.tag] = dataclasses.replace(interval, histogram=Histogram())
            total[interval.tag].histogram.add(interval.histogram)
    return list(total.values())


def _ending(parts: Sequence[Part]) -> tuple[State, Record]:
    """State and facts of the run's end. It broke off, or ended early, where all its shards did."""
    facts: Record = {
        "ended_wall_ns": max((part.manifest.get("ended_wall_ns", 0) for part in parts), default=0),
        "events": [event for part in parts for event in part.manifest.get("events", [])],
        "leg_events": _leg_events(parts),
        "ended_early": None,
        "stopped_ns": None,
    }
    if any(part.whole for part in parts):
        return "complete", facts
    facts["stopped_ns"] = max(((part.until_ns or 0) + part.shift_ns for part in parts), default=0)
    if not parts or any(part.state != "complete" for part in parts):
        return "interrupted", facts
    return "complete", facts | {"ended_early": parts[0].manifest["ended_early"]}


def _leg_events(parts: Sequence[Part]) -> list[Record]:
    events = [
        event
        | {"at_ns": event["at_ns"] + part.shift_ns, "worker": event["worker"] + part.first_worker}
        for part in parts
        for event in part.manifest.get("leg_events", [])
    ]
    return sorted(events, key=lambda event: int(event["at_ns"]))


def _harness(parts: Sequence[Part], manifest: Record, of: int) -> Record:
    """What the processes of all shards did, and how far the shards were one run."""
    told = [(part, part.manifest.get("harness", {})) for part in parts]
    by_worker = [facts for _, harness in told for facts in harness.get("by_worker", [])]
    calibrations = [harness["calibration"] for _, harness in told if harness.get("calibration")]
    shortest = min(
        span["end_ns"] - span["start_ns"]
        for lane in manifest["lanes"]
        for span in lane["phase_spans"]
    )
    began_ns = manifest["started_wall_ns"]
    skew_ns = max((abs(part.manifest["start"]["wall_ns"] - began_ns) for part in parts), default=0)
    given = {part.number for part in parts}
    return worst_facts(by_worker) | {
        "workers": sum(part.workers for part in parts),
        "dead_workers": [
            part.first_worker + dead
            for part, harness in told
            for dead in harness.get("dead_workers", [])
        ],
        "calibration": max(calibrations, key=lambda each: float(each["share"]), default=None),
        "by_worker": by_worker,
        "shards": {
            "of": of,
            "missing": [number for number in range(1, of + 1) if number not in given],
            "ended_early": [part.number for part in parts if _left_by_others(part, parts)],
            "start_skew_ms": round(skew_ns / MS, 3),
            "start_skew_share": round(skew_ns / max(shortest, 1), 6),
        },
    }
