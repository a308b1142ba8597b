"""`tailproof schema`: what a file may hold, as JSON Schema for editors.

Must stay true: the schema takes every file that the loader takes; a key it does not know is refused
in both.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

import click

from bench import extras

#: Files that a user writes, then what tailproof writes or prints.
_KINDS = (
    *("contract", "profile", "target", "suite", "scenario"),
    *("run", "summary", "verdicts", "comparisons", "routes", "attribution", "census", "ramp"),
    *("calibration", "watch"),
    *extras.schemas(),
)


@click.command(short_help="Print the JSON Schema of a kind of file, for editors.")
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
    from bench.record.records.manifest import Manifest
    from bench.record.records.ramp import RampRecord
    from bench.record.records.routes import Routes
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
        "calibration": Calibration,
        "watch": WatchStatus,
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
