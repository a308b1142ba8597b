"""`tailproof export` and JSON on standard output, on a run that the gateway's own model played and
on one over loopback.
"""

from __future__ import annotations

import copy
import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from jsonschema import Draft202012Validator

from bench.app.simulate import plan_virtual, simulate
from bench.cli import main
from bench.cli.export import schema_of
from bench.load.options import RunOptions
from bench.plan.suite import load_suite
from bench.record.run_folder import Run
from bench.record.samples import Outcome
from bench.show.export import COLUMNS
from tests.support.records import review_json
from tests.support.two_tiers import two_tiers

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = two_tiers('e2e = { lognormal = { median = "40ms", p99 = "90ms" } }')
LOAD = """
description = "A short warm-up, then a second"
warmup = "200ms"
duration = "1s"
[arrivals]
kind = "poisson"
rate = "100/s"
"""
CONTRACT = """
title = "made"
[period]
kind = "calendar_month"
time_zone = "UTC"
[[clause]]
metric = "e2e"
quantile = "90%"
limit = "200ms"
[[clause]]
metric = "uptime"
share = "90%"
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scenario, its load and its contract."""
    folder = tmp_path_factory.mktemp("made")
    for name, text in (("scenario", SCENARIO), ("load", LOAD), ("contract", CONTRACT)):
        (folder / f"{name}.toml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def run(files: Path) -> Path:
    """The scenario, played in virtual time."""
    return simulate(
        plan_virtual(load_suite(str(files / "scenario.toml")), 3),
        RunOptions(repeat_command="again", folder=files / "run"),
    ).folder


def export(capsysbinary: pytest.CaptureFixture[bytes], *words: str) -> bytes:
    assert main(["export", *words]) == 0
    return capsysbinary.readouterr().out


def test_rows_go_to_a_file_or_to_standard_output(
    run: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The same bytes either way; Parquet too; all scheduled rows, or those of one target."""
    rows = len(Run(run).columns)
    for form in ("csv", "jsonl", "parquet"):
        out = tmp_path / f"rows.{form}"
        assert export(capsysbinary, str(run), "--format", form, "--out", str(out)) == b""
        assert export(capsysbinary, str(run), "--format", form) == out.read_bytes()
    assert pq.read_metadata(tmp_path / "rows.parquet").num_rows == rows
    assert pq.read_schema(tmp_path / "rows.parquet").names == list(COLUMNS)
    one = export(capsysbinary, f"{run}:pro", "--format", "jsonl").splitlines()
    assert {json.loads(line)["target"] for line in one} == {"pro"}
    assert 0 < len(one) < rows


def test_the_log_is_handed_on_and_json_formats_parse(
    run: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """hlog byte for byte; vllm and aiperf for one target; metrics of the whole run in both
    formats.
    """
    assert (
        export(capsysbinary, str(run), "--format", "hlog") == (run / "histograms.hlog").read_bytes()
    )
    vllm = json.loads(export(capsysbinary, f"{run}:standard", "--format", "vllm"))
    aiperf = json.loads(export(capsysbinary, f"{run}:standard", "--format", "aiperf"))
    lane = Run(run).columns.lane(0).measured()
    assert vllm["num_prompts"] == len(lane)
    assert vllm["completed"] == aiperf["request_count"]["avg"] == lane.ok.sum()
    text = export(capsysbinary, str(run), "--format", "prometheus").decode()
    metrics = json.loads(export(capsysbinary, str(run), "--format", "otlp"))["resourceMetrics"][0][
        "scopeMetrics"
    ][0]["metrics"]
    assert text.count("# TYPE ") == len(metrics)
    assert (
        'tailproof_requests_total{target="standard",stage="tiers",phase="steady",outcome="http_5xx"}'
        in text
    )


def test_exported_rows_are_a_log_that_the_census_counts_alike(
    run: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], files: Path
) -> None:
    """CSV and Parquet of one target's measured rows, read back as a request log: the same n and k
    as the run's own rows.
    """
    csv_file = tmp_path / "rows.csv"
    written = (
        export(capsysbinary, f"{run}:standard", "--format", "csv")
        .decode()
        .splitlines(keepends=True)
    )
    warmup = [row["warmup"] == "true" for row in csv.DictReader(written)]
    csv_file.write_text(
        written[0]
        + "".join(line for line, warm in zip(written[1:], warmup, strict=True) if not warm)
    )
    counts = []
    for log in (str(csv_file), f"{run}:standard"):
        main(
            [
                "judge",
                "--census",
                log,
                "--contract",
                str(files / "contract.toml"),
                "--complete-log",
                "--format",
                "json",
            ]
        )
        (period,) = json.loads(capsysbinary.readouterr().out)["periods"]
        counts.append(
            [(clause["n"], clause["k"], clause["verdict"]) for clause in period["clauses"]]
        )
    assert counts[0] == counts[1]
    lane = Run(run).columns.lane(0).measured().samples
    assert counts[0][1][:2] == (len(lane), int((lane["outcome"] == Outcome.http_5xx).sum()))


@pytest.mark.parametrize(
    ("name", "form", "text"),
    [
        ("RUN", "vllm", "has 2 targets, and this format holds one; name one of"),
        ("RUN:pr", "csv", "did you mean 'pro'?"),
        ("RUN:pro", "prometheus", "holds all targets at once"),
        ("RUN:pro", "hlog", "holds all targets at once"),
        ("enterprise", "csv", "is not a run's folder"),
        ("nowhere", "otlp", "is not a run's folder"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(
    run: Path, tmp_path: Path, name: str, form: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, the sentence, no file."""
    out = tmp_path / "out"
    assert main(["export", name.replace("RUN", str(run)), "--format", form, "--out", str(out)]) == 2
    assert text in capsys.readouterr().err
    assert not out.exists()


def test_contracts_are_exported_as_before(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A contract by name, and a run's own; to a file as to standard output."""
    assert main(["export", str(run), "--format", "prometheus-rules"]) == 0
    printed = capsys.readouterr().out
    assert 'le="0.2"' in printed
    assert (
        main(
            [
                "export",
                str(run),
                "--format",
                "prometheus-rules",
                "--out",
                str(tmp_path / "rules.yml"),
            ]
        )
        == 0
    )
    assert (tmp_path / "rules.yml").read_text("utf-8") == printed


def test_no_key_reaches_an_export(
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    """A run over loopback with a key in its header and environment: in none of the formats, and its
    summary follows the schema.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TP_EXPORT_KEY", "sk-never-to-be-seen-1234")
    for name in ("scenario", "load", "contract"):
        shutil.copy(files / f"{name}.toml", tmp_path)
    (tmp_path / "keyed.toml").write_text(
        'description = "d"\nbase_url = "embedded"\nmodel = "m"\napi_key_env = "TP_EXPORT_KEY"\n'
    )
    scenario = (tmp_path / "scenario.toml").read_text()
    (tmp_path / "scenario.toml").write_text(scenario.replace('"standard", "pro"', '"keyed.toml"'))
    assert main(["run", "scenario.toml", "--out", "out", "--quiet"]) in (0, 1, 3, 4)
    capsysbinary.readouterr()
    assert_follows(json.loads(Path("out/summary.json").read_text("utf-8")))
    for form in ("csv", "jsonl", "parquet", "hlog", "vllm", "aiperf", "prometheus", "otlp"):
        written = export(capsysbinary, "out", "--format", form)
        assert written
        assert b"never-to-be-seen" not in written


def closed(schema: Any) -> Any:
    """The schema with every object closed: a key that it does not name is an error."""
    if isinstance(schema, dict):
        shut = {key: closed(value) for key, value in schema.items()}
        return shut | {"additionalProperties": False} if "properties" in schema else shut
    return [closed(each) for each in schema] if isinstance(schema, list) else schema


def assert_follows(record: Any, kind: str = "summary") -> None:
    assert [
        error.message for error in Draft202012Validator(closed(schema_of(kind))).iter_errors(record)
    ] == []


@pytest.mark.parametrize(
    "kind",
    [
        *("run", "summary", "verdicts", "comparisons", "routes", "attribution", "census"),
        *("calibration", "cost", "ramp", "watch", "what-if"),
    ],
)
def test_the_published_schema_is_what_the_command_prints(kind: str) -> None:
    """One source: docs/schemas/KIND.schema.json is `tailproof schema KIND`, and a valid schema."""
    published = json.loads((ROOT / f"docs/schemas/{kind}.schema.json").read_text("utf-8"))
    assert published == schema_of(kind)
    Draft202012Validator.check_schema(published)


@pytest.mark.parametrize("kind", ["run", "summary", "verdicts"])
def test_what_a_run_writes_follows_its_schema(run: Path, kind: str) -> None:
    """Every key is named in the schema, and none that it requires is missing."""
    assert_follows(json.loads((run / f"{kind}.json").read_text("utf-8")), kind)


def test_summaries_follow_the_published_schema(run: Path, tmp_path: Path) -> None:
    """A whole run, the same without one success, and the same cut off: every key is named, none is
    missing, and a wrong type is seen.
    """
    summary = json.loads((run / "summary.json").read_text("utf-8"))
    assert_follows(summary)
    for name, state in (("none", "complete"), ("cut", "interrupted")):
        made = tmp_path / name
        shutil.copytree(run, made)
        broken = Run(made)
        broken.manifest = broken.manifest.replace(state=state)
        samples = broken.columns.samples
        samples["outcome"] = Outcome.refused if state == "complete" else Outcome.never_sent
        for column in samples.dtype.names or ():
            if column.endswith("_ns") and column != "due_ns":
                samples[column] = -1
        assert_follows(review_json(broken)[0])
    validator = Draft202012Validator(schema_of("summary"))
    for path, value in (
        (("overall",), "MAYBE"),
        (("targets", "pro", "response_ms", "e2e", "p99"), "fast"),
        (("targets", "pro", "outcomes", "sleepy"), 1),
        (("health", "state"), None),
    ):
        spoiled = copy.deepcopy(summary)
        place = spoiled
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        assert not validator.is_valid(spoiled), path


def test_report_profiles_and_calibrate_speak_json(
    run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard output is one JSON value: files that were written, names with what they are, the
    steps of the ladder.
    """
    assert main(["report", str(run), "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert all(Path(name).is_file() for name in told["files"])
    assert told["overall"] == json.loads((run / "verdicts.json").read_text())["overall"]
    assert main(["profiles", "contracts", "--format", "json"]) == 0
    assert "enterprise" in json.loads(capsys.readouterr().out)["contracts"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["calibrate", "--seconds", "1", "--max-rate", "100", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert Path(record["file"]).is_file()
    assert {"ceiling_rps", "steps"} <= set(record)


def test_judge_prints_annotations_pinned_to_the_contract(
    run: Path, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lossy tier's uptime clause is an error at the contract's file; the exit code stays that
    of the verdict.
    """
    contract = str(files / "contract.toml")
    assert main(["judge", str(run), "--contract", contract, "--format", "github"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(
        line.startswith(f"::error file={contract},title=FAIL standard%3A uptime") for line in lines
    )
    assert lines[-1].startswith("::notice title=tailproof::FAIL")
