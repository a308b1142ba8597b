"""OpenAI's Responses API, as OpenAI, Azure, Bedrock's fronts and vLLM speak it.

In: options and texts; events of a stream, or a whole body. Out: bodies; what was said. Must stay
true: an event is known by its `type`, and by its SSE name where it has none; what a tool printed
is no token; an answer that was cut by its length limit (`response.incomplete`) is an answer.

Source: OpenAI API reference, "Responses" and "Streaming events". An event that begins an answer
repeats the tier that was asked for: only its end says which one served it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.api.answer import Answer, Said, Token
from bench.api.decoding import code_of, decode, error_text, text_or_none
from bench.api.failures import failure_in, is_error, named_failure, names_failure
from bench.api.framing import EventStream
from bench.api.interface import (
    AnswerLimit,
    Api,
    BodyOptions,
    in_turns,
    limit_of,
)
from bench.api.openai_facts import note_tier
from bench.api.openai_family import FixedBody, OpenAiShape, fixed_keys
from bench.api.openai_parts import text_of, usage_of
from bench.api.quick import Look, QuickReader
from bench.api.reading import Reader

_LENGTH = "max_output_tokens"
_USER, _ASSISTANT = b'{"role":"user","content":"', b'{"role":"assistant","content":"'
_DELTA = b'"delta":"'
#: The last event of a stream that has its own end.
_LAST = ("response.completed", "response.incomplete")
_BROKEN = ("response.failed", "response.cancelled")
_FAILED = ("failed", "cancelled")
#: Kinds of output whose beginning brings the name that the model chose.
_CALLS = ("function_call", "custom_tool_call", "mcp_call")


class Responses(OpenAiShape, Api):
    """`POST …/responses`."""

    name = "responses"
    operation = "chat"
    vllm_backend = "openai-responses"
    ending = "/responses"
    of_deployment = False
    own_keys = ("model", "input", "stream")
    cut_note = "stream ended without response.completed"

    def body_format(self, options: BodyOptions) -> ResponsesBody:
        return ResponsesBody(options)

    def answer_limit(
        self,
        extra_body: Mapping[str, Any],
        max_tokens_field: str,
    ) -> AnswerLimit:
        return limit_of(extra_body, (_LENGTH,), (_LENGTH,))

    def read_event(self, name: str, payload: bytes) -> Said:
        text = payload.strip()
        if not text or text.startswith(b"[DONE]"):
            return Said(end=bool(text))
        if names_failure(name) and not name.startswith("response."):
            return named_failure(name, payload)
        event = decode(payload)
        kind = text_or_none(event.get("type")) or name
        if kind in ("error", "response.error") or (
            is_error(event.get("error")) and "response" not in event
        ):
            return Said(error=error_text(event), error_code=_code(event))
        if not kind and (failed := failure_in(event, answers=False)) is not None:
            return failed
        if kind.endswith(".delta"):
            return Said(token=_token(kind, event.get("delta")))
        if kind == "response.output_item.added":
            item = event.get("item")
            called = isinstance(item, dict) and item.get("type") in _CALLS and item.get("name")
            return Said(token=Token.tool_call if called else None)
        response = event.get("response")
        if not isinstance(response, dict):
            return Said()
        if kind in _BROKEN or is_error(response.get("error")):
            return _failed(response)
        if kind in _LAST:
            said = _about(response)
            if said.finish in _FAILED:
                return _failed(response)
            said.end = True
            return said
        # It began by the API's own events, so [DONE] alone does not end it.
        return Said(model=text_or_none(response.get("model")), reason_due=True)

    def read_body(self, body: bytes) -> Said:
        answer = decode(body)
        status = answer.get("status")
        output = answer.get("output")
        if status in _FAILED:
            return _failed(answer)
        failed = failure_in(answer, answers=isinstance(output, list))
        if failed is not None:
            return failed
        said = _about(answer)
        if not isinstance(output, list):
            said.malformed = "answer without output"
        elif status in ("queued", "in_progress"):
            said.malformed = f"the answer is still {status}: leave `background` out of the body"
        elif not output and status != "incomplete":
            said.malformed = "an answer of nothing: its output is empty"
        else:
            said.token = _token_of(output)
        return said

    def text_of_event(self, name: str, payload: bytes) -> str:
        if not payload.lstrip().startswith(b"{"):
            return ""
        event = decode(payload)
        kind = text_or_none(event.get("type")) or name
        if not kind.endswith("output_text.delta"):
            return ""
        return text_or_none(event.get("delta")) or ""

    def text_of_body(self, body: bytes) -> str:
        output = decode(body).get("output")
        items = output if isinstance(output, list) else []
        return "".join(
            text_of(item)
            for item in items
            if isinstance(item, dict) and item.get("type") == "message"
        )

    def stream_reader(self, answer: Answer) -> Reader:
        return QuickReader(answer, EventStream(), self.read_event, LOOK)


def _text_places(payload: bytes) -> Iterator[tuple[int, int]]:
    """Where its text stands (`Look.places`)."""
    start = payload.find(_DELTA) + len(_DELTA)
    if start >= len(_DELTA) and (end := payload.find(b'"', start)) > start:
        yield start, end


LOOK = Look(_text_places)


def _about(response: dict[str, Any]) -> Said:
    """What a response says beside its output."""
    said = Said(model=text_or_none(response.get("model")))
    note_tier(said, response)
    said.finish = text_or_none(response.get("status"))
    incomplete = response.get("incomplete_details")
    if isinstance(incomplete, dict) and isinstance(incomplete.get("reason"), str):
        said.finish = incomplete["reason"]
    said.usage = usage_of(response.get("usage"))
    return said


def _code(event: dict[str, Any]) -> str:
    """The code of an error event, whose `type` is the event's own."""
    return code_of({**event, "type": None})


def _failed(response: dict[str, Any]) -> Said:
    """Why there is no answer; without a word of the server's, that there is none."""
    if is_error(response.get("error")):
        return Said(error=error_text(response), error_code=code_of(response))
    return Said(error=f"the response is {response.get('status')}")


def _token(kind: str, delta: Any) -> Token | None:
    """What a delta brings, by the name of its event: those to come are named alike."""
    if isinstance(delta, dict):
        delta = delta.get("text")
    if not isinstance(delta, str) or not delta:
        return None
    if "reasoning" in kind:
        return Token.reasoning
    if "refusal" in kind:
        return Token.refusal
    return Token.tool_call if "_call" in kind else Token.text


def _token_of(output: list[Any]) -> Token | None:
    """What a whole answer holds: what is seen, before reasoning."""
    found: Token | None = None
    for item in output:
        kind = item.get("type") if isinstance(item, dict) else None
        if kind == "message":
            content = item.get("content")
            for part in content if isinstance(content, list) else ():
                if isinstance(part, dict) and part.get("text"):
                    return Token.text
                if isinstance(part, dict) and part.get("refusal"):
                    found = Token.refusal
        elif kind == "reasoning":
            found = found or Token.reasoning
        elif isinstance(kind, str) and kind.endswith("_call"):
            found = Token.tool_call if found is not Token.refusal else found
    return found


class ResponsesBody(FixedBody):
    """Writes bodies."""

    def __init__(self, options: BodyOptions):
        """Raises TypeError or ValueError where the extra body cannot be written as JSON."""
        super().__init__(fixed_keys(options, stream=options.stream), _LENGTH)

    def write(self, texts: Sequence[bytes], output_tokens: int) -> bytes:
        """A text alone, or the user's and the assistant's in turn."""
        if len(texts) == 1:
            return self.around(b'"input":"' + texts[0] + b'"', output_tokens)
        turns = in_turns(texts, _USER, _ASSISTANT, b'"}')
        return self.around(b'"input":[' + turns + b"]", output_tokens)


API = Responses()
