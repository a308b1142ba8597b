"""`tailproof judge` and `tailproof report`: a run looked at again, or a whole period of a log."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from bench.cli.flags import CensusFlags, filing_flags, filing_of, ready_to_file, takes
from bench.cli.help import command
from bench.cli.output import format_option, print_json, print_lines, print_result

if TYPE_CHECKING:
    from bench.plan.contract import Contract
    from bench.record.records.census import CensusRecord
    from bench.record.request_log import Reading


@dataclass(frozen=True, kw_only=True)
class JudgeFlags(CensusFlags):
    """The flags of `judge`."""

    folders: tuple[Path, ...]
    contract: str | None
    slo: tuple[str, ...]
    leave_out: tuple[str, ...]
    form: str


@command(short_help="Judge a finished run, or a whole period of your own request log.")
@click.argument("folders", metavar="[RUN]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--contract",
    help="Built-in name or .toml path.  [default: the contract each target was run under]",
)
@click.option("--slo", multiple=True, help="A clause in one line: 'ttft:p99<800ms'. Repeatable.")
@click.option(
    "--leave-out",
    multiple=True,
    metavar="NODE",
    help=(
        "Judge without what this node sent; `unfit`: without every node that was itself late, or"
        " whose clock was off. Repeatable."
    ),
)
@click.option(
    "--census",
    multiple=True,
    metavar="LOG",
    help=(
        "A request log (CSV, JSON Lines, Parquet, also .gz), RUN[:TARGET], "
        "or a scenario with a [census]. Repeatable for a log in several files."
    ),
)
@click.option(
    "--period",
    help=(
        "With --census: 2026-10, 2026-Q4 or the day a billing cycle begins.  [default: every one in"
        " the log]"
    ),
)
@click.option(
    "--covered",
    multiple=True,
    metavar="FROM..TO",
    help=(
        "With --census: the log is complete between these times, so an empty minute had no"
        " requests. Repeatable."
    ),
)
@click.option(
    "--complete-log",
    is_flag=True,
    help="With --census: the log has every request of its whole period.",
)
@click.option(
    "--monthly-bill-usd", metavar="USD", help="With --census: the bill that credits are a share of."
)
@click.option(
    "--column",
    multiple=True,
    metavar="FIELD=COLUMN[:UNIT]",
    help="With --census: which column holds a field, e.g. latency=took:ms. Repeatable.",
)
@click.option(
    "--model",
    help=(
        "With --census: the model that is judged, under a contract whose limits differ by model."
        "  [default: the one in the log]"
    ),
)
@click.option("--time-zone", help="With --census: time zone of times without one.")
@click.option(
    "--sort",
    is_flag=True,
    help="With --census: accept rows that are not in the order of their times, and sort them.",
)
@click.option(
    "--duplicates",
    type=click.Choice(["refuse", "drop", "keep"]),
    default="refuse",
    show_default=True,
    help="With --census: what becomes of rows that occur twice.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help=(
        "With --census: write census.json and evidence.csv here; with several runs: verdicts.json"
        " and the report."
    ),
)
@click.option(
    "--report",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help=(
        "With --census: write census.json, evidence.csv and the compliance report here:"
        " report.html, report.md, and report.pdf where tailproof[pdf] is installed."
    ),
)
@click.option("--customer", metavar="NAME", help="With --census: who buys, as the report names it.")
@format_option(github=True)
@takes(JudgeFlags)
def judge(flags: JudgeFlags) -> int:
    """Judge the samples in RUN, a folder below results/, without running anything.

    With --contract, --slo or --leave-out the verdict is printed and the folder left as it is.
    Several runs of one plan, or the folder of `run --repeat M --over`, are judged together with the
    run as the unit; ten at least decide. With --census the full log of a period is judged by the
    contract, in exact arithmetic.
    """
    from bench.cli.several import judge_several
    from bench.errors import UserError
    from bench.judge.runs.together import is_folder_of_runs
    from bench.plan.clause import parse_slo
    from bench.plan.contract import Contract, load_contract

    folder = flags.folders[0] if flags.folders else None
    override = load_contract(flags.contract) if flags.contract else None
    if flags.slo:
        clauses = [parse_slo(text) for text in flags.slo]
        own = override or Contract(title="Clauses of the command line", name="slo")
        override = own.model_copy(update={"clauses": [*own.clauses, *clauses]})
    if flags.census:
        if flags.leave_out:
            raise UserError(
                "does not go with --census",
                where="--leave-out",
                remedy="give it to `tailproof merge`, and judge the merged run",
            )
        if folder is not None:
            raise UserError(
                "does not go with RUN",
                where="--census",
                remedy=f"write --census {folder} to judge that run's samples",
            )
        return judge_census(flags, override, flags.form)
    if folder is None:
        raise UserError(
            "nothing to judge", remedy="give RUN, a folder below results/, or --census LOG"
        )
    several = len(flags.folders) > 1 or is_folder_of_runs(folder)
    given = [flag for flag in flags.given() if flag != "--out" or not several]
    if given:
        raise UserError("goes with --census alone", where=given[0], remedy="leave it out")
    if several and flags.leave_out:
        raise UserError("goes with one run", where="--leave-out", remedy="leave it out")
    if several:
        return judge_several(flags.folders, override, flags.out, flags.form)
    return _judge_run(
        folder,
        override,
        flags.leave_out,
        flags.form,
        flags.contract if flags.contract and Path(flags.contract).is_file() else None,
    )


def _judge_run(
    folder: Path,
    override: Contract | None,
    leave_out: tuple[str, ...],
    form: str,
    pinned: str | None,
) -> int:
    from bench.cli.screen import show_records, show_verdicts
    from bench.judge.left_out import decide, without
    from bench.judge.review import file_records, review
    from bench.record.run_folder import Run
    from bench.show.build_server import github_lines

    _refuse_while_it_grows(folder)
    run = Run(folder)
    if leave_out:
        run = without(run, decide(run, leave_out, override))
    records = None if override or leave_out else file_records(run)
    if records is None:
        summary, verdicts = review(run, override)
    else:
        summary, verdicts = records.summary, records.verdicts
    if form == "json":
        print_json(verdicts.to_json())
    elif form == "github":
        print_lines(github_lines(summary, verdicts, pinned))
    elif records is None:
        show_verdicts(run, summary, verdicts)
    else:
        page = folder / "report.html"
        show_records(run, records, page if page.is_file() else None)
    return verdicts.exit_code


def _refuse_while_it_grows(folder: Path) -> None:
    """Looking again and again, and stopping at a verdict that one likes, makes more errors than the
    confidence says.
    """
    from bench.errors import UserError
    from bench.record.run_folder import read_manifest, under_way

    if read_manifest(folder).state == "running" and under_way(folder):
        raise UserError(
            "is still going on",
            where=str(folder),
            remedy="wait for its end; `run --early-stop` looks at planned moments",
        )


@command(short_help="Write the report of a run again.")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@filing_flags
@click.option("--plots", is_flag=True, help="Also the figures of every target, as SVG files.")
@format_option(github=True)
def report(folder: Path, form: str, pdf: bool, junit_inconclusive: str, plots: bool) -> int:
    """Write report.html, report.md and junit.xml of RUN, a folder below results/, and the figures
    of the page as plots/*.svg.

    A missing or stale summary.json or verdicts.json is made first.
    """
    from bench.app.conclude import report as write_report
    from bench.judge.review import reviewed
    from bench.show.build_server import github_lines

    _refuse_while_it_grows(folder)
    ready_to_file(pdf=pdf)
    run, records = reviewed(folder)
    filing = dataclasses.replace(filing_of(pdf, junit_inconclusive), plots=plots)
    paths = write_report(run, records, filing)
    if form == "json":
        print_json(
            {
                "run": run.manifest.run,
                "overall": records.verdicts.overall,
                "files": list(map(str, paths)),
            }
        )
    elif form == "github":
        print_lines(github_lines(records.summary, records.verdicts))
    else:
        page, *others = sorted(paths, key=lambda path: path.name != "report.html")
        kept = [str(path) for path in others if path.parent == page.parent]
        print_lines([str(page), *kept])
        if more := len(others) - len(kept):
            print_lines([f"and {more} figures in {page.parent / 'plots'}"])
    return 0


def judge_census(flags: CensusFlags, contract: Contract | None, form: str) -> int:
    """Read, judge, print; returns the exit code."""
    from bench.app.compliance import EVIDENCE, write_census, write_month
    from bench.errors import UserError
    from bench.judge.census.census import Coverage, census
    from bench.judge.census.log import for_log
    from bench.judge.census.source import source_of
    from bench.units import parse_usd

    if form == "github":
        raise UserError(
            "is not made of a full log", where="--format github", remedy="use --format json"
        )
    source = source_of(flags.census, _reading(flags))
    contract = contract or source.contract
    if contract is None:
        raise UserError(
            "a full log is judged by a contract, and none is given", remedy="add --contract NAME"
        )
    contract = for_log(contract, source.log, flags.model)
    if flags.customer:
        contract = contract.model_copy(update={"customer": flags.customer})
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
    record, written = found.record, list[Path]()
    for folder in {flags.out, flags.report} - {None}:
        assert folder is not None
        record = write_census(folder, found, source.log)
        written += [folder / record.FILE, folder / EVIDENCE]
    if flags.report is not None:
        written += write_month(flags.report, record)
    _show_census(record, form, written)
    return record.exit_code


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


def _show_census(record: CensusRecord, form: str, written: list[Path]) -> None:
    if form == "json":
        print_json(record.to_json())
        return
    from bench.show.census import census_result

    pages = [path for path in written if path.name == "report.html"]
    goes_on: list[str] = []
    if not pages and sys.argv[1:2] == ["judge"]:
        goes_on = ["tailproof", *sys.argv[1:], "--report", "month"]
    elif pages and any(each.credit and each.credit.at_most.share for each in record.periods):
        goes_on = ["tailproof", "claim", str(pages[0].parent)]
    print_result(census_result(record, list(map(str, pages or written)), shlex.join(goes_on)))
