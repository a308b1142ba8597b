"""What an answer has to be, beside quick: the checks of a profile or of one own request.

In: the text of a whole answer, its length in tokens, why it ended. Out: what is wrong with it, or
nothing. Must stay true: an answer is wrong by the first check that it fails, in the order in which
a reader would ask (was it refused, is it there, is it whole, is it what was asked for); nothing of
its text leaves this module.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from bench.errors import UserError
from bench.userfile import UserModel

#: So much of an answer is kept to be checked, in bytes on the wire.
MOST_KEPT_BYTES = 8 << 20
REFUSED = "the model or its filter refused"
EMPTY = "no visible answer"
CUT = "cut at its length limit"
NO_JSON = "not JSON"
NO_MATCH = "does not match must_match"
#: Reasons to end by which a model or a filter declines, as the vendors write them (docs/apis.md).
_DECLINED = frozenset(
    (
        *("refusal", "content_filter", "content_filtered", "guardrail_intervened"),
        *("safety", "prohibited_content", "blocklist", "spii", "recitation", "image_safety"),
    )
)
#: Reasons to end at the length that was asked for.
_LENGTH = frozenset(("length", "max_tokens", "max_output_tokens", "model_context_window_exceeded"))


class Expectation(UserModel):
    """What is expected of an answer. An answer that is empty or refused is never right."""

    model_config = ConfigDict(populate_by_name=True)

    #: a regular expression (Python's) that the text has to hold, anywhere in it
    must_match: str | None = None
    #: the text is one JSON value; a fence of Markdown around it is allowed
    json_text: Annotated[bool, Field(alias="json")] = False
    #: the least length in tokens, as the server counts them
    min_tokens: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        if self.must_match is not None:
            try:
                re.compile(self.must_match)
            except re.error as error:
                raise ValueError(f"must_match is no regular expression: {error}") from None
        return self

    def failure(self, text: str, tokens: int, finish: str, *, visible: bool, declined: bool) -> str:
        """What is wrong with an answer, "" where nothing is.

        `tokens` is -1 where the server did not count them; `visible`: it held anything but
        reasoning, be it a tool call; `declined`: it said in so many words that it refuses.
        """
        if declined or finish.lower() in _DECLINED:
            return REFUSED
        if not visible:
            return EMPTY
        if 0 <= tokens < self.min_tokens:
            return f"fewer than {self.min_tokens} tokens"
        wrong = ""
        if self.json_text and not _is_json(text):
            wrong = NO_JSON
        elif self.must_match is not None and re.search(self.must_match, text) is None:
            wrong = NO_MATCH
        return CUT if wrong and finish.lower() in _LENGTH else wrong


def refuse_of_no_text(expected: Expectation | None, api: str) -> None:
    """Raises UserError where something is expected of vectors or scores."""
    if expected is not None:
        raise UserError(
            f"asks for texts, and answers of {api} have none",
            where="expect_answer of the profile",
            remedy="leave it out for this target",
        )


#: What is wrong with a promise on answers without an expectation, and the remedy.
UNCHECKED = (
    "neither its profile nor a line of its prompts says what a right answer is",
    "give the profile expect_answer",
)
_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL)


def _is_json(text: str) -> bool:
    fenced = _FENCED.fullmatch(text)
    try:
        json.loads(fenced.group(1) if fenced else text)
    except (ValueError, RecursionError):
        return False
    return True
