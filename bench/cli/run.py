"""`tailproof run`: a suite, or one target described by flags."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from bench import extras
from bench.api.registry import DEFAULT, MODULES
from bench.cli.filing import file_beside, filing_flags, ready_to_file
from bench.cli.monitoring import metrics_flags, monitored
from bench.cli.output import format_option, print_runs

if TYPE_CHECKING:
    from bench.app.conclude import Finished
    from bench.app.exporter import Exporter
    from bench.load.shard import Shard
    from bench.plan.suite import Suite

_SIZE = click.IntRange(min=1)
#: Flags of other tools that mean the same -> ours.
_ALIASES = {
    "--base-url": "--url",
    "--target": "--url",
    "--max-concurrency": "--concurrency",
    "--parallel": "--concurrency",
    "--arrival-pattern": "--arrival",
    "--arrival-smoothness": "--burstiness",
    "--num-requests": "--request-count",
    "--num-prompts": "--request-count",
    "--benchmark-duration": "--duration",
    "--random-input-len": "--isl",
    "--random-output-len": "--osl",
    "--random-seed": "--seed",
    "--result-dir": "--out",
    "--output-artifact-dir": "--out",
}


class _WithAliases(click.Command):
    """Takes the flags of other tools for ours; the help shows ours alone."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        parts = [word.partition("=") for word in args]
        return super().parse_args(
            ctx, [_ALIASES.get(flag, flag) + joined + value for flag, joined, value in parts]
        )


#: Modules of extras that play a run elsewhere. Each has OPTIONS (flags of `run`), `asked(flags)`,
#: `refuse(flags, others, virtual=...)` and `play(suite, seed, part, flags, how)`.
_ELSEWHERE = list(extras.modules("run"))


def elsewhere_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags of what plays a run elsewhere."""
    for module in reversed(_ELSEWHERE):
        for option in reversed(module.OPTIONS):
            command = option(command)
    return command


def elsewhere(flags: dict[str, Any]) -> ModuleType | None:
    """What the flags ask to play the run elsewhere; None: it is played from here."""
    return next((module for module in _ELSEWHERE if module.asked(flags)), None)


@click.command(cls=_WithAliases, short_help="Plan, load, judge and report.")
@click.argument("suite", required=False)
@click.option(
    "-u",
    "--url",
    help=(
        "Base URL of an OpenAI-compatible API, e.g. http://localhost:8000/v1. With SUITE: in place"
        " of every target's."
    ),
)
@click.option(
    "--api",
    type=click.Choice(list(MODULES)),
    help=f"What the URL speaks.  [default: {DEFAULT}]",
)
@click.option("-m", "--model", help="Model to ask for.")
@click.option(
    "--profile", help="Load profile: a built-in name (see `tailproof profiles`) or a .toml path."
)
@click.option("--request-rate", help='Requests a second, or "120/min".  [default: 10/s]')
@click.option(
    "--arrival",
    type=click.Choice(["poisson", "constant", "gamma"]),
    help="Law of the gaps.  [default: poisson]",
)
@click.option(
    "--burstiness",
    type=click.FloatRange(min=0, min_open=True),
    help="Gamma shape: 1 = Poisson, below 1 burstier. Implies --arrival gamma.",
)
@click.option(
    "--concurrency",
    type=_SIZE,
    help=(
        "With a rate: in-flight cap, due times kept. Alone: closed loop of N users (judges no"
        " contract)."
    ),
)
@click.option("--duration", help='How long requests are sent, e.g. "60s".  [default: 30s]')
@click.option("--request-count", type=_SIZE, help="How many requests are sent.")
@click.option(
    "--warmup-duration",
    help='Send this long before the measured part, e.g. "5s"; judged by no clause.',
)
@click.option("--isl", type=_SIZE, help="Prompt tokens of every request.  [default: 500]")
@click.option("--osl", type=_SIZE, help="Output tokens asked for.  [default: 64]")
@click.option(
    "--tokenizer",
    help='Exact prompt sizes: "deepseek" or a tokenizer.json (needs tailproof[tokenizer]).',
)
@click.option("--contract", help="Contract to judge by: built-in name or .toml path.")
@click.option(
    "--slo",
    multiple=True,
    help="A clause in one line: 'ttft:p99<800ms', 'uptime>=99.9%'. Repeatable.",
)
@click.option(
    "--confidence", help="Confidence of --slo clauses; a contract states its own.  [default: 95%]"
)
@click.option("--timeout", help="Give a request up after this long.  [default: 60s]")
@click.option(
    "-H", "--header", multiple=True, help="Header 'name: value'; ${ENV} is filled in. Repeatable."
)
@click.option("--api-key-env", help="Name of the environment variable that holds the API key.")
@click.option("--api-key-file", help="File that holds the API key and nothing else.")
@click.option("--api-key-command", help="Command that prints the API key, e.g. 'pass show openai'.")
@click.option("--extra-body", help="JSON object merged into every request body.")
@click.option(
    "--max-tokens-field",
    type=click.Choice(["max_tokens", "max_completion_tokens"]),
    help="How the output size is asked for.",
)
@click.option(
    "--streaming/--no-streaming",
    default=None,
    help="Ask for a stream of tokens.  [default: streaming]",
)
@click.option(
    "--transport",
    type=click.Choice(["tailproof", "httpx"]),
    help="Stamped sockets, or stock httpx (HTTP/2, proxies).",
)
@click.option(
    "--insecure", is_flag=True, help="Do not verify TLS certificates; the report says so."
)
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False),
    help="Trust this CA instead of the public ones.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help=(
        "Seed of schedule and prompts; the same seed plans the same bytes.  [default: the suite's,"
        " or 1]"
    ),
)
@click.option(
    "--repeat",
    type=click.IntRange(1, 100),
    default=1,
    help="Run N times with seeds one apart and show the spread.",
)
@click.option(
    "--max-requests",
    type=_SIZE,
    help=(
        "Refuse a plan of more requests than this.  [default: 10,000 where they leave this machine]"
    ),
)
@click.option(
    "--max-cost",
    metavar="USD",
    help="Refuse a plan that costs more, and end the run before it does.",
)
@click.option(
    "--no-stop-rule",
    is_flag=True,
    help="Go on against another machine that answers nothing but 429 and 5xx for half a minute.",
)
@click.option(
    "-y",
    "--yes",
    is_flag=True,
    help="Do not ask before a plan of more than 1 USD, or of unknown cost, leaves this machine.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 4096),
    help=(
        "Processes that share the schedule.  [default: by the plan's busiest second and the cores]"
    ),
)
@click.option(
    "--shard",
    metavar="I/N",
    help="Play part I of N of the plan, counted from 1; `tailproof merge` judges all parts.",
)
@click.option("--start-at", metavar="TIME", help="Begin at this instant: Unix seconds or RFC 3339.")
@click.option(
    "--vantage",
    metavar="NODE[@REGION]",
    help="Where this shard is sent from; the merged run tells places apart.",
)
@elsewhere_flags
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="The run's own folder.  [default: results/<time>-<suite>-<digest>]",
)
@click.option(
    "--early-stop",
    is_flag=True,
    help=(
        "Look at 25, 50 and 75 % of the run and end it once every clause is decided; each look, and"
        " the end, is judged at a quarter of the error allowed."
    ),
)
@click.option(
    "--over-http",
    is_flag=True,
    help="Send what a suite plays in virtual time over HTTP too, in its full length.",
)
@metrics_flags
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
@filing_flags
@format_option(github=True)
def run(
    suite: str | None,
    repeat: int,
    out: Path | None,
    quiet: bool,
    seed: int | None,
    max_requests: int | None,
    tokenizer: str | None,
    workers: int | None,
    early_stop: bool,
    over_http: bool,
    form: str,
    **flags: Any,
) -> int:
    """Plan, load, judge and report.

    SUITE is a suite or scenario by built-in name or .toml path. Without SUITE and --url the
    suite `field-guide` runs against the embedded gateway.

    \b
    tailproof run
    tailproof run --url http://localhost:8000/v1 --model m --slo 'ttft:p99<800ms'
    tailproof run field-guide --seed 7
    """
    from bench.app.conclude import worst_exit
    from bench.cli.approval import approve
    from bench.cli.census import CensusFlags, judge_census
    from bench.cli.screen import make_screen, show_spread, tell_run
    from bench.errors import UserError
    from bench.load.guard import Caps
    from bench.plan.prompts import load_tokenizer

    loaded = suite_of({**flags, "suite": suite, "over_http": over_http})
    if not loaded.stages:
        return judge_census(CensusFlags(census=(str(suite),), out=out), None, form)
    ready_to_file(pdf=flags["pdf"])
    part = shard_of(flags, repeat, early_stop=early_stop)
    refuse_places(loaded, flags, part, repeat, early_stop=early_stop)
    counter = load_tokenizer(tokenizer) if tokenizer else None
    first = seed if seed is not None else loaded.seed
    cap = approve(
        loaded,
        first,
        repeat,
        max_cost=flags["max_cost"],
        max_requests=max_requests,
        yes=flags["yes"],
    )
    if repeat > 1 and out is not None and (out / "run.json").exists():
        raise UserError("holds a run already", where=str(out), remedy="choose another --out")
    finished = []
    for number in range(repeat):
        folder = out if repeat == 1 or out is None else out / str(number + 1)
        again = repeat_command(sys.argv, first + number)
        screen = make_screen(loaded, quiet=quiet)
        with monitored(flags["metrics_port"], flags["otlp_endpoint"], screen.warn) as exporter:
            done = _play(
                loaded,
                first + number,
                part,
                flags,
                exporter,
                early_stop=early_stop,
                repeat_command=again,
                screen=screen,
                folder=folder,
                tokenizer=counter,
                max_requests=max_requests,
                workers=workers,
                caps=Caps(cap, not flags["no_stop_rule"]),
            )
            file_beside(
                done.folder,
                done.records,
                pdf=flags["pdf"],
                inconclusive=flags["junit_inconclusive"],
            )
            tell_run(done, form)
            exporter.judged(done.folder, wait=done.records.summary["state"] == "complete")
        finished.append(done)
        if done.records.summary["state"] == "interrupted":
            break
    exit_code = worst_exit([done.exit_code for done in finished])
    if form == "json":
        print_runs(finished, exit_code)
    whole = [done for done in finished if done.records.summary["state"] == "complete"]
    if form == "text" and len(whole) > 1:
        show_spread(whole)
    return int(exit_code)


def _play(
    loaded: Suite,
    seed: int,
    part: Shard,
    flags: dict[str, Any],
    exporter: Exporter,
    *,
    early_stop: bool,
    **how: Any,
) -> Finished:
    """Once, where the flags say: in virtual time, elsewhere, or from here."""
    from bench.app.conduct import conduct
    from bench.app.simulate import simulate

    if part.of == 1 and _virtual(loaded):
        return simulate(loaded, seed, repeat_command=how["repeat_command"], folder=how["folder"])
    if (place := elsewhere(flags)) is not None:
        done: Finished = place.play(loaded, seed, part, flags, how)
        return done
    return conduct(loaded, seed, opened=exporter.follow, early_stop=early_stop, shard=part, **how)


def _virtual(loaded: Suite) -> bool:
    return all(stage.simulated for stage in loaded.stages)


def shard_of(flags: dict[str, Any], repeat: int, *, early_stop: bool) -> Shard:
    """What `--shard`, `--start-at` and `--vantage` ask for.

    Raises UserError for what no part of a run can do alone.
    """
    from bench.cli.adhoc import parsed
    from bench.errors import UserError
    from bench.load.shard import Shard, parse_instant, parse_shard, parse_vantage

    shard, start_at, vantage = flags["shard"], flags["start_at"], flags["vantage"]
    if (shard or start_at) and repeat > 1:
        raise UserError(
            "plays a run once",
            where="--shard" if shard else "--start-at",
            remedy="leave out --repeat",
        )
    if shard and early_stop:
        raise UserError(
            "sees its own part alone, which decides nothing",
            where="--shard",
            remedy="leave out --early-stop",
        )
    if vantage and not shard:
        raise UserError(
            "tells the parts of a run apart, and this run has one",
            where="--vantage",
            remedy="add --shard I/N",
        )
    number, of = parsed("--shard", parse_shard, shard) or (1, 1)
    return Shard(
        number,
        of,
        parsed("--start-at", parse_instant, start_at),
        parsed("--vantage", parse_vantage, vantage),
    )


def refuse_places(
    loaded: Suite, flags: dict[str, Any], part: Shard, repeat: int, *, early_stop: bool
) -> None:
    """Raises UserError for what virtual time, or a run played elsewhere, has no place for."""
    from bench.errors import UserError

    if flags["start_at"] and _virtual(loaded):
        raise UserError(
            "has no meaning in virtual time",
            where="--start-at",
            remedy="leave it out, or add --over-http",
        )
    others = {
        "--shard": part.of > 1,
        "--repeat": repeat > 1,
        "--early-stop": early_stop,
        "--metrics-port": flags["metrics_port"] is not None,
        "--otlp-endpoint": flags["otlp_endpoint"] is not None,
    }
    for module in _ELSEWHERE:
        module.refuse(flags, others, virtual=_virtual(loaded))


def suite_of(flags: dict[str, Any]) -> Suite:
    """The suite that the flags of `run` name, or describe, or change."""
    from bench.cli.adhoc import adhoc_suite, override_suite
    from bench.plan.suite import load_suite

    name = "field-guide" if flags["suite"] is None and flags["url"] is None else flags["suite"]
    loaded = override_suite(load_suite(name), flags) if name is not None else adhoc_suite(flags)
    return loaded.over_http() if flags["over_http"] else loaded


#: Flags with a value that say where and how this once, not what is sent; the seed is spelled out at
#: the end.
_NOT_REPEATED = (
    "--seed",
    "--out",
    "--repeat",
    "--shard",
    "--start-at",
    "--vantage",
    "--format",
    "--metrics-port",
    "--otlp-endpoint",
)


def repeat_command(argv: list[str], seed: int, command: str = "run") -> str:
    """This command again, with its seed spelled out and its own folder, repetition, shard, format
    and monitors left out.

    It is kept in files, so a header's value is kept only where it is `${ENV}`.
    """
    words = ["tailproof", command]
    rest = iter(argv[2:] if argv[1:2] == [command] else [])
    for word in rest:
        flag, joined, value = word.partition("=")
        flag = _ALIASES.get(flag, flag)
        if flag in ("-y", "--yes"):
            continue  # whoever repeats it is asked again
        if flag in _NOT_REPEATED:
            if not joined:
                next(rest, None)
        elif flag in ("-H", "--header"):
            words += ["--header", _without_secret(value if joined else next(rest, ""))]
        elif flag == "--extra-body":
            words += ["--extra-body", _body_without_secret(value if joined else next(rest, ""))]
        elif word.startswith("-H"):
            words += ["--header", _without_secret(word[2:])]
        else:
            words.append(word)
    return shlex.join([*words, "--seed", str(seed)])


def _body_without_secret(text: str) -> str:
    """An extra body whose literal texts under telling keys are redacted; `${ENV}` stays."""
    from bench.plan.credentials import REDACTED, body_without_literals

    try:
        return json.dumps(body_without_literals(json.loads(text)))
    except ValueError:
        return REDACTED


def _without_secret(header: str) -> str:
    name, _, value = header.partition(":")
    # `Bearer ${KEY}`: the scheme of an Authorization is no secret, any other literal may be one.
    literal = re.sub(r"\$\{\w+\}", "", value).strip()
    return header if literal.lower() in ("", "bearer", "basic") else f"{name}: [redacted]"
