"""`tailproof ui`: the runs of a results folder in a browser."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from bench.cli.help import command


@command(short_help="Browse, compare and watch the runs below results/ in a browser.")
@click.argument("results", default="results", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="0 = any free port.  [default: 8765 or the next free one]",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; a warning is printed for any but loopback.",
)
def ui(results: Path, port: int | None, host: str) -> int:
    """Serve a page over the runs in RESULTS until Ctrl-C.

    List and search runs, open a report, compare two, follow one that goes on, and see how a number
    moved from run to run. Nothing is written, and the page loads nothing from elsewhere.
    """
    from bench.errors import UserError

    try:
        from bench.extras.ui.server import address_of, is_loopback, listening, serve
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise UserError(
            f"needs {error.name}", where="ui", remedy="pip install 'tailproof[ui]'"
        ) from None
    if not results.is_dir():
        raise UserError(
            "is no folder", where=str(results), remedy="give the folder that holds your runs"
        )
    if not is_loopback(host):
        click.echo(
            f"WARNING: the ui listens on {host}, which is NOT loopback: anyone who reaches this"
            " address can read every run, and it asks nobody for a password",
            err=True,
        )
    listener = listening(host, port)
    click.echo(f"{results} at {address_of(listener, host)} (Ctrl-C ends it)")
    with contextlib.suppress(KeyboardInterrupt):  # how it is ended
        serve(results, listener, host)
    return 0
