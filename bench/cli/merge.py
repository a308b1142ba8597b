"""`tailproof merge`: the shards of one run, judged as the run."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.filing import filing_flags, filing_of, ready_to_file
from bench.cli.output import format_option, print_runs

#: Of every command that ends a run which was sent from several nodes.
leave_out_option = click.option(
    "--leave-out",
    multiple=True,
    metavar="NODE",
    help="Leave what this node sent out of the verdict, or `unfit`: "
    "of those that were late or skewed by their own doing. Repeatable; the run keeps it.",
)


@click.command(short_help="Make one run of its shards, and judge it.")
@click.argument(
    "folders", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The merged run's own folder.",
)
@leave_out_option
@filing_flags
@format_option(github=True)
def merge(
    folders: tuple[Path, ...],
    out: Path,
    leave_out: tuple[str, ...],
    form: str,
    pdf: bool,
    junit_inconclusive: str,
) -> int:
    """Put the folders of `tailproof run --shard I/N` together, judge them as one run and exit as it
    would.

    All must be of one command and seed. The requests of a shard that is not given count as never
    sent.

    \b
    tailproof merge results/shard-* --out results/whole
    """
    from bench.app.conclude import conclude
    from bench.app.merge import merge as merged
    from bench.cli.screen import tell_run
    from bench.judge.left_out import leave_out as leave_nodes_out
    from bench.judge.left_out import refuse_unknown
    from bench.record.facts import places_among
    from bench.record.run_folder import read_manifest

    ready_to_file(pdf=pdf)
    if leave_out:  # refused before anything is written
        shards = [read_manifest(folder).shard for folder in folders]
        refuse_unknown(
            leave_out, places_among([shard for shard in shards if shard]), "these shards"
        )
    folder = merged(folders, out)
    if leave_out:
        leave_nodes_out(folder, leave_out)
    done = conclude(folder, filing_of(pdf, junit_inconclusive))
    if form == "json":
        print_runs([done], done.exit_code)
    else:
        tell_run(done, form)
    return int(done.exit_code)
