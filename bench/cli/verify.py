"""`tailproof verify` and `tailproof sign`: is a run's folder still what was written, and who vouches for it?"""

from __future__ import annotations

from pathlib import Path

import click

_FOLDER = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(short_help="Check a run's files and recompute its verdicts.")
@click.argument("folder", metavar="RUN", type=_FOLDER)
@click.option("--public-key", type=_FILE, help="PEM file: check that run.json.sig is its owner's signature.")
def verify(folder: Path, public_key: Path | None) -> int:
    """Recompute every verdict of RUN from its samples and check the digests of its files.

    Nothing is written. Exit 0: all as it was; 1: something differs, by file and key; 2: no run's folder.
    """
    from bench.cli.screen import show_verified
    from bench.judge.verify import verify as look

    found = look(folder, public_key)
    show_verified(found)
    return 1 if found.differences else 0


@click.command(short_help="Sign the manifest of a finished run.")
@click.argument("folder", metavar="RUN", type=_FOLDER)
@click.option("--key", required=True, type=_FILE, help="PEM file with an Ed25519 private key, readable by you alone.")
def sign(folder: Path, key: Path) -> int:
    """Write run.json.sig, a detached Ed25519 signature of RUN's manifest, which covers all its tables by digest.

    Refused for a run without an end, and (exit 1) for one that `tailproof verify` finds changed. Extra: sign.
    """
    from bench.cli.screen import show_paths, show_verified
    from bench.errors import UserError
    from bench.judge.verify import verify as look
    from bench.record.run_folder import read_manifest
    from bench.record.signature import sign_manifest

    if read_manifest(folder)["state"] == "running":
        raise UserError("has no end yet, so its manifest does not cover its samples", where=str(folder))
    found = look(folder)
    if found.differences:
        show_verified(found)
        return 1
    show_paths([sign_manifest(folder, key)])
    return 0
