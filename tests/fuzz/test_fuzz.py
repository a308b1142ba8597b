"""Bytes that nobody vouches for: each parser reads them or refuses them in its documented way, and
nothing else.

Seeds are the small files of `corpus/` (and the built-in profiles), whole, cut, spliced and changed
byte by byte. A find is kept by adding its bytes to the corpus: every seed is also tried as it
stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bench.api.answer import MalformedAnswer, StreamError
from bench.api.registry import api_named
from bench.errors import RunFolderError, TailproofError, UserError
from bench.load.transport.connection import Connection
from bench.load.transport.stamps import StampedReader
from bench.plan.contract import load_contract
from bench.plan.profile import load_profile
from bench.plan.suite import load_suite
from bench.plan.target import load_target
from bench.record.files import read_table
from bench.record.histogram import read_hlog
from bench.record.request_log import Reading, read_log
from bench.record.run_folder import read_manifest
from bench.record.samples import SCHEDULE_DTYPE, Outcome
from bench.userfile import builtin_root
from tests.support.aws_frames import event
from tests.support.heard import Heard

CORPUS = Path(__file__).parent / "corpus"
#: Pieces of the grammars, so that changes get past the first byte.
TOKENS = [
    b"\n",
    b"\r\n\r\n",
    b"\r",
    b"\x00",
    b"\xff",
    b'"',
    b"'''",
    b"{",
    b"[" * 900,
    b"}",
    b"]",
    b",",
    b";",
    b":",
    b"=",
    b"-",
    b"data: ",
    b"data: [DONE]\n\n",
    b"null",
    b"NaN",
    b"1e999",
    b"9" * 40,
    b"9" * 5000,
    b"-1",
    b"true",
    b"ms",
    b"HTTP/1.1 200 OK\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"0\r\n\r\n",
    b"\\ud800",
    "\u202e٣".encode(),
]
#: `make fuzz` sets the number.
FUZZ = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "50")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

Test = TypeVar("Test", bound=Callable[..., Any])


def seeds(kind: str) -> list[bytes]:
    """The files of one kind; of TOML the built-in profiles too."""
    paths = [
        *(CORPUS / kind).iterdir(),
        *(builtin_root().rglob("*.toml") if kind == "toml" else []),
    ]
    found = [path.read_bytes() for path in sorted(paths)]
    if kind == "sse":
        vectors = sorted((CORPUS.parents[1] / "vectors" / "streams").glob("*.json"))
        found += [json.loads(path.read_bytes())["body"].encode() for path in vectors]
    return found


@st.composite
def changed(draw: st.DrawFn, kind: str) -> bytes:
    """A seed after a few changes: cut out, said twice, overwritten, or with bytes, tokens or
    another seed put in.
    """
    known = seeds(kind)
    data = draw(st.sampled_from(known))
    for _ in range(draw(st.integers(1, 5))):
        begin = draw(st.integers(0, len(data)))
        end = min(len(data), begin + draw(st.integers(0, 12)))
        put = draw(
            st.one_of(
                st.binary(max_size=4),
                st.sampled_from(TOKENS),
                st.sampled_from(known),
                st.just(data[begin:end] * 2),
            )
        )
        data = data[:begin] + put + data[end:]
    return data


def fuzzed(kind: str) -> Callable[[Test], Test]:
    """Every seed of the kind as it stands, then changed ones."""

    def decorate(test: Test) -> Test:
        for seed in seeds(kind):
            test = example(data=seed)(test)
        return cast("Test", FUZZ(given(data=changed(kind))(test)))

    return decorate


@pytest.mark.parametrize(
    ("api", "streamed"),
    [
        ("chat", True),
        ("chat", False),
        ("responses", True),
        ("responses", False),
        ("embeddings", False),
        ("rerank", False),
    ],
)
@fuzzed("sse")
def test_an_answer_is_read_malformed_or_an_error_of_the_servers(
    api: str, streamed: bool, data: bytes
) -> None:
    """Of any bytes an answer has at most one token a data line, its instants in order."""
    answer, reader = api_named(api).open(streamed)
    with contextlib.suppress(MalformedAnswer, StreamError):
        for at, begin in enumerate(range(0, len(data), 7)):
            reader.feed(data[begin : begin + 7], at)
        reader.close()
    assert answer.chunks <= max(1, data.count(b"data"))
    if answer.first_token_ns >= 0:
        assert (
            answer.first_byte_ns <= answer.first_token_ns <= answer.last_token_ns <= len(data) // 7
        )
    assert all(
        -1 <= count < 2**31
        for count in (answer.prompt_tokens, answer.output_tokens, answer.cached_tokens)
    )


@pytest.mark.parametrize("as_payload", [False, True])
@fuzzed("eventstream")
def test_frames_of_aws_are_read_the_same_whatever_the_reads(as_payload: bool, data: bytes) -> None:
    """Any bytes as a stream, and as the payload of tokens whose frames are whole: read, malformed
    or an error of the server's, in 7 bytes a read as at once.
    """
    parts = [event("contentBlockDelta", data) for _ in range(3)] if as_payload else [data]
    seen = []
    for cut in (7, None):
        answer, reader = api_named("converse").open(True)
        ended = "whole"
        try:
            for part in parts:
                for begin in range(0, len(part), cut or len(part)):
                    reader.feed(part[begin : begin + (cut or len(part))], 1)
            reader.close()
        except (MalformedAnswer, StreamError) as error:
            ended = repr(error)
        assert answer.chunks <= max(3, data.count(b"contentBlockDelta"))
        seen.append((answer.chunks, answer.output_tokens, answer.finish, answer.tier, ended))
    assert seen[0] == seen[1]


def carried(data: bytes) -> tuple[Heard, bool]:
    """What the receiver hears when the server says `data` and closes; whether the connection
    outlives that.
    """

    async def main() -> tuple[Heard, bool]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        heard, loop = Heard(), asyncio.get_running_loop()
        connection = Connection(loop, ours, None, StampedReader(), lambda _: None, lambda _: None)
        connection.send(b"GET / HTTP/1.1\r\n\r\n", heard)
        await loop.sock_recv(theirs, 1 << 10)
        await loop.sock_sendall(theirs, data)
        theirs.close()
        async with asyncio.timeout(20):
            await heard.over.wait()
        return heard, connection.usable()

    return asyncio.run(main())


@fuzzed("http")
def test_an_http_answer_ends_once_and_in_one_of_four_ways(data: bytes) -> None:
    """Whatever a server says before it closes: done, malformed, truncated or, without a byte,
    reset; and the line is dead.
    """
    heard, usable = carried(data)
    assert heard.outcome in (
        {Outcome.ok, Outcome.malformed, Outcome.truncated} if data else {Outcome.reset}
    )
    assert len(heard.body) <= len(data)
    assert (heard.status >= 200) >= (heard.outcome is Outcome.ok)
    assert not usable


def refusal(read: Callable[[], object], kind: type[TailproofError]) -> str | None:
    """What was said to the user who gave a file that cannot be read; None where it was read."""
    try:
        read()
    except kind as error:
        return str(error)
    return None


@pytest.mark.parametrize("load", [load_profile, load_target, load_contract, load_suite])
@fuzzed("toml")
def test_a_users_file_is_read_or_the_users_error(
    tmp_path: Path, load: Callable[[str], object], data: bytes
) -> None:
    """Whatever a TOML file holds, its writer is told in a sentence that names the file."""
    path = tmp_path / "odd.toml"
    path.write_bytes(data)
    said = refusal(lambda: load(str(path)), UserError)
    assert said is None or "odd.toml" in said


def refused_by_name(path: Path, data: bytes, read: Callable[[Path], object]) -> bool:
    """A record that came from elsewhere was read, or was refused with its name."""
    path.write_bytes(data)
    said = refusal(lambda: read(path), RunFolderError)
    return said is None or str(path.parent) in said


@fuzzed("manifest")
def test_a_manifest_is_read_or_refused_by_name(tmp_path: Path, data: bytes) -> None:
    """run.json: any bytes."""
    assert refused_by_name(tmp_path / "run.json", data, lambda path: read_manifest(path.parent))


@fuzzed("hlog")
def test_a_histogram_log_is_read_or_refused_by_name(tmp_path: Path, data: bytes) -> None:
    """latency.hlog: any bytes."""
    assert refused_by_name(tmp_path / "latency.hlog", data, read_hlog)


@pytest.mark.parametrize("mapped", [False, True])
@fuzzed("npy")
def test_a_table_is_read_or_refused_by_name_and_never_run(
    tmp_path: Path, mapped: bool, data: bytes
) -> None:
    """rows.npy: any bytes, pickled objects among them."""
    assert refused_by_name(
        tmp_path / "rows.npy", data, lambda path: read_table(path, SCHEDULE_DTYPE, mapped=mapped)
    )


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl", "log.csv.gz"])
@fuzzed("log")
def test_a_request_log_is_read_or_the_users_error(tmp_path: Path, name: str, data: bytes) -> None:
    """Any bytes: no line makes two rows, and none is both a row and listed as unreadable."""
    path = tmp_path / name
    path.write_bytes(gzip.compress(data, 1) if name.endswith(".gz") else data)
    with contextlib.suppress(UserError):
        log = read_log([path], Reading(sort=True, duplicates="keep"))
        assert len(log.columns) == len(log.line)
        refused = {each.line for each in log.unreadable}
        assert len({*log.line.tolist(), *refused}) == len(log.line) + len(refused)
        assert log.rows_in == len(log.columns) + len(log.unread_ns)
