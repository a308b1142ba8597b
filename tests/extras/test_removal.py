"""Each folder of bench/extras can be deleted: the core imports, helps, works and says what is
missing.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from bench import extras

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = sorted(extras.installed())
#: What a user types for each folder, and the word that the refusal names.
ASKED = {
    "cluster": (["run", "--cluster", "auto"], "--cluster"),
    "cost": (["cost"], "cost"),
    "formats": (["export", "r", "--format=vllm"], "--format"),
    "ui": (["ui"], "ui"),
    "what_if": (["what-if", "r"], "what-if"),
}
#: Helps, is asked for what is not there, and, where there is work, imports everything and does it.
PROGRAM = """
import contextlib, importlib, io, json, pkgutil, sys
import bench
from bench.cli import main, tailproof
asked, work, late = json.loads(sys.argv[1])
for found in pkgutil.walk_packages(bench.__path__, "bench.") if work else ():
    if found.name not in late:
        importlib.import_module(found.name)
refusals = []
with contextlib.redirect_stdout(io.StringIO()):
    for words in (["--help"], ["run", "--help"], ["export", "--help"]):
        assert main(words) == 0, words
    for words in asked:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            assert main(words) == 2, words
        refusals.append(said.getvalue())
    for words in work:
        assert main(words) in (0, 1, 3), words
print(json.dumps({"commands": tailproof.list_commands(None), "refusals": refusals}))
"""
WORK = [
    ["plan", "field-guide"],
    ["simulate", "vanity-average", "--requests", "300", "--out", "r"],
    ["verify", "r"],
    ["export", "r", "--format", "csv", "--out", "rows.csv"],
    ["export", "r", "--format", "prometheus", "--out", "metrics.txt"],
]
#: They begin a process, or need a package that may not be here.
LATE = [
    "bench.__main__",
    "bench.gateway.__main__",
    "bench.extras.ui.server",
    "bench.extras.cluster.ray_engine",
]


@pytest.mark.parametrize("removed", [*([name] for name in FOLDERS), FOLDERS], ids="-".join)
def test_the_core_works_without(removed: list[str], tmp_path: Path) -> None:
    """`--help` lacks the commands of what was removed and of nothing else; asked for one, it says
    in a sentence what is missing. Without any, every module imports, and it plays, judges and
    exports: what needs none of them needs no single one.
    """
    shutil.copytree(ROOT / "bench", tmp_path / "bench")  # with what is compiled, for speed
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    for folder in removed:
        shutil.rmtree(tmp_path / "bench" / "extras" / folder)
    work = WORK if removed == FOLDERS else []
    task = json.dumps([[ASKED[name][0] for name in removed], work, LATE])
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, task],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["refusals"] == [
        f"tailproof: {ASKED[name][1]}: needs the capability {name!r}, which is not installed"
        f" (bench/extras/{name}); pip install --force-reinstall tailproof\n"
        for name in removed
    ]
    gone = {command for name in removed for command in extras.installed()[name].commands}
    assert found["commands"] == [name for name in commands() if name not in gone]


def commands() -> list[str]:
    """Those of `tailproof --help`, here."""
    from bench.cli import tailproof

    return tailproof.list_commands(click.Context(tailproof))


def test_the_table_of_what_is_missing_names_all_that_the_folders_add() -> None:
    """Every command, flag and format that an installed folder adds, and no other."""
    added: dict[tuple[str, str], str] = {}
    for name, extra in extras.installed().items():
        added |= {(command, ""): name for command in extra.commands}
        added |= {("schema", kind): name for kind in extra.schemas}
        for command, path in (("run", extra.run), ("export", extra.export)):
            if path:
                module = importlib.import_module(path)
                words = [*flags_of(module.OPTIONS), *getattr(module, "FORMS", ())]
                added |= {(command, word): name for word in words}
    assert added == extras.NEEDED_FOR


def flags_of(options: tuple[Callable[[Any], Any], ...]) -> list[str]:
    """What a command with these options is given them by."""

    def command(**_flags: Any) -> None:
        """Does nothing."""

    for option in options:
        option(command)
    return [flag for each in click.command()(command).params for flag in each.opts]
