"""The report of a month and the claim that rests on it, from a log written by hand."""

from __future__ import annotations

import csv
import hashlib
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.plan.clause import Clause
from tests.support.rows_by_hand import answered, contract_of, evenly, lane_of, run_of

S = 10**9
#: 2,000 requests, one a minute. By hand: ten in a row fail at 03:20 (503), three at 10:00 (500,
#: announced), two at 20:00 (500); every tenth is served by the tier that was not bought.
CONTRACT = """title = "Order form 12"
customer = "Acme"
[scope]
provider = "Example AI"
tier = "priority"
[period]
kind = "calendar_month"
time_zone = "UTC"
[[clause]]
metric = "uptime"
share = "99.9%"
source = "form"
credit = [{ below = "99.9%", credit = "10%" }, { below = "99%", credit = "25%" }]
[[clause]]
metric = "e2e"
quantile = "99%"
limit = "800ms"
[[exclusion]]
reason = "announced"
kind = "window"
start = 2026-10-01T10:00:00Z
end = 2026-10-01T10:05:00Z
[credits]
base = "the bill"
claim_within_days = 30
[sources.form]
url = "https://example.com/form"
retrieved = 2026-10-30
"""
FAILED = {**{200 + at: 503 for at in range(10)}, 600: 500, 601: 500, 602: 500, 1203: 500, 1207: 500}


@pytest.fixture
def month(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the log and its contract lie in."""
    monkeypatch.chdir(tmp_path)
    # a PDF takes seconds to lay out, and has tests of its own
    for module in ("compliance", "claim"):
        monkeypatch.setattr(f"bench.app.{module}.pdf_missing", lambda: "not asked for here")
    (tmp_path / "form.toml").write_text(CONTRACT)
    lines = ["request_id,timestamp,status,duration_ms,served_model,tier"]
    for at in range(2000):
        moment = f"2026-10-{1 + at // 1440:02d}T{at // 60 % 24:02d}:{at % 60:02d}:00Z"
        tier = "standard" if at % 10 == 5 else "priority"
        lines.append(f"req-{at},{moment},{FAILED.get(at, 200)},300,m-{at % 2},{tier}")
    (tmp_path / "october.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


JUDGE = ["judge", "--census", "october.csv", "--contract", "form.toml", "--complete-log"]
REPORTED = [*JUDGE, "--report", "report", "--monthly-bill-usd", "42000"]


def rows_of(path: Path) -> list[dict[str, str]]:
    """A CSV file's rows."""
    return list(csv.DictReader(path.read_text().splitlines()))


def period_of(path: Path) -> Any:
    """The one period of a census."""
    [period] = json.loads(path.read_text())["periods"]
    return period


@pytest.mark.usefixtures("month")
def test_the_report_of_a_month_says_what_a_claim_needs() -> None:
    """What was lost most stands first; by hand 9 + 2 of 1,795 requests broke it."""
    assert main(REPORTED) == 1
    page = Path("report/report.md").read_text()
    assert page.startswith("## ▲ FAIL  Example AI, October 2026\n")
    for said in (
        "Order form 12",
        "Acme",
        "11 of 1,795 requests were bad, 1 may be",
        "metric = uptime, share = 99.9%; read at https://example.com/form on 2026-10-30",
        "10 % of the bill = 4,200.00 USD",
        "1 December 2026",
        "1 Oct 03:20 – 03:30",
        "req-200, req-201, req-202",
        hashlib.sha256(Path("october.csv").read_bytes()).hexdigest(),
    ):
        assert said in page, said
    assert page.index("1 Oct 03:20") < page.index("1 Oct 20:03")
    assert Path("report/report.html").stat().st_size < 80_000


@pytest.mark.usefixtures("month")
def test_outages_breakdown_and_exclusions_are_those_of_the_rows() -> None:
    """Counted by hand from FAILED: every tenth row is of the other tier, 600 to 604 announced."""
    assert main(REPORTED) == 1
    period = period_of(Path("report/census.json"))
    worst = period["clauses"][0]["episodes"]["worst"]
    assert [(each["broke"], each["causes"]) for each in worst] == [
        (9, {"overload": 9}),
        (2, {"server": 2}),
    ]
    # 1203 and 1207 are less than five minutes apart, and so one outage
    assert (worst[1]["minutes"], worst[1]["ids"]) == (5, ["req-1203", "req-1207"])
    found = period["breakdown"]
    assert [sum(each) for each in zip(*found["slices"], strict=True)] == [1795, 11]
    by: dict[str, list[tuple[str, int, int]]] = {}
    for row in found["rows"]:
        by.setdefault(row["by"], []).append((row["value"], row["requests"], row["broke"]))
    assert by["status"] == [("503", 9, 9), ("500", 2, 2), ("200", 1784, 0)]
    assert {value: k for value, _, k in by["model"]} == {"m-0": 5, "m-1": 6}
    assert all(sum(n for _, n, _ in rows) == 1795 for rows in by.values())
    effects = {each["reason"]: each for each in period["exclusions"]}
    # with the announced five counted, three more of 1,800 failed
    assert effects["announced"]["rows"] == 5
    assert effects["announced"]["counted"]["1"]["fraction"] == str(Fraction(1800 - 14, 1800))
    assert effects["tier not covered"]["counted"]["1"]["fraction"] == str(1 - Fraction(12, 1995))
    assert [(step["below"]["share"], step["reached"]) for step in period["ladder"]] == [
        (0.999, True),
        (0.99, False),
    ]


@pytest.mark.usefixtures("month")
def test_a_claim_holds_the_proof_and_nothing_that_is_set_aside(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every request of the evidence is one that FAILED says, of the tier that was bought; the
    screen fits 100 columns, and JSON names the files.
    """
    assert main(REPORTED) == 1
    capsys.readouterr()
    assert main(["claim", "report"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100
    assert main(["claim", "report", "--out", "again", "--format", "json"]) == 0
    named = json.loads(capsys.readouterr().out)["files"]
    assert sorted(named) == sorted(map(str, Path("again").iterdir()))
    folder = Path("claim-report")
    names = [row["id"] for row in rows_of(folder / "evidence.csv")]
    bought = [at for at in FAILED if at % 10 != 5 and not 600 <= at < 605]
    assert names == [f"req-{at}" for at in bought]
    assert {row["clause"] for row in rows_of(folder / "evidence.csv")} == {"1"}
    sums = {
        name: digest
        for line in (folder / "SHA256SUMS").read_text().splitlines()
        for digest, name in [line.split("  ")]
    }
    there = {path.name for path in folder.iterdir()} - {"SHA256SUMS"}
    assert sums == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in there
    }
    page = (folder / "statement.md").read_text()
    assert "Acme claims of Example AI that October 2026 broke the contract" in page
    assert "To be sent by 1 December 2026" in page


@pytest.mark.usefixtures("month")
def test_nothing_is_claimed_where_nothing_was_broken(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 and a sentence; no folder is made. The same for a folder that holds something."""
    terms = CONTRACT.replace('share = "99.9%"', 'share = "99%"').replace("99.9%", "98%", 1)
    Path("form.toml").write_text(terms.replace('{ below = "98%", credit = "10%" }, ', ""))
    assert main(REPORTED) == 0
    capsys.readouterr()
    assert main(["claim", "report"]) == 2
    assert "nothing to claim: every clause was kept" in capsys.readouterr().err
    assert not Path("claim-report").exists()
    assert main(["claim", "report", "--out", "report"]) == 2
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.usefixtures("month")
def test_what_was_not_observed_is_said_with_the_flag_that_settles_it() -> None:
    """A month of which two days were logged: open, and the report says what would decide it."""
    main([*REPORTED[:5], "--report", "report"])
    page = Path("report/report.md").read_text()
    assert "42,640 of 44,640 minutes had no request" in page
    assert "complete-log" in page.replace("\\", "")


@pytest.mark.usefixtures("month")
@pytest.mark.parametrize(
    ("held_to", "code", "said"),
    [
        ("1s", 2, "there is nothing to claim: every clause was kept"),
        (None, 2, "was held to no contract, so nothing was broken"),
        ("100ms", 0, ""),
    ],
)
def test_a_run_is_claimed_by_its_own_contract(
    held_to: str | None, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its samples are the log: half of them took 200 ms. The claim's rows carry the names by which
    the provider knows the requests that the run kept.
    """
    clause = Clause(metric="e2e", quantile="50%", limit=held_to or "1s")
    rows = evenly([answered(200) for _ in range(400)])
    lane = lane_of(contract_of(clause) if held_to else None, requests=400, end_ns=10 * S)
    run_of(Path("r"), rows, lane)
    assert main(["claim", "r"]) == code
    assert said in " ".join(capsys.readouterr().err.split())
    assert Path("claim-r").exists() == (code == 0)
    if code == 0:
        kept = Path("claim-r/evidence.csv").read_text().splitlines()
        assert len(kept) == 1 + 400
        assert "SHA256SUMS" in {path.name for path in Path("claim-r").iterdir()}
