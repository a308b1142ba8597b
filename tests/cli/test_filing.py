"""`--pdf`, `--junit-inconclusive` and `--format github` of the commands that write a report."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.cli import main
from tests.support.patience import PATIENCE_S


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """A run too short to decide its uptime."""
    main(
        [
            "simulate",
            "noisy-neighbour",
            "--requests",
            "600",
            "--quiet",
            "--format",
            "json",
            "--out",
            str(tmp_path / "r"),
        ]
    )
    return tmp_path / "r"


def kinds(folder: Path) -> set[str]:
    """What junit.xml calls the clauses that were not decided."""
    root = ET.fromstring((folder / "junit.xml").read_bytes())  # noqa: S314 our own file
    return {
        child.tag
        for case in root.iter("testcase")
        for child in case
        if "INCONCLUSIVE:" in str(child.get("message"))
    }


def test_junit_calls_the_undecided_what_was_asked_for(
    short: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Skipped by default, failures with --junit-inconclusive fail."""
    assert kinds(short) == {"skipped"}
    assert main(["report", str(short), "--junit-inconclusive", "fail"]) == 0
    assert kinds(short) == {"failure"}
    assert "report.html" in capsys.readouterr().out


@pytest.mark.slow("a run in real time")
def test_github_lines_name_each_undecided_clause(
    short: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`report --format github` prints workflow commands alone, one for each clause that wants a
    reader.
    """
    capsys.readouterr()
    assert main(["report", str(short), "--format", "github"]) == 0
    lines = capsys.readouterr().out.splitlines()
    clauses = json.loads((short / "verdicts.json").read_text())["clauses"]
    undecided = sum(clause["verdict"] == "INCONCLUSIVE" for clause in clauses)
    assert undecided > 0
    assert sum(line.startswith("::warning title=INCONCLUSIVE") for line in lines) == undecided
    assert all(line.startswith(("::error ", "::warning ", "::notice ")) for line in lines)


def test_a_missing_library_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    """Without WeasyPrint `--pdf` is refused with the extra to install, and no run's folder comes
    into being.
    """
    (tmp_path / "weasyprint.py").write_text("raise ImportError('none here')\n")
    command = [
        sys.executable,
        "-c",
        (
            "import sys; sys.path.insert(0, '.'); from bench.cli import main;"
            " sys.exit(main(sys.argv[1:]))"
        ),
        "simulate",
        "noisy-neighbour",
        "--requests",
        "600",
        "--out",
        "r",
        "--pdf",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 2
    assert "pip install 'tailproof[pdf]'" in done.stderr
    assert not (tmp_path / "r").exists()
