"""`tailproof cost`: the guide's table, a run's own overhead, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import main
from bench.plan.contract import load_contract
from bench.record.run_folder import RunWriter
from bench.record.samples import Outcome
from tests.support.planted_tail import quiet
from tests.support.records import manifest_of

GUIDE = """\
MVP 100 5 M 1.25 50.00 97.5 % 1.44 97.1 %
Beta 1 K 50 M 12.50 500.00 97.5 % 14.38 97.1 %
Launch 10 K 500 M 125.00 5,000.00 97.5 % 143.75 97.1 %
Growth 100 K 5 B 1,250.00 50,000.00 97.5 % 1,437.50 97.1 %"""


def test_the_guides_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Every stage with the printed sums, the source of the overhead, and break-even at 100 B
    tokens.
    """
    assert main(["cost"]) == 0
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for row in GUIDE.splitlines():
        assert any(line.startswith(row) for line in lines), row
    assert "Overhead of 15 % is assumed; price as of 2026-11-23." in out
    assert "pays above 100 B tokens a month" in " ".join(out.split())


def test_flags_take_the_place_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Volume, comparison by bare price, overhead, discount, engineers and the breach of a
    contract.
    """
    words = [
        "--tokens-per-month",
        "2B",
        "--compare-with",
        "5",
        "--overhead",
        "0.2",
        "--direct-discount",
        "50%",
        "--engineering-usd",
        "250",
        "--contract",
        "enterprise",
    ]
    assert main(["cost", *words, "--format", "json"]) == 0
    cost = json.loads(capsys.readouterr().out)["targets"][0]["cost"]
    stage = cost["stages"][0]
    assert (stage["usd"], stage["other_usd"], stage["usd_with_overhead"], stage["direct_usd"]) == (
        500,
        10_000,
        600,
        500,
    )
    assert (cost["direct"]["break_even_tokens"], cost["breach_usd"]) == (2_000_000_000, 1_000_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of 3,000 requests of 112 tokens, each tenth broken off after 11 chunks; a second target
    has no prices.
    """
    columns, lane = quiet(3000)
    broken = slice(0, None, 10)
    columns.samples["outcome"][broken] = Outcome.truncated
    columns.samples["prompt_tokens"][broken] = -1
    columns.samples["output_tokens"][broken] = 11
    columns.schedule["lane"][-1] = 1
    prices = {
        "input_usd_per_million": "0.25",
        "output_usd_per_million": "0.25",
        "as_of": "2026-11-23",
        "source": "s",
    }
    contract = load_contract("enterprise").model_dump(mode="json", by_alias=True)
    lanes = [
        lane.replace(prices_written=prices, contract_written=contract),
        lane.replace(name="bare"),
    ]
    RunWriter(tmp_path / "r", manifest_of(lanes), columns.schedule).finish(
        "complete", columns.samples, {"harness": {}}
    )
    return tmp_path / "r"


def test_a_runs_own_overhead_takes_the_place_of_fifteen_per_cent(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """300 of 2,999 requests cost 111 tokens for nothing beside 2,699 good ones of 112; the contract
    prices the breach.
    """
    assert main(["cost", f"{folder}:t", "--tokens-per-month", "500M", "--format", "json"]) == 0
    [found] = json.loads(capsys.readouterr().out)["targets"]
    overhead = 300 * 111 / (2699 * 112)
    assert found["spent"]["overhead"] == pytest.approx(overhead)
    assert found["cost"]["stages"][0]["usd_with_overhead"] == pytest.approx(
        125 * (1 + overhead), abs=0.005
    )
    low, high = found["cost"]["stages"][0]["interval_usd"]
    assert low < 125 * (1 + overhead) < high
    assert (found["cost"]["overhead_from"], found["cost"]["breach_usd"]) == ("r", 1_000_000)
    assert main(["cost", str(folder), "--full"]) == 0
    out = capsys.readouterr().out
    assert "measured in r" in out
    assert "Cost of bare\nno sum    target bare has no prices" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "standard"], "target standard: has no prices"),
        (["--target", "standrd"], "no target named 'standrd'; did you mean standard"),
        (["--compare-with", "-3"], "'-3' is not a sum of at least 0 USD"),
        (["--overhead", "20"], "--overhead: 20.0 is above 1"),
        (["--tokens-per-month", "many"], "--tokens-per-month: 'many' is not a number of tokens"),
        (["--table", "nosuch"], "no cost table named 'nosuch'; built in: field-guide"),
        (["--contract", "enterprize"], "did you mean enterprise"),
        (["RUN", "--target", "default"], "--target: does not go with RUN"),
        (["nowhere"], "nowhere: is not a run's folder"),
    ],
)
def test_bad_input_ends_in_one_sentence(
    words: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, a sentence, no number and no traceback."""
    assert main(["cost", *(str(folder) if word == "RUN" else word for word in words)]) == 2
    out, err = capsys.readouterr()
    assert (out, "Traceback" in err) == ("", False)
    assert said in err
