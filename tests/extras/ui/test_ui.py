"""`tailproof ui` over a folder of real runs: the list, reports, comparisons and trends, by a plain
HTTP client.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.extras.ui.catalogue import Catalogue
from tests.support.served import Seen, Ui, seen, served

pytestmark = pytest.mark.figures

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
RUNS = {
    "a": ("noisy-neighbour", 1),
    "b": ("noisy-neighbour", 2),
    "c": ("noisy-neighbour", 3),
    "d": ("vanity-average", 1),
}
HOSTILE = '"><script>alert(1)</script>\u202e'


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of one suite, one of another, and what else may lie about."""
    folder = tmp_path_factory.mktemp("results")
    for name, (suite, seed) in RUNS.items():
        main(
            [
                "simulate",
                suite,
                "--requests",
                "2500",
                "--seed",
                str(seed),
                "--out",
                str(folder / name),
            ]
        )
        dated(folder / name, f"2026-11-0{list(RUNS).index(name) + 1}T10:00:00Z")
    unfit = {
        "empty": None,
        "torn": '{"format": 1',
        "list": "[]",
        "newer": '{"format": 2, "versions": {"tailproof": "7.5"}}',
        "bare": '{"format": 1, "run": "x", "state": "complete", "lanes": [{}]}',
    }
    for name, manifest in unfit.items():
        (folder / name).mkdir()
        if manifest is not None:
            (folder / name / "run.json").write_text(manifest)
    (folder.parent / "outside").mkdir(exist_ok=True)
    (folder.parent / "outside" / "report.html").write_text("the secret")
    (folder / "linked").symlink_to(folder.parent / "outside")
    shutil.copytree(folder / "d", folder / "hostile")
    manifest = json.loads((folder / "hostile" / "run.json").read_text())
    manifest["suite"]["name"] = manifest["lanes"][0]["model"] = HOSTILE
    (folder / "hostile" / "run.json").write_text(json.dumps(manifest))
    dated(folder / "hostile", "2026-10-01T10:00:00Z")
    return folder


def dated(run: Path, started: str) -> None:
    """Give a run another start."""
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(manifest | {"started_utc": started}))


@pytest.fixture(scope="module")
def ui(results: Path) -> Iterator[Ui]:
    """A server over them."""
    with served(results) as listening:
        yield listening


def record(run: Path, name: str) -> Any:
    return json.loads((run / f"{name}.json").read_text())


def listed(ui: Ui, **query: str) -> list[list[str]]:
    """The list's rows without its headings: box, started, run, verdict, state, suite, targets,
    models.
    """
    return seen(ui.text("/", **query)).rows[1:]


def names(rows: list[list[str]]) -> list[str]:
    return [row[2] for row in rows]


def test_the_list_has_every_folder_and_says_what_is_wrong_with_some(ui: Ui, results: Path) -> None:
    """Runs stand with suite, targets, models, verdict, state and date as their files have them;
    others with a reason.
    """
    rows = {row[2]: row for row in listed(ui)}
    assert set(rows) == {path.name for path in results.iterdir()}
    for name in RUNS:
        manifest, summary = record(results / name, "run"), record(results / name, "summary")
        assert rows[name][3].replace("no contract", "NONE") == summary["overall"]
        assert (rows[name][1], rows[name][4]) == (
            manifest["started_utc"][:16].replace("T", " "),
            "complete, simulated",
        )
        assert rows[name][5:] == [
            manifest["suite"]["name"],
            ", ".join(lane["target"] for lane in manifest["lanes"]),
            ", ".join(lane["model"] for lane in manifest["lanes"]),
        ]
    reasons = {
        "empty": "no run.json",
        "torn": "cannot be read",
        "list": "cannot be read",
        "linked": "symbolic link",
        "newer": "has format 2; this tailproof reads up to 1; open it with tailproof 7.5 or newer",
        "bare": "lacks lanes",
    }
    for name, reason in reasons.items():
        assert reason in rows[name][3]


@pytest.mark.parametrize(
    ("file", "said"),
    [("ramp.json", "is a ramp; its runs: tailproof ui"), ("watch.jsonl", "is a watch")],
)
def test_a_folder_of_runs_says_what_shows_them(file: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / file).write_text("{}\n")
    (entry,) = Catalogue(tmp_path).entries()
    assert said in (entry.problem or "")
    assert str(tmp_path / "night") in (entry.problem or "")


def test_the_list_is_sorted_searched_and_filtered(ui: Ui, results: Path) -> None:
    """Latest first; by any heading, both ways; every word must occur; by verdict and by state."""
    assert names(listed(ui))[:4] == ["d", "c", "b", "a"]
    assert [name for name in names(listed(ui, sort="started", order="up")) if name in RUNS] == [
        "a",
        "b",
        "c",
        "d",
    ]
    assert [name for name in names(listed(ui, sort="suite", order="up")) if name in RUNS] == [
        "a",
        "b",
        "c",
        "d",
    ]
    assert [name for name in names(listed(ui, sort="name")) if name in RUNS] == ["d", "c", "b", "a"]
    assert names(listed(ui, words="NOISY pro")) == ["c", "b", "a"]
    assert names(listed(ui, words="noisy vanity")) == []
    for verdict in ("PASS", "FAIL", "INCONCLUSIVE", "NONE"):
        wanted = {
            path.name
            for path in results.iterdir()
            if (path / "summary.json").is_file()
            and path.name != "linked"
            and record(path, "summary")["overall"] == verdict
        }
        assert set(names(listed(ui, verdict=verdict))) == wanted
    assert names(listed(ui, state="running")) == []
    assert set(names(listed(ui, state="complete"))) == {*RUNS, "hostile"}


def test_the_list_follows_its_files(ui: Ui, results: Path) -> None:
    """A verdict that was judged again, and a run that was removed, are seen at the next look."""
    shutil.copytree(results / "d", results / "later")
    try:
        assert "later" in names(listed(ui))
        (results / "later" / "summary.json").write_text(
            json.dumps(record(results / "d", "summary") | {"overall": "INVALID"})
        )
        assert names(listed(ui, verdict="INVALID")) == ["later"]
        (results / "later" / "summary.json").write_text(
            json.dumps(record(results / "d", "summary") | {"run": "another"})
        )
        assert next(row for row in listed(ui) if row[2] == "later")[3] == "–"
    finally:
        shutil.rmtree(results / "later")
    assert "later" not in names(listed(ui))


def test_hostile_text_is_text(ui: Ui) -> None:
    """A suite and a model that are markup bring no element onto a page, and a bidi mark is written
    out.
    """
    for page in (
        ui.text("/"),
        ui.text("/trend"),
        ui.text("/trend", path=HOSTILE),
        ui.text("/", words=HOSTILE),
        ui.text("/compare", run="hostile"),
        ui.text("/report/%3Cscript%3E", 404),
    ):
        assert "script" not in seen(page).tags
    row = next(row for row in listed(ui) if row[2] == "hostile")
    assert row[5] == row[7] == '"><script>alert(1)</script>\\u202e'


def test_a_report_is_the_runs_own_and_sandboxed(ui: Ui, results: Path) -> None:
    """The very bytes of report.html, under a policy that gives it no origin and no way out."""
    answer = ui.answer("/report/a")
    assert answer.body == (results / "a" / "report.html").read_bytes()
    policy = answer.headers["Content-Security-Policy"]
    assert "sandbox" in policy
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2]


def test_a_missing_report_is_made_and_nothing_written(ui: Ui, results: Path) -> None:
    """A run without report and records shows the page of `tailproof report`, and its folder stays
    as it was.
    """
    bare = results / "b"
    assert main(["report", str(bare)]) == 0
    kept = {
        name: (bare / name).read_bytes()
        for name in ("report.html", "summary.json", "verdicts.json")
    }
    for name in kept:
        (bare / name).unlink()
    try:
        before = sorted(
            (path.relative_to(bare), path.stat().st_mtime_ns) for path in bare.rglob("*")
        )
        assert ui.text("/report/b").encode() == kept["report.html"]
        assert (
            sorted((path.relative_to(bare), path.stat().st_mtime_ns) for path in bare.rglob("*"))
            == before
        )
    finally:
        for name, data in kept.items():
            (bare / name).write_bytes(data)


def test_no_name_leads_out_of_the_folder(ui: Ui, results: Path) -> None:
    """Dots, encoded slashes and links, of the folder or within one, end in a sentence and never in
    a file's text.
    """
    shutil.copytree(results / "d", results / "inner")
    (results / "inner" / "report.html").unlink()
    (results / "inner" / "report.html").symlink_to(results.parent / "outside" / "report.html")
    try:
        for name in (
            "..",
            "%2e%2e",
            "..%2foutside",
            "%2e%2e%2foutside",
            "linked",
            "inner",
            ".",
            "",
            "a%00",
        ):
            for page in ("report", "watch", "events"):
                answer = ui.answer(f"/{page}/{name}")
                assert answer.status == 404
                assert b"the secret" not in answer.body
        refused = ui.text("/compare", run=["../outside", "a"])
        assert "is not there" in seen(refused).alerts[0]
    finally:
        shutil.rmtree(results / "inner")


def test_a_comparison_says_what_the_command_says(
    ui: Ui, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two targets of one run, and one target of two runs: ratio and outcome as `tailproof compare`
    prints them.
    """
    for first, second in (("a/standard", "a/pro"), ("a/pro", "b/pro")):
        arms = [f"{results}/{arm.replace('/', ':')}" for arm in (first, second)]
        capsys.readouterr()
        assert main(
            ["compare", *arms, "--metric", "ttft", "--margin", "5%", "--format", "json"]
        ) in (0, 1, 3)
        told = json.loads(capsys.readouterr().out)
        page = ui.text(
            "/compare", run=["a", "b"], baseline=first, other=second, metric="ttft", margin="5%"
        )
        rows = {row[0]: row[1:] for row in seen(page).rows}
        assert rows["p99"][2] == f"{told['ratios']['p99']['ratio']:.3f}"
        assert told["headline"] in page
        assert "margin 5 %" in page
        assert "<svg" in page


def test_a_comparison_that_makes_no_sense_is_refused_in_the_products_words(
    ui: Ui, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Different load profiles: the sentence of `tailproof compare`, until the user forces it."""
    capsys.readouterr()
    assert main(["compare", f"{results}/a:pro", f"{results}/d"]) == 2
    sentence = capsys.readouterr().err.removeprefix("tailproof: ").strip()
    target = record(results / "d", "run")["lanes"][0]["name"]
    asked: dict[str, str | list[str]] = {
        "run": ["a", "d"],
        "baseline": "a/pro",
        "other": f"d/{target}",
    }
    assert seen(ui.text("/compare", **asked)).alerts == [sentence]
    forced = ui.text("/compare", **asked, force="on")
    assert "compared by force" in forced
    assert "is compared with itself" in ui.text(
        "/compare", run="a", baseline="a/pro", other="a/pro"
    )
    assert "has no target named" in ui.text("/compare", run="a", baseline="a/pro", other="a/nobody")
    assert "--margin" in ui.text(
        "/compare", run="a", baseline="a/pro", other="a/standard", margin="wide"
    )
    assert "compares two targets" in ui.text("/compare")


def test_a_trend_shows_each_run_of_a_suite_beside_its_limit(ui: Ui, results: Path) -> None:
    """The p99 of three runs as in their summaries, the limit and the verdict of the clause that is
    held against it.
    """
    page = ui.text("/trend", suite="noisy-neighbour", path="targets/pro/response_ms/e2e/p99")
    rows = seen(page).rows[1:]
    assert [row[0] for row in rows] == ["c", "b", "a"]
    for row in rows:
        value = record(results / row[0], "summary")["targets"]["pro"]["response_ms"]["e2e"]["p99"]
        clause = next(
            clause
            for clause in record(results / row[0], "verdicts")["clauses"]
            if clause["target"] == "pro"
            and (clause["metric"], clause["quantile"], clause["view"], clause["phase"])
            == ("e2e", 0.99, "response", None)
        )
        assert row[2:] == [f"{value:,.0f} ms", f"{clause['limit_ms']:,.0f} ms", clause["verdict"]]
    assert f"limit {clause['limit_ms']:,.0f} ms" in page.partition("</svg>")[0]
    assert page.count("<option value=") > 100  # every number of the latest summary can be chosen


def test_a_trend_begins_with_a_latency_although_nothing_succeeded_last(
    ui: Ui, results: Path
) -> None:
    """The latest run has no latency: the first look is still at a p99, with that run absent from
    it.
    """
    kept = (results / "c" / "summary.json").read_text()
    failed = json.loads(kept)
    for target in failed["targets"].values():
        for part in (target, *target["by_phase"].values(), *target["by_bucket"].values()):
            part["response_ms"] = dict.fromkeys(part["response_ms"])
    (results / "c" / "summary.json").write_text(json.dumps(failed))
    try:
        rows = seen(ui.text("/trend", suite="noisy-neighbour")).rows[1:]
    finally:
        (results / "c" / "summary.json").write_text(kept)
    first = record(results / "b", "summary")["targets"]["standard"]["response_ms"]["e2e"]["p99"]
    assert [(row[0], row[2]) for row in rows][:2] == [("c", "–"), ("b", f"{first:,.0f} ms")]


def test_a_trend_of_a_number_that_only_some_runs_have(ui: Ui, results: Path) -> None:
    """A run without the number stands in the table, absent; where no run has it the page
    says so.
    """
    kept = (results / "b" / "summary.json").read_text()
    without = json.loads(kept)
    del without["targets"]["pro"]
    (results / "b" / "summary.json").write_text(json.dumps(without))
    try:
        rows = seen(ui.text("/trend", suite="noisy-neighbour", path="targets/pro/ok")).rows[1:]
        assert [(row[0], row[2] == "–") for row in rows] == [
            ("c", False),
            ("b", True),
            ("a", False),
        ]
    finally:
        (results / "b" / "summary.json").write_text(kept)
    assert (
        "has this number"
        in seen(ui.text("/trend", suite="noisy-neighbour", path="targets/nobody/ok")).alerts[0]
    )


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8765", 200),
        ("LOCALHOST:9", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:8765", 421),
        ("10.0.0.1", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_only_a_request_that_names_this_server_is_answered(ui: Ui, host: str, status: int) -> None:
    """A name that somebody pointed at loopback (DNS rebinding) reads nothing."""
    answer = ui.answer("/", Host=host)
    assert answer.status == status
    assert (b"noisy-neighbour" in answer.body) == (status == 200)


def test_nothing_can_be_changed_and_no_other_site_can_look(ui: Ui) -> None:
    """GET alone; a foreign page may link to this one and load nothing of it; every page forbids
    what it does not need.
    """
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ui.answer("/", method=method).status == 405
    assert ui.answer("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status == 403
    assert ui.answer("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200
    for path in ("/static/report.css", "/static/ui.css", "/static/watch.js"):
        assert ui.answer(path).status == 200
    for path in ("/", "/trend", "/compare", "/static/watch.js", "/nothing", "/report/nobody"):
        headers = ui.answer(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in headers


def test_every_link_of_the_list_leads_somewhere(ui: Ui) -> None:
    """All of them answer, and none leads away from this server."""
    links = set(seen(ui.text("/")).links)
    assert {"/trend", "/report/a"} <= links
    for link in links - {"#main"}:
        assert link.startswith("/")
        answer = ui.answer(link)
        assert answer.status == 200
        assert isinstance(seen(answer.body.decode()), Seen)
