"""Built-in scenarios: the truth they state is the truth they play, and it can be decided."""

from __future__ import annotations

import math
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.errors import UserError
from bench.gateway.scenarios import Gateway, Scenario, TruthLine, load_scenario, scenario_names
from bench.gateway.virtual import Caller, Ended, Simulation
from bench.plan.suite import load_suite
from bench.units import S

#: Laws alone, without limits or load: any number of requests sees the same truth.
LAWS = [
    "vanity-average",
    "noisy-neighbour",
    "provider-outage",
    "premium-placebo",
    "regional-failover",
    "three-tier-router",
]
N = 20_000


def play(
    scenario: Scenario, model: str, moments_s: np.ndarray, region: str | None = None
) -> list[tuple[float, Ended]]:
    """What requests at these moments see."""
    ends: list[tuple[float, Ended]] = []
    simulation = Simulation(
        scenario.gateway,
        scenario.seed,
        lambda at, how: ends.append((at / 1e6, how)),
        timeout_ns=60 * S,
    )
    for moment in np.sort(moments_s):
        at_ns = round(moment * S)
        simulation.request(at_ns, at_ns, model, 64, 16, caller=Caller(region=region))
    simulation.finish()
    return ends


def model_of(line: TruthLine) -> str:
    """A name that the line's pattern, and no more special one, stands for."""
    return line.model.replace("*", "anything")


@pytest.mark.parametrize("name", LAWS)
def test_stated_truth_is_what_is_played(name: str) -> None:
    """Of 20,000 requests in a line's window, the counts below each stated quantile and the shares
    are binomial.
    """
    scenario, stage = load_scenario(name), load_suite(name).stages[0]
    assert stage.profile.duration is not None
    for index, line in enumerate(scenario.truth.line):
        window = line.window_s or (0.0, stage.profile.duration / S)
        ends = play(
            scenario, model_of(line), np.random.default_rng(index).uniform(*window, N), line.region
        )
        times = np.array([how.last_ns / 1e6 - at for at, how in ends if how.outcome == "ok"])
        for key, value in line.e2e_ms.items():
            if key == "mean":
                assert times.mean() == pytest.approx(
                    value, abs=4 * times.std() / math.sqrt(len(times))
                )
                continue
            share = float(key[1:]) / 10 ** (len(key) - 1)
            if 6000 <= value < 6001:
                # all of the slow answers stand at one point: it is the quantile if the law jumps
                # across it there
                assert (times < value - 1).mean() < share <= (times <= value + 1).mean()
            else:
                assert (
                    stats.binomtest(int((times <= value).sum()), len(times), share).pvalue > 0.001
                )
        observed = {
            "ok": sum(how.outcome == "ok" for _, how in ends),
            "over_800_ms": sum(
                how.outcome != "ok" or how.last_ns / 1e6 - at > 800 for at, how in ends
            ),
        }
        for key, share in line.share.items():
            if share in (0.0, 1.0):
                assert observed[key] == share * len(ends)
            else:
                assert stats.binomtest(observed[key], len(ends), share).pvalue > 0.001


def test_free_tier_counts() -> None:
    """Of the stage's 24 steady requests, as many are answered as the truth says; the long run gives
    50 of 120.
    """
    scenario, stage = load_scenario("free-tier-limit"), load_suite("free-tier-limit").stages[0]
    assert stage.profile.arrivals.rate == Fraction(2)
    assert stage.profile.duration is not None
    (line,) = scenario.truth.line
    n = stage.profile.duration * 2 // S
    ok = sum(how.outcome == "ok" for _, how in play(scenario, "any", np.arange(n) / 2))
    assert round(ok / n, 4) == line.share["ok"]
    assert round(1 - ok / n, 4) == line.share["rate_limited"]
    longer = play(scenario, "any", np.arange(7200) / 2)
    assert sum(how.outcome == "ok" for _, how in longer) == 3001


def limits(n: int, allowed: float) -> tuple[int, int]:
    """Largest k that passes and smallest that fails, one-sided exact limits at 95 %."""
    passing = [k for k in range(int(n * allowed) + 1) if stats.binom.cdf(k, n, allowed) <= 0.05]
    failing = next(
        k for k in range(int(n * allowed), n + 2) if stats.binom.sf(k - 1, n, allowed) <= 0.05
    )
    return max(passing, default=-1), failing


@pytest.mark.parametrize(
    ("name", "target", "clause", "share", "allowed"),
    [
        ("vanity-average", "default", "e2e p99", 0.016, 0.01),
        ("noisy-neighbour", "standard", "e2e p99", 0.384, 0.01),
        ("noisy-neighbour", "pro", "e2e p99", 7e-7, 0.01),
        ("provider-outage", "default", "e2e p99", 5 / 12, 0.01),
        ("provider-outage", "default", "uptime", 5 / 120, 0.001),
        ("free-tier-limit", "default", "uptime", 0.5417, 0.001),
        ("premium-placebo", "standard", "e2e p99", 7e-7, 0.01),
        ("premium-placebo", "pro", "e2e p99", 7e-7, 0.01),
        ("premium-placebo", "standard", "uptime", 0.0, 0.001),
        ("premium-placebo", "pro", "uptime", 0.0, 0.001),
        ("regional-failover", "primary", "e2e p99", 0.3203, 0.01),
        ("regional-failover", "secondary", "e2e p99", 2e-6, 0.01),
        ("three-tier-router", "default", "e2e p99", 0.0402, 0.01),
        ("three-tier-router", "default", "uptime", 0.01, 0.001),
        ("three-tier-router", "fallback", "e2e p99", 0.0005, 0.01),
        ("three-tier-router", "premium", "e2e p99", 4e-5, 0.01),
    ],
)
def test_expected_verdicts_can_be_decided(
    name: str, target: str, clause: str, share: float, allowed: float
) -> None:
    """At the stage's own number of requests the expected verdict comes with a chance of 99 % or
    more.
    """
    stage = load_suite(name).stages[0]
    assert stage.profile.duration is not None
    assert stage.profile.arrivals.rate is not None
    n = int(stage.profile.arrivals.rate * stage.profile.duration / S)
    (expect,) = (one for one in stage.expect if one.target == target and one.clause == clause)
    passes, fails = limits(n, allowed)
    chance = (
        stats.binom.cdf(passes, n, share)
        if expect.verdict == "PASS"
        else stats.binom.sf(fails - 1, n, share)
    )
    assert chance >= 0.99


def test_stages_are_short_and_gentle() -> None:
    """Over HTTP no stage lasts over 40 s, all together at most 155 s, and none sends over 300
    requests a second.
    """
    sent = [name for name in scenario_names() if not load_scenario(name).gateway.simulated]
    stages = [stage for name in sent for stage in load_suite(name).stages]
    lengths = [stage.profile.duration or 0 for stage in stages]
    assert max(lengths) <= 40 * S
    assert sum(lengths) <= 155 * S
    assert all(len(stage.targets) * (stage.profile.arrivals.rate or 0) <= 300 for stage in stages)


def test_every_scenario_loads_and_states_its_truth() -> None:
    """All built-in scenarios that a gateway plays load, under the file's name, with a truth in
    words.
    """
    for name in scenario_names():
        scenario = load_scenario(name)
        assert scenario.name == name
        assert scenario.truth.says


def test_virtual_and_seed() -> None:
    """The same seed plays the same scenario, another seed another one."""
    scenario = load_scenario("vanity-average")
    moments = np.array([Random(1).random() for _ in range(200)])
    first, again = play(scenario, "m", moments), play(scenario, "m", moments)
    assert first == again
    assert first != play(scenario.model_copy(update={"seed": 2}), "m", moments)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pools": []}, "unknown key; did you mean 'pool'"),
        ({"pool": [{"name": "p", "e2e": {"fixd": "1s"}}]}, "did you mean 'fixed'"),
        ({"pool": [{"name": "p", "e2e": {"fixed": 1}}]}, "not a duration"),
    ],
)
def test_mistakes_in_a_file_name_the_key(tmp_path: Any, change: dict[str, Any], words: str) -> None:
    """A mistake in a scenario file names the key and what to write instead."""
    lines = [
        'description = "d"',
        "[[gateway.model]]",
        'name = "m"',
        'pool = "p"',
        "[truth]",
        'says = "x"',
    ]
    if "pools" in change:
        lines += [
            "[[gateway.pool]]",
            'name = "p"',
            'e2e = { fixed = "1s" }',
            "[[gateway.pools]]",
            'name = "q"',
        ]
    else:
        (law,) = change["pool"][0]["e2e"].items()
        lines += ["[[gateway.pool]]", 'name = "p"', f"e2e = {{ {law[0]} = {law[1]!r} }}"]
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(lines).replace("'", '"'))
    with pytest.raises(UserError, match=words):
        load_scenario(str(path))


def test_patterns_and_names() -> None:
    """An exact name goes before a pattern; the catalogue lists names, never patterns."""
    gateway = Gateway.model_validate(
        {
            "model": [{"name": "*", "pool": "a"}, {"name": "Pro/x", "pool": "b"}],
            "pool": [{"name": name, "e2e": {"fixed": "1s"}} for name in "ab"],
        }
    )
    exact, other = gateway.match("Pro/x"), gateway.match("x")
    assert exact is not None
    assert other is not None
    assert (exact.pool, other.pool) == (["b"], ["a"])
    assert "Pro/x" in gateway.names()
    assert "deepseek-ai/DeepSeek-V3.2" in gateway.names()
    assert "*" not in gateway.names()
