"""Keys and headers go where their user sent them, each as one header: no redirect is followed,
nothing is injected.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from bench.cli import main
from bench.record.run_folder import Run
from bench.record.samples import Outcome
from tests.support.scripted_server import Peer, ScriptedServer, answer, each, serving

BOTH = pytest.mark.parametrize("transport", ["tailproof", "httpx"])
KEY = "sk-planted-0123456789"
STATUSES = [
    "301 Moved Permanently",
    "302 Found",
    "303 See Other",
    "307 Temporary Redirect",
    "308 Permanent Redirect",
]
SPLIT = {
    "break": "a\r\nX-Injected: 1",
    "feed": "a\nX-Injected: 1",
    "return": "a\rX-Injected: 1",
    "bell": "a\x07b",
}


def run(server: ScriptedServer, folder: Path, *words: str) -> int:
    """`tailproof run` of ten requests with a key."""
    url = ["--url", f"http://127.0.0.1:{server.port}/v1", "--model", "m", "--api-key-env", "TP_KEY"]
    return main(
        [
            "run",
            *url,
            "--request-count",
            "10",
            "--request-rate",
            "200",
            "--quiet",
            "--out",
            str(folder),
            *words,
        ]
    )


@BOTH
def test_a_redirect_to_another_host_is_an_outcome_and_takes_no_key_there(
    transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of redirect, of the ready check and of every request: told with its status; the
    other host hears nothing.
    """
    monkeypatch.setenv("TP_KEY", KEY)
    with serving(answer()) as other:
        turns = itertools.cycle(STATUSES)

        def away(peer: Peer, _request: bytes) -> None:
            location = b"Location: http://localhost:%d/v1/chat/completions\r\n" % other.port
            peer.send(answer(b"", status=next(turns), headers=location))

        with ScriptedServer(each(away)) as server:
            run(server, tmp_path / "run", "--transport", transport)
        came = [request.partition(b" ")[0] for _, request in server.requests]
        assert sorted(came) == [b"GET"] + 10 * [b"POST"]
        assert all(f"Bearer {KEY}".encode() in request for _, request in server.requests)
        assert other.connections == 0
    found = Run(tmp_path / "run")
    assert set(found.columns.samples["outcome"]) == {Outcome.malformed}
    assert set(found.columns.samples["status"]) == {301, 302, 303, 307, 308}
    assert all("not followed" in note for note in found.strings("note"))


@BOTH
def test_a_redirect_to_itself_is_asked_once_a_row(
    transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten requests and one ready check reach a server that redirects to itself for ever."""
    monkeypatch.setenv("TP_KEY", KEY)
    with serving(
        answer(b"", status="307 Temporary Redirect", headers=b"Location: /v1/chat/completions\r\n")
    ) as server:
        run(server, tmp_path / "run", "--transport", transport)
    assert len(server.requests) == 11


@BOTH
@pytest.mark.parametrize("value", SPLIT.values(), ids=SPLIT)
@pytest.mark.parametrize("place", ["key", "header", "url"])
def test_what_a_variable_holds_begins_no_header(
    place: str,
    value: str,
    transport: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A line break or another control character in a key, a header or a URL is refused with its
    name; nothing is sent.
    """
    monkeypatch.setenv("TP_KEY", KEY + value if place == "key" else KEY)
    monkeypatch.setenv("TP_TEXT", value)
    words = {
        "key": [],
        "header": ["--header", "X-Team: ${TP_TEXT}"],
        "url": ["--url", "http://127.0.0.1:9/${TP_TEXT}/v1"],
    }
    with serving(answer()) as server:
        assert run(server, tmp_path / "run", "--transport", transport, *words[place]) == 2
        assert server.connections == 0
    said = capsys.readouterr().err
    assert {"key": "api_key_env", "header": "headers.X-Team", "url": "--url"}[place] in said
    assert "Injected" not in said
    assert not (tmp_path / "run").exists()


@BOTH
def test_line_breaks_in_a_body_stay_in_their_json_text(
    transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop sequence of a line break is a good one: it goes out escaped, and the request is one
    request.
    """
    monkeypatch.setenv("TP_KEY", KEY)
    extra = {"stop": "\r\n\r\nGET / HTTP/1.1\r\n", "user": "a\0b"}
    with serving(answer()) as server:
        run(server, tmp_path / "run", "--transport", transport, "--extra-body", json.dumps(extra))
    bodies = [
        request.partition(b"\r\n\r\n")[2]
        for _, request in server.requests
        if request.startswith(b"POST")
    ]
    assert len(bodies) == 10
    for body in bodies:
        assert not any(byte in body for byte in b"\r\n\0")
        assert {key: json.loads(body)[key] for key in extra} == extra


@pytest.mark.parametrize("name", ["a\r\nX-Injected: 1", "ünïcode", "a b", "x" * 200])
def test_the_id_of_a_request_is_a_header_whatever_its_suite_is_called(
    name: str, tmp_path: Path
) -> None:
    """The id begins with the run's name: what no header or folder may hold has become a dash, and
    the name is short.
    """
    with serving(answer()) as server:
        (tmp_path / "t.toml").write_text(
            f'description = "d"\nbase_url = "http://127.0.0.1:{server.port}/v1"\nmodel = "m"\n'
        )
        suite = tmp_path / f"{name}.toml"
        suite.write_text(
            'description = "d"\n[[stage]]\nname = "s"\nprofile = "p.toml"\ntargets ='
            ' ["t.toml"]\nrequests = 2\n'
        )
        (tmp_path / "p.toml").write_text(
            'description = "d"\narrivals = { kind = "constant", rate = "50/s" }\nrequests = 2\n'
        )
        code = main(["run", str(suite), "--quiet", "--out", str(tmp_path / "run")])
    assert code in (0, 4)
    heads = [
        request.partition(b"\r\n\r\n")[0].split(b"\r\n")
        for _, request in server.requests
        if request.startswith(b"POST")
    ]
    ids = [
        line.split(b": ")[1].decode()
        for head in heads
        for line in head
        if line.lower().startswith(b"x-request-id")
    ]
    assert len(ids) == 2
    assert all(
        text.isascii() and text.isprintable() and " " not in text and len(text) < 120
        for text in ids
    )
    assert not any(line.startswith(b"X-Injected") for head in heads for line in head)


def test_a_model_with_a_line_break_is_refused_with_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever names a target in records and on screens has no control characters."""
    assert (
        main(
            [
                "run",
                "--url",
                "http://127.0.0.1:9/v1",
                "--model",
                "a\nb",
                "--out",
                str(tmp_path / "run"),
            ]
        )
        == 2
    )
    assert "model holds a line break" in capsys.readouterr().err
