"""The shards of one run -> the run.

In: folders that `run --shard` wrote, or a cluster's nodes. Out: a run's folder like any other. Must
stay true: parts of different runs are refused before anything is written; each planned row stands
in it once, in the schedule's order; what a shard did not play is there as never sent, and says why;
of the rows one part at a time is in memory.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.app.shard_folders import COMMON, check_sealed, read_parts
from bench.clock import utc_text
from bench.record.digests import WHOLE_TABLE
from bench.record.files import json_bytes, read_table, write_json
from bench.record.gather import (
    gather,
    gather_attempts,
    gather_evidence,
    gather_harness,
    gather_leg_events,
)
from bench.record.histogram import Histogram, Interval, read_hlog, write_hlog
from bench.record.identity import named
from bench.record.parts import Part
from bench.record.pieces import SealedFiles, Texts
from bench.record.records.harness import Harness, HarnessShards, State
from bench.record.records.manifest import Manifest, ShardRecord
from bench.record.records.record import Json
from bench.record.run_folder import PLAN_FILE, RunWriter
from bench.record.samples import (
    ATTEMPT_DTYPE,
    SAMPLE_DTYPE,
    SCHEDULE_DTYPE,
    Table,
)
from bench.units import MS

#: Rows in memory at once.
_AT_ONCE = 1 << 18
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
    counts = np.bincount(whole["lane"], minlength=len(first.own.lanes)).tolist()
    suite = first.own.suite
    name = named(suite.name if suite else "", began_ns, str(first.whole_sha256).encode())
    lanes = [
        lane.replace(requests=count) for lane, count in zip(first.own.lanes, counts, strict=True)
    ]
    manifest = Manifest.begun(name, lanes).replace(
        started_utc=utc_text(began_ns),
        started_wall_ns=began_ns,
        **{key: getattr(first.own, key) for key in (*COMMON, *_FIRST)},
    )
    writer = RunWriter(out, manifest, whole, _whole_plan(first.folder, counts))
    given = {part.number: part for part in parts}
    every = [
        given.get(number, Part.of_shard("elsewhere", number, first.of))
        for number in range(1, first.of + 1)
    ]
    try:
        fill(writer, every, whole)
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


def fill(writer: RunWriter, parts: Sequence[Part], whole: Table) -> None:
    """Seal the rows of all shards, in their order, as those of the run that `writer` began, and
    close it. Of a shard without a folder nothing is here.
    """
    began_ns = writer.manifest.started_wall_ns
    parts = _placed(parts, began_ns)
    texts = Texts()
    blocks = gather(parts, whole, texts, _AT_ONCE)
    writer.seal("samples", blocks, len(whole), SAMPLE_DTYPE)
    if any(isinstance(part.files, SealedFiles) and part.files.tried is not None for part in parts):
        attempts = gather_attempts(parts, texts, whole)
        writer.seal("attempts", [attempts], len(attempts), ATTEMPT_DTYPE)
    write_hlog(writer.folder / "histograms.hlog", _histograms(parts), began_ns)
    state, facts = _ending(parts)
    ended = {
        "strings": texts.lists,
        "evidence": gather_evidence(parts, whole),
        "harness": _harness(parts, writer.manifest, state),
        "shards": [shard_record(part) for part in parts if _is_known(part)],
    }
    writer.close(state, facts | ended)


def _placed(parts: Sequence[Part], began_ns: int) -> list[Part]:
    """Each shard in the run's time, whose zero is `began_ns` (Unix ns), and among its workers; and
    what is said of rows that it did not send.

    Where an instant was agreed on, each counts from it as its own clock had it; else from when it
    began.
    """
    placed, workers = [], 0
    others_went_on = any(part.whole for part in parts)
    for part in parts:
        lost = None if part.lost is None else f"{part.name} was lost: {part.lost}"
        if part.files is None:
            note = lost or f"{part.name} was not given"
            placed.append(dataclasses.replace(part, unsent_note=note))
            continue
        # What a shard left that ended before its plan while others went on was due all the same.
        left = not part.whole and others_went_on
        placed.append(
            dataclasses.replace(
                part,
                shift_ns=0 if part.start.agreed_wall_ns else part.start.wall_ns - began_ns,
                first_worker=workers,
                unsent_note=(lost or f"{part.name} ended before this row") if left else None,
            )
        )
        workers += part.workers
    return placed


def _is_known(part: Part) -> bool:
    return part.files is not None or part.place is not None


def shard_record(part: Part) -> ShardRecord:
    """A shard, as the merged manifest keeps it."""
    sent_from = {"place": part.place, "clock": part.clock, "lost": part.lost}
    known: Json = {key: value for key, value in sent_from.items() if value is not None}
    if part.files is not None:
        known |= {
            "run": part.own.run,
            "state": part.state,
            "ended_early": part.own.ended_early,
            "start": part.own.start,
            "workers": (part.first_worker, part.workers),
            "machine": part.own.machine,
            "manifest_sha256": part.own.manifest_sha256,
        }
    return ShardRecord(number=part.number, of=part.of, **known)


def _histograms(parts: Sequence[Part]) -> list[Interval]:
    """Those of all shards, tag by tag; a shard that was killed wrote none."""
    total: dict[str, Interval] = {}
    for path in (part.folder / "histograms.hlog" for part in parts if part.files is not None):
        for interval in read_hlog(path)[1] if path.is_file() else ():
            if interval.tag not in total:
                total[interval.tag] = dataclasses.replace(interval, histogram=Histogram())
            total[interval.tag].histogram.add(interval.histogram)
    return list(total.values())


def _ending(parts: Sequence[Part]) -> tuple[State, Json]:
    """State and facts of the run's end. It broke off, or ended early, where all its shards did."""
    parts = [part for part in parts if part.files is not None]
    facts: Json = {
        "ended_wall_ns": max((part.own.ended_wall_ns or 0 for part in parts), default=0),
        "events": [event for part in parts for event in part.events],
        "leg_events": gather_leg_events(parts),
        "ended_early": None,
        "stopped_ns": None,
    }
    if any(part.whole for part in parts):
        return "complete", facts
    facts["stopped_ns"] = max(((part.until_ns or 0) + part.shift_ns for part in parts), default=0)
    if not parts or any(part.state != "complete" for part in parts):
        return "interrupted", facts
    return "complete", facts | {"ended_early": parts[0].own.ended_early}


def _harness(parts: Sequence[Part], manifest: Manifest, state: State) -> Harness:
    """What the processes of all shards did, and how far the shards were one run."""
    given = [part for part in parts if part.files is not None]
    calibrations = [part.harness.calibration for part in given if part.harness.calibration]
    began_ns = manifest.started_wall_ns
    skew_ns = max((abs(part.start.wall_ns - began_ns) for part in given), default=0)
    return gather_harness(
        given,
        state=state,
        workers=sum(part.workers for part in given),
        calibration=max(calibrations, key=lambda each: each.share or 0, default=None),
        shards=HarnessShards(
            of=len(parts),
            missing=[part.number for part in parts if part.files is None],
            ended_early=[part.number for part in given if part.unsent_note is not None],
            start_skew_ms=round(skew_ns / MS, 3),
            start_skew_share=round(skew_ns / max(manifest.shortest_phase_ns, 1), 6),
        ),
    )
