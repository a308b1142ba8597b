"""A real nginx between tailproof and the engine: TLS, HTTP/1.1 and HTTP/2, and what a front does to
answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from bench.cli import main
from bench.errors import ExitCode
from tests.real.real_servers import Row, Server, free_port, run, start_nginx, wait_for

BOTH = pytest.mark.parametrize("transport", ["tailproof", "httpx"])
#: http2 goes to clients that ask for it in the handshake. `squeezed` answers gzip whatever was
#: asked for, and `burst` unpacks that again: what comes out was held back until the end.
CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
events {{}}
http {{
    log_format protocols "$server_protocol $status $request_uri";
    access_log {folder}/access.log protocols;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    ssl_certificate {folder}/chain.pem;
    ssl_certificate_key {folder}/chain.pem;
    limit_req_zone $server_name zone=one_a_minute:64k rate=1r/m;
    limit_req_status 429;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_buffering off;
    server {{
        listen 127.0.0.1:{tls} ssl http2;
        listen 127.0.0.1:{inner};
        server_name localhost;
        location /v1/ {{ proxy_pass {engine}/; }}
        location /squeezed/v1/ {{
            proxy_pass {engine}/;
            proxy_buffering on;
            proxy_ignore_headers X-Accel-Buffering;
            gzip on;
            gzip_types text/event-stream;
            gzip_min_length 1;
        }}
        location /burst/v1/ {{
            proxy_pass http://127.0.0.1:{inner}/squeezed/v1/;
            proxy_set_header Accept-Encoding gzip;
            gunzip on;
        }}
        location /limited/v1/chat/ {{ limit_req zone=one_a_minute; proxy_pass {engine}/chat/; }}
        location /hasty/v1/ {{ proxy_read_timeout 500ms; proxy_pass {engine}/; }}
        location /dead/v1/ {{ proxy_pass http://127.0.0.1:{nobody}/; }}
    }}
}}
"""


class Front(NamedTuple):
    """nginx, and the certificate of who vouches for it."""

    server: Server
    ca_file: str

    def run(self, folder: Path, path: str, transport: str, *flags: str) -> list[Row]:
        """The rows of a run through one of its locations."""
        url = self.server.url.replace("/v1", f"{path}/v1")
        return run(
            folder, "--url", url, "--ca-file", self.ca_file, "--transport", transport, *flags
        )[0]

    def heard(self) -> list[str]:
        """A line a request: protocol, status, path."""
        return (self.server.log.parent / "access.log").read_text().splitlines()


@pytest.fixture(scope="module")
def front(engine: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """nginx before the engine, with a certificate of an authority that nobody else knows."""
    folder = tmp_path_factory.mktemp("nginx")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
        folder / "chain.pem"
    )
    tls, inner, nobody = free_port(), free_port(), free_port()
    config = CONFIG.format(folder=folder, engine=engine.url, tls=tls, inner=inner, nobody=nobody)
    server = start_nginx(folder, config, [tls, inner])
    yield Front(server, str(folder / "ca.pem"))
    server.kill()


@pytest.mark.parametrize(
    ("transport", "protocol"), [("tailproof", "HTTP/1.1"), ("httpx", "HTTP/2.0")]
)
def test_each_transport_streams_over_tls_in_its_protocol(
    transport: str, protocol: str, front: Front, tmp_path: Path
) -> None:
    """Our transport speaks HTTP/1.1, httpx the HTTP/2 that nginx offers; nginx says which, and
    every row succeeds.
    """
    before = len(front.heard())
    rows = front.run(tmp_path, "", transport, "--request-count", "3", "--isl", "16", "--osl", "8")
    assert [(row["outcome"], row["streamed"], row["ttft_upper_bound"]) for row in rows] == [
        ("ok", True, False)
    ] * 3
    assert all(0 < row["service_ttft_ms"] < row["service_e2e_ms"] for row in rows)
    chats = [line for line in front.heard()[before:] if line.endswith("/chat/completions")]
    assert chats == [f"{protocol} 200 /v1/chat/completions"] * 3
    if transport == "tailproof":
        assert 0 < rows[0]["tls_ms"] < rows[0]["service_e2e_ms"]


@BOTH
def test_a_stream_that_the_front_held_back_is_an_upper_bound(
    transport: str, front: Front, tmp_path: Path
) -> None:
    """All tokens come in one read, at the end: the row succeeds, and its TTFT is marked."""
    rows = front.run(
        tmp_path, "/burst", transport, "--request-count", "2", "--isl", "16", "--osl", "8"
    )
    assert [(row["outcome"], row["ttft_upper_bound"]) for row in rows] == [("ok", True)] * 2
    assert all(1 < row["chunks"] <= row["output_tokens"] for row in rows)


@BOTH
def test_statuses_of_the_front_are_classed_and_their_html_is_read(
    transport: str, front: Front, tmp_path: Path
) -> None:
    """nginx's own 502 for an upstream that is gone: `http_5xx`, with the page's words and without
    its tags.
    """
    (row,) = front.run(
        tmp_path, "/dead", transport, "--request-count", "1", "--isl", "16", "--osl", "2"
    )
    assert (row["outcome"], row["status"]) == ("http_5xx", 502)
    assert row["note"].startswith("HTTP 502: 502 Bad Gateway")
    assert "<" not in row["note"]


def test_a_limit_of_the_front_is_a_rate_limit(front: Front, tmp_path: Path) -> None:
    """One request a minute passes, the next ones are `rate_limited`, and none of them waits or is
    sent again.
    """
    rows = front.run(
        tmp_path, "/limited", "tailproof", "--request-count", "3", "--isl", "16", "--osl", "2"
    )
    assert [(row["outcome"], row["status"]) for row in rows] == [("ok", 200)] + [
        ("rate_limited", 429)
    ] * 2
    assert rows[1]["note"].startswith("HTTP 429: 429 Too Many Requests")
    assert [row["attempts"] for row in rows] == [1] * 3


@pytest.mark.parametrize(("transport", "outcome"), [("tailproof", "truncated"), ("httpx", "reset")])
def test_a_stream_that_the_front_gives_up_is_cut(
    transport: str, outcome: str, front: Front, engine: Server, tmp_path: Path
) -> None:
    """The engine reads its prompt for longer than nginx waits, after a head of 200: HTTP/1.1 is cut
    short, HTTP/2 resets the stream.
    """
    # Busy with another prompt it would hold back its head.
    wait_for(engine.idle, engine)
    (row,) = front.run(
        tmp_path, "/hasty", transport, "--request-count", "1", "--isl", "600", "--osl", "4"
    )
    assert (row["outcome"], row["status"], row["chunks"]) == (outcome, 200, 0)


@BOTH
def test_a_certificate_that_nobody_vouches_for_is_refused(
    transport: str, front: Front, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the authority's certificate there is no run: nothing is sent, and the sentence says
    what to do.
    """
    before = len(front.heard())
    asked = [
        "run",
        "--url",
        front.server.url,
        "--model",
        "m",
        "--transport",
        transport,
        "--quiet",
        "--out",
        str(tmp_path / "r"),
    ]
    assert main(asked) == ExitCode.UNREACHABLE
    assert "certificate" in (said := capsys.readouterr().err)
    assert "ca_file" in said
    assert len(front.heard()) == before
