"""`tailproof verify` and `tailproof sign`: is a run's folder still what was written, and who
vouches for it?
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.output import format_option, print_json

if TYPE_CHECKING:
    from bench.judge.verify import Verified

_FOLDER = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(short_help="Check a run's files and recompute its verdicts.")
@click.argument("folder", metavar="RUN", type=_FOLDER)
@click.option(
    "--public-key", type=_FILE, help="PEM file: check that run.json.sig is its owner's signature."
)
@format_option()
def verify(folder: Path, public_key: Path | None, form: str) -> int:
    """Recompute every verdict of RUN from its samples and check the digests of its files.

    Nothing is written. Exit 0: all as it was; 1: something differs, by file and key; 2: no run's
    folder.
    """
    from bench.judge.verify import verify as look

    found = look(folder, public_key)
    _show(found, form)
    return 1 if found.differences else 0


def _show(found: Verified, form: str) -> None:
    from dataclasses import asdict

    from bench.cli.screen import show_verified

    if form == "json":
        print_json({"format": 1, **asdict(found)})
    else:
        show_verified(found)


@click.command(short_help="Sign the manifest of a finished run.")
@click.argument("folder", metavar="RUN", type=_FOLDER)
@click.option(
    "--key",
    required=True,
    type=_FILE,
    help="PEM file with an Ed25519 private key, readable by you alone.",
)
@format_option()
def sign(folder: Path, key: Path, form: str) -> int:
    """Write run.json.sig, a detached Ed25519 signature of RUN's manifest, which covers all its
    tables by digest.

    Refused for a run without an end, and (exit 1) for one that `tailproof verify` finds changed.
    Needs tailproof[sign].
    """
    from bench.cli.screen import show_paths
    from bench.errors import UserError
    from bench.judge.verify import verify as look
    from bench.record.run_folder import read_manifest
    from bench.record.signature import sign_manifest

    if read_manifest(folder).state == "running":
        raise UserError(
            "has no end yet, so its manifest does not cover its samples", where=str(folder)
        )
    found = look(folder)
    if found.differences:
        _show(found, form)
        return 1
    written = sign_manifest(folder, key)
    if form == "json":
        print_json({"format": 1, "files": [str(written)]})
    else:
        show_paths([written])
    return 0
