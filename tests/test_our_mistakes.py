"""The buyer's own mistakes over real sockets: a wrong key, model or body, and a key that expires.

What the server had and what it answered is counted by the server itself.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from bench.cli import main
from bench.record.run_folder import Run
from tests.support.status_by_turn import Script, provider


def run(url: str, out: Path, *flags: str, count: int = 60) -> int:
    """`tailproof run` of some requests at 200/s."""
    plan = ["--request-rate", "200", "--request-count", str(count), "--isl", "8", "--osl", "1"]
    return main(["run", "--url", url, "--model", "m", *plan, "--out", str(out), *flags])


@pytest.mark.parametrize(
    ("status", "words", "remedy"),
    [
        (401, "Incorrect API key provided", "--api-key-env"),
        (403, "You may not use this model", "--api-key-env"),
        (404, "The model `m` does not exist", "--model"),
        (400, "Unsupported parameter: 'max_tokens'", "--extra-body"),
    ],
)
def test_first_answers_that_all_refuse_end_the_run(
    status: int, words: str, remedy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stops after about ten, says what the server said and what to mend, and no contract is
    broken.
    """
    with provider(lambda _: status) as (url, answered):
        code = run(url, tmp_path / "r", "--slo", "uptime>=99%")
    screen = " ".join("".join(capsys.readouterr()).split())
    assert code == 5
    assert 10 <= len(answered) < 60
    assert words in screen
    assert remedy in screen
    verdicts = json.loads((tmp_path / "r" / "verdicts.json").read_text())
    assert (verdicts["overall"], verdicts["exit_code"]) == ("INVALID", 5)
    assert "FAIL" not in {clause["verdict"] for clause in verdicts["clauses"]}
    assert main(["judge", str(tmp_path / "r")]) == 5


def test_few_refusals_without_a_contract_are_no_success(tmp_path: Path) -> None:
    """Fewer rows than it takes to stop: all refused, none served."""
    with provider(lambda _: 404) as (url, _):
        assert run(url, tmp_path / "r", count=4) == 5


@pytest.mark.parametrize("script", [lambda n: 404 if n % 2 else 500, lambda _: 429, lambda _: 500])
def test_what_is_not_alike_or_not_ours_goes_on(script: Script, tmp_path: Path) -> None:
    """A server that fails in several ways, or is busy, is judged."""
    with provider(script) as (url, answered):
        assert run(url, tmp_path / "r", "--slo", "uptime>=99%", count=30) == 1
    assert len(answered) == 30


def test_the_rule_can_be_left_out(tmp_path: Path) -> None:
    """All rows are sent; still nobody's breach."""
    with provider(lambda _: 401) as (url, answered):
        assert run(url, tmp_path / "r", "--no-stop-rule", count=30) == 5
    assert len(answered) == 30


def test_a_key_that_expires_is_ours_and_makes_the_run_invalid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Served, then 401 to the end: set aside, never a breach."""
    with provider(lambda n: 200 if n < 30 else 401) as (url, _):
        assert run(url, tmp_path / "r", "--slo", "uptime>=99%") == 4
    assert "the key was refused from some moment on" in " ".join(capsys.readouterr().out.split())
    clause = json.loads((tmp_path / "r" / "verdicts.json").read_text())["clauses"][0]
    assert clause["verdict"] == "INCONCLUSIVE"
    aside = [count for why, count in clause["excluded"].items() if "key" in why]
    assert sum(aside) == 30


def test_a_key_that_is_renewed_sets_its_rows_aside(tmp_path: Path) -> None:
    """Served again afterwards: the rows between are ours, the others are judged."""
    with provider(lambda n: 401 if 20 <= n < 40 else 200) as (url, answered):
        code = run(url, tmp_path / "r", "--slo", "uptime>=90%", count=120)
    assert (code, answered.count(401)) == (0, 20)
    samples = Run(tmp_path / "r").columns.samples
    assert (samples["status"] == 401).sum() == 20


def test_a_model_that_is_not_listed_is_named_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With those that are; where the list has it, or is not whole, nothing is said."""
    lists = b'{"data":[{"id":"%s"},{"id":"b"}],"has_more":%s}'
    for name, more, said in (
        (b"a", b"false", True),
        (b"m", b"false", False),
        (b"a", b"true", False),
    ):
        with provider(lambda _: 200, lists % (name, more)) as (url, _):
            run(url, tmp_path / f"{name.decode()}-{more.decode()}", count=2)
        screen = " ".join("".join(capsys.readouterr()).split())
        assert ("does not list the model 'm'; it has a, b" in screen) is said


def test_a_server_whose_list_hangs_can_be_measured(tmp_path: Path) -> None:
    """`--no-ready-check` asks nothing before the run."""
    asked: list[str] = []
    with provider(lambda _: 200, asked=asked) as (url, answered):
        assert run(url, tmp_path / "r", "--no-ready-check", count=2) == 0
        assert (asked, answered) == ([], [200, 200])
        assert run(url, tmp_path / "s", count=2) == 0
    assert asked == ["/v1/models"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_command_is_asked_for_the_next_key_when_one_is_refused(
    workers: str, tmp_path: Path
) -> None:
    """The first key is good for thirty requests. Those that were sent with it afterwards are ours,
    the others are served, and no file holds either key.
    """
    command = tmp_path / "print_key.py"
    command.write_text(
        "import pathlib, sys\n"
        "asked = pathlib.Path(sys.argv[1])\n"
        "with asked.open('a') as handle: handle.write('x')\n"
        "print(f'planted-key-{int(len(asked.read_text()) > int(sys.argv[2]))}')\n"
    )
    keys: list[str] = []
    # every process asks for itself: our own for the ready check, and each worker
    asks = {"1": 1, "2": 3}[workers]
    printing = shlex.join([sys.executable, str(command), str(tmp_path / "asked"), str(asks)])

    def script(n: int) -> int:
        return 200 if n < 30 or keys[-1].endswith("planted-key-1") else 401

    with provider(script, keys=keys) as (url, answered):
        flags = ["--slo", "uptime>=90%", "--api-key-command", printing, "--workers", workers]
        code = run(url, tmp_path / "r", *flags, count=400)
    assert code == 0
    assert answered[-1] == 200
    assert 1 <= answered.count(401) < 300
    assert {keys[0], keys[-1]} == {"Bearer planted-key-0", "Bearer planted-key-1"}
    files = [path for path in (tmp_path / "r").rglob("*") if path.is_file()]
    assert [path.name for path in files if b"planted-key" in path.read_bytes()] == []


def test_a_ramp_is_not_lowered_by_a_wrong_key(tmp_path: Path) -> None:
    """No rate is blamed for what every rate would be refused for."""
    with provider(lambda _: 401) as (url, answered):
        words = ["--model", "m", "--slo", "uptime>=99%", "--out", str(tmp_path / "r"), "--yes"]
        code = main(["ramp", "--url", url, *words, "--isl", "8", "--osl", "1"])
    assert code == 5
    assert len(answered) < 60
