"""`tailproof attribute`: a run, one of its targets, a limit, two formats, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import main
from bench.record.run_folder import RunWriter
from tests.support.planted_tail import NOTES, long_tail
from tests.support.records import manifest_of
from tests.support.rows_by_hand import at_most, contract_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of one target `shop` whose slow 1 % have three causes."""
    columns, lane = long_tail()
    contract = contract_of(at_most(800)).model_dump(mode="json", by_alias=True)
    whole = lane.replace(name="shop", contract_written=contract)
    strings = {"note": NOTES, "served_region": ["eu", "us"], "served_model": ["m"], "finish": []}
    RunWriter(tmp_path / "r", manifest_of([whole], strings=strings), columns.schedule).finish(
        "complete", columns.samples, {"harness": {}}
    )
    return tmp_path / "r"


def test_the_causes_come_first_and_in_order(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first line names target, tail and the three causes with their intervals; the word is
    `associated`.
    """
    assert main(["attribute", str(folder)]) == 0
    out, err = capsys.readouterr()
    first = " ".join(out[: out.index("\n\n")].split())
    assert first.startswith("The slow 1 % of shop is associated with: context >32K 4")
    assert first.index("context >32K") < first.index("cold start") < first.index("phase burst")
    assert "server until the first token" in out
    assert "not what caused it" in out
    assert err == ""


def test_json_holds_the_record(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--format json` prints attribution.json; `RUN:NAME` is the same run with one target; the
    flag's limit is used.
    """
    assert main(["attribute", f"{folder}:shop", "--format", "json", "--limit", "2.5s"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["run"], list(record["targets"])) == ("r", ["shop"])
    assert (record["targets"]["shop"]["above_ms"], record["targets"]["shop"]["tail"]) == (2500, 120)


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("r:shp", [], "has no target named 'shp'; did you mean 'shop'?"),
        ("none", [], "is not a run's folder"),
        ("r", ["--limit", "800"], "--limit: '800' is not a duration"),
    ],
)
def test_bad_input_ends_in_one_sentence(
    folder: Path, name: str, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, a sentence, no traceback."""
    assert main(["attribute", str(folder.parent / name), *more]) == 2
    out, err = capsys.readouterr()
    assert (out, said in err, "Traceback" in err) == ("", True, False)
