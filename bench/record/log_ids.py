"""The log's own names of requests: read once more from the files, for the rows that are evidence.

In: a log that was read, rows of it. Out: a text a row. Must stay true: a row is found by its file
and line; a log without a column of names has none.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from bench.record.log_files import LogFile
from bench.record.request_log import RequestLog
from bench.record.samples import Int


def row_ids(log: RequestLog, rows: Int) -> dict[int, str]:
    """By row: the request's name. Rows without one are left out. Raises UserError."""
    column = log.mapping.get("id")
    if column is None or not len(rows):
        return {}
    wanted: dict[int, dict[int, int]] = defaultdict(dict)
    for row in rows.tolist():
        wanted[int(log.file[row])][int(log.line[row])] = row
    found: dict[int, str] = {}
    for number, lines in wanted.items():
        with LogFile(Path(log.names[number])) as source:
            for chunk in source.chunks():
                here = [(at, lines[line]) for at, line in enumerate(chunk.lines) if line in lines]
                if not here:
                    continue
                cells = chunk.cells(column.name)
                found |= {row: str(cells[at]) for at, row in here if cells[at] not in (None, "")}
    return found
