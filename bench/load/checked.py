"""An answer whose text is checked once it is whole.

In: the bytes of a body, as the reader of its API gets them. Out: what is wrong with the answer, by
the profile's `expect_answer`. Must stay true: stamps are those that an unchecked answer gets; text
is looked for only after the last byte was stamped, and is forgotten with the request.
"""

from __future__ import annotations

from bench.api.answer import Answer, MalformedAnswer, Token
from bench.api.interface import Api
from bench.api.reading import Reader
from bench.plan.expectation import MOST_KEPT_BYTES, Expectation

TOO_LONG = f"above {MOST_KEPT_BYTES >> 20} MiB, too long to be checked"


class CheckedReader:
    """Reads by another reader, and keeps what it was given."""

    __slots__ = ("_api", "_expected", "_kept", "_reader", "_streamed", "answer")

    def __init__(self, reader: Reader, api: Api, expected: Expectation, *, streamed: bool):
        self._reader = reader
        self._api = api
        self._expected = expected
        self._streamed = streamed
        self._kept = bytearray()
        self.answer: Answer = reader.answer

    def feed(self, data: bytes, stamp_ns: int) -> None:
        """Take body bytes. Raises MalformedAnswer or StreamError."""
        self._reader.feed(data, stamp_ns)
        if len(self._kept) <= MOST_KEPT_BYTES:
            self._kept += data

    def close(self) -> None:
        """The body ended. Raises MalformedAnswer or StreamError."""
        self._reader.close()

    def failure(self) -> str:
        """What is wrong with the answer, "" where nothing is."""
        if len(self._kept) > MOST_KEPT_BYTES:
            return TOO_LONG
        text, visible, declined = self._text()
        answer = self.answer
        return self._expected.failure(
            text,
            answer.output_tokens,
            answer.finish or "",
            visible=visible,
            declined=declined and not text,
        )

    def _text(self) -> tuple[str, bool, bool]:
        """The visible text; whether anything is visible, be it a call; whether it refuses."""
        body = bytes(self._kept)
        if not self._streamed:
            token = self._api.read_body(body).token
            seen = token not in (None, Token.reasoning)
            return self._api.text_of_body(body), seen, token is Token.refusal
        frames = self._api.framing()
        texts, declined = list[str](), False
        for name, payload in [*frames.feed(body), *frames.close()]:
            try:
                texts.append(self._api.text_of_event(name, payload))
                if b"refusal" in payload and not declined:
                    declined = self._api.read_event(name, payload).token is Token.refusal
            except MalformedAnswer:
                continue  # the reader has decided that the answer is whole without it
        return "".join(texts), self.answer.first_answer_token_ns >= 0, declined
