"""`tailproof init`: a folder of first files for an endpoint, and the command that decides."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.doctor import TARGET_FLAGS, diagnosed
from bench.cli.flags import (
    SuiteFlags,
    parsed_rate,
    takes,
    with_options,
)
from bench.cli.help import command
from bench.cli.output import format_option, print_json, print_result
from bench.errors import ExitCode, UserError

if TYPE_CHECKING:
    from bench.app.starter import Start
    from bench.plan.schedule import Plan
    from bench.plan.target import Target
    from bench.record.records.diagnosis import Diagnosis

_SLO = "e2e:p95<{}"
_LIMIT = "2s"


@dataclasses.dataclass(frozen=True, kw_only=True)
class InitFlags(SuiteFlags):
    """The flags of `init`."""

    folder: Path = Path("first-test")
    force: bool = False
    form: str = "text"


@command(short_help="Write the first suite, target, load and contract for an endpoint.")
@click.argument(
    "folder", required=False, default="first-test", type=click.Path(path_type=Path, file_okay=False)
)
@with_options(*TARGET_FLAGS)
@click.option(
    "--slo",
    multiple=True,
    help="A clause in one line: 'e2e:p95<2s', 'uptime>=99%'. Repeatable.",
)
@click.option(
    "--rate",
    help="Requests a second.  [default: 5/s, or what the key's rate limit allows]",
)
@click.option("--force", is_flag=True, help="Overwrite files of an earlier init.")
@format_option()
@takes(InitFlags)
def init(flags: InitFlags) -> int:
    """Look at an endpoint as `doctor` does, then write suite.toml, target.toml, load.toml,
    contract.toml and a README into FOLDER (default: first-test), and print the command that
    decides, with its time and cost.

    On a terminal it asks for what no flag says, five questions at most.

    Exit codes: 0 written, 2 usage, 5 a run would not be answered: nothing is written.
    """
    from bench.app.starter import FILES
    from bench.plan.target_text import needs_secret
    from bench.show.diagnosis import diagnosis_result

    _refuse_overwriting(flags.folder, FILES, force=flags.force)
    _check_terms(flags)
    asked = _with_url(flags)
    found, target, asked = _looked(asked)
    if not found.ready:
        if flags.form == "json":
            print_json(found.to_json())
        else:
            print_result(diagnosis_result(found))
        return int(ExitCode.UNREACHABLE)
    if needs_secret(target):
        raise UserError(
            "a header or body that was typed may hold a secret, which no file gets",
            where="--header, --extra-body",
            remedy="export it and write ${NAME} in its place",
        )
    start = _start(_with_terms(asked, found), found, target)
    _write(flags.folder, start, flags.form)
    return 0


def _refuse_overwriting(folder: Path, names: Iterable[str], *, force: bool) -> None:
    taken = [name for name in names if (folder / name).exists()]
    if taken and not force:
        raise UserError(
            f"holds {taken[0]} already", where=str(folder), remedy="name another folder, or --force"
        )


def _check_terms(flags: InitFlags) -> None:
    """What was given is refused before anything is sent."""
    from bench.plan.clause import parse_slo

    for text in flags.slo:
        parse_slo(text)
    if flags.rate is not None:
        parsed_rate("--rate", flags.rate)


# ---- questions


def _asks() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _asked(what: str, flag: str, remedy: str, default: str | None = None) -> str:
    """An answer; without a terminal a sentence on the flag that is missing."""
    if not _asks():
        raise UserError("is required where there is no terminal to ask", where=flag, remedy=remedy)
    answer: str = click.prompt(what, default=default, err=True)
    return answer.strip()


def _with_url(flags: InitFlags) -> InitFlags:
    if flags.url:
        return flags
    url = _asked("URL of the API", "--url", "write --url http://localhost:8000/v1")
    return dataclasses.replace(flags, url=url)


def _looked(flags: InitFlags) -> tuple[Diagnosis, Target, InitFlags]:
    """What the endpoint shows; key and model are asked for where it turns out that they have to
    be, each once.
    """
    from bench.api.guess import key_variable

    found, target = diagnosed(None, flags)
    if _lacks_key(found, flags) and _asks():
        usual = key_variable(str(flags.url))
        name = _asked("Environment variable that holds the key", "--api-key-env", "", usual)
        flags = dataclasses.replace(flags, api_key_env=name)
        found, target = diagnosed(None, flags)
    models = found.models
    if flags.model is None and len(models) != 1 and not found.ready and not _is_bad(found, "auth"):
        if _is_bad(found, "network"):
            return found, target, flags
        few = f" ({', '.join(models[:5])}{', …' * (len(models) > 5)})" if models else ""
        remedy = f"add --model NAME; the server has {', '.join(models[:5]) or 'no list of them'}"
        name = _asked(f"Model{few}", "--model", remedy, models[0] if models else None)
        flags = dataclasses.replace(flags, model=name)
        found, target = diagnosed(None, flags)
    return found, target, flags


def _is_bad(found: Diagnosis, about: str) -> bool:
    return any(each.about == about and each.state == "bad" for each in found.findings)


def _lacks_key(found: Diagnosis, flags: InitFlags) -> bool:
    given = flags.api_key_env or flags.api_key_file or flags.api_key_command or flags.header
    return not given and _is_bad(found, "auth")


def _with_terms(flags: InitFlags, found: Diagnosis) -> InitFlags:
    """With a clause and a rate."""
    from bench.app.doctor import first_rate

    slo, rate = flags.slo, flags.rate
    if not slo:
        took = found.answer.e2e_ms if found.answer is not None else None
        now = f" (one just took {took / 1000:.2g} s)" if took is not None else ""
        limit = _asked(
            f"95 of 100 answers have to be complete within{now}",
            "--slo",
            "write --slo 'e2e:p95<2s'",
            _LIMIT,
        )
        slo = (_SLO.format(limit),)
    if rate is None:
        fitting = first_rate(found.limits)
        rate = _asked("Requests a second", "--rate", "", fitting) if _asks() else fitting
    return dataclasses.replace(flags, slo=slo, rate=rate)


# ---- files


def _start(flags: InitFlags, found: Diagnosis, target: Target) -> Start:
    """As many requests as decide the clauses."""
    from bench.app.starter import Start
    from bench.cli.adhoc import adhoc_suite
    from bench.cli.sizes import with_size

    words = dataclasses.replace(flags, api=target.api, model=target.model)
    suite = adhoc_suite(words)
    contract = suite.stages[0].contract
    assert contract is not None
    # However long they take: the user sees it before anything is sent.
    sizes = [
        with_size(dataclasses.replace(words, size_for=str(number)), suite)[0]
        for number in range(1, len(contract.clauses) + 1)
    ]
    assert found.target_toml is not None
    return Start(
        target_toml=found.target_toml,
        about=f"{target.model} at {found.url}",
        has_prices=target.prices is not None,
        clauses=contract.clauses,
        profile=suite.stages[0].profile,
        rate=parsed_rate("--rate", flags.rate or ""),
        requests=max(int(size["request_count"]) for size in sizes),
    )


def _write(folder: Path, start: Start, form: str) -> None:
    """Write the files, read them back as `run` does, and say what the run takes."""
    from bench.app.starter import FILES, SUITE, texts_of
    from bench.plan.quota import quota_said
    from bench.plan.schedule import compile_plan
    from bench.plan.suite import load_suite
    from bench.show.starter import starter_result

    command = shlex.join(["tailproof", "run", str(folder / SUITE)])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _put(folder, texts_of(start, "", command))
        plan = compile_plan(load_suite(str(folder / SUITE)))
        length = _length(plan)
        texts = texts_of(start, length, command)
        _put(folder, texts)
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror})", where=str(folder)) from None
    said = quota_said(plan)
    if form == "json":
        files = [str(folder / name) for name in texts]
        print_json({"format": 1, "files": files, "run": length, "beyond": said, "next": command})
    else:
        print_result(starter_result(folder, FILES, start.about, [length, *said], command))


def _put(folder: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")


def _length(plan: Plan) -> str:
    """`361 requests in about 72 s, 0.05 USD`."""
    from bench.plan.budget import budget_of
    from bench.show.wording import in_usd, long_duration

    lane = budget_of(plan).lanes[0]
    said = f"sends {len(plan.schedule):,} requests in about {long_duration(plan.end_ns)}"
    if lane.usd is not None:
        return f"{said}, for {in_usd(float(lane.usd))}"
    if not lane.hosts:
        return said
    prompt, output = (int(plan.schedule[name].sum()) for name in ("prompt_tokens", "output_tokens"))
    return (
        f"{said}: {prompt:,} tokens in, {output:,} out, at a cost that is not known (target.toml"
        " has no [prices])"
    )
