"""`RUN` or `RUN:NAME`, as commands that look at one target of a run take it."""

from __future__ import annotations

import difflib
from pathlib import Path

from bench.errors import UserError
from bench.record.run_folder import Run


def picked(text: str) -> tuple[Run, str | None]:
    """The run and, where a name follows, that of one of its targets.

    Raises UserError, RunFolderError.
    """
    folder, colon, name = text.rpartition(":")
    if not colon or Path(text).is_dir():
        return Run(Path(text)), None
    run = Run(Path(folder))
    names = [lane.name for lane in run.lanes]
    if name not in names:
        near = difflib.get_close_matches(name, names, 1, 0.5)
        raise UserError(
            f"has no target named {name!r}",
            where=folder,
            remedy=f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names)}",
        )
    return run, name
