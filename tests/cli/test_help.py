"""Help that can be walked: groups, panels, examples, tasks, completion, the man page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bench.cli import main, tailproof
from bench.cli.help import PANELS, Command, folded
from bench.cli.manual import manual
from bench.cli.tasks import TASKS, nearest
from bench.userfile import builtin_names
from tests.test_docs import ROOT

#: What other programs print of flags is no part of a window's width.
WIDTHS = (80, 100)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command, with its name."""
    context = click.Context(tailproof, info_name="tailproof")
    for name in tailproof.list_commands(context):
        command = tailproof.get_command(context, name)
        assert command is not None
        yield name, command


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command prints; it ends well."""
    assert main([*words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_of_any_help_is_wider_than_the_window(
    width: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Of every command, of the list and of every task, where there is a run to name; a choice that
    is one word stands alone.
    """
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.chdir(tmp_path)
    run = Path("results/2026-11-30T21-03-06Z-a-suite-with-a-name-ceb8/run.json")
    run.parent.mkdir(parents=True)
    run.touch()
    pages = [said(capsys, "--help"), said(capsys, "help")]
    pages += [said(capsys, name, "--help") for name, _ in commands()]
    pages += [said(capsys, "help", *task.name.split()) for task in TASKS]
    wide = {line for page in pages for line in page.splitlines() if len(line) > width}
    assert {line for line in wide if not re.match(r"^(Usage: | +--[\w-]+ \[)", line)} == set()


SHORT = """\
Usage: tailproof calibrate [OPTIONS]

  Send rising rates to a null server whose true times are known, and print how
  far off we are.
"""
NARROW = """\
Judge a server by one clause, as long as it takes to decide it

  tailproof run --url http://localhost:8000/v1 --model my-model \\
      --slo 'e2e:p95<800ms' --rate 20

Nobody there? In a second terminal: tailproof gateway --scenario premium-placebo
The exit code is the verdict: 0 PASS, 1 FAIL, 3 INCONCLUSIVE.
flags: tailproof run --help
read: docs/tutorials/first-verdict.md
"""
WIDE = NARROW.replace(" \\\n      ", " ")


@pytest.mark.parametrize(("width", "text"), [(80, NARROW), (100, WIDE)])
def test_a_task_is_a_few_lines_and_a_command(
    width: int,
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """As it is printed in a narrow and in a wide window."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", str(width))
    assert said(capsys, "help", "first", "verdict") == text


def test_a_command_s_help_begins_with_what_it_does_and_examples(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then its flags, with words for what is typed."""
    monkeypatch.setenv("COLUMNS", "80")
    text = said(capsys, "calibrate", "--help")
    assert text.startswith(SHORT)
    titles = [line for line in text.splitlines() if re.match(r"\w+:$", line)]
    assert titles == ["Examples:", "Options:"]
    assert "\n  # Know what this machine can measure" in text
    assert "\n  tailproof calibrate\n" in text
    assert not {"TEXT", "INTEGER RANGE", "FLOAT RANGE"} & set(re.findall(r"[A-Z]+ RANGE", text))


def test_commands_stand_in_groups_by_what_they_are_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Measure, judge, compare, watch, learn; each command in one of them, in its own line."""
    text = said(capsys, "--help")
    titles = ["Measure:", "Judge:", "Compare:", "Watch:", "Learn:"]
    assert [line for line in text.splitlines() if line in titles] == titles
    for name, _ in commands():
        assert len(re.findall(rf"^  {name} +\S", text, re.MULTILINE)) == 1


@pytest.mark.parametrize("name", ["run", "ramp", "judge"])
def test_many_flags_stand_in_panels_and_each_has_its_place(name: str) -> None:
    """Only --help is of no panel: a new flag is entered in bench/cli/help.py."""
    command = dict(commands())[name]
    assert isinstance(command, Command)
    panels = command.panels(click.Context(command, info_name=name))
    assert set(panels) <= {*PANELS, "Other"}
    assert len(panels) > 3
    assert [flag.removeprefix("-h, ") for flag, _ in panels["Other"]] == ["--help"]
    shown = [flag for rows in panels.values() for flag, _ in rows]
    assert len(shown) == len(set(shown))


def test_every_command_is_one_of_ours_and_shows_an_example() -> None:
    """So that it has panels, other tools' names of flags, and a line to copy."""
    plain = {name for name, command in commands() if not isinstance(command, Command)}
    assert plain == set()
    shown = {name for task in TASKS for name in task.commands}
    assert {name for name, _ in commands()} - shown <= {"help", "collect"}


def test_the_pages_of_tasks_are_in_the_documentation() -> None:
    """And no two tasks have one name."""
    assert [task.page for task in TASKS if not (ROOT / "docs" / task.page).exists()] == []
    assert len({task.name for task in TASKS}) == len(TASKS)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("claim", "claim"),
        ("compare tiers", "compare tiers"),
        ("first verdict", "first verdict"),
        ("frist verdict", "first verdict"),
        ("getting started", "first verdict"),
        ("dedicated or shared", "compare tiers"),
        ("capacity", "highest rate"),
        ("why is it slow", "find the cause"),
        ("sla credit", "claim"),
        ("regression", "compare with a baseline"),
        ("monitor", "watch for weeks"),
        ("how many requests do i need", "plan size"),
        ("crash", "resume"),
        ("rate", "highest rate"),
        ("sharegpt", "own requests"),
    ],
)
def test_a_task_is_found_by_the_words_that_people_use(asked: str, meant: str) -> None:
    """Also with a letter out of place."""
    assert meant in [task.name for task in nearest(asked.split())]


def test_what_nobody_does_is_no_task(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 and the way to the list."""
    assert main(["help", "zymurgy"]) == 2
    assert "`tailproof help` lists all of them" in capsys.readouterr().err


def test_help_of_a_command_is_help_of_its_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    """`help watch`: every task that it does; `help first verdict`: the line of the README."""
    text = said(capsys, "help", "watch")
    assert "tailproof watch my-suite.toml" in text
    text = said(capsys, "help", "first", "verdict")
    (line,) = next(task.lines for task in TASKS if task.name == "first verdict")
    assert line in text.replace(" \\\n     ", "")


def test_a_run_is_named_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The newest, which the tab key offers first, too."""
    monkeypatch.chdir(tmp_path)
    assert "newest" not in said(capsys, "help", "verify")
    for name in ("2026-11-01T00-00-00Z-a-0001", "2026-11-02T00-00-00Z-a-0002"):
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "run.json").write_text('{"lanes": [{"name": "pro"}]}')
    assert "results/2026-11-02T00-00-00Z-a-0002" in said(capsys, "help", "verify")
    runs = completed("tailproof verify ")
    assert [Path(run).name[:10] for run in runs] == ["2026-11-02", "2026-11-01"]
    assert completed(f"tailproof what-if {runs[0]} --default ") == ["pro"]


def test_long_commands_are_broken_where_a_shell_goes_on() -> None:
    """Joined again they are the same words."""
    for line in (line for task in TASKS for line in task.lines):
        rows = folded(line, 60)
        assert " ".join(row.removesuffix(" \\").strip() for row in rows) == line
        assert all(len(row) <= 62 for row in rows)


# ---- completion


def completed(line: str) -> list[str]:
    """What the tab key offers at the end of a line: click's own protocol, within this process."""
    from click.shell_completion import ZshComplete

    *before, typed = line.split(" ")
    given = ZshComplete(tailproof, {}, "tailproof", "_TAILPROOF_COMPLETE")
    return [item.value for item in given.get_completions(before[1:], typed) if item.type == "plain"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tailproof wat", {"watch"}),
        ("tailproof run --prof", {"--profile"}),
        ("tailproof run vanity", {"vanity-average"}),
        ("tailproof gateway --scenario premium", {"premium-placebo"}),
        ("tailproof run --profile long", {"long-context", "long-tail"}),
        ("tailproof run --slo ttft", {"ttft", "ttft_answer"}),
        ("tailproof ramp --target pro", {"pro"}),
        ("tailproof compare --metric e", {"e2e"}),
        ("tailproof help verd", {"verdict"}),
    ],
)
def test_the_tab_key_offers_commands_flags_and_values(line: str, offered: set[str]) -> None:
    """Names of what is built in, of metrics and of tasks."""
    assert set(completed(line)) == offered


def test_every_built_in_name_is_offered() -> None:
    """Scenarios and suites for SUITE, contracts for --contract."""
    assert set(completed("tailproof run ")) >= {*builtin_names("scenarios"), "field-guide"}
    assert set(completed("tailproof judge --contract ")) == set(builtin_names("contracts"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_by_one_command_once(
    shell: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The settings keep what they held; where the shell is here it takes the script."""
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    settings = tmp_path / f".{shell}rc"
    settings.write_text("alias l=ls")
    said(capsys, "completion", "--install")
    first = settings.read_text()
    said(capsys, "completion", "--install")
    assert settings.read_text() == first
    assert first.startswith("alias l=ls")
    (script,) = [path for path in tmp_path.rglob("*") if path.is_file() and path != settings]
    assert first.count(str(script)) == (shell != "fish")
    assert "_TAILPROOF_COMPLETE" in script.read_text()
    if shutil.which(shell):
        ended = subprocess.run([shell, "-n", str(script)], capture_output=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_shell_that_is_not_known_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the shells that are."""
    monkeypatch.setenv("SHELL", "/bin/ksh")
    assert main(["completion"]) == 2
    assert "bash, zsh or fish" in capsys.readouterr().err


def test_bash_completes_through_the_real_process() -> None:
    """As the script calls it: the program in completion mode prints the names and no more."""
    asked = {"COMP_WORDS": "tailproof run van", "COMP_CWORD": "2"}
    ended = subprocess.run(
        [sys.executable, "-c", "from bench.cli import main; raise SystemExit(main())"],
        env=os.environ | asked | {"_TAILPROOF_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.split() == ["plain,vanity-average"]


# ---- the man page


def test_the_man_page_has_every_command_and_flag() -> None:
    """In roff that a formatter takes without a warning, where there is one."""
    page = manual(tailproof)
    plain = page.replace("\\-", "-")
    for name, command in commands():
        assert f"\n.SS {name} " in plain
        for param in command.params:
            if isinstance(param, click.Option) and not param.hidden:
                assert param.opts[0] in plain
    assert all(f".B {task.name}" in plain for task in TASKS)
    if shutil.which("groff"):
        ended = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww"], input=page.encode(), capture_output=True, check=True
        )
        assert ended.stderr == b""
