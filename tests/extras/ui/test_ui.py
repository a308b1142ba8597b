"""`tailproof ui` over a folder of real runs: the list, reports, comparisons and trends, by a plain
HTTP client.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from bench.cli import main
from bench.errors import RunFolderError
from bench.extras.ui.catalogue import Catalogue, histories
from bench.extras.ui.entry import OnBudget
from bench.extras.ui.history import ClausePanel, PanelPoint
from bench.extras.ui.pages import Pages
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
HOSTILE_SHOWN = "&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;\\u202e"


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
    """The list's rows without its headings: box, started, run and what it is of, verdict, worst
    clause, targets, history.
    """
    return rows_of(ui.text("/", **query))


def rows_of(page: str) -> list[list[str]]:
    """The rows of a list; of the run's cell the name alone, without what stands below it."""
    rows = seen(page).rows[1:]
    return [[*row[:2], row[2].split("\n")[0], *row[3:]] for row in rows]


def names(rows: list[list[str]]) -> list[str]:
    return [row[2] for row in rows]


def test_the_list_has_every_folder_and_says_what_is_wrong_with_some(ui: Ui, results: Path) -> None:
    """Runs stand with date, verdict, targets as their files have them; others with a reason."""
    rows = {row[2]: row for row in listed(ui)}
    assert set(rows) == {path.name for path in results.iterdir()}
    for name in RUNS:
        manifest, verdicts = record(results / name, "run"), record(results / name, "verdicts")
        met = [item["met"] for item in verdicts["expects"]]
        assert rows[name][3] == ("AS EXPECTED" if all(met) else "NOT AS EXPECTED")
        assert rows[name][4] == f"{sum(met)} of {len(met)} expected answers"
        assert rows[name][1] == manifest["started_utc"][:16].replace("T", " ")
        assert rows[name][5] == ", ".join(lane["target"] for lane in manifest["lanes"])
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


def without_expectations(folder: Path, to: Path) -> dict[str, Any]:
    """A copy that is no rehearsal; its verdicts."""
    shutil.copytree(folder, to)
    verdicts: dict[str, Any] = record(to, "verdicts") | {"expects": []}
    (to / "verdicts.json").write_text(json.dumps(verdicts))
    return verdicts


def test_the_worst_clause_is_the_broken_one_farthest_over_its_budget(
    results: Path, tmp_path: Path
) -> None:
    """Its place and bounds are shares of bad requests over the share that is allowed."""
    verdicts = without_expectations(results / "d", tmp_path / "d")
    (entry,) = Catalogue(tmp_path).entries()
    assert (entry.word, entry.said, entry.expected) == ("", verdicts["overall"], "")
    judged = [each for each in verdicts["clauses"] if each["verdict"] != "REPORTED"]
    order = ["FAIL", "INCONCLUSIVE", "PASS"]
    first = min(order.index(each["verdict"]) for each in judged)
    times = [
        each["k"] / each["n"] / each["p0"] for each in judged if each["verdict"] == order[first]
    ]
    assert entry.worst is not None
    assert entry.worst.verdict == order[first]
    assert entry.worst.measured == pytest.approx(max(times))
    assert entry.worst.lower < entry.worst.measured < entry.worst.upper


def test_history_is_of_the_same_suite_endpoint_and_targets(results: Path, tmp_path: Path) -> None:
    """Eleven runs of one suite and one of another: the last ten of it, its own last."""
    for number in range(11):
        verdicts = without_expectations(results / "d", tmp_path / f"{number:02d}")
        dated(tmp_path / f"{number:02d}", f"2026-11-{number + 1:02d}T10:00:00Z")
    without_expectations(results / "a", tmp_path / "another")
    found = histories(Catalogue(tmp_path).entries())
    assert found["00"] == [verdicts["overall"]]
    assert len(found["10"]) == 10
    assert len(found["another"]) == 1


@pytest.mark.parametrize(
    ("files", "kind", "page"),
    [
        (["ramp.json"], "none", "is a ramp without its page"),
        (["watch.lock"], "watch", None),
        (["census.json"], "none", "is a month without its page"),
        (["census.json", "SHA256SUMS", "statement.html"], "claim", None),
        (["report.html", "runs.json"], "runs", None),
        (["ramp.json", "report.html"], "none", "lacks format"),
        (["2026-11-30/"], "folder", None),
        (["letter.txt"], "none", "is not a run's folder"),
    ],
)
def test_other_folders_are_known_by_their_files(
    files: list[str], kind: str, page: str | None, tmp_path: Path
) -> None:
    """What can be opened has a kind, what cannot a sentence."""
    (tmp_path / "night").mkdir()
    for name in files:
        place = tmp_path / "night" / name
        place.mkdir() if name.endswith("/") else place.write_text("{}\n")
    (entry,) = Catalogue(tmp_path).entries()
    assert entry.kind == kind
    assert (page or "") in (entry.problem or "")
    assert (entry.problem is None) == (page is None)


def test_folders_within_folders_are_opened_and_no_name_leads_out(
    results: Path, tmp_path: Path
) -> None:
    """A day of a watch has its runs; dots, links and what is too deep are not there."""
    day = tmp_path / "results" / "watch" / "2026-11-30"
    shutil.copytree(results / "d", day / "one")
    (day.parent / "watch.lock").write_text("")
    (tmp_path / "results" / "out").symlink_to(tmp_path)
    catalogue = Catalogue(tmp_path / "results")
    assert [each.name for each in catalogue.entries("watch/2026-11-30")] == ["watch/2026-11-30/one"]
    assert catalogue.folder("watch/2026-11-30/one") == day / "one"
    for name in ("watch/..", "..", "watch/../watch", "out", "out/results", "a/b/c/d", "watch//x"):
        with pytest.raises(RunFolderError, match="is not there"):
            catalogue.entries(name)
        with pytest.raises(RunFolderError):
            catalogue.folder(name)


def test_the_list_is_sorted_searched_and_filtered(ui: Ui, results: Path) -> None:
    """Latest first; by any heading, both ways; every word must occur; by verdict and by state."""
    assert names(listed(ui))[:4] == ["d", "c", "b", "a"]
    for sort, order, wanted in (
        ("started", "up", ["a", "b", "c", "d"]),
        ("name", "down", ["d", "c", "b", "a"]),
        ("name", "up", ["a", "b", "c", "d"]),
    ):
        rows = listed(ui, sort=sort, order=order)
        assert [name for name in names(rows) if name in RUNS] == wanted
    assert names(listed(ui, words="NOISY pro")) == ["c", "b", "a"]
    assert names(listed(ui, words="noisy vanity")) == []
    rows = listed(ui)
    for verdict in ("AS EXPECTED", "NOT AS EXPECTED", "FAIL"):
        wanted = [row[2] for row in rows if row[3] == verdict]
        assert names(listed(ui, verdict=verdict)) == wanted
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
        # as its page has it, an INVALID rehearsal found nothing out
        (results / "later" / "verdicts.json").write_text(
            json.dumps(record(results / "d", "verdicts") | {"overall": "INVALID"})
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
    assert HOSTILE_SHOWN in ui.text("/")


def test_a_report_is_the_runs_own_and_sandboxed(ui: Ui, results: Path) -> None:
    """The very bytes of report.html but for a way back, under a policy that gives it no origin and
    no way out.
    """
    answer = ui.answer("/report/a")
    assert without_way_back(answer.body) == (results / "a" / "report.html").read_bytes()
    assert {"/", "/compare?run=a", "/trend?suite=noisy-neighbour"} <= set(
        seen(answer.body.decode()).links
    )
    policy = answer.headers["Content-Security-Policy"]
    assert "sandbox" in policy
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2]


def without_way_back(page: bytes) -> bytes:
    """A page as it was before links to the ui's own were put above it."""
    above, _, rest = page.partition(b'<div role="region" aria-label="tailproof ui"')
    return above + rest.partition(b"</div>")[2]


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
        assert without_way_back(ui.answer("/report/b").body) == kept["report.html"]
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
        assert f"{told['ratios']['p99']['ratio']:.3f}" in " ".join(rows["p99"])
        assert told["headline"].replace("_", " ").lower() in page.lower().replace("_", " ")
        assert "gains under 5 % do not count" in page
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
    assert "compares two targets" in ui.text("/compare", run="d")
    assert seen(ui.text("/compare")).tags.count("select") == 2


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


def test_a_trend_has_a_panel_a_clause_and_a_mark_a_run(ui: Ui, results: Path) -> None:
    """Each judged clause of the latest run; each mark says its verdict and leads to its run."""
    page = ui.text("/trend", suite="noisy-neighbour")
    judged = [
        clause
        for clause in record(results / "c", "verdicts")["clauses"]
        if clause["verdict"] != "REPORTED"
    ]
    assert page.count('class="pan"') == len(judged)
    for name in ("a", "b", "c"):
        assert page.count(f'<a href="/report/{name}"') == len(judged)
        for clause in record(results / name, "verdicts")["clauses"]:
            if clause["verdict"] != "REPORTED":
                times = clause["k"] / clause["n"] / clause["p0"]
                assert f"of {clause['target']}: {clause['verdict']}, {times:.3g} times" in page
    assert "<figure" not in page


def test_a_panel_places_runs_by_their_share_of_the_budget() -> None:
    """On the limit's line at once the budget, higher above it, in equal steps to the right."""
    clauses = [
        OnBudget(times / 2, times, times * 2, verdict, "it lies there", "e2e p99", "pro")
        for verdict, times in (("PASS", 0.1), ("INCONCLUSIVE", 1.0), ("FAIL", 10.0))
    ]
    points = [PanelPoint("r", "/report/r", clause) for clause in clauses]
    drawn = str(ClausePanel("e2e p99", "pro", points).markup())
    line = re.search(
        r'class="peer" d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"', drawn
    )
    limit = re.search(r'class="lim" d="M34 ([\d.]+)H', drawn)
    assert line
    assert limit
    x1, y1, x2, y2, x3, y3 = map(float, line.groups())
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.2)
    assert y2 == float(limit[1])


def test_five_hundred_runs_are_listed_a_part_at_a_time(results: Path, tmp_path: Path) -> None:
    """All are counted and found; the page holds some, and links to further ones."""
    kept = {
        name: (results / "d" / name).read_bytes()
        for name in ("run.json", "summary.json", "verdicts.json")
    }
    for number in range(500):
        (tmp_path / f"r{number:03d}").mkdir()
        for name, data in kept.items():
            (tmp_path / f"r{number:03d}" / name).write_bytes(data)
    pages = Pages(Catalogue(tmp_path))
    page = seen(pages.runs({}).decode())
    assert len(page.rows) == 201
    (further,) = [link for link in page.links if "from=200" in link]
    query = dict(parse_qsl(further.partition("?")[2]))
    assert len(seen(pages.runs(query).decode()).rows) == 201
    assert len(seen(pages.runs({**query, "from": "400"}).decode()).rows) == 101
    assert names(rows_of(pages.runs({"words": "r499"}).decode())) == ["r499"]


def test_an_empty_folder_says_what_makes_a_run(tmp_path: Path) -> None:
    pages = Pages(Catalogue(tmp_path))
    assert "There is no run here yet" in pages.runs({}).decode()
    assert "There is no judged run here yet" in pages.trend({}).decode()
    assert "Nothing goes on here" in pages.watches().decode()
    assert "mark one run with several" in pages.compare([], {}).decode()


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
    for path in (
        "/",
        "/trend",
        "/compare",
        "/watch",
        "/static/watch.js",
        "/nothing",
        "/report/nobody",
    ):
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
