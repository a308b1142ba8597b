"""OpenAI's Responses.

In: bodies of requests; what was served. Out: what they ask for; bytes of answers. Must stay true:
events carry a sequence number without gaps; those that begin an answer repeat the tier that was
asked for, the last one names the tier that served.

Source: OpenAI's API reference, "Responses" and "Streaming events", read on 30 November 2026.
"""

from __future__ import annotations

import json
from typing import Any

from bench.gateway.apis.openai import OpenAi
from bench.gateway.apis.seam import Asked, GatewayApi, Incoming, Served
from bench.gateway.wire import (
    WORD_BYTES,
    RequestError,
    Trouble,
    answer_text,
    compact,
    flag,
    http_chunk,
    json_object,
    length_of,
    model_of,
    texts_of,
)

#: Events before the first token.
_BEFORE = 4


class Responses(OpenAi, GatewayApi):
    """`POST …/responses`."""

    name = "responses"

    def parse(self, incoming: Incoming) -> Asked:
        data = json_object(incoming.body)
        prompt = data.get("input")
        texts = [prompt] if isinstance(prompt, str) else texts_of(prompt, "input")
        if isinstance(instructions := data.get("instructions"), str):
            texts.append(instructions)
        text = "\n".join(texts)
        return Asked(
            incoming.model or model_of(data),
            text,
            len(text.split()),
            length_of(data, "max_output_tokens"),
            flag(data, "stream"),
            tier=self.tier_asked(data.get("service_tier"), "service_tier"),
        )

    def frames(self, served: Served) -> ResponseFrames:
        return ResponseFrames(served)

    def plain(self, served: Served) -> bytes:
        return json.dumps(_finished(served)).encode()


def _response(served: Served, status: str) -> dict[str, Any]:
    """The object, before anything was said."""
    return {
        "id": f"resp_{served.number:048x}",
        "object": "response",
        "created_at": served.created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": served.asked.output_tokens,
        "metadata": {},
        "model": served.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "service_tier": served.asked.tier or "auto",
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None,
    }


def _finished(served: Served) -> dict[str, Any]:
    """The object at its end: cut by its maximum where the request named one."""
    cut = served.asked.output_tokens is not None
    response = _response(served, "incomplete" if cut else "completed")
    if cut:
        response["incomplete_details"] = {"reason": "max_output_tokens"}
    response["output"] = [_message(served, str(response["status"]), _part(served.output_tokens))]
    response["service_tier"] = served.tier or "default"
    prompt = served.asked.prompt_tokens
    response["usage"] = {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": served.cached_tokens or 0},
        "output_tokens": served.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + served.output_tokens,
    }
    return response


def _part(tokens: int) -> dict[str, Any]:
    return {
        "type": "output_text",
        "text": answer_text(tokens),
        "annotations": [],
        "logprobs": [],
    }


def _message(served: Served, status: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"msg_{served.number:048x}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": list(parts),
    }


class ResponseFrames:
    """The bytes of one streamed answer."""

    def __init__(self, served: Served):
        self._served = served
        self._sequence = 0
        self._item = f"msg_{served.number:048x}"
        self._start = (
            b"event: response.output_text.delta\n"
            b'data: {"type":"response.output_text.delta","item_id":"%b","output_index":0,'
            b'"content_index":0,"delta":"' % self._item.encode()
        )

    def begin(self) -> bytes:
        begun = {"response": _response(self._served, "in_progress")}
        item = {"output_index": 0, "item": _message(self._served, "in_progress")}
        return (
            self._event("response.created", begun)
            + self._event("response.in_progress", begun)
            + self._event("response.output_item.added", item)
            + self._event("response.content_part.added", {**self._place(), "part": _part(0)})
        )

    def token(self, index: int) -> bytes:
        self._sequence = _BEFORE + index + 1
        word = WORD_BYTES[index % len(WORD_BYTES)]
        return http_chunk(
            b'%b%b","logprobs":[],"sequence_number":%d}\n\n' % (self._start, word, _BEFORE + index)
        )

    def end(self) -> bytes:
        response = _finished(self._served)
        (message,) = response["output"]
        (part,) = message["content"]
        text = {**self._place(), "text": part["text"], "logprobs": []}
        return (
            self._event("response.output_text.done", text)
            + self._event("response.content_part.done", {**self._place(), "part": part})
            + self._event("response.output_item.done", {"output_index": 0, "item": message})
            + self._event(f"response.{response['status']}", {"response": response})
        )

    def garbage(self) -> bytes:
        return http_chunk(self._start + b"\xff\xfe{{{\n\n")

    def error(self, error: RequestError) -> bytes:
        """An answer that failed ends with its object; a service that is overloaded with an event
        of its own.
        """
        if error.trouble is Trouble.overload:
            fields = {"code": error.code, "message": error.message, "param": None}
            return self._event("error", fields)
        response = _response(self._served, "failed")
        response["error"] = {"code": "server_error", "message": error.message}
        return self._event("response.failed", {"response": response})

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._item, "output_index": 0, "content_index": 0}

    def _event(self, kind: str, fields: dict[str, Any]) -> bytes:
        data = compact({"type": kind, **fields, "sequence_number": self._sequence})
        self._sequence += 1
        return http_chunk(b"event: %b\ndata: %b\n\n" % (kind.encode(), data))


API = Responses()
