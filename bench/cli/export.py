"""`tailproof export`: what is held here, in the formats of other tools."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bench.plan.contract import Contract
    from bench.record.run_folder import Run

#: What writes the bytes, once all that could be wrong with the question has been looked at.
Writer = Callable[[IO[bytes]], object]
#: A writer and what the format has no place for.
Prepared = tuple[Writer, list[str]]


def _openslo(what: str, **_options: Any) -> Prepared:
    from bench.judge.formats.openslo import to_openslo
    from bench.judge.formats.yamlfile import write_documents

    documents, lossy = to_openslo(_contract_of(what))
    return _text(write_documents(documents)), [
        f"kept as an annotation only: {place}" for place in lossy
    ]


def _prometheus_rules(what: str, **options: Any) -> Prepared:
    from bench.judge.formats.prometheus import burn_rate_rules
    from bench.judge.formats.yamlfile import write_documents

    rules, told = burn_rate_rules(
        _contract_of(what),
        dict(options["histogram"]),
        options["selector"],
        options["failed"],
        options["days"],
    )
    return _text(write_documents([rules])), told


def _rows(kind: str, what: str, **_options: Any) -> Prepared:
    from bench.cli.picked import picked
    from bench.show import export as rows

    run, name = picked(what)
    write = {"csv": rows.write_csv, "jsonl": rows.write_jsonl, "parquet": rows.write_parquet}[kind]
    return partial(write, rows.rows_of(run, name)), []


def _hlog(what: str, **_options: Any) -> Prepared:
    from bench.show.export import read_hlog_bytes

    return _text(read_hlog_bytes(_whole_run(what))), []


def _peer(kind: str, what: str, **_options: Any) -> Prepared:
    from bench.cli.picked import picked
    from bench.errors import UserError
    from bench.judge.formats.peers import aiperf_result, vllm_result
    from bench.judge.review import reviewed

    run, name = picked(what)
    names = [lane["name"] for lane in run.lanes]
    if name is None and len(names) > 1:
        raise UserError(
            f"has {len(names)} targets, and this format holds one",
            where=what,
            remedy=f"name one of {', '.join(f'{run.folder}:{each}' for each in names)}",
        )
    name = name or names[0]
    make = {"vllm": vllm_result, "aiperf": aiperf_result}[kind]
    target = reviewed(run.folder)[1].summary["targets"][name]
    return _json(make(run, names.index(name), target)), []


def _prometheus(what: str, **_options: Any) -> Prepared:
    from bench.judge.formats.telemetry import run_metrics
    from bench.judge.review import reviewed
    from bench.show.exposition import prometheus_text

    run, records = reviewed(_whole_run(what).folder)
    return _text(prometheus_text(run_metrics(run, records.summary, records.verdicts))), []


def _otlp(what: str, **_options: Any) -> Prepared:
    from bench.judge.formats.telemetry import run_metrics
    from bench.judge.review import reviewed
    from bench.show.exposition import otlp

    run, records = reviewed(_whole_run(what).folder)
    started = run.manifest["started_wall_ns"]
    ended = run.manifest.get(
        "ended_wall_ns", started + max(int(run.columns.samples["done_ns"].max(initial=0)), 0)
    )
    return _json(otlp(run_metrics(run, records.summary, records.verdicts), started, ended)), []


#: format -> what prepares it: the argument and the options to a writer and remarks.
_FORMATS: dict[str, Callable[..., Prepared]] = {
    **{kind: partial(_rows, kind) for kind in ("csv", "jsonl", "parquet")},
    "hlog": _hlog,
    **{kind: partial(_peer, kind) for kind in ("vllm", "aiperf")},
    "prometheus": _prometheus,
    "otlp": _otlp,
    "openslo": _openslo,
    "prometheus-rules": _prometheus_rules,
}


def _text(parts: str | bytes | Iterable[str]) -> Writer:
    whole = parts if isinstance(parts, bytes) else "".join(parts).encode()
    return lambda out: out.write(whole)


def _json(value: Any) -> Writer:
    from bench.record.files import json_text

    return _text(f"{json_text(value, indent=1)}\n")


def _pair(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> list[tuple[str, str]]:
    pairs = [value.partition("=") for value in values]
    if wrong := [metric for metric, _, name in pairs if not name]:
        raise click.BadParameter(f"{wrong[0]!r} is not METRIC=NAME")
    return [(metric, name) for metric, _, name in pairs]


@click.command(short_help="Write a run or a contract in the format of another tool.")
@click.argument("what", metavar="RUN[:TARGET]|CONTRACT")
@click.option("--format", "form", type=click.Choice(list(_FORMATS)), required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default="-",
    help="A file.  [default: standard output]",
)
@click.option(
    "--histogram",
    metavar="METRIC=NAME",
    multiple=True,
    callback=_pair,
    help=(
        "prometheus-rules: the histogram (seconds) of e2e, ttft, ... Repeatable.  [default:"
        " OpenTelemetry's]"
    ),
)
@click.option(
    "--selector",
    default="",
    help="prometheus-rules: label matchers for every series, such as 'job=\"llm\"'.",
)
@click.option(
    "--failed",
    default='error_type!=""',
    show_default=True,
    help="prometheus-rules: matcher of failed requests.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 366),
    help="prometheus-rules: the budget's period.  [default: the contract's]",
)
def export(what: str, form: str, out: Path, **options: Any) -> int:
    """Write RUN, or one TARGET of it, for another tool; docs/exports.md names every column and
    field.

    \b
    csv, jsonl, parquet  one row a request, latencies in ms
    hlog                 the run's HdrHistogram log
    vllm, aiperf         one target in the shape of their result files
    prometheus, otlp     metrics of the whole run
    openslo, prometheus-rules  of a CONTRACT (built-in name, .toml path, or a RUN's own)

    What the format has no place for is said on standard error.
    """
    from bench.show.export import written_whole

    write, told = _FORMATS[form](what, **options)
    for remark in told:
        click.echo(f"tailproof: {remark}", err=True)
    if str(out) == "-":
        write(sys.stdout.buffer)
    else:
        with written_whole(out) as handle:
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


def _contract_of(what: str) -> Contract:
    from bench.errors import UserError
    from bench.plan.contract import Contract, load_contract
    from bench.record.run_folder import read_manifest

    if not (Path(what) / "run.json").is_file():
        return load_contract(what)
    held = {
        lane["contract"]["name"]: lane["contract"]
        for lane in read_manifest(Path(what))["lanes"]
        if lane["contract"]
    }
    if len(held) != 1:
        raise UserError(
            f"was judged by {len(held)} contracts",
            where=what,
            remedy="name the contract itself" + (f": {', '.join(held)}" if held else ""),
        )
    return Contract.model_validate(next(iter(held.values())))
