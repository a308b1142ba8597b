"""`tailproof run --cluster`: its flags, what does not go with them, and the run itself; `tailproof
collect`: the run of a cluster whose driver is gone, brought together and judged.

In: flags. Out: a run's folder, judged. Must stay true: what is refused is refused before a node is
asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.finished import leave_out_option
from bench.cli.flags import filing_flags, filing_of, ready_to_file
from bench.cli.help import command
from bench.cli.output import format_option, print_runs

if TYPE_CHECKING:
    from bench.app.conclude import Filing, Finished
    from bench.app.conduct import Screen
    from bench.load.options import RunOptions
    from bench.plan.schedule import Plan

OPTIONS = (
    click.option(
        "--cluster",
        metavar="ADDRESS",
        help=(
            'Send from the nodes of this Ray cluster, a core for each of --workers; "auto"'
            " finds the one that this machine is part of. Needs tailproof[cluster] on every node."
        ),
    ),
    click.option(
        "--shared",
        type=click.Path(file_okay=False, resolve_path=True, path_type=Path),
        help=(
            "With --cluster: a folder that this machine and all nodes see under this name. Samples"
            " stay there and do not cross the network."
        ),
    ),
    leave_out_option,
)


def asked(flags: Mapping[str, Any]) -> bool:
    """Whether the run is to be played on a cluster."""
    return bool(flags["cluster"])


def refuse(flags: Mapping[str, Any], others: Mapping[str, bool], *, virtual: bool) -> None:
    """Raises UserError for what a run on a cluster has no place for, and for flags of one without
    it. `others` are flags that do not go with a cluster, and whether they were given.
    """
    from bench.errors import UserError

    if flags["cluster"] and virtual:
        raise UserError(
            "does not go with a suite that the simulator computes: nothing is sent",
            where="--cluster",
            remedy="leave it out, or add --over-http",
        )
    alone = {
        "--shared": (flags["shared"], "says where a cluster's nodes write"),
        "--leave-out": (flags["leave_out"], "names a node, and this run has none"),
    }
    for flag, (given, why) in alone.items():
        if given and not flags["cluster"]:
            raise UserError(why, where=flag, remedy="add --cluster, or leave it out")
    for flag, both in others.items():
        if both and flags["cluster"]:
            raise UserError(
                f"does not go with {flag}", where="--cluster", remedy="leave one of them out"
            )


def play(
    plan: Plan, options: RunOptions, screen: Screen, flags: Mapping[str, Any], filing: Filing
) -> Finished:
    """Play the plan on the nodes of the cluster."""
    from bench.extras.cluster.driver import Cluster, conduct_on

    cluster = Cluster(flags["cluster"], flags["shared"], flags["leave_out"])
    return conduct_on(cluster, plan, options, screen, filing)


@command(short_help="End a cluster's run whose driver is gone, and judge it.")
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
