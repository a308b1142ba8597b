"""`tailproof import-openslo`: an OpenSLO file as a contract."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TextIO

import click


@click.command(short_help="Turn an OpenSLO v1 file into a contract.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--service", help="Which service's SLOs, where the file holds several.")
@click.option(
    "--out",
    type=click.File("w", encoding="utf-8"),
    default="-",
    help="A .toml file.  [default: standard output]",
)
def import_openslo(file: Path, service: str | None, out: TextIO) -> int:
    """Turn the SLOs of FILE (multi-document YAML) into a contract.

    SLOs whose query is another system's become attested terms: shown, never judged.
    """
    from bench.errors import UserError
    from bench.extras.formats.openslo import from_openslo
    from bench.extras.formats.yamlfile import parse_documents
    from bench.units import show_limit

    try:
        import tomli_w
    except ImportError:
        raise UserError(
            "needs tomli-w",
            where="TOML",
            remedy="pip install 'tailproof[openslo]'",
        ) from None
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError("is not UTF-8 text", where=str(file), remedy="save it as UTF-8") from None
    contract, notes = from_openslo(parse_documents(text, str(file)), str(file), service)
    for note in notes:
        click.echo(f"tailproof: {note}", err=True)
    written = tomli_w.dumps(contract.model_dump(mode="json", by_alias=True, exclude_defaults=True))
    # Models write durations in ns; people write 5 min.
    out.write(re.sub(r'"(\d+)ns"', lambda ns: f'"{show_limit(int(ns[1]))}"', written))
    return 0
