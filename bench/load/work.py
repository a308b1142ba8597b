"""What a process plays of a run, and the part of the run that it then was.

In: lanes, the whole schedule, which share of it is ours. Out: a job for another process; a `Part`.
Must stay true: what a process had begun when it died is cut off, what it had not is never sent, and
both say so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.load.guard import CAPS, UNCAPPED, Caps
from bench.plan.schedule import Lane, Table
from bench.plan.stored import LANES, dump_lanes
from bench.record.digests import marks
from bench.record.gather import harness_of
from bench.record.histogram import Histogram
from bench.record.parts import ALONE, Part, Share
from bench.record.pieces import PieceFiles
from bench.record.records.events import LegChange
from bench.record.records.harness import Harness, ProcessRecord
from bench.record.records.record import Json
from bench.record.run_folder import read_schedule


@dataclasses.dataclass(frozen=True)
class Work:
    """What a process plays of a run, and where it puts the samples."""

    lanes: Sequence[Lane]
    schedule: Table
    folder: Path
    run_id: str
    share: Share = ALONE
    sitting: int = 1
    caps: Caps = UNCAPPED

    def of_worker(self, number: int, workers: int) -> Work:
        """What one of so many workers plays of it."""
        share = dataclasses.replace(self.share, worker=number, workers=workers)
        return dataclasses.replace(self, share=share)

    def job(self) -> Json:
        """As it is given to a worker's process, which reads the schedule from the folder."""
        return {
            "lanes": dump_lanes(self.lanes),
            "folder": str(self.folder),
            "run_id": self.run_id,
            "share": dataclasses.asdict(self.share),
            "sitting": self.sitting,
            "caps": CAPS.dump_python(self.caps, mode="json"),
        }

    @classmethod
    def of_job(cls, job: Json) -> Work:
        """The reverse of `job`. Raises RunFolderError where there is no schedule."""
        folder = Path(job["folder"])
        return cls(
            LANES.validate_python(job["lanes"]),
            read_schedule(folder, job["sitting"]),
            folder,
            job["run_id"],
            Share(**job["share"]),
            job["sitting"],
            CAPS.validate_python(job["caps"]),
        )

    @property
    def _files(self) -> PieceFiles:
        return PieceFiles(self.folder, self.share.worker, self.sitting)

    def played(
        self,
        facts: dict[str, Any],
        gaps: Sequence[Sequence[Histogram]],
        leg_events: Sequence[LegChange],
        *,
        interrupted: bool,
    ) -> Part:
        """The part of the run that a process was which came to its end; `facts` are
        `Player.facts`.
        """
        return Part.of_pieces(
            self._files,
            self.share,
            state="interrupted" if interrupted else "complete",
            harness=harness_of([ProcessRecord.model_validate(facts)]),
            gaps=gaps,
            leg_events=leg_events,
        )

    def lost(self) -> Part:
        """The same of a process that died: what it had sealed, and had begun."""
        number = self.share.worker
        return Part.of_pieces(
            self._files,
            self.share,
            lost="died",
            harness=Harness(dead_workers=[number]),
            begun_until_ns=marks(self.folder).get(self._files.writer, -1),
            begun_note=f"under way when worker {number} died",
            unsent_note=f"worker {number} died before this row was sealed",
        )
