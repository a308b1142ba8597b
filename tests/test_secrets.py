"""Secrets, planted wherever one can be given, and a server that repeats each: none is found
in anything that is left.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from urllib.request import urlopen

import pytest
import trustme

from bench.cli import main
from tests.support import in_process
from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[1]
#: The fixture is two whole runs, which may meet a busy machine.
pytestmark = [pytest.mark.timeout(3 * PATIENCE_S), pytest.mark.figures]
#: Where each is given -> the secret. Two words of it differ in every form: in JSON, in a URL, in
#: base64.
PLACES = (
    "key_env",
    "key_file",
    "key_command",
    "header_key",
    "header_literal",
    "header_env",
    "header_within",
    "cookie_first",
    "cookie_second",
    "basic",
    "url_env",
    "query_env",
    "body_env",
    "body_within",
    "body_key",
    "body_nested",
    "leg_key",
    "leg_header",
    "flag_header",
    "flag_body",
    "collector",
)
SECRETS = {
    place: (
        f'z{number:02d}q"/w+{base64.b16encode(place[::-1].encode()).decode()[:24]}"q{number:02d}z'
    )
    for number, place in enumerate(PLACES)
}
SECRETS["url_env"] = "zUqLwK8d3-Tn5vB_7yR2"  # what a path may hold as it is
#: Those that stand behind a variable of the user's own.
FROM_ENV = (
    "key_env",
    "header_env",
    "header_within",
    "url_env",
    "query_env",
    "body_env",
    "body_within",
    "leg_key",
    "collector",
)
PEM = "zPqM4x9Wk2Hs6Dg1"
KINDS = ("401", "503", "302", "names", "error_event", "torn", "retry")


def needles(secret: str) -> list[bytes]:
    """What may be found of it: 8 characters of either end, as they are and in the forms that a
    server may send them in.
    """
    found = []
    for part in (secret[:8], secret[-8:]):
        found += [
            part,
            quote(part, safe=""),
            json.dumps(part)[1:-1],
            json.dumps(json.dumps(part)[1:-1])[1:-1],
        ]
    whole = secret.encode()
    found += [base64.b64encode(bytes(before) + whole).decode()[4:-4][:10] for before in range(3)]
    return [text.encode() for text in found]


def forms(secret: str) -> str:
    """A text of a server with the secret in each form, the last one cut off."""
    encoded = base64.b64encode(f"Bearer {secret}".encode()).decode()
    return f"{secret} {quote(secret, safe='')} {json.dumps(secret)} {encoded} {secret[:9]}"


@dataclass
class Heard:
    """What came to a server, and the command lines and environments of the run's processes
    meanwhile.
    """

    secrets: set[str] = field(default_factory=set)
    pid: int = 0
    started: threading.Event = field(default_factory=threading.Event)
    processes: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    turns: dict[str, Iterator[int]] = field(default_factory=dict)
    looked: threading.Lock = field(default_factory=threading.Lock)


class Parrot(BaseHTTPRequestHandler):
    """Repeats the secrets of each request, one an answer, in one of seven kinds of answer."""

    protocol_version = "HTTP/1.1"
    heard = Heard()

    def do_GET(self) -> None:
        """The ready check."""
        self._answer(401, json.dumps({"error": {"message": " ".join(self.headers.values())}}), "")

    def do_POST(self) -> None:
        """An answer that repeats."""
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        basic = self.headers.get("x-basic", "").removeprefix("Basic ")
        came = " ".join(
            [
                *self.headers.values(),
                unquote(self.path),
                *_texts(json.loads(body)),
                base64.b64decode(basic).decode(),
            ]
        )
        mine = [secret for secret in SECRETS.values() if secret in came]
        heard = self.heard
        heard.secrets.update(mine)
        if "resourceMetrics" in body:
            self._answer(401, forms(mine[0]), "")
            return
        with heard.looked:
            if heard.started.wait(PATIENCE_S) and not heard.processes:
                heard.processes = children(heard.pid)
            turn = next(heard.turns.setdefault(self.headers["x-lane"], itertools.count()))
        secret = mine[turn // len(KINDS) % len(mine)]
        if "basic" in self.headers["x-lane"] and turn % 2:
            secret = base64.b64encode(secret.encode()).decode()
        self._repeat(KINDS[turn % len(KINDS)], forms(secret), bool(json.loads(body)["stream"]))

    def _repeat(self, kind: str, text: str, stream: bool) -> None:
        error = json.dumps({"error": {"message": text, "type": text, "code": text}})
        good = {
            "id": text,
            "model": text,
            "choices": [
                {"delta": {"content": "a"}, "message": {"content": "a"}, "finish_reason": text}
            ],
        }
        if kind in ("401", "503", "302"):
            self._answer(int(kind), error, text)
        elif kind == "retry":
            self._answer(429, text, text)
        elif kind == "torn":
            self._answer(200, f"data: {{not json {text}\n\n", text)
        elif kind == "error_event":
            self._answer(200, f"data: {error}\n\n" if stream else error, text, stream)
        else:
            self._answer(
                200,
                f"data: {json.dumps(good)}\n\ndata: [DONE]\n\n" if stream else json.dumps(good),
                text,
                stream,
            )

    def _answer(self, status: int, text: str, header: str, stream: bool = False) -> None:
        self.send_response_only(status)
        for name in (
            "X-Request-Id",
            "X-Served-Region",
            "X-Served-Model",
            "Retry-After",
            "WWW-Authenticate",
        ):
            self.send_header(name, header)
        self.send_header("Location", f"http://127.0.0.1:9/{quote(header)}")
        self.send_header("Content-Type", "text/event-stream" if stream else "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


def children(pid: int) -> dict[int, tuple[bytes, bytes]]:
    """Command line and environment of each process below `pid`."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    below, found = {pid}, dict[int, tuple[bytes, bytes]]()
    for _ in range(4):
        below |= {child for child, parent in parents.items() if parent in below}
    for child in below - {pid}:
        with contextlib.suppress(OSError):
            found[child] = (
                Path(f"/proc/{child}/cmdline").read_bytes(),
                Path(f"/proc/{child}/environ").read_bytes(),
            )
    return found


@contextmanager
def parrot(tls: ssl.SSLContext | None = None) -> Iterator[tuple[Heard, int]]:
    """The server, and its port."""
    handler = type("Own", (Parrot,), {"heard": Heard()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # a handshake that the client breaks off
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield handler.heard, server.server_port  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def toml(**keys: Any) -> str:
    """Keys of a TOML file; JSON's strings, lists and numbers are TOML's too."""

    def value(given: Any) -> str:
        if isinstance(given, dict):
            return (
                "{"
                + ", ".join(f"{json.dumps(key)} = {value(inner)}" for key, inner in given.items())
                + "}"
            )
        return (
            "[" + ", ".join(map(value, given)) + "]"
            if isinstance(given, list)
            else json.dumps(given)
        )

    return "".join(f"{key} = {value(given)}\n" for key, given in keys.items())


def planted(folder: Path, port: int) -> Path:
    """A suite whose targets hold the secrets, on both transports, streamed and plain; returns its
    path.
    """
    folder.mkdir()
    (folder / "key").write_text(SECRETS["key_file"] + "\n")
    (folder / "key2").write_text(SECRETS["key_command"] + "\n")
    url = f"http://127.0.0.1:{port}/v1"
    targets: dict[str, dict[str, Any]] = {
        "env": {
            "base_url": f"http://127.0.0.1:{port}/${{TP_url_env}}/v1",
            "query": {"route": "${TP_query_env}"},
            "api_key_env": "TP_key_env",
            "headers": {
                "X-Literal": SECRETS["header_literal"],
                "X-Env": "${TP_header_env}",
                "X-In": "team ${TP_header_within}; v=1",
                "Cookie": f"a={SECRETS['cookie_first']}; b={SECRETS['cookie_second']}",
            },
            "extra_body": {
                "user": "${TP_body_env}",
                "metadata": {"note": "by ${TP_body_within}"},
                "api_token": SECRETS["body_key"],
                "nested": {"passwords": [SECRETS["body_nested"]]},
            },
        },
        "file": {
            "base_url": url,
            "auth": "x-api-key",
            "api_key_file": str(folder / "key"),
            "transport": "httpx",
        },
        "command": {
            "base_url": url,
            "api_key_command": ["cat", str(folder / "key2")],
            "stream": False,
        },
        "basic": {
            "base_url": url,
            "headers": {
                "X-Basic": "Basic " + base64.b64encode(SECRETS["basic"].encode()).decode(),
                "Authorization": f"Bearer {SECRETS['header_key']}",
            },
            "stream": False,
            "transport": "httpx",
        },
        "leg1": {"base_url": url, "auth": "api-key", "api_key_env": "TP_leg_key"},
        "leg2": {"base_url": url, "headers": {"X-Leg": SECRETS["leg_header"]}},
    }
    for name, fields in targets.items():
        fields["headers"] = {**fields.get("headers", {}), "X-Lane": name}
        (folder / f"{name}.toml").write_text(toml(description="made", model="some-model", **fields))
    (folder / "route.toml").write_text(
        'description = "made"\n[route]\nlegs = ["leg1.toml", "leg2.toml"]\npick ='
        ' "spread"\nfallback = true\n'
    )
    (folder / "load.toml").write_text(
        'description = "made"\nduration = "1s"\n[arrivals]\nkind = "constant"\nrate = "80/s"\n'
        "[[prompt_tokens]]\nfixed = 8\n[[output_tokens]]\nfixed = 2\n"
    )
    names = ["env.toml", "file.toml", "command.toml", "basic.toml", "route.toml"]
    suite = folder / "suite.toml"
    suite.write_text(
        'description = "made"\n[[stage]]\nname = "only"\nprofile = "load.toml"\ntargets ='
        f' {json.dumps(names)}\nsettle = "0s"\n'
    )
    return suite


def environment(**more: str) -> dict[str, str]:
    """Ours, with the secrets that a user keeps in variables."""
    given = {f"TP_{place}": SECRETS[place] for place in FROM_ENV}
    return {
        **os.environ,
        **given,
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={quote(SECRETS['collector'])}",
        "PYTHONFAULTHANDLER": "1",
        "NO_COLOR": "1",
        **more,
    }


def tailproof(
    *words: str, cwd: Path, heard: Heard | None = None, more: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Exit code, and all that one command printed."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench", *words],
        cwd=cwd,
        env=environment(**more or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        if heard is not None:
            heard.pid = process.pid
            heard.started.set()
        said, _ = process.communicate(timeout=2 * PATIENCE_S)
    return process.returncode, said


def at_once(*words: str, cwd: Path, more: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """The same in this process."""
    ran = in_process.tailproof(*words, cwd=cwd, environment=environment(**more or {}))
    return ran.returncode, (ran.stdout + ran.stderr).encode()


def leaks(data: bytes, where: str, places: tuple[str, ...] = PLACES) -> list[str]:
    """Which of the secrets stand there."""
    return [
        f"{place} in {where}: {needle!r}"
        for place in places
        for needle in needles(SECRETS[place])
        if needle in data
    ]


def left(folder: Path) -> list[str]:
    """Secrets in any file below a folder, or in a file's name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"run.json", "schedule.npy", "rows.npy", "report.html"} <= {path.name for path in files}
    return [
        leak for path in files for leak in leaks(str(path).encode() + path.read_bytes(), path.name)
    ]


@pytest.fixture(scope="module")
def echoed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, Heard]:
    """(folder, what was printed, what the server heard) of a run by two workers with all twenty
    secrets.
    """
    where = tmp_path_factory.mktemp("planted")
    with parrot() as (heard, port):
        suite = planted(where / "files", port)
        code, said = tailproof(
            "run",
            str(suite),
            "--workers",
            "2",
            "--yes",
            "--otlp-endpoint",
            f"http://127.0.0.1:{port}",
            "--out",
            str(where / "results" / "run"),
            cwd=where,
            heard=heard,
        )
        assert code in (0, 3, 4), said
        lone = [
            "run",
            "--url",
            f"http://127.0.0.1:{port}/v1",
            "--model",
            "m",
            "--request-count",
            "14",
            "--request-rate",
            "100",
            "--header",
            "X-Lane: flags",
            "--header",
            f"X-Flag: {SECRETS['flag_header']}",
            "--quiet",
            "--extra-body",
            json.dumps({"secret_note": SECRETS["flag_body"]}),
            "--api-key-command",
            f"echo {SECRETS['url_env']}",
            "--out",
            str(where / "results" / "flags"),
        ]
        code, more = at_once(*lone, cwd=where)
        assert code in (0, 4), more
    return where / "results", said + more, heard


def test_the_server_had_every_secret_and_repeated_it(echoed: tuple[Path, bytes, Heard]) -> None:
    """All twenty arrived, and every kind of text that is kept of a server was one that had a secret
    in it.
    """
    results, _, heard = echoed
    assert heard.secrets == set(SECRETS.values())
    strings = json.loads((results / "run" / "run.json").read_bytes())["strings"]
    for kind in ("served_model", "served_region", "finish", "note"):
        assert any("[redacted]" in text for text in strings[kind]), kind


def test_no_secret_is_left_in_any_file_or_on_the_screen(echoed: tuple[Path, bytes, Heard]) -> None:
    """Manifest, tables, pieces, records, report, figures, standard output and error: 0 of 20."""
    results, said, _ = echoed
    assert left(results / "run") + left(results / "flags") + leaks(said, "what was printed") == []


def test_no_process_of_a_run_shows_a_secret_on_its_command_line(
    echoed: tuple[Path, bytes, Heard],
) -> None:
    """Workers and exporter: nothing on the command line; in their environment what the user put
    there alone.
    """
    lines = echoed[2].processes
    assert sum(b"bench.load.workers" in line for line, _ in lines.values()) == 2
    others = tuple(place for place in PLACES if place not in FROM_ENV)
    for line, inherited in lines.values():
        assert leaks(line, "cmdline") + leaks(inherited, "environ", others) == []


@pytest.mark.slow("commands that write every file again, with figures")
@pytest.mark.parametrize(
    "words",
    [
        ["report"],
        ["judge"],
        ["judge", "--format", "json"],
        ["attribute"],
        ["verify"],
        *(
            ["export", "--format", form]
            for form in ("csv", "jsonl", "hlog", "vllm", "aiperf", "prometheus", "otlp")
        ),
    ],
    ids=" ".join,
)
def test_no_later_look_shows_a_secret(
    words: list[str], echoed: tuple[Path, bytes, Heard], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Every command over the folder, every export of it as text."""
    one = ":env" if words[-1] in ("vllm", "aiperf") else ""
    assert main([*words, f"{echoed[0] / 'run'}{one}"]) in (0, 1, 3, 4)
    out, err = capfdbinary.readouterr()
    assert out
    assert leaks(out + err, " ".join(words)) == []


def test_no_page_of_the_ui_shows_a_secret(echoed: tuple[Path, bytes, Heard]) -> None:
    """The list, a report, a comparison and a trend."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench", "ui", str(echoed[0]), "--port", "0"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split(" at ")[1].split()[0]
        try:
            for page in (
                "",
                "report/run",
                "compare?run=run&baseline=run/env&other=run/file",
                "trend",
                "watch/run",
            ):
                with urlopen(url + page, timeout=PATIENCE_S) as answer:  # noqa: S310 our own server
                    assert leaks(answer.read(), page) == []
        finally:
            process.terminate()


@pytest.mark.parametrize(
    ("why", "code"),
    [("unreachable", 5), ("untrusted", 5), ("url", 2), ("port", 2), ("header", 2), ("fault", 70)],
)
def test_a_run_that_fails_prints_no_secret(why: str, code: int, tmp_path: Path) -> None:
    """Nobody there, a certificate that nobody vouches for, a variable that makes no URL or header,
    a fault of a library whose message repeats the key: said in words without it.
    """
    url, more = "http://127.0.0.1:9/${TP_url_env}/v1", dict[str, str]()
    words = ["--api-key-env", "TP_key_env", "--header", "X-Env: ${TP_header_env}"]
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = authority.issue_cert("127.0.0.1")
    certificate.configure_cert(context)
    with parrot(context) as (_, port):
        if why == "untrusted":
            url = f"https://127.0.0.1:{port}/${{TP_url_env}}/v1"
        elif why == "url":
            url = "${TP_key_env}/v1"
        elif why == "port":
            url = "http://127.0.0.1:${TP_url_env}/v1"
        elif why == "header":
            more["TP_header_env"] = (
                f"{SECRETS['header_env']}\r\nX-Injected: {SECRETS['header_env']}"
            )
        elif why == "fault":
            (tmp_path / "h2").mkdir()
            (tmp_path / "h2" / "__init__.py").write_text(
                "import os\nraise RuntimeError('cannot use ' + os.environ['TP_key_env'])\n"
            )
            words, more["PYTHONPATH"] = (
                [*words, "--transport", "httpx"],
                f"{tmp_path}{os.pathsep}{ROOT}",
            )
        # what a library is replaced by is imported anew
        got, said = (tailproof if why == "fault" else at_once)(
            "run",
            "--url",
            url,
            "--model",
            "m",
            "--request-count",
            "1",
            *words,
            cwd=tmp_path,
            more=more,
        )
    assert got == code, said
    assert (b"cannot use [redacted]" in said) == (why == "fault")
    assert leaks(said, why) == []


def test_a_certificates_key_is_not_repeated(tmp_path: Path) -> None:
    """A client key file that is no key is named, and nothing of it said."""
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text(
            f"-----BEGIN PRIVATE KEY-----\n{PEM}\n-----END PRIVATE KEY-----\n"
        )
    (tmp_path / "t.toml").write_text(
        toml(
            description="made",
            base_url="https://127.0.0.1:9/v1",
            model="m",
            client_cert_file=str(tmp_path / "cert.pem"),
            client_key_file=str(tmp_path / "key.pem"),
        )
    )
    (tmp_path / "s.toml").write_text(
        'description = "made"\n[[stage]]\nname = "only"\nprofile = "chat"\ntargets = ["t.toml"]\n'
    )
    code, said = at_once("run", "s.toml", "--yes", cwd=tmp_path)
    assert code == 2, said
    assert b"client_key_file" in said
    assert PEM[:8].encode() not in said
