"""`tailproof judge --census`: the command, its output, its files, its sentences."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest

from bench.cli import main

CONTRACT = """title = "t"
[period]
kind = "calendar_month"
time_zone = "UTC"
[[clause]]
metric = "uptime"
share = "99%"
credit = [{ below = "99%", credit = "10%" }]
[[clause]]
metric = "e2e"
quantile = "99%"
limit = "800ms"
[credits]
base = "the bill"
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """200 requests, one a minute, three of them failed; and a contract."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(CONTRACT)
    rows = [
        f"2026-10-01T{at // 60:02d}:{at % 60:02d}:00Z,{503 if at < 3 else 200},300\n"
        for at in range(200)
    ]
    path = tmp_path / "log.csv"
    path.write_text("timestamp,status,duration_ms\n" + "".join(rows))
    return path


def said(words: list[str], capsys: pytest.CaptureFixture[str], code: int) -> str:
    """Run `judge`; returns what it printed, or its one sentence where it ended with 2."""
    assert main(["judge", *words]) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    if code == 2:
        assert out == ""
        return err
    return out


def test_a_breach_is_told_with_its_numbers_credit_and_evidence(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 1; the text holds verdict, counts, neighbours, credit and where the failures stand in
    the log.
    """
    out = said(
        [
            "--census",
            str(log),
            "--contract",
            "c.toml",
            "--complete-log",
            "--monthly-bill-usd",
            "1200",
            "--full",
        ],
        capsys,
        1,
    )
    for text in (
        "FAIL  2026-10: uptime, request ratio 98.5 % against ≥ 99 %, 2 of 2 clauses",
        "200 requests, 44,640 of 44,640 minutes observed",
        "98.5 %",
        "FAIL",
        "3 of 200 requests were bad, 2 may be",
        "under other definitions",
        "Azure minute form",
        "credit    due: 10 % of the bill = 120.00 USD",
        "2026-10-01 00:00 – 00:03  3 min  3 of 3 requests",
        "columns   at = timestamp",
    ):
        assert text in out, text
    assert max(map(len, out.splitlines())) <= 100


def test_one_model_of_a_log_is_chosen_by_flag(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Answers of 300 ms keep the limit of one model and break that of the other; without the flag
    the log of both is refused, as is the flag with a run.
    """
    (log.parent / "c.toml").write_text(
        CONTRACT.replace('limit = "800ms"', 'limit_by_model = { "a" = "400ms", "b" = "200ms" }')
    )
    rows = [
        f"2026-10-01T{at // 60:02d}:{at % 60:02d}:00Z,200,300,{'ab'[at % 2]}\n" for at in range(200)
    ]
    log.write_text("timestamp,status,duration_ms,model\n" + "".join(rows))
    words = ["--census", str(log), "--contract", "c.toml", "--complete-log", "--format", "json"]
    for model, verdict, code in (("a", "PASS", 0), ("b", "FAIL", 1)):
        (period,) = json.loads(said([*words, "--model", model], capsys, code))["periods"]
        assert period["clauses"][1]["verdict"] == verdict
        assert period["excluded"] == {"model not covered": 100}
    assert "contract c: has other terms for a than for b; hold one" in said(words, capsys, 2)
    assert "--model: goes with --census alone" in said(["results/x", "--model", "a"], capsys, 2)


def test_a_log_that_may_have_gaps_decides_nothing_it_cannot(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a word on coverage the rest of the month is unobserved: exit 3, and the credit is
    only possible.
    """
    out = said(["--census", str(log), "--contract", "c.toml", "--format", "json"], capsys, 3)
    record = json.loads(out)
    (period,) = record["periods"]
    assert (period["observed_minutes"], period["minutes"]) == (200, 44_640)
    assert (period["credit"]["share"]["share"], period["credit"]["at_most"]["share"]) == (0.0, 0.1)
    covered = said(
        [
            "--census",
            str(log),
            "--contract",
            "c.toml",
            "--format",
            "json",
            "--covered",
            "2026-10-01..2026-10-01T03:20:30",
        ],
        capsys,
        3,
    )
    assert json.loads(covered)["periods"][0]["observed_minutes"] == 200


def test_what_is_open_or_only_reported_is_called_so(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unobserved minutes leave every neighbouring definition open; a reported clause has a value
    and no promise.
    """
    reported = '[[clause]]\nmetric = "e2e"\nquantile = "50%"\nreport_only = true\n'
    (log.parent / "c.toml").write_text(CONTRACT.replace("[credits]", f"{reported}[credits]"))
    log.write_text(log.read_text().replace(",300\n", ",314.5714286\n"))
    asked = ["--census", str(log), "--contract", "c.toml", "--full"]
    lines = said(asked, capsys, 3).splitlines()
    nearby = [
        line.split() for line in lines[lines.index("The same log under other definitions") + 2 :]
    ]
    told = [words[-1] for words in nearby if words[-2:-1] == ["%"]]
    assert set(told) == {"open"}
    assert len(told) >= 5
    (row,) = (place for place, line in enumerate(lines) if "response e2e p50" in line)
    assert lines[row].split()[0] == "REPORTED"
    assert lines[row].split()[-1] == "–"
    assert lines[row + 1].strip() == "reported, not judged; measured 314.6 ms"
    decided = said(
        ["--census", str(log), "--contract", "c.toml", "--complete-log", "--format", "json"],
        capsys,
        1,
    )
    first = json.loads(decided)["periods"][0]["clauses"][0]
    assert {each["kept"] for each in first["neighbours"]} <= {True, False}


def test_slo_in_one_line_and_files(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a period the log itself is the time; the evidence file has each failed row with its
    line.
    """
    out = said(["--census", str(log), "--slo", "uptime>=98%", "--out", "found"], capsys, 0)
    assert out.startswith("PASS  whole log: the clause is kept")
    with (tmp_path / "found" / "evidence.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["line"], row["at_utc"], row["status"]) for row in rows] == [
        (str(line), f"2026-10-01T00:0{line - 2}:00Z", "503") for line in (2, 3, 4)
    ]
    record = json.loads((tmp_path / "found" / "census.json").read_text())
    assert record["overall"] == "PASS"
    assert record["log"]["files"] == [
        {"name": str(log), "sha256": hashlib.sha256(log.read_bytes()).hexdigest()}
    ]


def test_a_scenario_with_a_month_brings_its_contract(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The built-in month is judged by name alone."""
    out = said(["--census", "written-uptime"], capsys, 1)
    assert "65 of 43,200 minutes were bad, 43 may be" in out
    assert (
        "credit    due: 10 % of the monthly bill of the covered service = 120.00 USD; claim within"
        " 30 days" in " ".join(out.split("\n          "))
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "nothing to judge; give RUN, a folder below results/, or --census LOG"),
        (
            ["--census", "log.csv"],
            "a full log is judged by a contract, and none is given; add --contract NAME",
        ),
        (["results/x", "--census", "log.csv"], "--census: does not go with RUN"),
        (["results/x", "--period", "2026-10"], "--period: goes with --census alone"),
        (["results/x", "--sort"], "--sort: goes with --census alone"),
        (
            ["--census", "none.csv", "--contract", "c.toml"],
            "none.csv: the log cannot be read (No such file or directory)",
        ),
        (
            ["--census", "log.csv", "--contract", "c.toml", "--period", "2026-09"],
            "--period 2026-09: is not in the log",
        ),
        (
            ["--census", "log.csv", "--contract", "c.toml", "--column", "at"],
            "--column 'at': is not FIELD=COLUMN; write --column at=timestamp",
        ),
        (
            ["--census", "log.csv", "--contract", "c.toml", "--column", "at=when"],
            "has no column 'when'",
        ),
        (
            ["--census", "log.csv", "--contract", "c.toml", "--column", "latency=none"],
            "the log has no column for it (latency)",
        ),
        (
            ["--census", "log.csv", "--contract", "c.toml", "--time-zone", "Mars"],
            "--time-zone: 'Mars' is no time zone",
        ),
        (
            ["--census", "log.csv", "--contract", "c.toml", "--covered", "today"],
            "--covered today: is not FROM..TO",
        ),
        (
            ["--census", "log.csv", "--contract", "c.toml", "--covered", "2026-10-02..2026-10-01"],
            "ends before it begins",
        ),
        (
            ["--census", "log.csv", "--slo", "uptime>=98%", "--covered", "2026-10-01..2026-10-02"],
            "has no time zone",
        ),
        (
            ["--census", "log.csv", "--contract", "c.toml", "--monthly-bill-usd", "much"],
            "--monthly-bill-usd: 'much' is not a sum",
        ),
        (
            ["--census", "vanity-average", "--contract", "c.toml"],
            "is a scenario for a gateway, not a log; run it",
        ),
    ],
)
def test_bad_input_ends_in_one_sentence(
    words: list[str], text: str, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, what is wrong and what to write; nothing is printed as a result."""
    assert text in said(words, capsys, 2)
