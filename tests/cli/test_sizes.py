"""How long a run is that nobody gave a length, what is said of it, and the command that would
decide what a run left open.
"""

from __future__ import annotations

import json
import re
import shlex
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from bench.cli.resume import repeat_command
from bench.cli.run import suite_of
from bench.cli.sizes import undecidable, with_size, words_of
from bench.errors import UserError
from bench.judge.contract.next_command import deciding_command, with_commands
from bench.load.options import RunOptions, plan_file
from bench.plan.profile import Profile, stretched
from bench.plan.schedule import compile_plan
from bench.record.identity import plan_facts
from bench.record.records.manifest import Manifest, ShardRecord
from bench.record.records.verdicts import Decide
from tests.support.flags import run_flags
from tests.support.made_runs import clause_of, verdicts_of

S = 10**9
LEAST = ["--url", "http://127.0.0.1:9/v1", "--model", "m"]
REMOTE = ["--url", "http://api.example.com/v1", "--model", "m"]
P95 = ["--slo", "e2e:p95<800ms"]
UPTIME = ["--slo", "uptime>=99.9%"]


def sized(*words: str) -> tuple[dict[str, Any], list[str]]:
    flags = run_flags(*words)
    return with_size(flags, suite_of(flags))


def enough(p0: float, *, at: float) -> int:
    """The fewest requests that reach the verdict with 80 %, by trying every number."""
    n = np.arange(1, 1000)
    k = np.arange(100)[:, None]
    if at < p0:
        most = np.sum(binom.cdf(k, n, p0) <= 0.05, 0) - 1
        chance = binom.cdf(most, n, at)
    else:
        least = np.sum(binom.sf(k - 1, n, p0) >= 0.05, 0)
        chance = binom.sf(least - 1, n, at)
    return int(n[np.argmax(chance >= 0.8)])


def test_a_run_without_a_length_decides_its_clause() -> None:
    """As many requests as show a p95 kept at half of what is allowed, and broken at twice."""
    size, said = sized(*LEAST, *P95, "--request-rate", "20")
    # It is a multiple of the plan of 30 s, rounded.
    wanted = max(enough(0.05, at=0.025), enough(0.05, at=0.1))
    assert size == {"request_count": pytest.approx(wanted, abs=2)}
    assert said[0].startswith("size: 361 requests, 18 s, decides with 80 % response e2e p95")
    assert "if 2.5 % break it, or 10 %" in said[0]


@pytest.mark.parametrize(
    ("words", "size", "says"),
    [
        ([*LEAST, *P95, "--duration", "3s"], {}, ()),
        ([*LEAST, *P95, "--request-count", "30"], {}, ()),
        (["field-guide"], {}, ()),
        (LEAST, {}, ()),
        ([*LEAST, *P95, "--quick"], {}, ("a quick look of 30 s",)),
        # 19,439 requests at 10/s take half an hour: nobody asked for that.
        ([*LEAST, *UPTIME], {}, ()),
        ([*LEAST, *UPTIME, "--size-for", "uptime"], {"request_count": 19_439}, ("32 min",)),
        (
            [*LEAST, *P95, *UPTIME, "--rate", "20/s"],
            {"request_count": 361},
            ("clause 2 (uptime, request ratio ≥ 99.9 %) needs 19,439 requests", "--size-for 2"),
        ),
        # Two minutes at 200/s are more than go to other machines unasked.
        ([*REMOTE, *UPTIME, "--rate", "200/s"], {}, ()),
        (
            [*LEAST, *UPTIME, "--rate", "200/s"],
            {"request_count": 19_439},
            ("decides with 80 % uptime",),
        ),
    ],
)
def test_a_length_is_chosen_where_nobody_gave_one(
    words: list[str], size: dict[str, Any], says: tuple[str, ...]
) -> None:
    found, said = sized(*words)
    assert {name: pytest.approx(value, abs=5) for name, value in size.items()} == found
    assert all(any(text in sentence for sentence in said) for text in says)
    assert bool(said) == bool(says)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--size-for", "p99"], "'p99' names no judged clause; the clauses: response e2e p95"),
        (["--quick", "--duration", "3s"], "--quick: does not go with --duration"),
        (["--size-for", "1", "--request-count", "3"], "--size-for: does not go with --request"),
        (["--stretch", "2", "--quick"], "--quick: does not go with --stretch"),
        (
            ["--contract", "google-gemini-vertex", "--size-for", "uptime"],
            "probe for as long: tailproof watch",
        ),
        (["--stretch", "0"], "--stretch: must lie above 0"),
        (["--stretch", "long"], "--stretch: "),
    ],
)
def test_lengths_that_cannot_be_are_refused(words: list[str], says: str) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        sized(*LEAST, *P95, *words)


def test_quick_is_for_what_has_no_length_of_its_own() -> None:
    with pytest.raises(UserError, match="a suite has a length of its own"):
        sized("field-guide", "--quick")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            [*P95, *UPTIME, "--request-count", "300"],
            ["at least 2,995 requests are needed, it has 300"],
        ),
        ([*P95, "--request-count", "59"], []),
        (["--request-count", "3"], []),
    ],
)
def test_a_plan_says_what_it_cannot_decide(words: list[str], said: list[str]) -> None:
    """Of a rehearsal, which expects an open answer, nothing."""
    found = undecidable(compile_plan(suite_of(run_flags(*LEAST, *words))))
    assert found == [
        f"this plan cannot PASS clause 2 (uptime, request ratio ≥ 99.9 %): {each}" for each in said
    ]
    assert undecidable(compile_plan(suite_of(run_flags("vanity-average")))) == []


@pytest.mark.parametrize(
    ("fields", "times", "length"),
    [
        ({"duration": "10s"}, "2.5", (25 * S, None)),
        ({"requests": 7}, "1.5", (None, 11)),
        ({"duration": "10s", "requests": 7, "warmup": "1s"}, "3", (30 * S, 21)),
        ({"phases": [{"name": "a", "duration": "4s"}, {"name": "b", "duration": "1s"}]}, "2", 10),
    ],
)
def test_a_stretched_profile_is_longer_and_no_faster(
    fields: dict[str, Any], times: str, length: Any
) -> None:
    """Duration and requests alike; the warm-up and the rate stay; phases come again."""
    law = {"kind": "constant", "rate": "10/s"}
    profile = Profile.model_validate({"description": "d", "arrivals": law} | fields)
    found = stretched(profile, Fraction(times), "here")
    wanted = length if isinstance(length, tuple) else (length * S, None)
    assert (found.duration, found.requests) == wanted
    assert (found.arrivals, found.warmup) == (profile.arrivals, profile.warmup)


def test_a_trace_is_as_long_as_it_was_recorded() -> None:
    trace = {"kind": "trace", "trace": {"format": "mooncake", "file": "t.jsonl"}}
    profile = Profile.model_validate({"description": "d", "arrivals": trace})
    with pytest.raises(UserError, match="a recorded trace has the length that it has"):
        stretched(profile, Fraction(2), "here")


def test_a_stretch_is_kept_with_the_plan() -> None:
    plan = compile_plan(suite_of(run_flags("vanity-average", "--stretch", "1.5")))
    whole = compile_plan(suite_of(run_flags("vanity-average")))
    assert plan.lanes[0].end_ns == pytest.approx(1.5 * whole.lanes[0].end_ns, rel=1e-6)
    options = RunOptions(stretch=Fraction(3, 2))
    assert json.loads(plan_file(plan, options))["options"]["stretch"] == "3/2"
    assert RunOptions.read(options.record()).stretch == Fraction(3, 2)


# ---- the command that would decide


def manifest_of(*words: str, **changes: Any) -> Manifest:
    """Of a run with these flags, as `run` writes it."""
    flags = run_flags(*words)
    facts = plan_facts(compile_plan(suite_of(flags)), "r", 0)
    again = repeat_command(["tailproof", "run", *words], 1, size=())
    return facts.replace(repeat_command=again, **changes)


HEADER = ["--header", "Authorization: Bearer ${KEY}"]


@pytest.mark.parametrize(
    ("words", "times", "tail"),
    [
        ([*LEAST, *P95, "--request-count", "300"], "4.2", "--seed 1 --request-count 1260"),
        (
            [*LEAST, *P95, *HEADER, "--num-requests=300"],
            "2",
            "--header 'Authorization: Bearer ${KEY}' --seed 1 --request-count 600",
        ),
        (
            [*LEAST, *P95, "--duration", "30s", "--arrival", "constant"],
            "2",
            "--arrival constant --seed 1 --request-count 600",
        ),
        (
            [*LEAST, *P95, "--request-count", "300", "--max-requests", "400", "--quiet"],
            "100",
            "--quiet --seed 1 --request-count 30000 --max-requests 30000",
        ),
        ([*LEAST, *P95, "--profile", "chat"], "3", "--profile chat --seed 1 --stretch 3"),
        (["vanity-average"], "2.71", "run vanity-average --seed 1 --stretch 2.8"),
        (["vanity-average", "--stretch=1.5"], "2", "run vanity-average --seed 1 --stretch 3"),
    ],
)
def test_the_command_that_decides_is_the_run_with_another_size(
    words: list[str], times: str, tail: str
) -> None:
    """It parses, and plans at least so many times the requests of what it was made of."""
    manifest = manifest_of(*words)
    command = deciding_command(manifest, Fraction(times))
    assert command is not None
    assert command.endswith(tail)
    longer = compile_plan(suite_of(run_flags(*shlex.split(command)[2:])))
    planned = sum(lane.requests for lane in manifest.lanes)
    # a profile by time draws its arrivals anew
    assert len(longer.schedule) == pytest.approx(float(Fraction(times)) * planned, rel=0.05)


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ([*LEAST, "--header", "X-Key: abc"], {}),
        (LEAST, {"repeat_command": "tailproof watch s.toml"}),
        (LEAST, {"shard": ShardRecord(number=1, of=2)}),
        (LEAST, {"watch": {}}),
    ],
)
def test_no_command_where_none_would_run(words: list[str], changes: dict[str, Any]) -> None:
    """A secret that no file holds, a run of another command, a part of one."""
    assert deciding_command(manifest_of(*words).replace(**changes), Fraction(2)) is None
    assert deciding_command(manifest_of(*LEAST), Fraction(10**6)) is None


def test_a_chosen_length_stands_in_the_command_that_repeats_the_run() -> None:
    size, _ = sized(*LEAST, *UPTIME, "--size-for", "uptime")
    argv = ["tailproof", "run", *LEAST, "--size-for=uptime"]
    again = repeat_command(argv, 4, size=words_of(size))
    assert again.endswith(f"--model m --request-count {size['request_count']} --seed 4")


def test_an_open_clause_has_the_command_that_decides() -> None:
    """Three times its rows: three times the run's requests; a clause that no run decides has
    none, and the longest is what is typed next.
    """
    open_ = clause_of("target", 1, "response e2e p95 ≤ 800 ms", "e2e", n=290, quantile=0.95)
    decide = Decide(share=0.04, requests=870, duration_s=30)
    longer = open_.replace(number=2, decide=decide.replace(requests=1000))
    manifest = manifest_of(*LEAST, *P95, "--request-count", "300")
    found = with_commands([open_, open_.replace(decide=decide), longer], manifest)
    assert found[0].decide is None
    commands = [each.decide.command for each in found[1:] if each.decide]
    assert [str(each).rpartition(" ")[2] for each in commands] == ["900", "1035"]
    verdicts = verdicts_of(["target"]).replace(clauses=found)
    assert verdicts.next_command == commands[1]
    assert verdicts.replace(clauses=found[:1]).next_command is None
