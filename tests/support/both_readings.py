"""A quick reader beside the one that decodes every event, on the same bytes."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Sequence
from typing import Any

from bench.api.answer import Answer, MalformedAnswer, StreamError
from bench.api.interface import Api
from bench.api.reading import Reader, StreamReader
from tests.support.reference_stream import NAMES, pieces


@dataclasses.dataclass
class Facts:
    """What a stream said: fields of its `Answer`, gaps, and how it failed."""

    answer: dict[str, Any]
    error: str | None = None
    code: str = ""

    def __getattr__(self, name: str) -> Any:
        return self.answer[name]


def facts(api: Api, parts: Sequence[bytes], decoded: bool = False) -> Facts:
    """What an API makes of a stream whose parts came at 1000, 1007, 1028, … ns; `decoded`: every
    event by `read_event` alone.
    """
    answer, reader = api.open(True, array("q"))
    if decoded:
        answer = Answer(array("q"))
        reader = StreamReader(answer, api.framing(), api.read_event)
    error, code = _read(reader, parts)
    said = {name: getattr(answer, name) for name in (*NAMES, "tier", "region")}
    return Facts(said | {"gaps": list(answer.gaps or ())}, error, code)


def _read(reader: Reader, parts: Sequence[bytes]) -> tuple[str | None, str]:
    try:
        for number, part in enumerate(parts):
            reader.feed(part, 1_000 + 7 * number * number)
        reader.close()
    except MalformedAnswer as error:
        return f"malformed: {error}", ""
    except StreamError as error:
        return str(error), error.code
    return None, ""


def agree(api: Api, stream: bytes, cuts: Sequence[int] = ()) -> Facts:
    """Fail unless both readings see the same in a stream cut before the bytes `cuts`."""
    parts = pieces(stream, cuts)
    quick = facts(api, parts)
    assert quick == facts(api, parts, decoded=True)
    return quick


def at_every_split(api: Api, stream: bytes) -> Facts:
    """Fail unless both readings agree, whole and byte by byte, and no single cut changes what is
    said. The facts of the whole.
    """
    whole = agree(api, stream)
    said = _timeless(whole)
    assert _timeless(agree(api, stream, range(1, len(stream)))) == said
    for cut in range(1, len(stream)):
        assert _timeless(facts(api, pieces(stream, [cut]))) == said
    return whole


def _timeless(found: Facts) -> tuple[object, ...]:
    kept = {
        name: value
        for name, value in found.answer.items()
        if "_ns" not in name and name not in ("gaps", "shared_reads", "first_shared")
    }
    return kept, found.error, found.code
