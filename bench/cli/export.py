"""`tailproof export`, `tailproof schema` and `tailproof claim`: what is held here, for others."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench import extras
from bench.cli.flags import takes
from bench.cli.help import command
from bench.cli.output import (
    Form,
    Prepared,
    format_option,
    print_json,
    print_screen,
    written_json,
    written_text,
)

if TYPE_CHECKING:
    from bench.record.run_folder import Run


def _rows(kind: str, what: str, _flags: Mapping[str, Any]) -> Prepared:
    from bench.cli.flags import picked
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


@command(short_help="Write a run or a contract in the format of another tool.", help=_HELP)
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

    write, remarks = _FORMS[flags.form](flags.what, flags.elsewhere)
    for remark in remarks:
        click.echo(f"tailproof: {remark}", err=True)
    if str(flags.out) == "-":
        write(sys.stdout.buffer)
    else:
        with written_whole(flags.out) as handle:
            write(handle)
    return 0


def _whole_run(what: str) -> Run:
    from bench.cli.flags import picked
    from bench.errors import UserError

    run, name = picked(what)
    if name is not None:
        raise UserError(
            "this format holds all targets at once", where=what, remedy=f"write {run.folder}"
        )
    return run


#: Files that a user writes, then what tailproof writes or prints.
_KINDS = (
    *("contract", "profile", "target", "suite", "scenario"),
    *("run", "summary", "verdicts", "comparisons", "routes", "attribution", "census", "ramp"),
    "runs",
    *("calibration", "watch", "doctor"),
    *extras.schemas(),
)


@command(short_help="Print the JSON Schema of a kind of file, for editors.")
@click.argument("kind", type=click.Choice(_KINDS))
@click.option(
    "--format",
    "form",
    type=click.Choice(("json", "md")),
    default="json",
    show_default=True,
    help="JSON Schema, or a Markdown table of every key.",
)
def schema(kind: str, form: str) -> int:
    """Print the JSON Schema (draft 2020-12) that files of KIND follow; `run`, `summary` and
    `verdicts` are a run's run.json, summary.json and verdicts.json, `ramp` a ramp's ramp.json;
    `cost`, `watch` and the like are what these commands print with --format json.

    \b
    Save it beside your files and name it in their first line:
      tailproof schema contract > contract.schema.json
      #:schema ./contract.schema.json
    """
    if form == "md":
        from bench.cli.keys import keys_of

        click.echo(keys_of(models()[kind], kind.capitalize()), nl=False)
    else:
        click.echo(json.dumps(schema_of(kind), indent=1, ensure_ascii=False))
    return 0


def schema_of(kind: str) -> dict[str, Any]:
    """The JSON Schema of a kind of file."""
    from bench.gateway.scenarios import Scenario
    from bench.plan.month import MonthFile

    found = _described(models()[kind])
    if kind == "scenario":
        # A scenario is a month for a census, or is played: the suite reads its stages, the gateway
        # the rest.
        played = _described(Scenario)
        for part in ("gateway", "truth"):
            found["properties"][part] = played["properties"][part]
        month = _described(MonthFile)
        shared = {
            key: value
            for each in (played, month, found)
            for key, value in each.pop("$defs").items()
        }
        found = {"anyOf": [found, month], "$defs": shared}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **found,
        "title": f"tailproof {kind}",
    }


def models() -> dict[str, Any]:
    """The model of each kind of file."""
    from bench.plan.contract import Contract
    from bench.plan.profile import Profile
    from bench.plan.suite import ScenarioFile, SuiteFile
    from bench.plan.target import Target
    from bench.record.records.attribution import Attribution
    from bench.record.records.calibration import Calibration
    from bench.record.records.census import CensusRecord
    from bench.record.records.comparisons import Comparisons
    from bench.record.records.diagnosis import Diagnosis
    from bench.record.records.manifest import Manifest
    from bench.record.records.ramp import RampRecord
    from bench.record.records.routes import Routes
    from bench.record.records.runs import RunsRecord
    from bench.record.records.summary import Summary
    from bench.record.records.verdicts import Verdicts
    from bench.record.records.watch import WatchStatus

    of_extras = {
        kind: getattr(importlib.import_module(module), name)
        for kind, (module, name) in extras.schemas().items()
    }
    return {
        "contract": Contract,
        "profile": Profile,
        "target": Target,
        "suite": SuiteFile,
        "scenario": ScenarioFile,
        "run": Manifest,
        "summary": Summary,
        "verdicts": Verdicts,
        "comparisons": Comparisons,
        "routes": Routes,
        "attribution": Attribution,
        "census": CensusRecord,
        "ramp": RampRecord,
        "runs": RunsRecord,
        "calibration": Calibration,
        "watch": WatchStatus,
        "doctor": Diagnosis,
        **of_extras,
    }


def _described(model: Any) -> dict[str, Any]:
    """A model's schema; the `#:` comment above a field becomes its description, and no text keeps
    the line breaks that the source has.
    """
    from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

    from bench.cli.keys import meanings

    class Described(GenerateJsonSchema):
        def model_schema(self, schema: Any) -> JsonSchemaValue:
            made = super().model_schema(schema)
            cls = schema["cls"]
            if "description" in made:  # the class's docstring, wrapped as the source is
                made["description"] = " ".join(made["description"].split())
            for name, meaning in meanings(cls).items():
                if field := cls.model_fields.get(name):
                    made["properties"][field.alias or name]["description"] = meaning
            return made

        def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 "First Wait" says nothing
            return False

        def function_before_schema(self, schema: Any) -> JsonSchemaValue:
            made = super().function_before_schema(schema)
            # In these files a list that is looked at before it is read may also be one thing alone.
            return {"anyOf": [made["items"], made]} if made.get("type") == "array" else made

    found: dict[str, Any] = model.model_json_schema(schema_generator=Described)
    return found


@command(short_help="Make the folder of a claim: statement, evidence, computation, digests.")
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
