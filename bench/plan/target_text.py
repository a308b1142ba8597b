"""A target as the text of its file, and as flags of the command line.

In: a target, limits that were found. Out: TOML that `load_target` reads back as the same target;
words to type. Must stay true: no secret that was typed is written: of a header or a text under a
telling key of the extra body only `${ENV}` stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bench.plan.credentials import REDACTED, body_without_literals, header_without_literal
from bench.plan.target import Target
from bench.plan.toml_text import toml_table, toml_value
from bench.units import show_limit

#: In this order; what the file says of itself comes first.
_FIRST = ("description", "name", "base_url", "api", "model", "tier", "region")
_DURATIONS = ("timeout", "connect_timeout", "refresh")


def target_toml(target: Target, limits: Mapping[str, Any]) -> str:
    """The target's file, with a table `limits` where there are any."""
    given = _given(target) | ({"limits": dict(limits)} if limits else {})
    keys = sorted(given, key=lambda key: _FIRST.index(key) if key in _FIRST else len(_FIRST))
    plain = [
        f"{key} = {toml_value(given[key])}" for key in keys if not isinstance(given[key], dict)
    ]
    tables = [toml_table(key, given[key]) for key in keys if isinstance(given[key], dict)]
    return "\n".join([*plain, *tables]) + "\n"


def target_flags(target: Target) -> list[str]:
    """The flags of `run` that mean the target; what holds a secret is redacted."""
    words = ["--url", target.base_url, "--model", target.model]
    given = _given(target)
    for key in ("api", "tier", "auth", "api_key_env", "api_key_file", "max_tokens_field"):
        if key in given:
            words += [f"--{key.replace('_', '-')}", str(given[key])]
    for key in ("transport", "ca_file"):
        if key in given:
            words += [f"--{key.replace('_', '-')}", str(given[key])]
    words += [word for pair in _repeated(given) for word in pair]
    if not target.stream and target.spoken.makes_tokens:
        words.append("--no-streaming")
    words += ["--insecure"] * target.insecure + ["--no-ready-check"] * (not target.ready_check)
    return words


def _repeated(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in given.get("query", {}).items():
        yield "--query", f"{name}={value}"
    for name, value in given.get("headers", {}).items():
        yield "--header", f"{name}: {value}"
    if "extra_body" in given:
        yield "--extra-body", json.dumps(given["extra_body"])


def _given(target: Target) -> dict[str, Any]:
    """The keys that are not what they are by default, without secrets."""
    given = target.model_dump(
        exclude_defaults=True, by_alias=True, exclude={"legs", "limits", "name"}
    )
    if not target.spoken.makes_tokens:
        given.pop("stream", None)
    for key in _DURATIONS:
        if key in given:
            given[key] = show_limit(getattr(target, key))
    headers = {name: header_without_literal(text) for name, text in target.headers.items()}
    if headers:
        given["headers"] = headers
    if target.extra_body:
        given["extra_body"] = body_without_literals(target.extra_body)
    return given


def needs_secret(target: Target) -> bool:
    """Whether the file lacks a secret that was typed, which its user has to put into a variable."""
    return REDACTED in target_toml(target, {})
