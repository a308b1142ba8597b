"""`tailproof doctor`: what an endpoint speaks, and what to write to test it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from bench.api.registry import MODULES
from bench.cli.flags import (
    CONTRACT_AND_HTTP,
    TARGET_AND_RATE,
    SuiteFlags,
    takes,
    with_options,
)
from bench.cli.help import command
from bench.cli.output import format_option, print_json, print_result
from bench.errors import ExitCode

if TYPE_CHECKING:
    from bench.app.doctor import Open
    from bench.plan.target import Target
    from bench.record.records.diagnosis import Diagnosis

_NAMES = (
    *("url", "query", "model", "tier", "timeout", "header"),
    *("api_key_env", "api_key_file", "api_key_command", "auth", "extra_body", "transport"),
    *("insecure", "ca_file"),
)


def _named(option: Callable[[Any], Any]) -> str:
    def bare() -> None:
        """Carries the option."""

    made: list[click.Option] = option(bare).__click_params__
    return made[0].name or ""


_API = click.option(
    "--api",
    type=click.Choice(list(MODULES)),
    help="API that the URL speaks.  [default: found by asking]",
)
#: The flags of `run` that say whom to ask, and how.
TARGET_FLAGS = (
    *(option for option in TARGET_AND_RATE if _named(option) in _NAMES),
    _API,
    *(option for option in CONTRACT_AND_HTTP if _named(option) in _NAMES),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoctorFlags(SuiteFlags):
    """The flags of `doctor`."""

    target: str | None = None
    form: str = "text"


@command(short_help="Find out what an endpoint speaks, and what to write to test it.")
@click.argument("target", required=False)
@with_options(*TARGET_FLAGS)
@format_option()
@takes(DoctorFlags)
def doctor(flags: DoctorFlags) -> int:
    """Look at an endpoint with one or two small requests: API, key, model, streaming, buffering,
    tokens, tier, limits, clock and network. Print what was found and the target file to write.

    TARGET is a target file, in place of --url or with flags over it. At most 32 output tokens are
    asked for; an API that the server does not speak costs a refused request and nothing else.

    Exit codes: 0 a run would be answered, 2 usage, 5 it would not.
    """
    from bench.show.diagnosis import diagnosis_result

    found, _ = diagnosed(flags.target, flags)
    if flags.form == "json":
        print_json(found.to_json())
    else:
        print_result(diagnosis_result(found))
    return 0 if found.ready else int(ExitCode.UNREACHABLE)


def diagnosed(name: str | None, flags: SuiteFlags) -> tuple[Diagnosis, Target]:
    """What an endpoint shows, by the name of a target file or by flags, and the target as a run
    would have it. Raises UserError.
    """
    from bench.app.doctor import diagnose

    return diagnose(*_asked(name, flags))


def _asked(name: str | None, flags: SuiteFlags) -> tuple[Target, Open]:
    from bench.api.guess import candidates, key_style
    from bench.app.doctor import Open
    from bench.cli.adhoc import flagged_target, override_target
    from bench.errors import UserError
    from bench.plan.target import EMBEDDED, load_target

    if name is not None:
        target = override_target(load_target(name), flags)
        if target.legs or target.embedded:
            what = "is a route" if target.legs else "is the built-in simulator"
            raise UserError(f"{what}, which has no address", where=name, remedy="name an endpoint")
        return target, Open((target.api,), auth=False, model=False)
    if not flags.url:
        raise UserError("is required", where="--url", remedy="write --url http://localhost:8000/v1")
    if flags.url == EMBEDDED:
        raise UserError("is for target files", where="--url", remedy="write an address")
    apis = (flags.api,) if flags.api else tuple(candidates(flags.url, flags.model or ""))
    keyed = flags.api_key_env or flags.api_key_file or flags.api_key_command
    filled = dataclasses.replace(
        flags,
        api=apis[0],
        model=flags.model or "unknown",
        auth=flags.auth or (key_style(flags.url) if keyed else None),
    )
    target = flagged_target(filled)
    return target, Open(apis, auth=flags.auth is None, model=not flags.model)
