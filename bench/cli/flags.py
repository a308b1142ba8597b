"""Flags that several commands share, the flags of a command as one record, and what they ask for.

In: click's keyword arguments. Out: frozen records; what is filed; the run that `RUN[:NAME]` names.
Must stay true: click's untyped values enter here and nowhere else; a flag is called the same, and
means the same, in every command that has it.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import click

from bench.api.auth import STYLES
from bench.api.registry import DEFAULT, MODULES
from bench.errors import UserError
from bench.plan.arrival_kinds import ARRIVALS_BY_RATE

if TYPE_CHECKING:
    from bench.app.conclude import Filing
    from bench.record.run_folder import Run

Command = TypeVar("Command", bound=Callable[..., Any])
Flags = TypeVar("Flags")
Value = TypeVar("Value")
Option = Callable[[Any], Any]
_SIZE = click.IntRange(min=1)


def _one(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> str | None:
    """Of several, none is meant more than the others."""
    if len(given) > 1:
        raise click.BadParameter(f"{' and '.join(given)} exclude each other; keep one of them.")
    return given[0] if given else None


def with_options(*options: Option) -> Callable[[Command], Command]:
    """Adds options, which the help shows in this order."""

    def decorated(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


def takes(record: type[Flags]) -> Callable[[Callable[[Flags], int]], Callable[..., int]]:
    """The command gets its flags as one record, in place of a keyword each."""

    def decorated(command: Callable[[Flags], int]) -> Callable[..., int]:
        @functools.wraps(command)
        def called(**given: Any) -> int:
            return command(flags_of(record, given))

        return called

    return decorated


def flags_of(record: type[Flags], given: Mapping[str, Any]) -> Flags:
    """A command's flags; those that the record does not name, of an extra, are its `elsewhere`."""
    assert dataclasses.is_dataclass(record)
    names = {field.name for field in dataclasses.fields(record)}
    known = {name: value for name, value in given.items() if name in names}
    if "elsewhere" in names:
        known["elsewhere"] = {name: value for name, value in given.items() if name not in names}
    return record(**known)


@overload
def parsed(flag: str, parse: Callable[[Any], Value], value: str) -> Value: ...
@overload
def parsed(flag: str, parse: Callable[[Any], Value], value: str | None) -> Value | None: ...
def parsed(flag: str, parse: Callable[[Any], Value], value: str | None) -> Value | None:
    """A flag's text through a parser of `units`; the flag is named when it does not fit."""
    if value is None:
        return None
    try:
        return parse(value)
    except ValueError as error:
        raise UserError(str(error), where=flag) from None


def parsed_rate(flag: str, value: str) -> Fraction:
    """Requests a second; a bare number is one, as in `--rate 50`."""
    from bench.units import parse_rate_per_s

    bare = value.strip().replace(".", "", 1).isdigit()
    return parsed(flag, parse_rate_per_s, f"{value.strip()}/s" if bare else value)


def parsed_usd(flag: str, value: str | None) -> Fraction | None:
    """An amount of money, exactly."""
    from bench.units import parse_usd

    amount = parsed(flag, parse_usd, value)
    return None if amount is None else Fraction(amount)


# ---- what is sent, to whom, held to which contract


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuiteFlags:
    """Flags that name a suite, describe one, or change one."""

    suite: str | None = None
    url: str | None = None
    api: str | None = None
    query: tuple[str, ...] = ()
    model: str | None = None
    tier: str | None = None
    profile: str | None = None
    rate: str | None = None
    arrival: str | None = None
    burstiness: float | None = None
    concurrency: int | None = None
    duration: str | None = None
    request_count: int | None = None
    warmup_duration: str | None = None
    prompts: str | None = None
    isl: int | None = None
    osl: int | None = None
    contract: str | None = None
    slo: tuple[str, ...] = ()
    confidence: str | None = None
    timeout: str | None = None
    header: tuple[str, ...] = ()
    api_key_env: str | None = None
    api_key_file: str | None = None
    api_key_command: str | None = None
    api_key_refresh: str | None = None
    auth: str | None = None
    extra_body: str | None = None
    max_tokens_field: str | None = None
    streaming: bool | None = None
    transport: str | None = None
    insecure: bool = False
    no_ready_check: bool = False
    ca_file: str | None = None
    over_http: bool = False
    seed: int | None = None
    workers: int | None = None
    no_stop_rule: bool = False
    yes: bool = False
    size_for: str | None = None
    quick: bool = False
    stretch: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class CensusFlags:
    """The flags that go with --census, as typed."""

    census: tuple[str, ...] = ()
    period: str | None = None
    covered: tuple[str, ...] = ()
    complete_log: bool = False
    monthly_bill_usd: str | None = None
    column: tuple[str, ...] = ()
    model: str | None = None
    time_zone: str | None = None
    sort: bool = False
    duplicates: str = "refuse"
    out: Path | None = None
    report: Path | None = None
    customer: str | None = None

    def given(self) -> list[str]:
        """Flags that were typed, by their own names."""
        return [
            f"--{name.replace('_', '-')}"
            for name in CensusFlags.__dataclass_fields__
            if (value := getattr(self, name)) and value != "refuse"
        ]


#: Which target, at which rate.
TARGET_AND_RATE = (
    click.option(
        "-u",
        "--url",
        help=(
            "Base URL of an API, with or without /v1 or the whole path, e.g."
            " http://localhost:8000/v1. With SUITE: in place of every target's."
        ),
    ),
    click.option(
        "--api",
        type=click.Choice(list(MODULES)),
        help=f"API that the URL speaks.  [default: {DEFAULT}]",
    ),
    click.option(
        "--query",
        metavar="NAME=VALUE",
        multiple=True,
        help="Added to the query of every URL, e.g. api-version=2024-10-21. Repeatable.",
    ),
    click.option("-m", "--model", help="Model to ask for."),
    click.option(
        "--tier",
        help='Tier that was bought, e.g. "priority": asked for as the API wants it, and named so.',
    ),
    click.option(
        "--profile",
        help="Load profile: a built-in name (see `tailproof profiles`) or a .toml path.",
    ),
    click.option(
        "--rate",
        help='Requests a second, such as 50, or "120/min".  [default: 10]',
    ),
    click.option(
        "--arrival",
        type=click.Choice(ARRIVALS_BY_RATE),
        help="Law of the gaps.  [default: poisson]",
    ),
    click.option(
        "--burstiness",
        type=click.FloatRange(min=0, min_open=True),
        help="Gamma shape: 1 = Poisson, below 1 burstier. Implies --arrival gamma.",
    ),
)
#: How many requests, for how long.
LENGTH = (
    click.option(
        "--concurrency",
        type=_SIZE,
        help=(
            "With a rate: at most N requests in flight; waiting counts as latency. Alone: a closed"
            " loop of N users, measured without a verdict."
        ),
    ),
    click.option("--duration", help='How long requests are sent, e.g. "60s".  [default: 30s]'),
    click.option("--request-count", type=_SIZE, help="How many requests are sent."),
    click.option(
        "--warmup-duration",
        help='Warm-up before the measured part, e.g. "5s"; sent, but not judged.',
    ),
)
#: How large they are.
SIZES = (
    click.option("--prompts", metavar="FILE", help="Send your own requests, those of a file."),
    click.option("--isl", type=_SIZE, help="Prompt tokens of every request.  [default: 500]"),
    click.option("--osl", type=_SIZE, help="Output tokens asked for.  [default: 64]"),
)
#: By which contract, and how they are sent.
CONTRACT_AND_HTTP = (
    click.option("--contract", help="Contract to judge by: built-in name or .toml path."),
    click.option(
        "--slo",
        multiple=True,
        help="A clause in one line: 'ttft:p99<800ms', 'uptime>=99.9%'. Repeatable.",
    ),
    click.option(
        "--confidence",
        help="Confidence of --slo clauses; a contract states its own.  [default: 95%]",
    ),
    click.option("--timeout", help="Give a request up after this long.  [default: 60s]"),
    click.option(
        "-H",
        "--header",
        multiple=True,
        help="Header 'name: value'; ${ENV} is filled in. Repeatable.",
    ),
    click.option("--api-key-env", help="Name of the environment variable that holds the API key."),
    click.option("--api-key-file", help="File that holds the API key and nothing else."),
    click.option(
        "--api-key-command", help="Command that prints the API key, e.g. 'pass show openai'."
    ),
    click.option(
        "--api-key-refresh",
        help="Ask --api-key-command again after this, e.g. 45min.  [default: before the key's own"
        " end, and on a 401]",
    ),
    click.option(
        "--auth",
        type=click.Choice(list(STYLES)),
        multiple=True,
        callback=_one,
        help="How the key is sent; sigv4 signs each request.  [default: as the API has it]",
    ),
    click.option("--extra-body", help="JSON object merged into every request body."),
    click.option(
        "--max-tokens-field",
        type=click.Choice(["max_tokens", "max_completion_tokens"]),
        help="How the output size is asked for.",
    ),
    click.option(
        "--streaming/--no-streaming",
        default=None,
        help="Ask for a stream of tokens.  [default: streaming]",
    ),
    click.option(
        "--transport",
        type=click.Choice(["tailproof", "httpx"]),
        help="Stamped sockets, or stock httpx (HTTP/2, proxies).",
    ),
    click.option(
        "--insecure", is_flag=True, help="Do not verify TLS certificates; the report says so."
    ),
    click.option(
        "--no-ready-check",
        is_flag=True,
        help="Send without asking first whether the server answers: some hang on /models.",
    ),
    click.option(
        "--ca-file",
        type=click.Path(exists=True, dir_okay=False),
        help="Trust this CA instead of the public ones.",
    ),
)
SEED = click.option(
    "--seed",
    type=click.IntRange(min=0),
    help=(
        "Seed of schedule and prompts; the same seed plans the same bytes.  [default: the suite's,"
        " or 1]"
    ),
)
NO_STOP_RULE = click.option(
    "--no-stop-rule",
    is_flag=True,
    help="Go on though another machine answers nothing but 429 and 5xx for half a minute, or the"
    " first answers all refuse key, model or body.",
)
WORKERS = click.option(
    "--workers",
    type=click.IntRange(1, 4096),
    help=(
        "Processes that share the schedule.  [default: by the plan's busiest second and the cores]"
    ),
)
OVER_HTTP = click.option(
    "--over-http",
    is_flag=True,
    help="Send over HTTP, in full length, what the simulator would compute.",
)
YES = click.option(
    "-y",
    "--yes",
    is_flag=True,
    help="Do not ask before a plan of more than 1 USD, or of unknown cost, leaves this machine.",
)


def filing_flags(command: Command) -> Command:
    """Adds both."""
    pdf = click.option("--pdf", is_flag=True, help="Write report.pdf too (needs tailproof[pdf]).")
    inconclusive = click.option(
        "--junit-inconclusive",
        type=click.Choice(["skip", "fail"]),
        default="skip",
        show_default=True,
        help="What junit.xml calls a clause that was not decided.",
    )
    return pdf(inconclusive(command))


def ready_to_file(*, pdf: bool) -> None:
    """Raises UserError where a PDF is wanted and cannot be made: before a run, not after it."""
    if pdf:
        from bench.show.report import pdf_library

        pdf_library()


def filing_of(pdf: bool, junit_inconclusive: str) -> Filing:
    """What the flags ask for."""
    from bench.app.conclude import Filing

    return Filing(pdf, "fail" if junit_inconclusive == "fail" else "skip")


def picked(text: str) -> tuple[Run, str | None]:
    """The run and, where a name follows, that of one of its targets.

    Raises UserError, RunFolderError.
    """
    from bench.record.run_folder import Run

    folder, colon, name = text.rpartition(":")
    if not colon or Path(text).is_dir():
        return Run(Path(text)), None
    run = Run(Path(folder))
    names = [lane.name for lane in run.lanes]
    if name not in names:
        near = difflib.get_close_matches(name, names, 1, 0.5)
        raise UserError(
            f"has no target named {name!r}",
            where=folder,
            remedy=f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names)}",
        )
    return run, name
