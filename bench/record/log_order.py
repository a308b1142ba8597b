"""The rows of a log in order of their start, once each; the hour that comes twice told apart.

In: arrays of rows in the files' own order. Out: arrays. Must stay true: disorder and duplicates are
refused unless the user allowed them; what only a guess could settle is handed back as unreadable.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.clock import utc_text
from bench.errors import UserError
from bench.record.samples import Bool, Int

_HALF_DAY_NS = 12 * 3600 * 10**9


def settle_twice(rows: dict[str, Int], *, sort: bool) -> Bool:
    """Move the rows of the second of two equal hours to where they belong; the rows of which the
    order of the file does not tell which hour they are of.

    A file in order shows the change by one step back within the hour.
    """
    open_ = rows["twice"] > 0
    if sort or not open_.any():
        return open_
    places = np.flatnonzero(open_)
    written = rows["written"][places]
    parts = (np.diff(rows["file"][places]) != 0) | (np.abs(np.diff(written)) > _HALF_DAY_NS)
    for group in np.split(places, np.flatnonzero(parts) + 1):
        back = np.flatnonzero(np.diff(rows["written"][group]) < 0) + 1
        if len(back) == 1:
            open_[group] = False
            later = group[int(back[0]) :]
            for name in ("at", "written"):
                rows[name][later] += rows["twice"][later]
    return open_


def fill_moments(rows: dict[str, Int], file: Int, line: Int, known_ns: Int) -> Int:
    """When rows that cannot be read are taken to have begun: where they say it themselves, then;
    else when the row before them in their file did (the one behind them where there is none).
    """
    order = np.lexsort((rows["line"], rows["file"]))
    key = _place(rows["file"][order], rows["line"][order])
    at = rows["at"][order]
    found = np.searchsorted(key, _place(file, line)) - 1
    same = (found >= 0) & (rows["file"][order][np.maximum(found, 0)] == file)
    after = np.minimum(found + 1, len(at) - 1)
    return np.where(known_ns >= 0, known_ns, np.where(same, at[found], at[after]))


def _place(file: Int, line: Int) -> Int:
    return file * 2**40 + line


def in_order(rows: dict[str, Int], names: Sequence[str], *, sort: bool) -> dict[str, Int]:
    """The rows by their start.

    Raises UserError where a file's own order goes back in time, unless `sort`.
    """
    if not sort:
        earlier = np.diff(rows["written"]) < 0
        same_file = np.diff(rows["file"]) == 0
        back = np.flatnonzero(earlier & same_file) + 1
        if len(back):
            row = int(back[0])
            lines = ", ".join(f"line {line}" for line in rows["line"][back[:5]].tolist())
            raise UserError(
                f"line {rows['line'][row]} ({_utc(rows['written'][row])}) is earlier than the row"
                f" before it ({_utc(rows['written'][row - 1])}); {len(back):,} rows go back in"
                f" time: {lines}{' ...' if len(back) > 5 else ''}",
                where=names[rows["file"][row]],
                remedy=(
                    "correct the log, or say with --sort that its rows were written in another"
                    " order"
                ),
            )
    order = np.argsort(rows["at"], kind="stable")
    return {name: array[order] for name, array in rows.items()}


def without_duplicates(
    rows: dict[str, Int],
    names: Sequence[str],
    wish: str,
) -> tuple[dict[str, Int], int]:
    """Rows once each, and how many were dropped.

    Duplicates are rows of one id or, in a log without ids, rows equal in every cell.
    """
    if wish == "keep":
        return rows, 0
    by_id = "id" in rows
    same = rows["id"] if by_id else rows["digest"]
    place = np.arange(len(same))
    if by_id:
        order = np.lexsort((place, same))
        comparable = same[order][1:] != -1
    else:
        order = np.lexsort((place, rows["at"], same))
        comparable = np.diff(rows["at"][order]) == 0
    equal = (np.diff(same[order]) == 0) & comparable
    twins = order[1:][equal]
    if not len(twins):
        return rows, 0
    if wish == "refuse":
        at = int(np.flatnonzero(equal)[0])
        first = int(order[at])
        second = int(order[at + 1])
        what = "has the id of" if by_id else "is the same as"
        same_file = rows["file"][first] == rows["file"][second]
        other_file = "" if same_file else f" of {names[rows['file'][first]]}"
        raise UserError(
            f"line {rows['line'][second]} {what} line {rows['line'][first]}{other_file};"
            f" {len(twins):,} rows are duplicates",
            where=names[rows["file"][second]],
            remedy=(
                "correct the log, or say --duplicates drop (or keep, where equal rows are different"
                " requests)"
            ),
        )
    keep = np.ones(len(same), bool)
    keep[twins] = False
    return {name: array[keep] for name, array in rows.items()}, len(twins)


def _utc(wall_ns: int) -> str:
    return utc_text(int(wall_ns))
