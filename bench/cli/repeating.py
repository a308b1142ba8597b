"""The command that plays a run again, as its files keep it.

In: the words of a command line. Out: the same command without secrets. Must stay true: a header's
value is kept only where it is `${ENV}`; a flag of another tool is understood as ours.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

#: Flags of other tools that mean the same -> ours.
ALIASES = {
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

#: Flags with a value that say where and how this once, not what is sent; the seed is spelled out at
#: the end.
_NOT_REPEATED = (
    "--seed",
    "--out",
    "--repeat",
    "--shard",
    "--start-at",
    "--vantage",
    "--over",
    "--format",
    "--metrics-port",
    "--otlp-endpoint",
)


def repeat_command(
    argv: list[str], seed: int, command: str = "run", size: Sequence[str] = ()
) -> str:
    """This command again, with its seed spelled out and its own folder, repetition, shard, format
    and monitors left out; `size` are the flags of the size that was chosen for it.

    It is kept in files, so a header's value is kept only where it is `${ENV}`.
    """
    words = ["tailproof", command]
    rest = iter(argv[2:] if argv[1:2] == [command] else [])
    for word in rest:
        flag, joined, value = word.partition("=")
        flag = ALIASES.get(flag, flag)
        if flag in ("-y", "--yes"):
            continue  # whoever repeats it is asked again
        if flag in _NOT_REPEATED or (size and flag == "--size-for"):
            if not joined:
                next(rest, None)
        elif flag in ("-H", "--header"):
            words += ["--header", _without_secret(value if joined else next(rest, ""))]
        elif flag == "--extra-body":
            words += ["--extra-body", _body_without_secret(value if joined else next(rest, ""))]
        elif word.startswith("-H"):
            words += ["--header", _without_secret(word[2:])]
        else:
            words.append(flag + joined + value)
    return shlex.join([*words, *size, "--seed", str(seed)])


def _body_without_secret(text: str) -> str:
    """An extra body whose literal texts under telling keys are redacted; `${ENV}` stays."""
    from bench.plan.credentials import REDACTED, body_without_literals

    try:
        return json.dumps(body_without_literals(json.loads(text)))
    except ValueError:
        return REDACTED


def _without_secret(header: str) -> str:
    from bench.plan.credentials import header_without_literal

    name, _, value = header.partition(":")
    kept = header_without_literal(value)
    return header if kept == value else f"{name}: {kept}"
