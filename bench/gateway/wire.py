"""The OpenAI-compatible wire: request bodies read and checked, answers and errors written.

In: bytes of a request body, tokens to say. Out: frozen requests, bytes of HTTP/1.1. Must stay
true: no I/O and no time here; every error has the four keys message, type, param and code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from zlib import crc32

#: Answered in turn; each is one token, one chunk. A prompt token is a word between white space.
WORDS = (
    " the",
    " tail",
    " of",
    " a",
    " long",
    " wait",
    " tells",
    " more",
    " than",
    " its",
    " mean",
)
MAX_OUTPUT_TOKENS = 131_072
DONE = b"e\r\ndata: [DONE]\n\n\r\n"
END = b"0\r\n\r\n"


class RequestError(Exception):
    """A request that is refused: HTTP status and the four keys of an OpenAI error."""

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = "invalid_request_error",
        *,
        param: str | None = None,
        code: str | None = None,
    ):
        super().__init__(message)
        self.status = status
        self.body = error_body(message, kind, param, code)


def error_body(
    message: str,
    kind: str,
    param: str | None = None,
    code: str | None = None,
) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}`."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return json.dumps({"error": error}, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What the gateway needs to know of a chat request."""

    model: str
    prompt: str
    prompt_tokens: int
    #: None where the request names no maximum
    output_tokens: int | None
    stream: bool
    include_usage: bool


def parse_chat(body: bytes) -> ChatRequest:
    """Read a `/chat/completions` body. Raises RequestError as a provider would answer."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(
            400, f"We could not parse the JSON body of your request: {error}"[:300]
        ) from None
    if not isinstance(data, dict):
        raise RequestError(400, "The body of the request must be a JSON object.")
    model = data.get("model")
    if not isinstance(model, str) or not model:
        raise RequestError(400, "you must provide a model parameter", param="model")
    stream = _flag(data, "stream")
    options = data.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise RequestError(
            400,
            "stream_options must be an object.",
            param="stream_options",
            code="invalid_type",
        )
    if options is not None and not stream:
        raise RequestError(
            400,
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    if data.get("n") not in (None, 1):
        raise RequestError(
            400,
            "This gateway gives one choice a request: n must be 1.",
            param="n",
            code="unsupported_value",
        )
    prompt = _prompt(data.get("messages"))
    return ChatRequest(
        model,
        prompt,
        len(prompt.split()),
        _max_tokens(data),
        stream,
        _flag(options or {}, "include_usage"),
    )


def _flag(data: dict[str, Any], key: str) -> bool:
    value = data.get(key)
    if value is not None and not isinstance(value, bool):
        raise RequestError(400, f"{key} must be true or false.", param=key, code="invalid_type")
    return bool(value)


def _max_tokens(data: dict[str, Any]) -> int | None:
    found = None
    for key in ("max_completion_tokens", "max_tokens"):
        value = data.get(key)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            raise RequestError(400, f"{key} must be an integer.", param=key, code="invalid_type")
        if not 1 <= value <= MAX_OUTPUT_TOKENS:
            raise RequestError(
                400,
                f"{key} is {value}; it must lie between 1 and {MAX_OUTPUT_TOKENS}.",
                param=key,
                code="integer_below_min_value" if value < 1 else "integer_above_max_value",
            )
        found = value if found is None else found
    return found


def _prompt(messages: Any) -> str:
    if not isinstance(messages, list) or not messages:
        raise RequestError(
            400,
            "messages must be a list with at least one message.",
            param="messages",
        )
    texts = []
    for index, message in enumerate(messages):
        if isinstance(message, dict):
            content = message.get("content")
        else:
            content = None
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            texts += [
                part["text"]
                for part in content
                if isinstance(part, dict) and isinstance(part.get("text"), str)
            ]
        elif not isinstance(message, dict) or content is not None or "role" not in message:
            raise RequestError(
                400,
                "a message needs a role and a content.",
                param=f"messages[{index}]",
                code="invalid_type",
            )
    return "\n".join(texts)


def head(
    status: int,
    headers: list[tuple[str, str]],
    *,
    length: int | None,
    content_type: str,
    close: bool,
) -> bytes:
    """The head of an answer; `length` None means chunked."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"content-type: {content_type}"]
    lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
    # a value may repeat what a client sent: what a header cannot carry is written as an escape
    for name, value in headers:
        plain = value.isascii() and value.isprintable()
        lines.append(f"{name}: {value if plain else value.encode('unicode_escape').decode()}")
    lines.append("connection: close" if close else "connection: keep-alive")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def http_chunk(data: bytes) -> bytes:
    """One chunk of the chunked transfer coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class ChatFrames:
    """The bytes of one streamed answer, each event one HTTP chunk."""

    def __init__(self, answer_id: str, model: str, created: int):
        self._start = (
            b'data: {"id":"%b","object":"chat.completion.chunk","created":%d,"model":%b'
            % (answer_id.encode(), created, json.dumps(model).encode())
        )
        self._fixed = len(self._start) + len(
            b',"choices":[{"index":0,"delta":{"content":""},"finish_reason":null}]}\n\n'
        )

    def role(self) -> bytes:
        """The first event: a role and no content."""
        return self._event(
            b'[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]'
        )

    def token(self, index: int) -> bytes:
        """Content event number `index`."""
        word = _WORD_BYTES[index % len(_WORD_BYTES)]
        return (
            b'%x\r\n%b,"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n\r\n'
            % (self._fixed + len(word), self._start, word)
        )

    def finish(self) -> bytes:
        """The event with the finish reason: every answer runs to its maximum."""
        return self._event(b'[{"index":0,"delta":{},"finish_reason":"length"}]')

    def usage(
        self,
        prompt_tokens: int,
        output_tokens: int,
        cached_tokens: int | None = None,
    ) -> bytes:
        """The usage event: no choices."""
        counts = usage(prompt_tokens, output_tokens, cached_tokens)
        return self._event(b"[]", b',"usage":' + json.dumps(counts, separators=(",", ":")).encode())

    def garbage(self) -> bytes:
        """An event that is not JSON."""
        return http_chunk(b'data: {"id":"chatcmpl-\xff\xfe{{{"choices":[}\n\n')

    def error(self) -> bytes:
        """An error inside a stream that began with status 200."""
        body = error_body(
            "The upstream server had an error while answering.",
            "server_error",
            code="500",
        )
        return http_chunk(b"data: " + body + b"\n\n")

    def _event(self, choices: bytes, more: bytes = b"") -> bytes:
        return http_chunk(b'%b,"choices":%b%b}\n\n' % (self._start, choices, more))


_WORD_BYTES = tuple(word.encode() for word in WORDS)


def usage(
    prompt_tokens: int,
    output_tokens: int,
    cached_tokens: int | None,
) -> dict[str, Any]:
    """The usage object of an answer; with `cached_tokens` where a prefix cache could have
    helped.
    """
    counts: dict[str, Any] = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": prompt_tokens + output_tokens,
    }
    if cached_tokens is None:
        return counts
    return counts | {"prompt_tokens_details": {"cached_tokens": cached_tokens}}


def prompt_blocks(prompt: str, block_tokens: int) -> tuple[int, ...]:
    """A hash for each whole block of the prompt, over the block and all before it."""
    words = prompt.split()
    chain = 0
    blocks = []
    for start in range(0, len(words) - block_tokens + 1, block_tokens):
        chain = crc32(" ".join(words[start : start + block_tokens]).encode(), chain)
        blocks.append(chain)
    return tuple(blocks)


def plain_answer(
    answer_id: str,
    model: str,
    created: int,
    prompt_tokens: int,
    output_tokens: int,
    cached_tokens: int | None = None,
) -> bytes:
    """The whole of an answer that is not streamed."""
    text = "".join(WORDS[index % len(WORDS)] for index in range(output_tokens))
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "length",
    }
    return json.dumps(
        {
            "id": answer_id,
            "object": "chat.completion",
            "created": created,
            "model": model,
            "choices": [choice],
            "usage": usage(prompt_tokens, output_tokens, cached_tokens),
        }
    ).encode()


def model_list(names: list[str], created: int) -> bytes:
    """The answer of `/v1/models`."""
    data = [
        {"id": name, "object": "model", "created": created, "owned_by": "simulated"}
        for name in names
    ]
    return json.dumps({"object": "list", "data": data}).encode()
