"""`tailproof judge` and `tailproof report`: a run's folder, looked at again."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Judge a finished run, by its own contract or another.")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--contract", help="Built-in name or .toml path.  [default: the contract each target was run under]")
@click.option("--slo", multiple=True, help="A clause in one line: 'ttft:p99<800ms'. Repeatable.")
def judge(folder: Path, contract: str | None, slo: tuple[str, ...]) -> int:
    """Judge the samples in RUN, a folder below results/, without running anything.

    With --contract or --slo the verdict is printed and the folder left as it is.
    """
    from bench.cli.screen import show_verdicts
    from bench.judge.review import review
    from bench.plan.contract import Contract, load_contract, parse_slo
    from bench.record.run_folder import Run

    run = Run(folder)
    override = load_contract(contract) if contract else None
    if slo:
        clauses = [parse_slo(text) for text in slo]
        own = override or Contract(title="Clauses of the command line", name="slo")
        override = own.model_copy(update={"clauses": [*own.clauses, *clauses]})
    summary, verdicts = review(run, override, write=override is None)
    show_verdicts(run, summary, verdicts)
    return int(verdicts["exit_code"])


@click.command(short_help="Write the report of a run again.")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
def report(folder: Path) -> int:
    """Write report.html, report.md, junit.xml and the plots of RUN, a folder below results/.

    A missing or stale summary.json or verdicts.json is made first.
    """
    from bench.cli.screen import show_paths
    from bench.judge.review import reviewed
    from bench.show.report import write_report

    run, summary, verdicts = reviewed(folder)
    show_paths(write_report(run, summary, verdicts))
    return 0
