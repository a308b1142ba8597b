"""`tailproof claim`: a folder to send to the provider."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.output import format_option, print_json, print_screen


@click.command(short_help="Make the folder of a claim: statement, evidence, computation, digests.")
@click.argument("source", metavar="CENSUS|RUN[:TARGET]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to make.  [default: claim- and the source's name]",
)
@format_option()
def claim(source: str, out: Path | None, form: str) -> int:
    """Write what a provider needs to check a breach, from CENSUS, a folder that `judge --census
    --report` or `--out` wrote, or from a finished RUN.

    It holds a statement (HTML, Markdown, PDF), evidence.csv with the requests' own ids and times,
    the computation, where each term was read, and digests. Nothing that the contract sets aside is
    in it. Exit 2 where nothing was broken.
    """
    from bench.app.claim import claim as write_claim
    from bench.show.claim import claimed_screen

    folder, _, lane = source.rpartition(":") if not Path(source).is_dir() else (source, "", "")
    path = Path(folder or source)
    found = write_claim(path, lane, out or Path(f"claim-{path.name}"))
    if form == "json":
        print_json({"format": 1, "files": list(map(str, found.files))})
    else:
        print_screen(claimed_screen(found.record, found.files))
    return 0
