"""`tailproof init`: what it writes runs as it stands and decides; what it asks, and whom."""

from __future__ import annotations

import io
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cli import main
from bench.plan.suite import load_suite
from tests.support.gateway_process import GatewayProcess
from tests.support.scripted_server import ScriptedServer, answer, each, unused_port

QUICK = """
description = "answers after a good second"
[gateway]
[[gateway.model]]
name = "*"
pool = "p"
[[gateway.pool]]
name = "p"
ttft = { fixed = "1200ms" }
[truth]
says = "1.2 s to the first token, and quick ones after it"
"""


class Terminal(io.StringIO):
    """Answers typed by somebody."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A provider whose answers take a good second."""
    file = tmp_path_factory.mktemp("quick") / "quick.toml"
    file.write_text(QUICK)
    gateway = GatewayProcess(["--scenarios", str(file)])
    yield f"http://{gateway.host}:{gateway.port}/quick/v1"
    gateway.stop()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files and results of a test are its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("".join(f"{line}\n" for line in lines)))
    monkeypatch.setattr("bench.cli.init._asks", lambda: True)


@pytest.mark.clock
@pytest.mark.slow("a run of six seconds, the smallest that decides")
@pytest.mark.parametrize(("limit", "code"), [("4s", 0), ("1s", 1)])
def test_the_printed_command_ends_in_a_verdict(
    limit: str, code: int, url: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """PASS where the answers are quicker than the clause, FAIL where they are slower."""
    words = ["init", "mine", "--url", url, "--model", "m", "--rate", "70"]
    assert main([*words, "--slo", f"e2e:p95<{limit}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "WRITTEN  5 files in mine"
    assert len(lines) <= 24
    assert lines[-1] == "next      tailproof run mine/suite.toml"
    command = shlex.split(lines[-1])[2:]
    ended = main([*command, "--quiet", "--out", "r"])
    assert ended == code, capsys.readouterr().out
    assert json.loads((here / "r/verdicts.json").read_text())["overall"] == (
        "FAIL" if code else "PASS"
    )
    assert "tailproof run mine/suite.toml" in (here / "mine/README.md").read_text()


def test_five_questions_at_most_and_only_for_what_no_flag_says(
    url: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    typed(monkeypatch, url, "", "1500ms", "25")
    assert main(["init", "mine"]) == 0
    err = capsys.readouterr().err
    assert [word in err for word in ("URL", "Model", "95 of 100", "Requests a second")] == [
        True
    ] * 4
    stage = load_suite(str(here / "mine/suite.toml")).stages[0]
    assert stage.targets[0].base_url == url
    assert stage.contract is not None
    clause = stage.contract.clauses[0]
    assert (clause.metric, clause.limit) == ("e2e", 1_500_000_000)
    assert stage.profile.arrivals.rate == 25
    assert stage.profile.requests is not None


def test_a_key_is_asked_for_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    """A wrong one ends it: nothing is written, the key is not printed."""
    monkeypatch.setenv("THEIR_KEY", "sk-0123456789abcdef")
    refused = answer(b'{"error":{"message":"no"}}', status="401 Unauthorized")
    with ScriptedServer(each(lambda peer, _: peer.send(refused))) as there:
        typed(monkeypatch, f"http://127.0.0.1:{there.port}/v1", "THEIR_KEY")
        assert main(["init", "mine"]) == 5
    out, err = capsys.readouterr()
    assert "Environment variable that holds the key" in err
    assert "The key in THEIR_KEY is refused" in out
    assert "sk-0123456789abcdef" not in out + err
    assert not (here / "mine").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--url: is required where there is no terminal to ask"),
        (["--url", "{url}"], "--model: is required"),
        (["--url", "{url}", "--model", "m"], "--slo: is required"),
        (["--url", "{url}", "--model", "m", "--slo", "fast"], "is not an SLO"),
        (["--url", "{url}", "--model", "m", "--slo", "e2e:p95<2s", "--rate", "x"], "--rate"),
        (["--url", "http://h/v1?api_key=sk-0123456789"], "name an environment variable"),
    ],
)
def test_without_a_terminal_nothing_is_asked(
    words: list[str], says: str, url: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "mine", *(word.format(url=url) for word in words)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
    assert "sk-0123456789" not in err
    assert not (here / "mine").exists()


def test_files_are_overwritten_only_where_that_is_asked_for(
    url: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["init", "mine", "--url", url, "--model", "m", "--slo", "ttft:p99<2s"]
    (here / "mine").mkdir()
    (here / "mine/contract.toml").write_text("mine")
    assert main(words) == 2
    assert "holds contract.toml already; name another folder, or --force" in capsys.readouterr().err
    assert (here / "mine/contract.toml").read_text() == "mine"
    assert main([*words, "--force", "--format", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["next"] == "tailproof run mine/suite.toml"
    assert "ttft" in (here / "mine/contract.toml").read_text()


def test_an_endpoint_that_does_not_answer_is_written_nothing_for(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = f"http://127.0.0.1:{unused_port()}/v1"
    assert main(["init", "mine", "--url", dead, "--model", "m", "--slo", "e2e:p95<2s"]) == 5
    assert capsys.readouterr().out.startswith("NOT READY  Cannot reach 127.0.0.1:")
    assert not (here / "mine").exists()


def test_a_secret_that_was_typed_gets_into_no_file(
    url: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["init", "mine", "--url", url, "--model", "m", "--slo", "e2e:p95<2s"]
    assert main([*words, "--header", "X-Team: sk-0123456789"]) == 2
    out, err = capsys.readouterr()
    assert "sk-0123456789" not in out + err
    assert "write ${NAME} in its place" in err
    assert not (here / "mine").exists()
