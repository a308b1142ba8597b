"""What all APIs of the gateway share on the wire: HTTP/1.1, JSON bodies, refusals, the words said.

In: bytes of a request body, a status, headers. Out: objects, bytes of HTTP/1.1. Must stay true: no
I/O and no time here; a `RequestError` says what went wrong, and each API says it in its own words.
"""

from __future__ import annotations

import enum
import json
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
#: As streams have them: encoded once, for a word is written per token.
WORD_BYTES = tuple(word.encode() for word in WORDS)
MAX_OUTPUT_TOKENS = 131_072
END = b"0\r\n\r\n"
_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {529: "Overloaded"}


class Trouble(enum.Enum):
    """What is wrong with a request or with the provider, before any API has words for it."""

    request = enum.auto()
    length = enum.auto()
    model = enum.auto()
    key = enum.auto()
    expired = enum.auto()
    forbidden = enum.auto()
    quota = enum.auto()
    capacity = enum.auto()
    overload = enum.auto()
    server = enum.auto()


_BY_STATUS = {
    401: Trouble.key,
    403: Trouble.forbidden,
    404: Trouble.model,
    429: Trouble.quota,
}


class RequestError(Exception):
    """A request that is not answered: HTTP status, and the four keys of an OpenAI error."""

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = "invalid_request_error",
        *,
        param: str | None = None,
        code: str | None = None,
        trouble: Trouble | None = None,
    ):
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        by_status = Trouble.server if status >= 500 else Trouble.request
        self.trouble = trouble or _BY_STATUS.get(status, by_status)

    @property
    def body(self) -> bytes:
        """In OpenAI's shape, for requests that belong to no API."""
        return error_body(self.message, self.kind, self.param, self.code)


def error_body(
    message: str,
    kind: str,
    param: str | None = None,
    code: str | None = None,
) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}`."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return json.dumps({"error": error}, separators=(",", ":")).encode()


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body holds. Raises RequestError as a provider would answer."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(
            400, f"We could not parse the JSON body of your request: {error}"[:300]
        ) from None
    if not isinstance(data, dict):
        raise RequestError(400, "The body of the request must be a JSON object.")
    return data


def model_of(data: dict[str, Any]) -> str:
    """The model that a body asks for. Raises RequestError."""
    model = data.get("model")
    if not isinstance(model, str) or not model:
        raise RequestError(400, "you must provide a model parameter", param="model")
    return model


def flag(data: dict[str, Any], key: str) -> bool:
    """A key that is true or false, false without it. Raises RequestError."""
    value = data.get(key)
    if value is not None and not isinstance(value, bool):
        raise RequestError(400, f"{key} must be true or false.", param=key, code="invalid_type")
    return bool(value)


def length_of(data: dict[str, Any], *keys: str) -> int | None:
    """The answer's length by the first of these keys that is there. Raises RequestError."""
    found = None
    for key in keys:
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


def texts_of(turns: Any, key: str = "messages", inner: str = "content") -> list[str]:
    """The texts of a conversation's turns: each a text, or parts of which some hold a `text`.

    Raises RequestError where a turn has neither text nor role.
    """
    if not isinstance(turns, list) or not turns:
        raise RequestError(400, f"{key} must be a list with at least one message.", param=key)
    texts = []
    for index, turn in enumerate(turns):
        content = turn.get(inner) if isinstance(turn, dict) else None
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            texts += part_texts(content)
        elif not isinstance(turn, dict) or content is not None or "role" not in turn:
            raise RequestError(
                400,
                f"a message needs a role and a {inner}.",
                param=f"{key}[{index}]",
                code="invalid_type",
            )
    return texts


def part_texts(parts: list[Any]) -> list[str]:
    """The texts of a message's parts."""
    return [
        part["text"]
        for part in parts
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    ]


def compact(value: Any) -> bytes:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


def answer_text(tokens: int) -> str:
    """The text of a whole answer."""
    return "".join(WORDS[index % len(WORDS)] for index in range(tokens))


def head(
    status: int,
    headers: list[tuple[str, str]],
    *,
    length: int | None,
    content_type: str,
    close: bool,
) -> bytes:
    """The head of an answer; `length` None means chunked."""
    lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, '')}", f"content-type: {content_type}"]
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


def prompt_blocks(prompt: str, block_tokens: int) -> tuple[int, ...]:
    """A hash for each whole block of the prompt, over the block and all before it."""
    words = prompt.split()
    chain = 0
    blocks = []
    for start in range(0, len(words) - block_tokens + 1, block_tokens):
        chain = crc32(
            " ".join(words[start : start + block_tokens]).encode(errors="surrogatepass"), chain
        )
        blocks.append(chain)
    return tuple(blocks)
