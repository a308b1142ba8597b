"""Which rows a run came to, and which of them it leaves open.

In: a run's columns. Out: the rows that count, and a mask. Must stay true: rows that a run never
came to are no rows; a row that ended without the target's doing is neither kept
nor broken.
"""

from __future__ import annotations

from bench.record.run_folder import Run
from bench.record.samples import Bool, Columns, Flag, Outcome


def reached(columns: Columns, state: str) -> Columns:
    """The rows of a run that came up: all but those whose predecessor ended too late, or with the
    run.

    Rows that were never due are nobody's failure. Of a run that broke off, rows that were due and
    not sent (those that waited when Ctrl-C came) count as cut off.
    """
    schedule = columns.schedule
    samples = columns.samples
    unsent = samples["outcome"] == Outcome.never_sent
    if state == "complete":
        return columns.where(~unsent | (samples["due_ns"] >= 0) | (schedule["due_ns"] >= 0))
    samples = samples.copy()
    was_due = (samples["due_ns"] >= 0) & (samples["note"] >= 0)
    samples["outcome"][unsent & was_due] = Outcome.censored
    return Columns(schedule, samples).where(~unsent | was_due)


def undecided(columns: Columns) -> Bool:
    """Rows that ended without the target's doing: cut off by the end of the run, or never sent.

    Never sent is what still waited behind the cap when the drain was over, or what could not be
    sent for want of descriptors or ports here. What failed while the harness stood still may have
    failed by that. None of them is shown to have broken anything.
    """
    outcome = columns.samples["outcome"]
    held_up = (columns.samples["flags"] & Flag.HELD_UP) != 0
    mask: Bool = (outcome == Outcome.censored) | (outcome == Outcome.never_sent)
    mask |= held_up & ~columns.ok
    return mask


def came_to(run: Run) -> Columns:
    """The rows that a run came to.

    One that ended early by its own rule came as far as one that Ctrl-C ended.
    """
    return reached(run.columns, "interrupted" if run.manifest.ended_early else run.state)
