"""Every clause of a suite over its runs, on the axis of the error budget.

In: the runs of a suite. Out: a panel a clause. Must stay true: a clause that a run does not have,
or that was not judged there, is no point of that run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import RunFolderError
from bench.extras.ui.entry import Entry, on_budget
from bench.extras.ui.history import ClausePanel, PanelPoint
from bench.record.records.record import read_record
from bench.record.records.verdicts import Verdicts
from bench.show.wording import visible

#: The latest, so that a mark can be told from the next.
_RUNS_MOST = 40


def clause_panels(results: Path, entries: Sequence[Entry]) -> list[ClausePanel]:
    """A panel a clause and target of judged runs, in the order of the latest run."""
    found: dict[tuple[str, str], list[PanelPoint]] = {}
    latest: list[tuple[str, str]] = []
    for entry in entries[-_RUNS_MOST:]:
        points = _points(results / entry.name, entry)
        latest = [key for key, _ in points]
        for key, point in points:
            found.setdefault(key, []).append(point)
    order = dict.fromkeys([*latest, *found])
    return [_panel(found[key]) for key in order]


def _points(folder: Path, entry: Entry) -> list[tuple[tuple[str, str], PanelPoint]]:
    """Target and text of each judged clause of a run, and where it lies."""
    try:
        clauses = read_record(Verdicts, folder).clauses
    except RunFolderError:  # of an earlier format
        return []
    name = visible(entry.name, 80)
    placed = [(clause, on_budget(clause)) for clause in clauses]
    return [
        ((clause.target, clause.text), PanelPoint(name, entry.link, there))
        for clause, there in placed
        if there is not None
    ]


def _panel(points: Sequence[PanelPoint]) -> ClausePanel:
    return ClausePanel(points[-1].clause.name, points[-1].clause.target, points)
