"""`--insecure`: whoever asks for it is told so before, during and after the run, on the screen and
in the files.
"""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest
import trustme

from bench.cli import main
from tests.support.scripted_server import answer, serving

STREAM = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
SUITE = (
    'description = "d"\n[[stage]]\nname = "s"\nprofile = "chat"\nrequests = 2\ntargets ='
    ' ["route.toml", "safe.toml"]\n'
)
ROUTE = 'description = "d"\n[route]\nlegs = ["open.toml", "safe.toml"]\nfallback = true\n'


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Whom nobody trusts."""
    return trustme.CA()


def context(authority: trustme.CA) -> ssl.SSLContext:
    """The server's side."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(made)
    return made


@pytest.mark.parametrize("transport", ["tailproof", "httpx"])
def test_a_run_without_verified_certificates_says_so_loudly(
    transport: str, authority: trustme.CA, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even with --quiet a warning on standard error; in run.json; an alert in page and Markdown.

    Without the flag: exit 5.
    """
    reply = answer(STREAM, headers=b"Content-Type: text/event-stream\r\n")
    with serving(reply, tls=context(authority)) as server:
        words = [
            "run",
            "--url",
            f"https://127.0.0.1:{server.port}/v1",
            "--model",
            "m",
            "--request-count",
            "2",
            "--quiet",
            "--transport",
            transport,
            "--out",
            str(tmp_path / "run"),
        ]
        assert main(words) == 5
        assert not (tmp_path / "run").exists()
        assert server.requests == []
        capsys.readouterr()
        assert main([*words, "--insecure"]) in (0, 4)
    assert "WARNING: the TLS certificate of target is NOT verified" in capsys.readouterr().err
    assert [
        lane["insecure"]
        for lane in json.loads((tmp_path / "run" / "run.json").read_bytes())["lanes"]
    ] == [True]
    for name in ("report.html", "report.md"):
        assert (
            "TLS certificates were NOT verified: target." in (tmp_path / "run" / name).read_text()
        )


def test_a_route_is_as_insecure_as_its_legs_and_plain_http_has_no_certificate(
    authority: trustme.CA, tmp_path: Path
) -> None:
    """The lane of the route is marked for the leg that is not verified; a target that speaks no TLS
    is not.
    """
    reply = answer(STREAM, headers=b"Content-Type: text/event-stream\r\n")
    with serving(reply, tls=context(authority)) as server, serving(reply) as plain:
        for name, url in (
            ("open", f"https://127.0.0.1:{server.port}/v1"),
            ("safe", f"http://127.0.0.1:{plain.port}/v1"),
        ):
            (tmp_path / f"{name}.toml").write_text(
                f'description = "d"\nbase_url = "{url}"\nmodel = "m"\ninsecure = true\n'
            )
        (tmp_path / "route.toml").write_text(ROUTE)
        (tmp_path / "suite.toml").write_text(SUITE)
        assert main(
            ["run", str(tmp_path / "suite.toml"), "--quiet", "--out", str(tmp_path / "run")]
        ) in (0, 4)
    lanes = json.loads((tmp_path / "run" / "run.json").read_bytes())["lanes"]
    assert {lane["name"]: lane["insecure"] for lane in lanes} == {"route": True, "safe": False}
    assert "NOT verified: route." in (tmp_path / "run" / "report.md").read_text()


def test_a_watch_without_verified_certificates_says_so(
    authority: trustme.CA, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its first look at the target warns."""
    reply = answer(STREAM, headers=b"Content-Type: text/event-stream\r\n")
    with serving(reply, tls=context(authority)) as server:
        url = f"https://127.0.0.1:{server.port}/v1"
        (tmp_path / "open.toml").write_text(
            f'description = "d"\nbase_url = "{url}"\nmodel = "m"\ninsecure = true\n'
        )
        (tmp_path / "suite.toml").write_text(
            SUITE.replace('"route.toml", "safe.toml"', '"open.toml"')
        )
        main(
            [
                "watch",
                str(tmp_path / "suite.toml"),
                "--rate",
                "5/s",
                "--for",
                "1s",
                "--out",
                str(tmp_path / "watch"),
            ]
        )
    said = capsys.readouterr()
    assert "the TLS certificate of open is NOT verified" in said.out + said.err
