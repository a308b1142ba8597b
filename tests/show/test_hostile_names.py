"""A run whose every name is markup, control characters and ways out: words on each screen, page and
in each file.
"""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from tests.support.markup import Seen, unseen
from tests.support.served import served

pytestmark = pytest.mark.figures

pytest.importorskip("bench.extras.ui")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
TRICK = (
    '../../"><script>alert(1)</script><img src=x onerror=alert(2)>]]>{{ 7*7 }}|`x`\x1b[2J\x07\u202e'
)
#: Keys of a manifest whose texts are names: what a suite, a target's file or a contract says of
#: itself.
NAMES = (
    "run",
    "name",
    "description",
    "target",
    "other",
    "model",
    "tier",
    "region",
    "stage",
    "scenario",
    "title",
    "source",
    "base_url",
    "repeat_command",
    "notes",
    "term",
    "ended_early",
    "cpu",
    "system",
    "not_stated",
)


def tricked(value: Any, lanes: set[str], key: str = "") -> Any:
    """A manifest with the trick after every name, and wherever one of its lanes is named."""
    if isinstance(value, dict):
        return {name: tricked(inner, lanes, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [tricked(inner, lanes, key) for inner in value]
    return value + TRICK if isinstance(value, str) and (key in NAMES or value in lanes) else value


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two such runs, one of which says that it still goes on."""
    folder = tmp_path_factory.mktemp("results")
    assert main(
        ["simulate", "noisy-neighbour", "--requests", "2500", "--out", str(folder / "a")]
    ) in (0, 1, 3)
    plain = json.loads((folder / "a" / "run.json").read_bytes())
    manifest = tricked(plain, {lane["name"] for lane in plain["lanes"]})
    manifest["ended_early"] = TRICK
    (folder / "a" / "report.html").unlink()  # made before
    (folder / "a" / "run.json").write_text(json.dumps(manifest))
    shutil.copytree(folder / "a", folder / "b")
    (folder / "b" / "run.json").write_text(json.dumps({**manifest, "seed": 2, "state": "running"}))
    return folder


def lanes(results: Path) -> list[str]:
    """What its targets are called."""
    return [lane["name"] for lane in json.loads((results / "a" / "run.json").read_bytes())["lanes"]]


def sound(page: str) -> None:
    """The trick can be read on the page, and is no element, no attribute that runs and no link of
    it.
    """
    seen = Seen(page)
    assert "<script>alert(1)</script>" in seen.words
    assert unseen(seen.words) == set()
    for tag, attributes in seen.elements:
        assert tag != "img" or str(attributes.get("src")).startswith("data:")
        for name in attributes:
            assert not name.startswith("on"), (tag, name)


@pytest.mark.slow("every command, with figures")
def test_every_command_says_such_names_in_words(
    results: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Reports, verdicts, exports, a comparison and a what-if: their own exit codes, and nothing
    that steers a terminal.
    """
    run, (first, second, *_) = str(results / "a"), lanes(results)
    commands = [
        ["report", run],
        ["judge", run],
        ["judge", run, "--format", "github"],
        ["attribute", run],
        ["verify", run],
        ["compare", f"{run}:{first}", f"{run}:{second}"],
        ["cost", f"{run}:{first}"],
        ["what-if", run, "--default", first, "--fallback", second, "--out", str(tmp_path / "w")],
        *(
            ["export", run, "--format", form]
            for form in ("csv", "jsonl", "hlog", "prometheus", "otlp")
        ),
    ]
    for words in commands:
        capfdbinary.readouterr()
        code = main(words)
        out, err = (stream.decode() for stream in capfdbinary.readouterr())
        assert code in (0, 1, 3), (words, err)
        assert unseen(out.replace("\r\n", "\n")) == unseen(err) == set(), words


@pytest.mark.slow("draws the figures of a run and of a what-if")
def test_files_of_such_a_run_are_well_formed_and_its_page_sound(
    results: Path, tmp_path: Path
) -> None:
    """Page, XML and figures, among them that of a what-if."""
    run = tmp_path / "run"
    shutil.copytree(results / "a", run)
    assert main(["report", "--plots", str(run)]) == 0
    first, second, *_ = lanes(results)
    assert (
        main(
            [
                "what-if",
                str(run),
                "--default",
                first,
                "--fallback",
                second,
                "--out",
                str(tmp_path / "w"),
            ]
        )
        == 0
    )
    sound((run / "report.html").read_text())
    drawn = [*(run / "plots").glob("*.svg"), *(tmp_path / "w").glob("*.svg")]
    assert len(drawn) > 2
    for path in (run / "junit.xml", *drawn):
        assert "script" not in {
            element.tag.rpartition("}")[2]
            for element in ET.fromstring(path.read_bytes()).iter()  # noqa: S314 ours
        }


@pytest.mark.slow("every page, with figures")
def test_every_page_of_the_ui_shows_such_names_as_words(results: Path) -> None:
    """The list, a comparison, a trend, a report, and a run that goes on."""
    first, second, *_ = lanes(results)
    with served(results) as ui:
        for page in (
            ui.text("/"),
            ui.text("/compare", run="a", baseline=f"a/{first}", other=f"a/{second}"),
            ui.text("/trend"),
            ui.text("/report/a"),
            ui.text("/watch/b"),
        ):
            sound(page)
