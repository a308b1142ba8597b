"""Flags -> suite: one target and one profile without a file, or a suite with flags over it.

In: the flags of `tailproof run`. Out: a `Suite`. Must stay true: a flag means the same as the
key of a file it stands for, and is refused with the same sentence.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.api.address import refuse_key_in_query
from bench.cli.flags import SuiteFlags, parsed, parsed_rate
from bench.errors import UserError
from bench.plan.arrival_kinds import ARRIVALS_WITH_BURSTINESS
from bench.plan.clause import Clause, parse_slo
from bench.plan.contract import Contract, load_contract
from bench.plan.profile import MADE_OF_FLAGS, Profile, load_profile, override_profile
from bench.plan.suite import Stage, Suite
from bench.plan.target import EMBEDDED, KEY_SOURCES, Target, check_base_url, checked
from bench.units import parse_duration_ns, parse_share
from bench.userfile import expand_env, find_file, parse_model

_DEFAULT_RATE = "10/s"
#: key of a target or profile -> the flag that sets it, for messages
_FLAGS = {
    "base_url": "--url",
    "model": "--model",
    "timeout": "--timeout",
    "headers": "--header",
    "api_key_env": "--api-key-env",
    "api_key_file": "--api-key-file",
    "api_key_command": "--api-key-command",
    "refresh": "--api-key-refresh",
    "auth": "--auth",
    "query": "--query",
    "extra_body": "--extra-body",
    "ca_file": "--ca-file",
    "duration": "--duration",
    "warmup": "--warmup-duration",
    "requests": "--request-count",
    "prompts": "--prompts",
    "prompt_tokens": "--isl",
    "output_tokens": "--osl",
}


def adhoc_suite(flags: SuiteFlags) -> Suite:
    """`tailproof run --url … --model …`: a suite of one stage, made from flags alone."""
    if not flags.model:
        raise UserError(
            "is required with --url", where="--model", remedy="name the model to ask for"
        )
    target = flagged_target(flags)
    profile = _profile(flags)
    contract = _contract(flags, None)
    stage = Stage(
        name="adhoc",
        targets=[target],
        profile=profile,
        contract=contract,
        scenario=None,
        settle_ns=0,
        expect=[],
    )
    return Suite(
        name="adhoc",
        description=f"{profile.description} against {target.base_url}",
        seed=1,
        stages=[stage],
        files=_files(flags),
    )


def _files(flags: SuiteFlags) -> list[Path]:
    named = (("load", flags.profile), ("contracts", flags.contract))
    own = [Path(flags.prompts)] if flags.prompts else []
    return [*(find_file(kind, name) for kind, name in named if name), *own]


def override_suite(suite: Suite, flags: SuiteFlags) -> Suite:
    """A suite with the flags that were given in place of its own numbers."""
    stages = []
    for stage in suite.stages:
        where = f"stage {stage.name!r}"
        targets = [override_target(target, flags) for target in stage.targets]
        profile = load_profile(flags.profile) if flags.profile else stage.profile
        profile = _override_numbers(profile, flags, where)
        contract = _contract(flags, stage.contract)
        # Expected answers are those of the simulator under the suite's own contract.
        known = contract is stage.contract and flags.url is None
        compare = (
            stage.compare
            if known
            else [table.model_copy(update={"expect": []}) for table in stage.compare]
        )
        # Without the simulator there is nothing of it to change.
        drills = [
            drill
            for drill in stage.drills
            if flags.url is None or drill.change is None or drill.url is not None
        ]
        stages.append(
            stage.model_copy(
                update={
                    "targets": targets,
                    "profile": profile,
                    "contract": contract,
                    "expect": stage.expect if known else [],
                    "compare": compare,
                    "expect_route": stage.expect_route if known else [],
                    "drills": drills,
                    "simulated": stage.simulated and flags.url is None,
                }
            )
        )
    return suite.model_copy(
        update={"stages": stages, "files": list(dict.fromkeys([*suite.files, *_files(flags)]))}
    )


def _checked_url(written: str) -> None:
    """Filled in for the wire alone; refused now if a variable is not set or does not make a URL."""
    if written != EMBEDDED:
        check_base_url(expand_env(written, "--url"), written)


def _target_fields(flags: SuiteFlags) -> dict[str, Any]:
    """The target's keys that flags set, as a file would write them."""
    fields: dict[str, Any] = {
        key: getattr(flags, key)
        for key in (
            "api",
            "model",
            "tier",
            "auth",
            "api_key_env",
            "api_key_file",
            "max_tokens_field",
            "transport",
            "ca_file",
            "timeout",
        )
        if getattr(flags, key) is not None
    }
    if flags.url is not None:
        parsed("--url", _checked_url, flags.url)
        fields["base_url"] = flags.url
    if flags.query:
        fields["query"] = dict(_query(text) for text in flags.query)
    if flags.streaming is not None:
        fields["stream"] = flags.streaming
    if flags.insecure:
        fields["insecure"] = True
    if flags.no_ready_check:
        fields["ready_check"] = False
    if flags.api_key_command is not None:
        fields["api_key_command"] = parsed("--api-key-command", shlex.split, flags.api_key_command)
    if flags.api_key_refresh is not None:
        fields["refresh"] = flags.api_key_refresh
    if flags.header:
        fields["headers"] = dict(_header(text) for text in flags.header)
    if flags.extra_body is not None:
        try:
            fields["extra_body"] = json.loads(flags.extra_body)
        except ValueError as error:
            raise UserError(
                f"is not JSON ({error})",
                where="--extra-body",
                remedy="write '{\"temperature\": 0}'",
            ) from None
        if not isinstance(fields["extra_body"], dict):
            raise UserError(
                "is not a JSON object", where="--extra-body", remedy="write '{\"temperature\": 0}'"
            )
    return fields


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise UserError("is not a header", where="--header", remedy="write 'name: value'")
    return name.strip(), value.strip()


def _query(text: str) -> tuple[str, str]:
    """One part of a query. No message repeats it: it may hold a key."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UserError(
            "is not NAME=VALUE", where="--query", remedy="write --query api-version=2024-10-21"
        )
    parsed("--query", refuse_key_in_query, quote(name.strip()))
    return name.strip(), value.strip()


def flagged_target(flags: SuiteFlags) -> Target:
    """The target that flags alone describe. Raises UserError."""
    fields = {"description": "given by flags", "name": "target", **_target_fields(flags)}
    if fields["base_url"] == EMBEDDED:
        raise UserError(
            f'"{EMBEDDED}" is for target files',
            where="--url",
            remedy="run a scenario: tailproof run vanity-average",
        )
    return checked(parse_model(Target, fields, "command line", _FLAGS), "--url")


def override_target(target: Target, flags: SuiteFlags) -> Target:
    """The target with the flags that were given in place of its own keys."""
    fields = _target_fields(flags)
    if not fields:
        return target
    if target.legs:  # a route sends nothing itself
        legs = tuple(override_target(leg, flags) for leg in target.legs)
        waits = {"timeout": legs[0].timeout} if "timeout" in fields else {}
        return target.model_copy(
            update={"legs": legs, "stream": all(leg.stream for leg in legs), **waits}
        )
    rekeyed = any(name in fields for name in KEY_SOURCES) or flags.auth == "none"
    replaced = set(KEY_SOURCES) if rekeyed else set()
    kept = target.model_dump(exclude=replaced, exclude_defaults=True, by_alias=True)
    return checked(parse_model(Target, kept | fields, "command line", _FLAGS), "--url")


def _profile(flags: SuiteFlags) -> Profile:
    if flags.profile:
        return _override_numbers(load_profile(flags.profile), flags, f"profile {flags.profile}")
    rate, users = flags.rate, flags.concurrency
    arrivals: dict[str, Any]
    if users is not None and rate is None and flags.arrival is None and flags.burstiness is None:
        arrivals = {"kind": "closed", "concurrency": users}
        users = None
    else:
        kind = flags.arrival or ("gamma" if flags.burstiness is not None else "poisson")
        arrivals = {
            "kind": kind,
            "rate": parsed_rate("--rate", rate or _DEFAULT_RATE),
        }
        if kind in ARRIVALS_WITH_BURSTINESS:
            arrivals["burstiness"] = flags.burstiness if flags.burstiness is not None else 1.0
        elif flags.burstiness is not None:
            raise UserError(
                f"does not go with --arrival {kind}",
                where="--burstiness",
                remedy="use --arrival gamma",
            )
    fields: dict[str, Any] = {
        "name": MADE_OF_FLAGS,
        "description": f"{arrivals['kind']} arrivals",
        "arrivals": arrivals,
        "prompt_tokens": [{"fixed": flags.isl or 500}],
        "output_tokens": [{"fixed": flags.osl or 64}],
        "max_in_flight": users,
        "requests": flags.request_count,
    }
    if flags.duration is not None or flags.request_count is None:
        fields["duration"] = flags.duration or "30s"
    if flags.prompts is not None:
        _send_own(fields, flags)
    if flags.warmup_duration is not None:
        fields["warmup"] = flags.warmup_duration
    return parse_model(Profile, fields, "command line", _FLAGS)


def _send_own(fields: dict[str, Any], flags: SuiteFlags) -> None:
    """The texts of the file in place of prompts of a size."""
    if flags.isl is not None:
        raise UserError(
            "does not go with --prompts, which bring their own sizes",
            where="--isl",
            remedy="leave one of the two out",
        )
    del fields["prompt_tokens"]
    fields["prompts"] = flags.prompts


def _override_numbers(profile: Profile, flags: SuiteFlags, where: str) -> Profile:
    rate = flags.rate
    for flag in ("arrival", "burstiness"):
        if getattr(flags, flag) is not None:
            raise UserError(
                "cannot be set over a profile",
                where=f"--{flag}",
                remedy="write a profile of your own, or leave --profile out",
            )
    profile = override_profile(
        profile,
        where,
        rate=parsed_rate("--rate", rate) if rate else None,
        duration_ns=_duration(flags),
        requests=flags.request_count,
        max_in_flight=flags.concurrency,
    )
    fields: dict[str, Any] = {}
    if flags.prompts is not None:
        fields["prompts"] = flags.prompts
    if flags.isl is not None:
        fields["prompt_tokens"] = [{"fixed": flags.isl}]
    if flags.osl is not None:
        fields["output_tokens"] = [{"fixed": flags.osl}]
    if flags.warmup_duration is not None:
        fields["warmup"] = flags.warmup_duration
    if not fields:
        return profile
    replaced = {"prompt_tokens", "shared_prefix"} if flags.prompts is not None else set()
    return parse_model(
        Profile,
        profile.model_dump(exclude=replaced, exclude_defaults=True, by_alias=True) | fields,
        "command line",
        _FLAGS,
    )


def _duration(flags: SuiteFlags) -> int | None:
    duration_ns: int | None = parsed("--duration", parse_duration_ns, flags.duration)
    if duration_ns == 0:
        raise UserError("must be above zero", where="--duration", remedy='write "60s"')
    return duration_ns


def _contract(flags: SuiteFlags, own: Contract | None) -> Contract | None:
    """--contract in place of the stage's own; --slo clauses alone, or after the contract's."""
    contract = load_contract(flags.contract) if flags.contract else own
    confidence = parsed("--confidence", parse_share, flags.confidence or "95%")
    if flags.confidence is not None and (flags.contract or not flags.slo):
        raise UserError(
            "goes with --slo alone",
            where="--confidence",
            remedy="a contract states its own confidence",
        )
    if not flags.slo:
        return contract
    clauses: list[Clause] = [parse_slo(text) for text in flags.slo]
    if contract is not None and flags.contract:
        return contract.model_copy(update={"clauses": [*contract.clauses, *clauses]})
    fields = {
        "title": "Clauses of the command line",
        "name": "slo",
        "confidence": confidence,
        "clause": clauses,
    }
    return parse_model(Contract, fields, "--confidence")
