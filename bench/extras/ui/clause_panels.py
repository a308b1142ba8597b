"""Every clause of a suite over its runs, on the axis of the error budget.

In: a catalogue and a suite. Out: a panel a clause. Must stay true: a
clause that a run does not have, or that was not judged there, is no point of that run.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import RunFolderError
from bench.extras.ui.catalogue import Catalogue, chosen
from bench.extras.ui.entry import Entry, on_budget
from bench.extras.ui.history import ClausePanel, PanelPoint
from bench.record.records.record import read_record
from bench.record.records.verdicts import Verdicts
from bench.show.wording import ABSENT, visible

#: The latest, so that a mark can be told from the next.
_RUNS_MOST = 40


def clause_panels(catalogue: Catalogue, suite: str) -> list[ClausePanel]:
    """A panel a clause and target, in the order of the latest run. Raises RunFolderError."""
    entries = [
        entry
        for entry in chosen(catalogue.entries(), ascending=True)
        if entry.kind == "run" and entry.suite == suite and entry.verdict != ABSENT
    ]
    found: dict[tuple[str, str], list[PanelPoint]] = {}
    for entry in entries[-_RUNS_MOST:]:
        for key, point in _points(catalogue, entry):
            found.setdefault(key, []).append(point)
    latest = [key for key, _ in _points(catalogue, entries[-1])] if entries else []
    order = [*latest, *(key for key in found if key not in latest)]
    return [_panel(found[key]) for key in dict.fromkeys(order)]


def _points(catalogue: Catalogue, entry: Entry) -> list[tuple[tuple[str, str], PanelPoint]]:
    """Target and text of each judged clause of a run, and where it lies."""
    try:
        clauses = read_record(Verdicts, catalogue.results / entry.name).clauses
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
