"""`tailproof export`: what is held here, in the formats of other tools."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench import extras
from bench.cli.flags import takes
from bench.cli.output import Form, Prepared, written_json, written_text

if TYPE_CHECKING:
    from bench.record.run_folder import Run


def _rows(kind: str, what: str, _flags: Mapping[str, Any]) -> Prepared:
    from bench.cli.picked import picked
    from bench.show import export as rows

    run, name = picked(what)
    write = {"csv": rows.write_csv, "jsonl": rows.write_jsonl, "parquet": rows.write_parquet}[kind]
    return partial(write, rows.rows_of(run, name)), []


def _hlog(what: str, _flags: Mapping[str, Any]) -> Prepared:
    from bench.show.export import read_hlog_bytes

    return written_text(read_hlog_bytes(_whole_run(what))), []


def _prometheus(what: str, _flags: Mapping[str, Any]) -> Prepared:
    from bench.judge.review import reviewed
    from bench.judge.telemetry import run_metrics
    from bench.show.exposition import prometheus_text

    run, records = reviewed(_whole_run(what).folder)
    return written_text(prometheus_text(run_metrics(run, records.summary, records.verdicts))), []


def _otlp(what: str, _flags: Mapping[str, Any]) -> Prepared:
    from bench.judge.review import reviewed
    from bench.judge.telemetry import run_metrics
    from bench.show.exposition import otlp

    run, records = reviewed(_whole_run(what).folder)
    started = run.manifest.started_wall_ns
    ended = run.manifest.ended_wall_ns
    if ended is None:
        ended = started + max(int(run.columns.samples["done_ns"].max(initial=0)), 0)
    return written_json(
        otlp(run_metrics(run, records.summary, records.verdicts), started, ended)
    ), []


_CORE: dict[str, Form] = {
    **{kind: partial(_rows, kind) for kind in ("csv", "jsonl", "parquet")},
    "hlog": _hlog,
    "prometheus": _prometheus,
    "otlp": _otlp,
}
#: Modules with more formats (FORMS), the flags of these (OPTIONS) and a line on each (HELP).
_EXTRAS = list(extras.modules("export"))
_FORMS = _CORE | {name: form for module in _EXTRAS for name, form in module.FORMS.items()}
_HELP = f"""Write RUN, or one TARGET of it, for another tool; docs/exports.md names every column and
field.

\b
csv, jsonl, parquet  one row a request, latencies in ms
hlog                 the run's HdrHistogram log
prometheus, otlp     metrics of the whole run
{"".join(module.HELP for module in _EXTRAS)}
What the format has no place for is said on standard error.
"""


def _with_their_options(command: Callable[..., int]) -> Callable[..., int]:
    for module in reversed(_EXTRAS):
        for option in reversed(module.OPTIONS):
            command = option(command)
    return command


@dataclass(frozen=True, kw_only=True)
class ExportFlags:
    """The flags of `export`."""

    what: str
    form: str
    out: Path
    #: those of the formats of extras
    elsewhere: Mapping[str, Any]


@click.command(short_help="Write a run or a contract in the format of another tool.", help=_HELP)
@click.argument("what", metavar="RUN[:TARGET]|CONTRACT")
@click.option("--format", "form", type=click.Choice(list(_FORMS)), required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default="-",
    help="A file.  [default: standard output]",
)
@_with_their_options
@takes(ExportFlags)
def export(flags: ExportFlags) -> int:
    """Look at the question, then write; a refusal leaves nothing half-written."""
    from bench.show.export import written_whole

    write, told = _FORMS[flags.form](flags.what, flags.elsewhere)
    for remark in told:
        click.echo(f"tailproof: {remark}", err=True)
    if str(flags.out) == "-":
        write(sys.stdout.buffer)
    else:
        with written_whole(flags.out) as handle:
            write(handle)
    return 0


def _whole_run(what: str) -> Run:
    from bench.cli.picked import picked
    from bench.errors import UserError

    run, name = picked(what)
    if name is not None:
        raise UserError(
            "this format holds all targets at once", where=what, remedy=f"write {run.folder}"
        )
    return run
