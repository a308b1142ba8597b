"""Recorded answers of real servers, heads and errors included, through both transports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.record.samples import Outcome
from tests.support.battery import play
from tests.support.hostile import Fault, goes_on, says

CAPTURES = Path(__file__).resolve().parents[2] / ".." / "shared" / "captures"
BOTH = pytest.mark.parametrize("transport", ["tailproof", "httpx"])
here = pytest.mark.skipif(not CAPTURES.is_dir(), reason="recorded answers are not here")
#: outcome, status, output tokens, served model and a part of the note: read off the files by eye
CAPTURED: dict[str, tuple[str, int, int, str, str]] = {
    "llama_stream_usage": ("ok", 200, 8, "smollm2-135m", ""),
    "llama_stream_nousage": ("ok", 200, 4, "smollm2-135m", ""),
    "nginx_h2_stream": ("ok", 200, 4, "smollm2-135m", ""),
    "litellm_stream_usage": ("ok", 200, 8, "chat-backup", ""),
    "litellm_stream_after_fallback": ("ok", 200, 8, "chat-backup", ""),
    "litellm_stream_upstream_died": ("stream_error", 200, 5, "chat-primary", ""),
    "llama_error_401": ("http_4xx", 401, -1, "", "Invalid API Key"),
    "llama_error_bad_json": ("http_4xx", 400, -1, "", "parse error at line 1"),
    "llama_error_prompt_too_long": ("http_4xx", 400, -1, "", "exceeds the available context size"),
    "nginx_error_429": ("rate_limited", 429, -1, "", "HTTP 429: 429 Too Many Requests"),
    "nginx_error_502": ("http_5xx", 502, -1, "", "HTTP 502: 502 Bad Gateway"),
    "litellm_error_429": ("rate_limited", 429, -1, "", "RPM limit=2, current usage=3"),
    "litellm_error_dead_upstream": ("http_5xx", 500, -1, "", "Connection error"),
    "litellm_error_upstream_timeout": (
        "http_5xx",
        500,
        -1,
        "chat-hasty",
        "Timeout on reading data from socket",
    ),
}


def recorded(path: Path) -> list[bytes]:
    """The answer as it was on the wire, a byte a write: curl had undone the chunks, one file's line
    ends and HTTP/2 are not HTTP/1.1's.
    """
    head, _, body = path.read_bytes().partition(b"\r\n\r\n")
    head = re.sub(rb"^HTTP/2 200 *", b"HTTP/1.1 200 OK", re.sub(rb"\r?\n", b"\r\n", head))
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    if length is None:
        head = (
            re.sub(rb"(?i)\r\ntransfer-encoding: chunked", b"", head)
            + b"\r\nTransfer-Encoding: chunked"
        )
        body = (
            b"".join(b"%x\r\n%s\r\n" % (len(line), line) for line in body.splitlines(True))
            + b"0\r\n\r\n"
        )
    else:
        body = body[: int(length[1])]
    return [bytes([byte]) for byte in head + b"\r\n\r\n" + body]


@here
@BOTH
def test_recorded_answers_through_the_transports(transport: str) -> None:
    """Real heads and bodies, a byte at a time: class, status, tokens, who answered and the server's
    own words.
    """
    answers = {name: recorded(CAPTURES / f"{name}.txt") for name in CAPTURED}
    faults = {name: Fault(says(writes, goes_on)) for name, writes in answers.items()}
    played = play(faults, transport, True, {})
    assert set(played.outcomes(1).values()) == {"ok"}
    for name, (outcome, status, tokens, model, note) in CAPTURED.items():
        row = played.rows[name][0]
        who, words = (
            played.texts[column][row[column]] if row[column] >= 0 else ""
            for column in ("served_model", "note")
        )
        found = Outcome(row["outcome"]).name, row["status"], row["output_tokens"], who
        assert found == (outcome, status, tokens, model), name
        assert note in words, name


@here
def test_every_recorded_answer_is_played() -> None:
    """A capture that is added is one that this test asks for."""
    assert {path.stem for path in CAPTURES.glob("*.txt")} == set(CAPTURED)
