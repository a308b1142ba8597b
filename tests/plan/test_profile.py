"""Load profiles: what a file may say, and what is refused before anything is drawn."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.plan.profile import Amount, Profile, bucket_names, load_profile
from bench.userfile import parse_model
from tests.support.planned import STEADY

BASE: dict[str, Any] = {"description": "made", **STEADY}
TRACE: dict[str, Any] = {
    "description": "made",
    "arrivals": {"kind": "trace", "trace": {"file": "x.csv"}},
}
CLOSED: dict[str, Any] = {
    "description": "made",
    "arrivals": {"kind": "closed", "concurrency": 4},
    "duration": "5s",
}


def refusal(data: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        parse_model(Profile, data, "p.toml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (
            {**BASE, "arrivals": {"kind": "constant"}},
            'p.toml: arrivals: kind "constant" needs rate',
        ),
        (
            {**BASE, "arrivals": {"kind": "gamma", "rate": "5/s"}},
            'p.toml: arrivals: kind "gamma" needs burstiness',
        ),
        (
            {**BASE, "arrivals": {"kind": "poisson", "rate": "5/s", "burstiness": 0.5}},
            'p.toml: arrivals: kind "poisson" has no burstiness',
        ),
        (
            {**BASE, "arrivals": {"kind": "on_off", "rate": "5/s", "on": "1s"}},
            'p.toml: arrivals: kind "on_off" needs off',
        ),
        (
            {**BASE, "arrivals": {"kind": "constant", "rate": "-5/s"}},
            "p.toml: arrivals.rate: '-5/s' is not a rate above zero",
        ),
        ({**BASE, "duration": None}, "needs duration, requests or phases: a run must end"),
        ({**BASE, "duration": "0s"}, "duration must be above zero"),
        ({**BASE, "seed": -1}, "p.toml: seed: -1 does not fit"),
        (
            {**BASE, "phases": [{"name": "a", "duration": "1s", "burst": "10 x"}]},
            'p.toml: phases[0].burst: "10 x" is not a multiplier; write 10 or "10x"',
        ),
        ({**BASE, "phases": [{"name": "warmup", "duration": "1s"}]}, "is the name of the warm-up"),
        (
            {**BASE, "phases": [{"name": "a", "duration": "0s"}]},
            "p.toml: phases[0]: duration must be above zero",
        ),
        (
            {**BASE, "rate_curve": {"step": "1s", "factors": [0, 0]}},
            "at least one factor above zero",
        ),
        ({**CLOSED, "warmup": "5s"}, 'arrivals of kind "closed" cannot have warmup'),
        (
            {**CLOSED, "sessions": {"turns": {"fixed": 2}}},
            'arrivals of kind "closed" cannot have sessions',
        ),
        (
            {**TRACE, "phases": [{"name": "a", "duration": "1s"}]},
            'arrivals of kind "trace" cannot have phases',
        ),
        (
            {**TRACE, "prompt_tokens": [{"fixed": 5}]},
            "a trace brings its own sizes; leave prompt_tokens out",
        ),
        (
            {**TRACE, "arrivals": {"kind": "trace", "trace": {"file": "x", "format": "columns"}}},
            "needs time_column, prompt_column and output_column",
        ),
        (
            {
                **TRACE,
                "arrivals": {"kind": "trace", "trace": {"file": "x", "start": "5s", "end": "5s"}},
            },
            "end must lie after start",
        ),
        (
            {**TRACE, "arrivals": {"kind": "trace", "trace": {"file": "x", "speed": 0}}},
            "speed must be above zero",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(data: dict[str, Any], text: str) -> None:
    """Each contradiction ends in one sentence with the key path, never in a plan that ignores a
    key.
    """
    assert text in refusal(data)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ({}, "needs exactly one of fixed, lognormal, quantiles"),
        ({"fixed": 5, "lognormal": {"mu": 1, "sigma": 1}}, "needs exactly one of"),
        ({"fixed": 0}, "fixed 0 lies outside min 1"),
        ({"fixed": 2_000_000}, "outside min 1 and max 1000000"),
        ({"fixed": -5}, "prompt_tokens[0].fixed: -5 does not fit"),
        ({"quantiles": {"0": 5, "50": 9}}, 'at least the keys "0" and "100"'),
        ({"quantiles": {"0": 5, "50": 4, "100": 9}}, "must not fall"),
        ({"quantiles": {"0": 5, "median": 7, "100": 9}}, "the keys of quantiles are per cent"),
        ({"quantiles": {"0": 5, "nan": 7, "100": 9}}, "the keys of quantiles are per cent"),
        (
            {"lognormal": {"mu": float("nan"), "sigma": 1}},
            "prompt_tokens[0].lognormal.mu: nan does not fit",
        ),
        ({"lognormal": {"mu": 1, "sigma": -1}}, "prompt_tokens[0].lognormal.sigma"),
        ({"fixed": 5, "weight": 0}, "prompt_tokens[0].weight"),
        ({"fixed": 5, "min": 9, "max": 3}, "min 9 is above max 3"),
    ],
)
def test_sizes_that_are_no_law_are_refused(amount: dict[str, Any], text: str) -> None:
    """One law a component, whose numbers are finite and inside its own bounds."""
    assert text in refusal({**BASE, "prompt_tokens": [amount]})


def test_quantile_points_are_sorted_by_number_not_by_text() -> None:
    """`9` stands before `10` and `99.5` before `100`, in whatever order they were written."""
    amount = Amount(quantiles={"100": 50, "10": 3, "9": 2, "0": 1, "99.5": 40})
    assert amount.quantile_points() == [(0, 1), (9, 2), (10, 3), (99.5, 40), (100, 50)]


def test_buckets_have_names_for_every_edge() -> None:
    """Three edges make four buckets; the names hold the edges."""
    assert bucket_names() == ["≤1K", "1K–8K", "8K–32K", ">32K"]
    assert bucket_names((2048, 4096)) == ["≤2K", "2K–4K", ">4K"]


def test_a_profile_is_named_by_its_file_and_finds_its_trace_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trace is looked for beside the profile first; a path that is not there is left for here."""
    (tmp_path / "log.csv").write_text("")
    for name, file in (("mine", "log.csv"), ("other", "elsewhere.csv")):
        (tmp_path / f"{name}.toml").write_text(
            'description = "d"\n[arrivals]\nkind = "trace"\n[arrivals.trace]\nfile ='
            f' "{file}"\nspeed = "2x"\n'
        )
    found = load_profile(str(tmp_path / "mine.toml"))
    assert found.name == "mine"
    assert found.arrivals.trace is not None
    assert found.arrivals.trace.file == str(tmp_path / "log.csv")
    assert found.arrivals.trace.speed == Fraction(2)
    other = load_profile("other.toml", tmp_path)
    assert other.arrivals.trace is not None
    assert other.arrivals.trace.file == "elsewhere.csv"


def test_closed_loop_is_known_as_one() -> None:
    """Only arrivals that wait for answers are a closed loop."""
    assert parse_model(Profile, CLOSED, "p").closed_loop
    assert not parse_model(Profile, BASE, "p").closed_loop
