"""Where did the answers come from? The regions that they named, against those that are allowed.

In: routes.json. Out: a section. Must stay true: an answer that names no region is not taken for one
from an allowed region.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.record.records.routes import ResidencyRecord, Routes
from bench.show.document import Column, Section, Table
from bench.show.wording import ABSENT, count, counts, few, visible

_NAMED_MOST = 4


def residency_section(record: Routes | None) -> Section | None:
    """All targets with a list of regions; None without one."""
    if record is None or not record.residency:
        return None
    rows = [_Resident(name, found) for name, found in record.residency.items()]
    caption = "Region that each answer named, calls of routes that lost included"
    table = Table(caption, RESIDENCY_COLUMNS, rows)
    return Section(
        "residency", "Where did the answers come from?", [table], "regions", _answer(rows)
    )


@dataclass(frozen=True)
class _Resident:
    """A target, and the regions that its answers named."""

    name: str
    found: ResidencyRecord


def _answer(rows: list[_Resident]) -> str:
    checked = sum(row.found.checked for row in rows)
    elsewhere = sum(row.found.elsewhere for row in rows)
    unnamed = sum(row.found.unnamed for row in rows)
    if elsewhere:
        whose = [visible(row.name, 40) for row in rows if row.found.elsewhere]
        said = (
            f"{count(elsewhere)} of {count(checked)} answers came from elsewhere than is allowed:"
            f" {few(whose, _NAMED_MOST)}."
        )
    else:
        named = f"All {count(checked)}" if not unnamed else f"{count(checked - unnamed)}"
        said = f"{named} answers named an allowed region."
    return f"{said} {count(unnamed)} named no region." if unnamed else said


RESIDENCY_COLUMNS: list[Column[_Resident]] = [
    Column("target", lambda row: visible(row.name, 60), "words"),
    Column(
        "allowed",
        lambda row: ", ".join(visible(region, 40) for region in row.found.allowed),
        "words",
    ),
    Column("by its", lambda row: row.found.by, "words"),
    Column(
        "answered from",
        lambda row: counts(row.found.by_region, name_first=True) or ABSENT,
        "words",
    ),
    Column("checked", lambda row: count(row.found.checked)),
    Column("from elsewhere", lambda row: count(row.found.elsewhere)),
    Column("named no region", lambda row: count(row.found.unnamed)),
]
