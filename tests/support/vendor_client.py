"""Answers of bytes: read by ours at any split, and by the official `openai` client."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import httpx2
from openai import OpenAI

from bench.api.answer import Answer
from bench.api.interface import Api
from bench.api.reading import StreamReader


def read(api: Api, body: bytes, *cuts: int, stream: bool = True) -> Answer:
    """What ours makes of a body that comes in pieces, each a nanosecond after the one before."""
    answer, reader = api.open(stream, array("q"))
    for stamp, (begin, end) in enumerate(zip((0, *cuts), (*cuts, len(body)), strict=True)):
        reader.feed(body[begin:end], stamp)
    reader.close()
    return answer


def slowly(api: Api, body: bytes, *cuts: int) -> Answer:
    """The same with every event decoded."""
    answer = Answer(array("q"))
    reader = StreamReader(answer, api.framing(), api.read_event)
    for stamp, (begin, end) in enumerate(zip((0, *cuts), (*cuts, len(body)), strict=True)):
        reader.feed(body[begin:end], stamp)
    reader.close()
    return answer


def instants(answer: Answer) -> tuple[object, ...]:
    """When its tokens came."""
    names = ("first_token_ns", "first_answer_token_ns", "last_token_ns", "gap_max_ns")
    return (*(getattr(answer, name) for name in names), list(answer.gaps or ()))


def told(answer: Answer) -> tuple[object, ...]:
    """All that does not depend on when the pieces came."""
    names = ("chunks", "prompt_tokens", "output_tokens", "reasoning_tokens", "cached_tokens")
    words = ("finish", "model", "tier", "complete")
    return tuple(getattr(answer, name) for name in (*names, *words))


def each_split(api: Api, body: bytes) -> Iterator[Answer]:
    """The body in two pieces, cut at every byte."""
    for cut in range(1, len(body)):
        yield read(api, body, cut)


class _Pieces(httpx2.SyncByteStream):
    def __init__(self, body: bytes, size: int):
        self._pieces = [body[at : at + size] for at in range(0, len(body), size)]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


def client_of(
    body: bytes, size: int = 1 << 20, content_type: str = "text/event-stream"
) -> tuple[OpenAI, list[httpx2.Request]]:
    """The official client against a server that answers these bytes, `size` a piece; and what it
    asked for.
    """
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        headers = {"content-type": content_type}
        return httpx2.Response(200, headers=headers, stream=_Pieces(body, size))

    transport = httpx2.MockTransport(answer)
    client = OpenAI(
        api_key="k",
        base_url="http://127.0.0.1:9/v1",
        max_retries=0,
        http_client=httpx2.Client(transport=transport),
    )
    return client, asked
