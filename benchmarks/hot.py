"""The hot path in µs: body, dispatch, chunk, record.

`make bench-hot`; `--store` keeps a new baseline.

In: nothing. Out: µs per event, and the ratio to the stored baseline (benchmarks/hot-baseline.json).
Absolute figures belong to the machine named in the baseline; a ratio to it taken on another says
nothing. Each figure is the best of several rounds: noise only ever adds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import string
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast
from zlib import crc32

import httptools

from bench.api.answer import Answer
from bench.api.auth import AwsKeys, Outgoing, Signer
from bench.api.registry import api_named
from bench.load.endpoint import BodyWriter, Endpoint, LaneState
from bench.load.generator import Generator
from bench.load.journal import Journal
from bench.load.probe import HarnessProbe
from bench.load.request import Request
from bench.plan.arrival_laws import Arrivals
from bench.plan.profile import Amount, Profile
from bench.plan.prompts import PromptText
from bench.plan.schedule import Plan, compile_plan
from bench.plan.suite import Stage, Suite
from bench.plan.target import Target
from bench.record.identity import machine_facts
from bench.record.pieces import SegmentWriter
from bench.record.samples import Outcome

BASELINE = Path(__file__).with_name("hot-baseline.json")
ROWS, ROUNDS = 5_000, 7
_EVENT = (
    b'data: {"id":"c-1","object":"chat.completion.chunk","created":1750000000,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,'
    b'"finish_reason":null}]}\n\n'
)
_DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":" token"}}\n\n'
)
_RESPONSE = (
    b'data: {"candidates": [{"content": {"parts": [{"text": " token"}],"role": "model"},'
    b'"index": 0}],"usageMetadata": {"promptTokenCount": 500,"candidatesTokenCount": 16,'
    b'"totalTokenCount": 516},"modelVersion": "m","responseId": "r-1"}\r\n\r\n'
)


def _frame(padding: int) -> bytes:
    """A token of Bedrock, which hides its length behind padding."""
    payload = b'{"contentBlockIndex":0,"delta":{"text":" token"},"p":"%s"}'
    payload %= string.ascii_letters.encode()[:padding]
    texts = {b":event-type": b"contentBlockDelta", b":content-type": b"application/json"}
    headers = b"".join(
        bytes([len(name)]) + name + b"\x07" + len(value).to_bytes(2) + value
        for name, value in {**texts, b":message-type": b"event"}.items()
    )
    lengths = (16 + len(headers) + len(payload)).to_bytes(4) + len(headers).to_bytes(4)
    begun = lengths + crc32(lengths).to_bytes(4) + headers + payload
    return begun + crc32(begun).to_bytes(4)


#: One token event, by API; those of Bedrock differ in length.
_EVENTS = {
    "chat": [_EVENT],
    "messages": [_DELTA],
    "gemini": [_RESPONSE],
    "converse": [_frame(padding) for padding in range(52)],
}


def _plan() -> Plan:
    target = Target(description="none", name="none", base_url="http://127.0.0.1:1/v1", model="m")
    profile = Profile(
        description="hot",
        name="hot",
        requests=ROWS,
        arrivals=Arrivals(kind="constant", rate=Fraction(1000)),
        prompt_tokens=[Amount(fixed=500)],
        output_tokens=[Amount(fixed=16)],
    )
    stage = Stage(
        name="hot",
        targets=[target],
        profile=profile,
        contract=None,
        scenario=None,
        settle_ns=0,
        expect=[],
    )
    return compile_plan(Suite(name="hot", description="", seed=1, stages=[stage], files=[]))


def _best(action: Callable[[], int]) -> float:
    """µs per event, the best of ROUNDS."""
    found = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        events = action()
        found.append((time.perf_counter() - begun) / events * 1e6)
    return min(found)


class _Sink:
    """A sender that takes a request and does nothing."""

    def start(
        self, body: bytes, request_id: str, receiver: Any, on_handle: Callable[[Any], bool]
    ) -> None:
        on_handle(None)

    async def close(self) -> None:
        return

    def facts(self) -> dict[str, object]:
        return {}


class _Still:
    """An alarm that never rings."""

    kind = "none"

    def __init__(self, callback: Callable[[], None]):
        self.callback = callback

    def set(self, at_ns: int) -> None:
        return

    def close(self) -> None:
        return


def chunk(api: str) -> int:
    """One token event a read, bytes to counts."""
    _, reader = api_named(api).open(True, array("q"))
    for stamp, event in enumerate(itertools.islice(itertools.cycle(_EVENTS[api]), ROWS)):
        reader.feed(event, stamp)
    return ROWS


def http_chunk(api: str) -> int:
    """The same with its transfer coding undone by httptools."""
    _, reader = api_named(api).open(True, array("q"))

    class Receiver:
        def on_body(self, data: bytes) -> None:
            reader.feed(data, 1)

    parser = httptools.HttpResponseParser(Receiver())
    parser.feed_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    frames = [b"%x\r\n%s\r\n" % (len(event), event) for event in _EVENTS[api]]
    for frame in itertools.islice(itertools.cycle(frames), ROWS):
        parser.feed_data(frame)
    return ROWS


def signature() -> int:
    """AWS signs each request."""
    keys = AwsKeys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "t" * 800)
    signer = Signer(lambda: keys, "eu-west-1", "bedrock")
    url = "https://bedrock-runtime.eu-west-1.amazonaws.com/model/m-v1%3A0/converse-stream"
    headers = (("content-type", "application/json"), ("accept", "*/*"), ("user-agent", "t"))
    body = b"x" * 2_500
    for row in range(ROWS):
        signer.sign(Outgoing("POST", url, headers, body, row * 1_000_000))
    return ROWS


def measure() -> dict[str, float]:
    """Every figure."""
    plan = _plan()
    writer = BodyWriter(plan.lanes[0], plan.schedule, PromptText(1))

    def body() -> int:
        for row in range(ROWS):
            writer.body(row)
        return ROWS

    def dispatch() -> int:
        with tempfile.TemporaryDirectory() as folder:
            journal = Journal(SegmentWriter(Path(folder)), "hot", ROWS, [1], [])
            lanes = [LaneState(plan.lanes[0], Endpoint(_Sink(), writer), None)]
            # The clock stands behind the last row: all are due at once.
            generator = Generator(
                plan.lanes,
                plan.schedule,
                lanes,
                journal,
                HarnessProbe(),
                alarm=cast("Any", _Still),
                clock=lambda: 10**12,
            )
            generator.begin(lambda: None, t0=0)
            generator._dispatch_due()
        return ROWS

    def record() -> int:
        with tempfile.TemporaryDirectory() as folder:
            journal = Journal(SegmentWriter(Path(folder)), "hot", ROWS, [1], [])
            request = Request(0, None, 0, True, array("q"), lambda *_: None)
            request.answer = Answer()
            for row in range(ROWS):
                request.row = row
                journal.record(request, Outcome.ok, "", 0)
        return ROWS

    return {
        "body, 500 tokens": _best(body),
        "dispatch, body included": _best(dispatch),
        "chunk": _best(lambda: chunk("chat")),
        "chunk with its HTTP framing": _best(lambda: http_chunk("chat")),
        "chunk of messages": _best(lambda: chunk("messages")),
        "chunk of gemini": _best(lambda: chunk("gemini")),
        "chunk of converse": _best(lambda: chunk("converse")),
        "the same with HTTP framing": _best(lambda: http_chunk("converse")),
        "signature of AWS": _best(signature),
        "record": _best(record),
    }


def main() -> int:
    """Print the figures beside the baseline's."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", action="store_true", help="keep these figures as the baseline")
    figures = measure()
    if parser.parse_args().store:
        BASELINE.write_text(
            json.dumps({"machine": machine_facts(), "us": figures}, indent=2) + "\n"
        )
    known = json.loads(BASELINE.read_text()) if BASELINE.is_file() else {"machine": None, "us": {}}
    if known["machine"] != machine_facts():
        print("the baseline was taken on another machine: its ratios say nothing here")
    for name, us in figures.items():
        ratio = f"{us / known['us'][name]:.2f} of baseline" if name in known["us"] else ""
        print(f"{name:<28} {us:8.2f} µs   {ratio}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
