"""`tailproof run --cluster`: its flags, what does not go with them, and the run itself.

In: the flags of `run`. Out: a run's folder, judged. Must stay true: what is refused is refused
before a node is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.finished import leave_out_option

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
