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

import numpy as np

from bench.app.shard_folders import COMMON, Part, check_sealed, read_parts
from bench.clock import utc_text
from bench.load.shard import WHOLE_TABLE, rows_of_shards
from bench.record.files import json_bytes, read_table, write_json
from bench.record.histogram import Histogram, Interval, read_hlog, write_hlog
from bench.record.identity import named
from bench.record.parts import Gathered
from bench.record.pieces import STRING_KINDS
from bench.record.records.manifest import (
    Harness,
    HarnessShards,
    Manifest,
    ShardRecord,
    State,
    harness_of,
)
from bench.record.records.record import Json
from bench.record.run_folder import PLAN_FILE, RunWriter
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
    began_ns = first.start.agreed_wall_ns or min(part.start.wall_ns for part in parts)
    check_sealed(first.folder / WHOLE_TABLE, first.whole_sha256)
    whole = read_table(first.folder / WHOLE_TABLE, SCHEDULE_DTYPE, mapped=True)
    counts = np.bincount(whole["lane"], minlength=len(first.manifest.lanes)).tolist()
    suite = first.manifest.suite
    manifest = Manifest.begun(
        named(suite.name if suite else "", began_ns, str(first.whole_sha256).encode()),
        [
            lane.replace(requests=count)
            for lane, count in zip(first.manifest.lanes, counts, strict=True)
        ],
        started_utc=utc_text(began_ns),
        started_wall_ns=began_ns,
        **{key: getattr(first.manifest, key) for key in (*COMMON, *_FIRST)},
    )
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
    writer: RunWriter, parts: Sequence[Part], whole: Table, of: int, known: Mapping[int, Json]
) -> None:
    """Seal the `of` shards' rows as those of the run that `writer` began, and close it.

    `known`: what else the manifest is to keep of a shard; `lost` says why its part is missing or
    breaks off.
    """
    _align(parts, writer.manifest.started_wall_ns)
    strings: dict[str, list[str]] = {kind: [] for kind in STRING_KINDS}
    writer.seal("samples", _samples(parts, whole, strings, of, known), len(whole), SAMPLE_DTYPE)
    tried = [part.tried(whole, strings) for part in parts if part.attempts is not None]
    if tried:
        attempts = in_order(np.concatenate(tried))
        writer.seal("attempts", [attempts], len(attempts), ATTEMPT_DTYPE)
    write_hlog(
        writer.folder / "histograms.hlog", _histograms(parts), writer.manifest.started_wall_ns
    )
    state, facts = _ending(parts)
    harness = _harness(parts, writer.manifest, of, state)
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
        part.shift_ns = 0 if part.start.agreed_wall_ns else part.start.wall_ns - began_ns
        part.first_worker = workers
        workers += part.workers


def _shards(parts: Sequence[Part], of: int, known: Mapping[int, Json]) -> list[ShardRecord]:
    """Every shard that something is known of, as the merged manifest keeps it."""
    given = {part.number: _shard(part) for part in parts}
    return [
        given.get(number, ShardRecord(number=number, of=of)).replace(**known.get(number, {}))
        for number in range(1, of + 1)
        if number in given or number in known
    ]


def _shard(part: Part) -> ShardRecord:
    """A shard, as the merged manifest keeps it."""
    ours = part.manifest
    sent_from = {"place": part.shard.place, "clock": part.shard.clock}
    return ShardRecord(
        number=part.number,
        of=part.of,
        run=ours.run,
        state=part.state,
        ended_early=ours.ended_early,
        start=ours.start,
        workers=(part.first_worker, part.workers),
        machine=ours.machine,
        manifest_sha256=ours.manifest_sha256,
        **{key: value for key, value in sent_from.items() if value is not None},
    )


def _samples(
    parts: Sequence[Part],
    whole: Table,
    strings: dict[str, list[str]],
    of: int,
    known: Mapping[int, Json],
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


def _ending(parts: Sequence[Part]) -> tuple[State, Json]:
    """State and facts of the run's end. It broke off, or ended early, where all its shards did."""
    facts: Json = {
        "ended_wall_ns": max((part.manifest.ended_wall_ns or 0 for part in parts), default=0),
        "events": [event for part in parts for event in part.manifest.events],
        "leg_events": _leg_events(parts),
        "ended_early": None,
        "stopped_ns": None,
    }
    if any(part.whole for part in parts):
        return "complete", facts
    facts["stopped_ns"] = max(((part.until_ns or 0) + part.shift_ns for part in parts), default=0)
    if not parts or any(part.state != "complete" for part in parts):
        return "interrupted", facts
    return "complete", facts | {"ended_early": parts[0].manifest.ended_early}


def _leg_events(parts: Sequence[Part]) -> list[Json]:
    events = [
        event
        | {"at_ns": event["at_ns"] + part.shift_ns, "worker": event["worker"] + part.first_worker}
        for part in parts
        for event in part.manifest.leg_events
    ]
    return sorted(events, key=lambda event: int(event["at_ns"]))


def _harness(parts: Sequence[Part], manifest: Manifest, of: int, state: State) -> Harness:
    """What the processes of all shards did, and how far the shards were one run."""
    given = [(part, part.manifest.harness) for part in parts]
    calibrations = [harness.calibration for _, harness in given if harness.calibration]
    began_ns = manifest.started_wall_ns
    skew_ns = max((abs(part.start.wall_ns - began_ns) for part in parts), default=0)
    numbers = {part.number for part in parts}
    return harness_of(
        [process for _, harness in given for process in harness.by_worker],
        state=state,
        workers=sum(part.workers for part in parts),
        dead_workers=[
            part.first_worker + dead for part, harness in given for dead in harness.dead_workers
        ],
        calibration=max(calibrations, key=lambda each: each.share or 0, default=None),
        shards=HarnessShards(
            of=of,
            missing=[number for number in range(1, of + 1) if number not in numbers],
            ended_early=[part.number for part in parts if _left_by_others(part, parts)],
            start_skew_ms=round(skew_ns / MS, 3),
            start_skew_share=round(skew_ns / max(manifest.shortest_phase_ns, 1), 6),
        ),
    )
