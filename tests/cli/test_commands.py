"""The command itself: help, exit codes, one sentence for every bad input, nothing left behind."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cli import main
from bench.userfile import builtin_names
from tests.support.patience import PATIENCE_S

PROFILE = 'description = "d"\nduration = "5s"\n[arrivals]\nkind = "poisson"\nrate = "5/s"\n'
TARGET = 'description = "d"\nbase_url = "URL"\nmodel = "m"\n'
SUITE = 'description = "d"\n[[stage]]\nname = "one"\ntargets = ["t.toml"]\nprofile = "p.toml"\n'
CLAUSE = 'title = "t"\n[[clause]]\nmetric = "e2e"\nquantile = "99%"\nlimit = "1s"\n'
COMMANDS = ["run", "plan", "judge", "report", "profiles", "gateway"]


@pytest.fixture
def deaf() -> Iterator[str]:
    """A base URL whose port is taken and refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf: str) -> Path:
    """The working folder, with a suite that can be loaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TP_NOT_SET", raising=False)
    for name, text in (
        ("p", PROFILE),
        ("t", TARGET.replace("URL", deaf)),
        ("s", SUITE),
        ("c", CLAUSE),
    ):
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


def refused(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    """Run the command; it must end with `code`, one sentence and an untouched folder.

    Returns the sentence.
    """
    before = sorted(Path().rglob("*"))
    assert main(words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    said = [line for line in err.splitlines() if line.startswith("tailproof: ")]
    assert len(said) == 1, err
    assert sorted(Path().rglob("*")) == before
    return said[0].removeprefix("tailproof: ")


@pytest.mark.parametrize(
    ("file", "old", "new", "text"),
    [
        ("p", "duration", "durration", "p.toml: durration: unknown key; did you mean 'duration'?"),
        (
            "p",
            '"5/s"',
            '"-5/s"',
            'p.toml: arrivals.rate: \'-5/s\' is not a rate above zero; write "10/s" or "120/min"',
        ),
        (
            "p",
            '"5s"',
            "5",
            'p.toml: duration: 5 is not a duration; write a number and its unit, such as "800ms"',
        ),
        (
            "p",
            '"poisson"',
            '"poison"',
            "p.toml: arrivals.kind: 'poison' is not known here; write 'constant', 'poisson'",
        ),
        ("p", '"d"\n', "\n", "p.toml: is not valid TOML: Invalid value (at line 1, column"),
        (
            "p",
            'rate = "5/s"\n',
            'rate = "5/s"\n[[phases]]\nname = "a"\nduration = "1s"\nburst = "10 x"\n',
            'p.toml: phases[0].burst: "10 x" is not a multiplier; write 10 or "10x"',
        ),
        (
            "p",
            PROFILE[PROFILE.index("[arr") :],
            '[arrivals]\nkind = "trace"\n[arrivals.trace]\nfile = "none.csv"\n',
            "none.csv: the trace cannot be read (No such file or directory); give a path",
        ),
        (
            "p",
            PROFILE[PROFILE.index("[arr") :],
            '[arrivals]\nkind = "trace"\n[arrivals.trace]\nfile = "p.toml"\n',
            "p.toml: ",
        ),
        (
            "t",
            '"m"\n',
            '"m"\n[headers]\nX-Key = "${TP_NOT_SET}"\n',
            (
                "target t: headers.X-Key: environment variable TP_NOT_SET is not set; export"
                " TP_NOT_SET=... first"
            ),
        ),
        (
            "t",
            '"m"\n',
            '"m"\napi_key_env = "TP_NOT_SET"\n',
            "target t: api_key_env: environment variable TP_NOT_SET is not set",
        ),
        ("t", "http://", "", "t.toml: '127.0.0.1:"),
        (
            "t",
            '"m"\n',
            '"m"\n[extra_body]\nmodel = "x"\n',
            "t.toml: extra_body: 'model' is set by tailproof",
        ),
        ("s", "t.toml", "standrd", "no target named 'standrd'; did you mean standard?"),
        (
            "s",
            "p.toml",
            "q.toml",
            "q.toml: no such file; give a path that exists, or a built-in name",
        ),
        (
            "s",
            SUITE,
            PROFILE,
            "s.toml: is not a suite but a load profile; name it with --profile instead",
        ),
        (
            "s",
            SUITE[SUITE.index("[[st") :],
            "",
            (
                "s.toml: is not a suite: it needs [[stage]] tables or a list of scenarios, one of"
                " the two"
            ),
        ),
    ],
)
def test_a_bad_file_ends_in_one_sentence(
    file: str, old: str, new: str, text: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2; the sentence has file, key and remedy; there is no traceback and nothing
    half-written.
    """
    path = folder / f"{file}.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert text in refused(["run", "s.toml"], capsys)


@pytest.mark.parametrize(
    ("clause", "text"),
    [
        (
            'metric = "ttft"\nquantile = "99%"\nlimit = "1s"\n',
            (
                "clause 1 (response TTFT p99 ≤ 1 s): cannot be judged in stage 'adhoc': target"
                " 'target' answers without streaming"
            ),
        ),
        (
            'metric = "e2e"\nquantile = "99%"\nlimit = "1s"\nphase = "burst"\n',
            "has no judged phase 'burst'; its phases: steady",
        ),
        (
            'metric = "e2e"\nquantile = "99%"\nlimit = "1s"\nbucket = ">32K"\n',
            "no planned prompt falls into that context bucket",
        ),
        (
            'metrc = "e2e"\nquantile = "99%"\nlimit = "1s"\n',
            "c.toml: clause[0].metrc: unknown key; did you mean 'metric'?",
        ),
        (
            'metric = "speed"\nquantile = "99%"\nlimit = "1s"\n',
            "c.toml: clause[0].metric: 'speed' is not known here; write 'ttft'",
        ),
    ],
)
def test_a_clause_that_the_run_cannot_meet_is_refused(
    clause: str, text: str, folder: Path, deaf: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A contract on what the run cannot have ends before anything is sent, exit 2."""
    (folder / "c.toml").write_text('title = "t"\n[[clause]]\n' + clause)
    assert text in refused(
        ["run", "--url", deaf, "--model", "m", "--no-streaming", "--contract", "c.toml"], capsys
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--request-rate", "abc"], "--rate: 'abc' is not a rate"),
        (
            ["--arrival", "poisson", "--burstiness", "0.5"],
            "--burstiness: does not go with --arrival poisson",
        ),
        (["--header", "nocolon"], "--header: is not a header"),
        (["--header", "k: ${TP_NOT_SET}"], "environment variable TP_NOT_SET is not set"),
        (["--api-key-env", "TP_NOT_SET"], "environment variable TP_NOT_SET is not set"),
        (["--extra-body", "{a"], "--extra-body: is not JSON"),
        (["--slo", "speed:p99<1s"], "--slo 'speed:p99<1s': is not an SLO that can be judged"),
        (["--profile", "chatt"], "did you mean chat?"),
        (["--contract", "enterprize"], "did you mean enterprise?"),
        (["--max-requests", "3"], "above --max-requests 3; shorten it or raise the cap"),
        (
            ["--request-rate", "1000000", "--duration", "1h"],
            "above the 20,000,000 that one run holds",
        ),
        (["--tokenizer", "nosuch.json"], "nosuch.json"),
    ],
)
def test_a_bad_flag_ends_in_one_sentence(
    words: list[str], text: str, folder: Path, deaf: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 and the flag's name, no traceback, no results folder."""
    assert text in refused(["run", "--url", deaf, "--model", "m", *words], capsys)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["run", "vanity-averag"], "did you mean vanity-average?"),
        (["plan", "fieldguide"], "did you mean field-guide?"),
        (["plan", "chat"], "'chat' is not a suite but a load profile"),
        (["run", "."], "no suite or scenario named '.'"),
        (["judge", "nowhere"], "is not a run's folder"),
        (["report", "nowhere"], "is not a run's folder"),
        (["run", "--url", "http://127.0.0.1:9/v1"], "--model: is required with --url"),
    ],
)
def test_names_that_lead_nowhere_are_met_with_the_nearest(
    words: list[str], text: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Suites, scenarios and runs that are not there: exit 2 and what was probably meant."""
    assert text in refused(words, capsys)


@pytest.mark.parametrize(
    "words", [["run", "s.toml"], ["run", "--url", "DEAF", "--model", "m", "--quiet"]]
)
def test_a_target_that_refuses_connections_is_exit_5(
    words: list[str], folder: Path, deaf: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody listens: exit 5, the URL that was tried and what to check."""
    said = refused([deaf if word == "DEAF" else word for word in words], capsys, 5)
    assert f"{deaf}/models does not answer" in said
    assert "check that the server runs" in said


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["rnu"], "No such command 'rnu'. Did you mean 'run'?"),
        (["run", "--modle", "m"], "--model"),
        (["run", "--seed", "-1"], "--seed"),
        (["run", "--concurrency", "0"], "--concurrency"),
        (["profiles", "loads"], "loads"),
        (["plan"], "SUITE"),
        (["gateway", "--scenario", "calmm", "--port", "0"], "no scenario named 'calmm'"),
    ],
)
def test_a_wrong_command_line_is_exit_2(
    words: list[str], text: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What click refuses ends with 2 as well, with a hint."""
    assert main(words) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`COMMAND --help` ends with 0 and says what it does; `--help` lists it with a line of
    its own.
    """
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: tailproof {command}")
    assert "--help" in text
    assert main(["--help"]) == 0
    assert re.search(rf"^  {command} +\S", capsys.readouterr().out, re.MULTILINE)


def test_help_states_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """Every exit code stands in the main help, so that CI can be written from it."""
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(
        part in text
        for part in (
            "0 PASS",
            "1 FAIL",
            "2 usage",
            "3 INCONCLUSIVE",
            "4 INVALID",
            "5 target unreachable",
            "130 interrupted",
        )
    )


def test_profiles_lists_all_that_ships_in_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    """Every built-in file is listed with its description; a kind alone lists its own."""
    assert main(["profiles", "--full"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for kind in ("suites", "scenarios", "load", "targets", "contracts"):
        for name in builtin_names(kind):
            assert any(re.match(rf"  {re.escape(name)} +\S", line) for line in lines), name
    assert main(["profiles", "load"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed[1:] if not line.startswith("   ")] == builtin_names(
        "load"
    )


def test_the_same_sentence_comes_out_of_the_real_process(folder: Path) -> None:
    """As a process of its own the command ends the same way, with nothing on stdout and no
    traceback.
    """
    (folder / "p.toml").write_text(PROFILE.replace("duration", "durration"))
    ended = subprocess.run(
        [sys.executable, "-m", "bench", "run", "s.toml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "tailproof: p.toml: durration: unknown key; did you mean 'duration'?\n"


def test_a_reader_that_has_seen_enough_changes_nothing() -> None:
    """`tailproof profiles | head` ends in silence, and as if all had been read."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench", "profiles"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE_S) == 0
