"""`tailproof compare` on run folders: arms by name, refusals, the stored baseline, exit codes, what
is printed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli import main
from bench.plan.schedule import compile_plan
from bench.plan.suite import load_suite
from bench.record.run_folder import RunWriter
from bench.record.samples import Flag, Outcome, empty_samples
from tests.support.records import manifest_of

MS = 10**6
PROFILE = 'description = "d"\nduration = "100s"\n[arrivals]\nkind = "poisson"\nrate = "RATE/s"\n'
TARGET = (
    'description = "d"\nbase_url = "http://127.0.0.1:9/v1"\nmodel ='
    ' "m"\n[prices]\ninput_usd_per_million = "PRICE"\noutput_usd_per_million = "PRICE"\nas_of ='
    ' 2026-11-01\nsource = "made"\n'
)
SUITE = (
    'description = "d"\n[[stage]]\nname = "one"\ntargets = ["standard.toml", "pro.toml"]\nprofile ='
    ' "p.toml"\ncontract = "enterprise"\n'
)
COMPARED = '[[stage.compare]]\narms = ["standard", "standard", "pro"]\naa = true\n'
Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A maker of finished runs: lognormal answers of 200 ms, those of `pro` `ratio` times
    as long.
    """
    monkeypatch.chdir(tmp_path)

    def written(
        name: str,
        ratio: float = 1.0,
        *,
        seed: int = 1,
        rate: int = 60,
        tables: str = COMPARED,
        machine: str = "one",
        clock: str = "ticks",
        pro_price: str = "2.50",
    ) -> str:
        files = {
            "p": PROFILE.replace("RATE", str(rate)),
            "s": SUITE + tables,
            "standard": TARGET.replace("PRICE", "0.25"),
            "pro": TARGET.replace("PRICE", pro_price),
        }
        for stem, text in files.items():
            (tmp_path / f"{stem}.toml").write_text(text)
        plan = compile_plan(load_suite("s.toml"), seed)
        lanes = [lane.record() for lane in plan.lanes]
        samples = empty_samples(len(plan.schedule))
        times = np.where(
            plan.schedule["lane"] == [lane["name"] for lane in lanes].index("pro"), ratio, 1.0
        )
        whole = np.random.default_rng(seed).lognormal(np.log(200 * MS), 0.3, len(samples)) * times
        samples["due_ns"] = samples["slot_free_ns"] = samples["sent_ns"] = plan.schedule["due_ns"]
        samples["last_token_ns"] = samples["done_ns"] = samples["due_ns"] + whole.astype(np.int64)
        samples["first_token_ns"] = samples["due_ns"] + (whole / 2).astype(np.int64)
        samples["outcome"], samples["flags"] = Outcome.ok, Flag.STREAMED
        samples["prompt_tokens"], samples["output_tokens"] = 500, 100
        writer = RunWriter(
            tmp_path / name,
            manifest_of(
                lanes,
                name,
                seed=seed,
                started_wall_ns=len(list(tmp_path.iterdir())) * 10**12,
                machine={"cpu": machine},
                clock={"source": clock},
                strings={},
            ),
            plan.schedule,
        )
        writer.finish("complete", samples, {"harness": {}})
        return name

    return written


def said(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    """Standard output of `tailproof compare`, which must end with `code`; of a refusal its
    sentence.
    """
    capsys.readouterr()
    assert main(["compare", *words]) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out or err


def record_of(
    words: list[str], capsys: pytest.CaptureFixture[str], code: int = 0
) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said([*words, "--format", "json"], capsys, code))
    return found


def test_two_targets_of_a_run(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """A pro tier that takes half as long is MATERIALLY_BETTER at a ratio near 0.5; the other way
    round it is WORSE near 2.
    """
    run = make("r", 0.5)
    record = record_of([f"{run}:standard", f"{run}:pro"], capsys)
    assert record["outcomes"] == ["MATERIALLY_BETTER", "BETTER"]
    assert record["ratios"]["p99"]["ratio"] == pytest.approx(0.5, rel=0.1)
    assert record["design"] == "random"
    assert record["price"]["extra_usd_per_request"] == pytest.approx(600 * 2.25 / 1e6)
    back = record_of([f"{run}:pro", f"{run}:standard"], capsys)
    assert (back["headline"], back["ratios"]["p99"]["ratio"]) == (
        "WORSE",
        pytest.approx(1 / record["ratios"]["p99"]["ratio"]),
    )


def test_the_text_says_outcome_reason_and_price(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """The screen has the pair, the outcome with its meaning, every quantile and the price."""
    text = said([make("r", 0.5)], capsys)
    for part in (
        "pro against standard",
        "MATERIALLY BETTER  pro against standard: p99 ratio 0.5",
        "at least 10 % lower counts as better",
        "p99 ",
        "each request sent to an arm at random",
        "USD per 1,000 requests",
        "standard#2 against standard",
    ):
        assert part in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_two_targets_of_a_suites_comparison_stand_beside_its_aa_check(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the suite asks for the check it is made however the pair is named; where it does not,
    there is none.
    """
    run = make("r", 0.5)
    assert record_of([f"{run}:standard", f"{run}:pro"], capsys)["aa"]["rejects"] is False
    without = make("w", 0.5, tables=COMPARED.replace("true", "false"))
    assert record_of([f"{without}:standard", f"{without}:pro"], capsys)["aa"] is None


def test_a_suite_says_what_is_compared_and_expected(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one RUN the suite's own comparisons are made, and each rehearsed outcome is said to be
    met or not.
    """
    tables = (
        '[[stage.compare]]\narms = ["standard", "pro"]\nexpect = [{ outcome = "EQUIVALENT" }, {'
        ' outcome = "WORSE" }]\n'
    )
    made = record_of([make("r", tables=tables)], capsys)
    assert [item["met"] for item in made["expects"]] == [True, False]
    assert [record["headline"] for record in made["comparisons"]] == ["EQUIVALENT"]
    assert "WORSE expected, got EQUIVALENT" in said(["r"], capsys)


def test_runs_one_after_the_other_are_warned_of(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """Across runs the first line after the pair says that a drift looks like a difference."""
    first, second = make("first"), make("second", seed=2)
    record = record_of([f"{first}:pro", f"{second}:pro"], capsys)
    assert record["design"] == "one after the other"
    assert "drift" in record["warnings"][0]
    assert "pro of second against pro of first" in said([f"{first}:pro", f"{second}:pro"], capsys)


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"machine": "two"}, "the machines differ (cpu)"),
        ({"clock": "tocks"}, "the clock sources differ (ticks, tocks)"),
        ({"rate": 30}, "the load profiles differ"),
    ],
)
def test_unlike_runs_are_refused(
    changed: dict[str, Any], part: str, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another machine, clock or load profile ends with exit 2 and the reason; by --force it stands
    first in the output.
    """
    words = [f"{make('first')}:pro", f"{make('second', **changed)}:pro"]
    sentence = said(words, capsys, 2)
    assert part in sentence
    assert "--force" in sentence
    assert record_of([*words, "--force"], capsys)["warnings"][0] == f"compared by force: {part}"


@pytest.mark.parametrize(
    ("ratio", "code", "verdict"), [(1.0, 0, "PASS"), (1.6, 1, "FAIL"), (1.111, 3, "INCONCLUSIVE")]
)
def test_a_stored_baseline_gates(
    ratio: float, code: int, verdict: str, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0 where no regression beyond 10 % is possible, 1 where there is one, 3 where it cannot
    be told.
    """
    assert "stored" in said([f"{make('old')}:pro", "--save-baseline", "b.json"], capsys)
    new = make("new", ratio, seed=2)
    assert f"gate      {verdict}" in said([f"{new}:pro", "--baseline", "b.json"], capsys, code)


def test_a_stored_baseline_holds_what_the_run_held(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against the stored baseline and against the run itself the numbers are the same."""
    old, new = make("old"), make("new", 1.2, seed=2)
    said([f"{old}:pro", "--save-baseline", "b.json"], capsys)
    stored = record_of([f"{new}:pro", "--baseline", "b.json"], capsys, 1)
    assert stored == record_of([f"{old}:pro", f"{new}:pro"], capsys)


def test_ttft_is_compared_where_asked(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """The made answers' first token comes at half the time of the last, so both metrics have the
    same ratio.
    """
    run = make("r", 0.5)
    by_e2e, by_ttft = (
        record_of([f"{run}:standard", f"{run}:pro", "--metric", metric], capsys)["ratios"]["p99"]
        for metric in ("e2e", "ttft")
    )
    assert by_ttft["baseline_ms"] == pytest.approx(by_e2e["baseline_ms"] / 2, rel=1e-6)
    assert by_ttft["ratio"] == pytest.approx(by_e2e["ratio"], rel=1e-6)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["r:premium", "r:pro"], "has no target named 'premium'; it has standard, pro"),
        (["r", "r:pro"], "has 2 targets"),
        (["r:pro", "r:pro"], "pro is compared with itself; name two targets"),
        (["r:pro", "r:standard", "r:pro"], "takes two targets"),
        (["none:pro", "r:pro"], "is not a run's folder"),
        (["r:pro", "r:standard", "--margin", "10"], "--margin"),
        (["r:pro", "r:standard", "--margin", "100%"], "--margin"),
        (["r"], "the run's suite asks for no comparison; name two targets: r:standard r:pro"),
        (["r", "--margin", "5%"], "--margin: goes with two named targets"),
        (
            ["r:pro", "--baseline", "none.json"],
            "none.json: cannot be read (No such file or directory)",
        ),
        (["r:pro", "--baseline", "p.toml"], "p.toml: is not a baseline that tailproof stored"),
        (["r:pro", "--save-baseline", "missing/b.json"], "cannot be written"),
        (
            ["r:pro", "r:standard", "--yearly-usd", "12", "--monthly-usd", "1"],
            "a fee by the year or by the month, not both",
        ),
        (
            ["r:pro", "r:standard", "--requests-per-month", "10"],
            "requests_per_month spreads a fee",
        ),
        (["r:pro", "r:standard", "r:pro"], "compare: takes two targets"),
    ],
)
def test_bad_words_end_in_one_sentence(
    words: list[str], part: str, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, what is wrong and what to write instead."""
    make("r", tables="")
    sentence = said(words, capsys, 2)
    assert part in sentence
    assert len(sentence.splitlines()) == 1


def test_a_price_of_zero_gives_no_number(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """A tier without a price has no price per millisecond, but a reason."""
    run = make("r", 0.5, pro_price="0")
    found = record_of([f"{run}:standard", f"{run}:pro"], capsys)["price"]
    assert found["reason"] == "pro has a price of zero"
    assert found["usd_per_1000_requests_per_ms"] is None
