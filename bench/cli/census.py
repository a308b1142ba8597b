"""`tailproof judge --census LOG`: a whole period of a request log against a contract."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from bench.cli.flags import CensusFlags
from bench.cli.output import print_json, print_screen

if TYPE_CHECKING:
    from bench.judge.census.census import Census
    from bench.plan.contract import Contract
    from bench.record.records.census import CensusRecord
    from bench.record.request_log import Reading, RequestLog


def judge_census(flags: CensusFlags, contract: Contract | None, form: str) -> int:
    """Read, reckon, print; returns the exit code."""
    from bench.errors import UserError
    from bench.judge.census.census import Coverage, census
    from bench.judge.census.source import source_of
    from bench.units import parse_usd

    if form == "github":
        raise UserError(
            "goes with a run's requests", where="--format github", remedy="take json for a census"
        )
    source = source_of(flags.census, _reading(flags))
    contract = contract or source.contract
    if contract is None:
        raise UserError(
            "a census needs a contract to hold the log against", remedy="add --contract NAME"
        )
    zone = flags.time_zone or (contract.period.time_zone if contract.period else None)
    stretches = [_stretch(text, zone) for text in flags.covered]
    try:
        bill = parse_usd(flags.monthly_bill_usd) if flags.monthly_bill_usd else source.bill_usd
    except ValueError as error:
        raise UserError(str(error), where="--monthly-bill-usd") from None
    found = census(
        source.log,
        contract,
        period=flags.period,
        bill_usd=bill,
        coverage=Coverage(stretches, flags.complete_log or source.complete),
    )
    if flags.out is not None:
        _write(flags.out, found, source.log)
    _show(found.record, form, flags.out)
    return found.record.exit_code


def _reading(flags: CensusFlags) -> Reading:
    from bench.errors import UserError
    from bench.record.request_log import Reading

    columns = dict[str, str]()
    for text in flags.column:
        name, equals, column = text.partition("=")
        if not equals or not name or not column:
            raise UserError(
                "is not FIELD=COLUMN",
                where=f"--column {text!r}",
                remedy="write --column at=timestamp",
            )
        columns[name] = column
    zone = _zone(flags.time_zone) if flags.time_zone else None
    return Reading(columns, zone, flags.sort, flags.duplicates)  # type: ignore[arg-type]  # click checked the choice


def _zone(name: str) -> ZoneInfo:
    from bench.errors import UserError

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UserError(
            f"{name!r} is no time zone",
            where="--time-zone",
            remedy="write an IANA name such as America/Los_Angeles or UTC",
        ) from None


def _stretch(text: str, zone: str | None) -> tuple[int, int]:
    """FROM..TO -> Unix ns.

    A moment without an offset is of the zone given, or of the contract's.
    """
    from bench.errors import UserError

    where = f"--covered {text}"
    try:
        moments = [datetime.fromisoformat(part) for part in text.split("..")]
    except ValueError:
        moments = []
    if len(moments) != 2:
        raise UserError(
            "is not FROM..TO", where=where, remedy="write 2026-10-01T00:00Z..2026-10-31T12:00Z"
        )
    if zone is not None:
        moments = [each if each.tzinfo else each.replace(tzinfo=_zone(zone)) for each in moments]
    if any(each.tzinfo is None for each in moments):
        raise UserError(
            "has no time zone",
            where=where,
            remedy="write moments with their offset, or add --time-zone",
        )
    start, end = (int(each.timestamp()) * 10**9 for each in moments)
    if end <= start:
        raise UserError("ends before it begins", where=where)
    return start, end


def _write(folder: Path, found: Census, log: RequestLog) -> None:
    """census.json, and evidence.csv: every row that broke a clause, with its line in the log."""
    from bench.errors import UserError
    from bench.judge.census.log import row_record
    from bench.record.files import write_atomically, write_json

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror})", where=f"--out {folder}") from None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["period", "clause", "file", "line", "at_utc", "outcome", "status", "e2e_ms"])
    for (period, clause), rows in found.evidence.items():
        writer.writerows(
            [period, clause, *row_record(log, row).to_json().values()] for row in rows.tolist()
        )
    write_json(folder / "census.json", found.record.to_json())
    write_atomically(folder / "evidence.csv", text.getvalue().encode())


def _show(record: CensusRecord, form: str, folder: Path | None) -> None:
    if form == "json":
        print_json(record.to_json())
        return
    from bench.show.census import census_screen
    from bench.show.document import Code, Node

    files = f"{folder}/census.json, {folder}/evidence.csv"
    written: list[Node] = [] if folder is None else [Code(files, "written")]
    print_screen([*census_screen(record), *written])
