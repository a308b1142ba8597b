"""A run's folder that came from elsewhere: no name, link or pipe in it leads any command
out of it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli import main
from bench.record.digests import OWN, manifest_digest, sha256
from bench.record.files import write_atomically

#: Every command that reads a run's folder.
COMMANDS = (
    ["report"],
    ["judge"],
    ["attribute"],
    ["verify"],
    ["export", "--format", "csv"],
    ["export", "--format", "hlog"],
    ["export", "--format", "prometheus"],
    ["what-if", "--default", "a", "--fallback", "b"],
    ["cost"],
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in virtual time."""
    folder = tmp_path_factory.mktemp("sound") / "run"
    assert main(["simulate", "vanity-average", "--requests", "300", "--out", str(folder)]) in (
        0,
        1,
        3,
    )
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Files that are none of the run's."""
    place = tmp_path / "outside"
    place.mkdir()
    for name in ("own.txt", "own.svg"):
        (place / name).write_text("mine")
    return place


def untouched(outside: Path) -> bool:
    """Whether they are as they were."""
    return {path.name: path.read_text() for path in outside.iterdir()} == {
        "own.txt": "mine",
        "own.svg": "mine",
    }


def link_plots(run: Path, outside: Path) -> None:
    shutil.rmtree(run / "plots")
    (run / "plots").symlink_to(outside)


def link_samples(run: Path, outside: Path) -> None:
    (run / "samples").rename(outside.parent / "elsewhere")
    (run / "samples").symlink_to(outside.parent / "elsewhere")


def link_file(name: str) -> Callable[[Path, Path], None]:
    """`name` becomes a link to a file outside."""

    def make(run: Path, outside: Path) -> None:
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(outside / "own.txt")

    return make


def lay_pipe(run: Path, _outside: Path) -> None:
    (run / "schedule.npy").unlink()
    os.mkfifo(run / "schedule.npy")


def lay_pipe_for_the_manifest(run: Path, _outside: Path) -> None:
    (run / "run.json").unlink()
    os.mkfifo(run / "run.json")


WAYS_OUT = {
    "plots": link_plots,
    "samples": link_samples,
    "report": link_file("report.html"),
    "part": link_file(".report.html.part"),
    "summary": link_file("summary.json"),
    "piece": link_file("samples/w0-000000.npy"),
    "manifest": link_file("run.json"),
    "pipe": lay_pipe,
    "pipe for run.json": lay_pipe_for_the_manifest,
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_a_link_or_pipe_in_a_folder_is_named_and_not_followed(
    way: str, sound: Path, outside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command that reads a run refuses it in one sentence, at once, and nothing outside
    changes.
    """
    run = tmp_path / "run"
    shutil.copytree(sound, run)
    WAYS_OUT[way](run, outside)
    for words in COMMANDS:
        capsys.readouterr()
        assert main([*words, str(run)]) == 2, words
        said = capsys.readouterr().err
        assert "which is not followed" in said or "is no ordinary file" in said, (words, said)
        assert "mine" not in said
    assert untouched(outside)


def test_a_file_is_written_anew_and_never_through_a_link(outside: Path, tmp_path: Path) -> None:
    """Links at its name or at the name it has while it is written are replaced; what they led to
    stays, and so for hard links.
    """
    for name, lay in (("a", os.symlink), ("b", os.link)):
        for place in (tmp_path / name, tmp_path / f".{name}.part"):
            lay(outside / "own.txt", place)
        write_atomically(tmp_path / name, b"ours")
        assert (tmp_path / name).read_bytes() == b"ours"
        assert not (tmp_path / name).is_symlink()
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert untouched(outside)


@pytest.mark.parametrize(
    "name", ["../outside/own.txt", "/etc/hostname", "samples/../../outside/own.txt", "a\nb", "a\0b"]
)
@pytest.mark.parametrize("place", ["segments", "files"])
def test_a_manifest_that_lists_a_file_elsewhere_is_told_and_the_file_not_looked_at(
    name: str,
    place: str,
    sound: Path,
    outside: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`verify` names the entry, right digest or not: it does not say whether a file elsewhere has a
    certain content.
    """
    for digest in (sha256(b"mine"), sha256(b"other")):
        run = tmp_path / digest[:4]
        shutil.copytree(sound, run)
        manifest = json.loads((run / "run.json").read_bytes())
        more: Any = (
            [{"file": name, "rows": 1, "sha256": digest}] if place == "segments" else {name: digest}
        )
        manifest[place] = (
            [*manifest[place], *more] if place == "segments" else manifest[place] | more
        )
        (run / "run.json").write_text(json.dumps(manifest | {OWN: manifest_digest(manifest)}))
        assert main(["verify", str(run)]) == 1
        said = capsys.readouterr().out
        assert "is outside the run's folder" in said


@pytest.mark.figures
@pytest.mark.parametrize("name", ["..", "../up", "x" * 300, "a\nb", "/abs", "CON", ".hidden"])
def test_names_in_a_manifest_choose_no_path(
    name: str, sound: Path, outside: Path, tmp_path: Path
) -> None:
    """Run, suite, lane, stage, target, profile and contract named at will: a report is written
    below its own folder alone.
    """
    run = tmp_path / "runs" / "deep" / "run"
    shutil.copytree(sound, run)
    manifest = json.loads((run / "run.json").read_bytes())
    manifest |= {"run": name, "suite": {"name": name, "description": name}}
    for lane in manifest["lanes"]:
        lane |= {"target": name, "stage": name, "scenario": name, "name": f"{name}/{lane['name']}"}
        lane["profile"]["name"] = name
        if lane["contract"] is not None:
            lane["contract"] |= {"name": name, "title": name}
    (run / "run.json").write_text(json.dumps(manifest))
    before = {path for path in tmp_path.rglob("*") if run not in path.parents}
    known = {path.name for path in run.iterdir()} | {
        "report.md",
        "junit.xml",
        "routes.json",
        "comparisons.json",
    }
    for words in (
        ["report", "--plots"],
        ["judge"],
        ["attribute"],
        ["export", "--format", "prometheus"],
    ):
        assert main([*words, str(run)]) in (0, 1, 3), words
    assert {path for path in tmp_path.rglob("*") if run not in path.parents} == before
    assert {path.name for path in run.iterdir()} <= known
    figures = [path.name for path in (run / "plots").iterdir()]
    assert figures
    assert all(
        len(figure) < 100 and figure.isascii() and figure[0].isdigit() and figure.endswith(".svg")
        for figure in figures
    )
    assert untouched(outside)


def _contract_limit(manifest: dict[str, Any]) -> None:
    manifest["lanes"][0]["contract"]["clause"][0]["limit"] = None


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a clause without its limit": _contract_limit,
    "a key of another version": lambda m: m["lanes"][0]["contract"].update(later=1),
    "harness a number": lambda m: m.update(harness=3),
    "files true": lambda m: m.update(files=True),
    "an input that is a list": lambda m: m["inputs"].__setitem__(0, []),
    "buckets a number": lambda m: m["lanes"][0].update(buckets=1),
    "prices a list": lambda m: m["lanes"][0].update(prices=[1]),
    "no strings": lambda m: m.update(strings={}),
    "began never": lambda m: m.update(started_wall_ns=10**40),
}
CELLS = [
    ("samples/rows.npy", "outcome", 129),
    ("samples/rows.npy", "note", 300),
    ("samples/rows.npy", "cause", 100),
    ("schedule.npy", "bucket", 8),
    ("schedule.npy", "lane", 1),
]
READ = (["judge"], ["report"], ["export", "--format", "csv"])


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_manifest_is_read_or_refused(
    name: str, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever value stands in it: never 70 and a traceback, which would be a fault of ours."""
    folder = tmp_path / "run"
    for command in READ:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(sound, folder)
        manifest = json.loads((folder / "run.json").read_bytes())
        EDITS[name](manifest)
        (folder / "run.json").write_text(json.dumps(manifest))
        assert main([*command, str(folder)]) != 70, command
        assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(("table", "column", "value"), CELLS)
def test_a_flipped_bit_of_a_table_is_read_or_refused(
    table: str, column: str, value: int, sound: Path, tmp_path: Path
) -> None:
    """One cell that nothing else knows of."""
    folder = tmp_path / "run"
    for command in READ:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(sound, folder)
        cells = np.load(folder / table)
        cells[column][5] = value
        np.save(folder / table, cells)
        assert main([*command, str(folder)]) != 70, command


def test_a_fault_of_ours_in_a_sound_folder_is_a_fault_of_ours(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is what was written is not blamed."""
    monkeypatch.setattr("bench.judge.verify.verify", lambda *_: 1 // 0)
    assert main(["verify", str(sound)]) == 70
