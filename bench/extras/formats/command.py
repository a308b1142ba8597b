"""Formats of `tailproof export`: results in the shape of other load tools, contracts as OpenSLO and
as Prometheus rules; and `tailproof import-openslo`: an OpenSLO file as a contract.

In: a run or a contract, and the flags. Out: what writes the bytes, and remarks. Must stay true: all
that could be wrong with the question is refused before the first byte is written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from bench.cli.flags import flags_of
from bench.cli.help import command
from bench.cli.output import Form, Prepared, written_json, written_text

if TYPE_CHECKING:
    from bench.plan.contract import Contract


@dataclass(frozen=True, kw_only=True)
class RuleFlags:
    """The flags of prometheus-rules."""

    histogram: list[tuple[str, str]]
    selector: str
    failed: str
    days: int | None


def _openslo(what: str, flags: Mapping[str, Any]) -> Prepared:
    from bench.extras.formats.openslo import to_openslo
    from bench.extras.formats.yamlfile import write_documents

    documents, lossy = to_openslo(_contract_of(what, flags["model"]))
    return written_text(write_documents(documents)), [
        f"kept as an annotation only: {place}" for place in lossy
    ]


def _prometheus_rules(what: str, flags: Mapping[str, Any]) -> Prepared:
    from bench.extras.formats.prometheus import burn_rate_rules
    from bench.extras.formats.yamlfile import write_documents

    given = flags_of(RuleFlags, flags)
    rules, notes = burn_rate_rules(
        _contract_of(what, flags["model"]),
        dict(given.histogram),
        given.selector,
        given.failed,
        given.days,
    )
    return written_text(write_documents([rules])), notes


def _peer(kind: str, what: str, _flags: Mapping[str, Any]) -> Prepared:
    from bench.cli.flags import picked
    from bench.errors import UserError
    from bench.extras.formats.peers import aiperf_result, vllm_result
    from bench.judge.review import reviewed

    run, name = picked(what)
    names = [lane.name for lane in run.lanes]
    if name is None and len(names) > 1:
        raise UserError(
            f"has {len(names)} targets, and this format holds one",
            where=what,
            remedy=f"name one of {', '.join(f'{run.folder}:{each}' for each in names)}",
        )
    name = name or names[0]
    make = {"vllm": vllm_result, "aiperf": aiperf_result}[kind]
    target = reviewed(run.folder)[1].summary.targets[name]
    return written_json(make(run, names.index(name), target)), []


def _pair(
    _ctx: click.Context,
    _param: click.Parameter,
    values: tuple[str, ...],
) -> list[tuple[str, str]]:
    pairs = [value.partition("=") for value in values]
    if wrong := [metric for metric, _, name in pairs if not name]:
        raise click.BadParameter(f"{wrong[0]!r} is not METRIC=NAME")
    return [(metric, name) for metric, _, name in pairs]


def _contract_of(what: str, model: str | None) -> Contract:
    """The contract of a name, a file or a run, with its limits for the model."""
    from bench.errors import UserError
    from bench.plan.contract import load_contract

    written = not (Path(what) / "run.json").is_file()
    contract = load_contract(what) if written else _contract_of_run(what)
    where = f"contract {contract.name}"
    if model is None and contract.by_model:
        raise UserError("has terms by model", where=where, remedy="add --model NAME")
    if model is None:
        return contract
    if not contract.by_model:
        raise UserError(
            "has the same terms for all models", where=where, remedy="leave --model out"
        )
    return contract.for_models([model])


def _contract_of_run(what: str) -> Contract:
    from bench.errors import UserError
    from bench.record.run_folder import read_manifest

    held = {
        lane.contract.name: lane.contract
        for lane in read_manifest(Path(what)).lanes
        if lane.contract
    }
    if len(held) != 1:
        raise UserError(
            f"was judged by {len(held)} contracts",
            where=what,
            remedy="name the contract itself" + (f": {', '.join(held)}" if held else ""),
        )
    return next(iter(held.values()))


FORMS: dict[str, Form] = {
    "vllm": partial(_peer, "vllm"),
    "aiperf": partial(_peer, "aiperf"),
    "openslo": _openslo,
    "prometheus-rules": _prometheus_rules,
}
OPTIONS = (
    click.option(
        "--model",
        help="openslo, prometheus-rules: the model, of a CONTRACT whose limits differ by model.",
    ),
    click.option(
        "--histogram",
        metavar="METRIC=NAME",
        multiple=True,
        callback=_pair,
        help=(
            "prometheus-rules: the histogram (seconds) of e2e, ttft, ... Repeatable.  [default:"
            " OpenTelemetry's]"
        ),
    ),
    click.option(
        "--selector",
        default="",
        help="prometheus-rules: label matchers for every series, such as 'job=\"llm\"'.",
    ),
    click.option(
        "--failed",
        default='error_type!=""',
        show_default=True,
        help="prometheus-rules: matcher of failed requests.",
    ),
    click.option(
        "--days",
        type=click.IntRange(1, 366),
        help="prometheus-rules: the budget's period.  [default: the contract's]",
    ),
)
HELP = """\
vllm, aiperf         one target in the shape of their result files
openslo, prometheus-rules  of a CONTRACT (name, .toml, or a RUN's own)
"""


@command(short_help="Turn an OpenSLO v1 file into a contract.")
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
