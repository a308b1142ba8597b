"""Before money leaves this machine: asked on a terminal, refused without one.

Nothing here is sent.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from bench.cli import main
from bench.cli.resume import repeat_command
from bench.cli.screen import approve
from bench.plan.schedule import compile_plan
from bench.plan.suite import load_suite
from tests.support.patience import PATIENCE_S

#: a name that never resolves (RFC 6761)
TARGET = 'description = "d"\nbase_url = "https://api.example.invalid/v1"\nmodel = "m"\n'
PRICES = (
    "[prices]\ninput_usd_per_million = 100\noutput_usd_per_million = 100\nas_of ="
    ' 2026-11-23\nsource = "s"\n'
)
PROFILE = """description = "d"
requests = 100
prompt_tokens = [{ fixed = 900 }]
output_tokens = [{ fixed = 100 }]
[arrivals]
kind = "constant"
rate = "10/s"
"""
SUITE = 'description = "d"\n[[stage]]\nname = "one"\ntargets = ["t.toml"]\nprofile = "p.toml"\n'
QUESTION = "Send 100 requests, about 10.00 USD, to api.example.invalid?"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a suite of 10 USD against a far host."""
    monkeypatch.chdir(tmp_path)
    for name, content in (("t", TARGET + PRICES), ("p", PROFILE), ("s", SUITE)):
        (tmp_path / f"{name}.toml").write_text(content)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], f"{QUESTION} There is no terminal to ask on; add --yes to send it"),
        (["--repeat", "2"], "Send 200 requests, about 20.00 USD, to"),
        (
            ["--max-cost", "9.99", "--yes"],
            "the plan costs 10.00 USD by its planned tokens, above --max-cost 9.99",
        ),
        (["--max-cost", "19.99", "--repeat", "2", "--yes"], "the plan costs 20.00 USD"),
        (["--max-cost", "ten"], "--max-cost: 'ten' is not a sum in USD; write 0.25"),
        (
            ["--max-requests", "150", "--repeat", "2", "--yes"],
            "sends 200 requests to api.example.invalid, above the 150 of --max-requests",
        ),
        (
            ["--request-count", "10001", "--yes"],
            "above the 10,000 that go to other machines unasked",
        ),
    ],
)
@pytest.mark.usefixtures("folder")
def test_without_a_terminal_it_is_refused(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, one sentence with the number, no folder; --yes answers the question and lifts
    no cap.
    """
    before = sorted(Path().rglob("*"))
    assert main(["run", "s.toml", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, sorted(Path().rglob("*"))) == ("", before)
    assert text in err


def test_on_a_terminal_it_is_asked(folder: Path) -> None:
    """The question stands on the terminal with the plan's numbers; `n` ends it with exit 2 and
    nothing sent.
    """
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "bench", "run", "s.toml"],
        cwd=folder,
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=follower,
    ) as process:
        os.close(follower)
        said = b""
        while b"[y/N]" not in said:
            said += os.read(leader, 4096)
        os.write(leader, b"n\n")
        assert process.wait(PATIENCE_S) == 2
    os.close(leader)
    assert QUESTION in said.decode()
    assert not (folder / "results").exists()


def test_who_says_yes_is_not_asked(folder: Path) -> None:
    """--yes lets the same plan pass; so does one for little money, and any on this machine, where
    not even prices matter.
    """
    approve(compile_plan(load_suite("s.toml")), 1, max_cost=None, max_requests=None, yes=True)
    (folder / "p.toml").write_text(PROFILE.replace("requests = 100", "requests = 10"))
    approve(
        compile_plan(load_suite("s.toml")), 1, max_cost=Fraction(1), max_requests=None, yes=False
    )
    (folder / "t.toml").write_text(
        TARGET.replace("https://api.example.invalid", "http://127.0.0.1:9")
    )
    approve(
        compile_plan(load_suite("s.toml")), 100_000, max_cost=None, max_requests=None, yes=False
    )
    approve(
        compile_plan(load_suite("field-guide")), 100, max_cost=None, max_requests=None, yes=False
    )


def test_a_consent_is_not_repeated() -> None:
    """The command kept for a repetition leaves --yes out; the cap stays."""
    words = ["tailproof", "run", "s.toml", "--yes", "-y", "--max-cost", "5"]
    assert repeat_command(words, 7) == "tailproof run s.toml --max-cost 5 --seed 7"
