"""`tailproof collect`: the run of a cluster whose driver is gone, brought together and judged."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.finished import leave_out_option
from bench.cli.flags import filing_flags, filing_of, ready_to_file
from bench.cli.output import format_option, print_runs


@click.command(short_help="End a cluster's run whose driver is gone, and judge it.")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Where the cluster answers now.  [default: where it did when the run began]",
)
@click.option(
    "--offline",
    is_flag=True,
    help="Do not ask the nodes: what came here while the run lasted is all there is.",
)
@leave_out_option
@filing_flags
@format_option(github=True)
def collect(
    folder: Path,
    cluster: str | None,
    offline: bool,
    leave_out: tuple[str, ...],
    form: str,
    pdf: bool,
    junit_inconclusive: str,
) -> int:
    """Bring what the nodes of `tailproof run --cluster` have of RUN here, and judge it as the run.

    Without their driver the nodes sent nothing more, finished what was under way and kept it. What
    a node that is gone had not handed over counts as never sent.
    """
    from bench.cli.screen import tell_run
    from bench.extras.cluster.driver import collect as collected
    from bench.extras.cluster.ray_engine import RayEngine

    ready_to_file(pdf=pdf)
    done = collected(
        folder,
        None if offline else lambda address: RayEngine(cluster or address),
        leave_out,
        filing_of(pdf, junit_inconclusive),
    )
    if form == "json":
        print_runs([done], done.exit_code)
    else:
        tell_run(done, form)
    return int(done.exit_code)
