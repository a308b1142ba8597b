"""`tailproof judge` and `tailproof report`: a run's folder, looked at again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.filing import filing_flags, filing_of, ready_to_file
from bench.cli.flags import CensusFlags, takes
from bench.cli.output import format_option, print_json, print_lines

if TYPE_CHECKING:
    from bench.plan.contract import Contract


@dataclass(frozen=True, kw_only=True)
class JudgeFlags(CensusFlags):
    """The flags of `judge`."""

    folder: Path | None
    contract: str | None
    slo: tuple[str, ...]
    leave_out: tuple[str, ...]
    form: str


@click.command(short_help="Judge a finished run, or a whole period of your own request log.")
@click.argument("folder", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
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
        "Judge without what this node sent, or `unfit`: without "
        "those that were late or skewed by their own doing. Repeatable."
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
        "With --census: between these the log has every request, so a minute without one had none."
        " Repeatable."
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
    help="With --census: where the log has a field, e.g. latency=took:ms. Repeatable.",
)
@click.option("--time-zone", help="With --census: zone of times that state none.")
@click.option(
    "--sort",
    is_flag=True,
    help="With --census: sort the rows, which need not stand in the order of their times.",
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
    help="With --census: write census.json and evidence.csv here.",
)
@format_option(github=True)
@takes(JudgeFlags)
def judge(flags: JudgeFlags) -> int:
    """Judge the samples in RUN, a folder below results/, without running anything.

    With --contract, --slo or --leave-out the verdict is printed and the folder left as it is. With
    --census a whole period of your own request log is held against the contract, by exact
    arithmetic.
    """
    from bench.cli.census import judge_census
    from bench.errors import UserError
    from bench.plan.clause import parse_slo
    from bench.plan.contract import Contract, load_contract

    folder = flags.folder
    override = load_contract(flags.contract) if flags.contract else None
    if flags.slo:
        clauses = [parse_slo(text) for text in flags.slo]
        own = override or Contract(title="Clauses of the command line", name="slo")
        override = own.model_copy(update={"clauses": [*own.clauses, *clauses]})
    if flags.census:
        if flags.leave_out:
            raise UserError(
                "belongs to a run's own verdict",
                where="--leave-out",
                remedy="merge with it, and take the merged run as the log",
            )
        if folder is not None:
            raise UserError(
                "goes with no RUN",
                where="--census",
                remedy=f"write --census {folder} for that run's samples",
            )
        return judge_census(flags, override, flags.form)
    if folder is None:
        raise UserError(
            "nothing to judge", remedy="give RUN, a folder below results/, or --census LOG"
        )
    if given := flags.given():
        raise UserError("belongs to --census", where=given[0])
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
    from bench.cli.screen import show_verdicts
    from bench.judge.left_out import decide, without
    from bench.judge.review import file_records, review
    from bench.record.run_folder import Run
    from bench.show.build_server import github_lines

    _refuse_while_it_grows(folder)
    run = Run(folder)
    if leave_out:
        run = without(run, decide(run, leave_out, override))
    if override is None and not leave_out:
        records = file_records(run)
        summary, verdicts = records.summary, records.verdicts
    else:
        summary, verdicts = review(run, override)
    if form == "json":
        print_json(verdicts.to_json())
    elif form == "github":
        print_lines(github_lines(summary.to_json(), verdicts.to_json(), pinned))
    else:
        show_verdicts(run, summary, verdicts)
    return verdicts.exit_code


def _refuse_while_it_grows(folder: Path) -> None:
    """Who looks at a run again and again and stops when he likes the verdict is told more errors
    than the level says.
    """
    from bench.errors import UserError
    from bench.record.run_folder import read_manifest, under_way

    if read_manifest(folder).state == "running" and under_way(folder):
        raise UserError(
            "is still going on",
            where=str(folder),
            remedy="wait for its end; `run --early-stop` looks at planned moments",
        )


@click.command(short_help="Write the report of a run again.")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@filing_flags
@format_option(github=True)
def report(folder: Path, form: str, pdf: bool, junit_inconclusive: str) -> int:
    """Write report.html, report.md, junit.xml and the plots of RUN, a folder below results/.

    A missing or stale summary.json or verdicts.json is made first.
    """
    from bench.app.conclude import report as write_report
    from bench.cli.screen import show_paths
    from bench.judge.review import reviewed
    from bench.show.build_server import github_lines

    _refuse_while_it_grows(folder)
    ready_to_file(pdf=pdf)
    run, records = reviewed(folder)
    paths = write_report(run, records, filing_of(pdf, junit_inconclusive))
    if form == "json":
        print_json(
            {
                "run": run.manifest.run,
                "overall": records.verdicts.overall,
                "files": list(map(str, paths)),
            }
        )
    elif form == "github":
        print_lines(github_lines(records.summary.to_json(), records.verdicts.to_json()))
    else:
        show_paths(paths)
    return 0
