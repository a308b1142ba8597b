"""The first files of a user: a suite, its target, load, contract and a README.

In: a target's file, clauses, a rate and a number of requests. Out: the texts of files, by name.
Must stay true: the folder runs as it stands; what a user may want to change has a comment beside
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from bench.plan.clause import Clause
from bench.plan.profile import Profile
from bench.plan.toml_text import toml_table, toml_value
from bench.units import parse_duration_ns, show_limit, show_rate

SUITE = "suite.toml"
#: The files, and what each says.
FILES = {
    SUITE: "what is tested: targets, load, contract",
    "target.toml": "the endpoint, its model, where its key is, what it takes of that key",
    "load.toml": "how many requests of which size come how fast",
    "contract.toml": "what has to hold",
    "README.md": "the command below, and what to change",
}


@dataclass(frozen=True)
class Start:
    """What is to be written."""

    #: the target's file
    target_toml: str
    #: the target in a few words
    about: str
    has_prices: bool
    clauses: Sequence[Clause]
    profile: Profile
    rate: Fraction
    requests: int


def texts_of(start: Start, length: str, command: str) -> dict[str, str]:
    """The files; `length` says how long the run takes and what it costs, `command` starts it."""
    return {
        SUITE: _suite(start),
        "target.toml": _target(start),
        "load.toml": _load(start),
        "contract.toml": _contract(start),
        "README.md": _readme(start, length, command),
    }


def _suite(start: Start) -> str:
    return f"""\
# What to test: each stage sends one load to its targets and judges them by a contract.
# Every key of these files: docs/files.md, or `tailproof schema suite --format md`
description = {toml_value(f"First test of {start.about}")}

[[stage]]
name = "first"
targets = ["./target.toml"]         # several run side by side, such as two tiers to compare
profile = "./load.toml"             # or a built-in one: tailproof profiles load
contract = "./contract.toml"        # or a built-in one: tailproof profiles contracts
"""


def _target(start: Start) -> str:
    prices = """
# What its tokens cost, so that plans and reports say what they cost:
# [prices]
# input_usd_per_million = 0.25
# output_usd_per_million = 2.00
# as_of = 2026-12-01
# source = "where you read it"
"""
    return f"""\
# Whom to test. `tailproof doctor` on this file looks at it again.
{start.target_toml}{"" if start.has_prices else prices}"""


def _load(start: Start) -> str:
    prompt, output = start.profile.prompt_tokens[0], start.profile.output_tokens[0]
    return f"""\
# What is sent. Requests come at random moments (poisson), as those of many users do.
description = {toml_value(f"{start.requests:,} requests at {show_rate(start.rate)}")}
requests = {start.requests}                  # as many as decide the contract's clauses

# Sizes in tokens: write here what your own requests have.
prompt_tokens = [{{ fixed = {prompt.fixed} }}]
output_tokens = [{{ fixed = {output.fixed} }}]

[arrivals]
kind = "poisson"
rate = {toml_value(show_rate(start.rate))}
"""


def _contract(start: Start) -> str:
    tables = [toml_table("[clause]", _written(clause)) for clause in start.clauses]
    return f"""\
# What is promised. Each clause ends as PASS, FAIL or INCONCLUSIVE.
title = "Our first contract"
{chr(10).join(tables)}

# A stricter clause takes more requests: 99.9 % uptime 2,995 at least. `tailproof plan` says how
# many; a larger `requests` in load.toml sends them.
# [[clause]]
# metric = "uptime"
# share = "99.9%"
"""


def _written(clause: Clause) -> dict[str, object]:
    """A clause as a user would write it."""
    given: dict[str, object] = clause.model_dump(exclude_defaults=True, by_alias=True)
    if isinstance(limit := given.get("limit"), str):
        given["limit"] = show_limit(parse_duration_ns(limit)).replace(" ", "")
    return given


def _readme(start: Start, length: str, command: str) -> str:
    others = {name: says for name, says in FILES.items() if name != "README.md"}
    rows = "\n".join(f"| `{name}` | {says} |" for name, says in others.items())
    return f"""\
# First test of {start.about}

    {command}

It {length}.

Its exit code is 0 for PASS, 1 for FAIL, 3 for INCONCLUSIVE, 4 where this machine was too slow to
judge, 5 where the endpoint was not reached. The report is one file, `report.html`.

| file | says |
|---|---|
{rows}

Change a file, then ask what it would take: `{command.replace(" run ", " plan ")}`.
The verdict holds for the minutes of the run. For one on the service, run it at random times:
`{command} --repeat 12 --over 7d`.
"""
