"""APIs as foreign as any that exist, in a few lines each: what the seam must carry.

`Named` streams events known by their names, counts cumulatively and signs each request; `Framed`
has binary frames, puts the model into the path and reports errors as frames; `Lines` ends by its
own word on JSON lines; `Vectors` never streams and has no token at all.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from bench.api.address import ending_in
from bench.api.answer import MalformedAnswer, Said, Token, Usage
from bench.api.auth import Auth, Header, Outgoing
from bench.api.decoding import decode, text_or_none
from bench.api.framing import Event, Framing
from bench.api.interface import AnswerLimit, Api, BodyOptions, HeaderFact


def sign(key: str, request: Outgoing) -> list[Header]:
    """A signature over everything that is sent."""
    parts = [key, request.method, request.url, *map("=".join, sorted(request.headers))]
    text = "\n".join(parts).encode() + request.body
    return [("X-Signature", hashlib.sha256(text).hexdigest())]


SIGNED = Auth(lambda _key: [], sign)


class JsonBody:
    """The texts in a list, what else is known beside it."""

    def __init__(self, options: BodyOptions):
        self._fixed = {"model": options.model, **options.extra_body}

    def write(self, texts: Sequence[bytes], output_tokens: int) -> bytes:
        every = [json.loads(b'"' + text + b'"') for text in texts]
        return json.dumps(self._fixed | {"texts": every, "most": output_tokens}).encode()

    def drop_refused(self, message: str) -> bool:
        return "nothing" in message


class Toy(Api):
    """What the toys share."""

    provider, operation, vllm_backend = "toy", "chat", "toy"
    own_keys = ("model", "texts")
    cut_note = "the toy's stream was cut"

    def path(self, base: str, model: str, stream: bool) -> str:
        return ending_in(base, "/toy")

    def ready_path(self, base: str, model: str) -> str:
        return ending_in(base, "/health", "")

    def body_format(self, options: BodyOptions) -> JsonBody:
        return JsonBody(options)

    def answer_limit(self, extra_body: Mapping[str, Any], max_tokens_field: str) -> AnswerLimit:
        return AnswerLimit()

    def read_event(self, name: str, payload: bytes) -> Said:
        raise MalformedAnswer("no streams")

    def read_body(self, body: bytes) -> Said:
        return Said(token=Token.text if decode(body).get("text") else None)


class Named(Toy):
    """Events by name, as Messages has them."""

    name = "named"
    auth = "signed"
    headers = (("Toy-Version", "2026-11-30"),)
    response_headers = {**Toy.response_headers, b"toy-region": HeaderFact.served_region}

    def read_event(self, name: str, payload: bytes) -> Said:
        event = decode(payload)
        if name == "start":
            said = Said(usage=Usage(prompt_tokens=event["input"]))
            said.model, said.tier = text_or_none(event.get("model")), text_or_none(event["tier"])
            return said
        if name == "delta":
            return Said(token=Token(event["kind"]))
        if name == "count":
            return Said(usage=Usage(output_tokens=event["output"]), finish=event.get("stop"))
        if name == "error":
            return Said(error=event["message"])
        return Said(end=name == "stop")


class Frames(Framing):
    """Length, name's length, name, payload: as AWS event streams, without checksums."""

    def __init__(self) -> None:
        self._kept = b""
        self.between_events = True

    def feed(self, data: bytes) -> list[Event]:
        self._kept += data
        events: list[Event] = []
        while len(self._kept) >= 5:
            size, name_size = struct.unpack_from(">IB", self._kept)
            if size > 1 << 20:
                raise MalformedAnswer("a frame above 1 MiB")
            if len(self._kept) < 5 + name_size + size:
                break
            name, rest = self._kept[5 : 5 + name_size], self._kept[5 + name_size :]
            events.append((name.decode(), rest[:size]))
            self._kept = rest[size:]
        self.between_events = not self._kept
        return events

    def close(self) -> list[Event]:
        return []


def frame(name: str, payload: bytes) -> bytes:
    """One frame."""
    return struct.pack(">IB", len(payload), len(name)) + name.encode() + payload


class Framed(Toy):
    """The model in the path, a query of its own, frames, exceptions as frames."""

    name = "framed"
    stream_type = "application/x-toy-frames"
    framing = Frames

    def path(self, base: str, model: str, stream: bool) -> str:
        return f"{base}/model/{model}/" + ("stream?alt=frames" if stream else "once")

    def read_event(self, name: str, payload: bytes) -> Said:
        if name.endswith("Exception"):
            return Said(error=f"{name}: {payload.decode()}")
        if name == "messageStop":
            return Said(finish=decode(payload)["why"])
        if name == "metadata":
            usage = decode(payload)
            return Said(usage=Usage(usage["in"], usage["out"]), region=usage["at"], end=True)
        return Said(token=Token.text)


class JsonLines(Framing):
    """A line, an event."""

    def __init__(self) -> None:
        self._kept = b""
        self.between_events = True

    def feed(self, data: bytes) -> list[Event]:
        *lines, self._kept = (self._kept + data).split(b"\n")
        self.between_events = not self._kept
        return [("", line) for line in lines if line.strip()]

    def close(self) -> list[Event]:
        return [("", self._kept)] if self._kept.strip() else []


class Lines(Toy):
    """JSON lines; the last one has `done`."""

    name = "lines"
    stream_type = "application/x-ndjson"
    framing = JsonLines

    def read_event(self, name: str, payload: bytes) -> Said:
        line = decode(payload)
        token = Token.text if line.get("text") else None
        return Said(token=token, end=bool(line.get("done")))


class Vectors(Toy):
    """Embeddings: one plain body, usage and no token."""

    name = "vectors"

    def answer_limit(self, extra_body: Mapping[str, Any], max_tokens_field: str) -> AnswerLimit:
        return AnswerLimit(planned=False)

    def read_body(self, body: bytes) -> Said:
        answer = decode(body)
        said = Said(usage=Usage(prompt_tokens=answer["usage"]["tokens"]))
        if not isinstance(answer.get("data"), list):
            said.malformed = "no vectors"
        return said
