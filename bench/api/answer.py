"""What one answer said and when: the record between an API's reader and the journal.

In: what an event says (`Said`), with the stamp (ns) of the read that brought it. Out: an `Answer`
with the instants of the first, first visible and last token, chunk counts, gaps, usage, finish
reason and what served it. Must stay true: usage that comes again replaces what was known, so
cumulative counts need no rule of their own; an event without a token moves no instant of a token;
an answer is complete only where its own end is believed (docs/dev/ends.md).
"""

from __future__ import annotations

import dataclasses
import enum
from array import array
from typing import NamedTuple


class MalformedAnswer(Exception):
    """The bytes are no answer of this API."""


class StreamError(Exception):
    """The server reported an error inside a 200 answer: its message, and its code or ""."""

    def __init__(self, message: str, code: str = ""):
        super().__init__(message)
        self.code = code


class Token(enum.Enum):
    """What the tokens of an event belong to."""

    text = "text"
    refusal = "refusal"
    tool_call = "tool_call"
    reasoning = "reasoning"


class Usage(NamedTuple):
    """Token counts as the server states them; -1 where it does not."""

    prompt_tokens: int = -1
    output_tokens: int = -1
    reasoning_tokens: int = -1
    cached_tokens: int = -1
    #: of APIs that count the prompt in parts: beside the cache, and what was written into it. The
    #: prompt is then the sum of these two and the cached ones
    fresh_tokens: int = -1
    written_tokens: int = -1


@dataclasses.dataclass(slots=True)
class Said:
    """What one event, or a whole plain body, says. What it does not mention keeps its default."""

    #: it brings tokens: of the answer where it brings both answer and reasoning
    token: Token | None = None
    #: counts so far; those it leaves at -1 stay as they were known
    usage: Usage | None = None
    finish: str | None = None
    #: choices, by index: that appear, that get tokens, that a reason ends
    choices: tuple[int, ...] = dataclasses.field(default=(), compare=False)
    begun: tuple[int, ...] = dataclasses.field(default=(), compare=False)
    ended: tuple[int, ...] = dataclasses.field(default=(), compare=False)
    #: behind the last reason stands a mark of the API's own (`end`)
    mark_follows: bool = dataclasses.field(default=False, compare=False)
    #: reasons have a place here, and it is empty: one has to come before the end is believed
    reason_due: bool = dataclasses.field(default=False, compare=False)
    #: what served the request, each by the name that the API gives it
    model: str | None = None
    tier: str | None = None
    region: str | None = None
    #: the API's mark behind a whole answer; a stream that stops before its end was cut
    end: bool = False
    #: how long the server says that it took, in ns
    server_ns: int | None = None
    #: the server's own report of an error: nothing else of the event counts
    error: str | None = None
    #: the error's code or type, in the API's words
    error_code: str = ""
    #: why these bytes are no answer of the API; what else the event says still counts
    malformed: str | None = None


class Answer:
    """What one response body said and when."""

    __slots__ = (
        "_choices",
        "_distrusted",
        "_ended",
        "_fresh_tokens",
        "_marked",
        "_reason_due",
        "_shared_stamp_ns",
        "_written_tokens",
        "asked",
        "cached_tokens",
        "chunks",
        "complete",
        "finish",
        "first_answer_token_ns",
        "first_byte_ns",
        "first_shared",
        "first_token_ns",
        "first_tokens",
        "gap_max_ns",
        "gaps",
        "last_token_ns",
        "model",
        "output_tokens",
        "prompt_tokens",
        "reasoning_tokens",
        "region",
        "server_ns",
        "shared_reads",
        "tier",
    )

    def __init__(self, gaps: array[int] | None = None):
        """`gaps`, if given, receives every gap between two chunks in ns, as they come."""
        self.gaps = gaps
        self.first_byte_ns = self.first_token_ns = self.first_answer_token_ns = -1
        self.last_token_ns = self.gap_max_ns = self._shared_stamp_ns = -1
        #: events that held tokens; reads that brought several of them
        self.chunks = self.shared_reads = 0
        #: output tokens in the first event with tokens, by its own usage
        self.first_tokens = -1
        #: the read that brought the first token brought further ones
        self.first_shared = False
        self.prompt_tokens = self.output_tokens = self.reasoning_tokens = self.cached_tokens = -1
        self._fresh_tokens = self._written_tokens = -1
        self.finish: str | None = None
        self.model: str | None = None
        self.tier: str | None = None
        self.region: str | None = None
        #: how long the server says that it took
        self.server_ns = -1
        #: so many choices were asked for
        self.asked = 1
        #: it has ended well, by the rules of docs/dev/ends.md
        self.complete = False
        self._choices: set[int] = set()
        self._ended: set[int] = set()
        self._marked = self._reason_due = self._distrusted = False

    def token(self, stamp_ns: int, visible: bool) -> None:
        """An event with tokens; `visible` unless it holds nothing but reasoning."""
        self.chunks += 1
        if visible and self.first_answer_token_ns < 0:
            self.first_answer_token_ns = stamp_ns
        last = self.last_token_ns
        self.last_token_ns = stamp_ns
        if last < 0:
            self.first_token_ns = stamp_ns
            return
        gap = stamp_ns - last
        if gap > self.gap_max_ns:  # noqa: PLR1730 a call of max costs a tenth of an event
            self.gap_max_ns = gap
        if self.gaps is not None:
            self.gaps.append(gap)
        if gap == 0 and stamp_ns != self._shared_stamp_ns:
            self._shared_stamp_ns = stamp_ns
            self.shared_reads += 1
            self.first_shared = self.first_shared or stamp_ns == self.first_token_ns

    def add(self, said: Said, stamp_ns: int | None) -> None:
        """Take in one event; no stamp = the whole body at once, whose tokens have no instants.

        Raises StreamError and MalformedAnswer as the event says.
        """
        if said.error is not None:
            raise StreamError(said.error, said.error_code)
        if said.usage is not None:
            self._count(said.usage, with_first=said.token is not None and self.chunks == 0)
        # What served the request stands in the first event that says so. The tier is another
        # matter: a first event may only repeat what was asked for, the last one knows.
        if self.model is None:
            self.model = said.model
        if said.tier is not None:
            self.tier = said.tier
        if said.server_ns is not None:
            self.server_ns = said.server_ns
        if self.region is None:
            self.region = said.region
        if said.finish is not None:
            self.finish = said.finish
        if said.choices or said.end or said.finish or said.reason_due:
            self._note_end(said)
        if said.malformed is not None:
            raise MalformedAnswer(said.malformed)
        if said.token is not None:
            if stamp_ns is None:
                self.chunks = 1
            else:
                self.token(stamp_ns, said.token is not Token.reasoning)

    @property
    def of_one_choice(self) -> bool:
        """All tokens so far belong to the first choice, and nothing has ended it."""
        return self._choices <= {0} and not self._ended

    def _note_end(self, said: Said) -> None:
        """Whether what was said so far is a whole answer (docs/dev/ends.md)."""
        if said.begun and not self._ended.isdisjoint(said.begun):
            # More text behind a reason, which ended nothing. Where a mark follows, it alone does.
            self._ended.difference_update(said.begun)
            self._distrusted = self._distrusted or said.mark_follows
        if self.first_token_ns < 0:
            self._reason_due = self._reason_due or said.reason_due
        self._choices.update(said.choices)
        self._ended.update(said.ended)
        self._marked = self._marked or said.end
        if self._ended:
            trusted = self._marked or not self._distrusted
            all_ended = self._choices <= self._ended and len(self._ended) >= self.asked
            self.complete = trusted and all_ended
        else:
            held = self.finish is not None or self.chunks > 0 or said.token is not None
            due = self._reason_due and self.finish is None
            all_came = len(self._choices) >= self.asked or self.asked == 1
            self.complete = self._marked and held and not due and all_came

    def _count(self, usage: Usage, *, with_first: bool) -> None:
        prompt, output, reasoning, cached, fresh, written = usage
        if with_first and output > 0:
            self.first_tokens = output
        # Nothing was never read or made: a zero behind a count is a place that was not filled in.
        if prompt > 0 or self.prompt_tokens < 0 <= prompt:
            self.prompt_tokens = prompt
        if output > 0 or self.output_tokens < 0 <= output:
            self.output_tokens = output
        if reasoning > 0 or self.reasoning_tokens < 0 <= reasoning:
            self.reasoning_tokens = reasoning
        if cached > 0 or self.cached_tokens < 0 <= cached:
            self.cached_tokens = cached
        if written > 0 or self._written_tokens < 0 <= written:
            self._written_tokens = written
        if fresh > 0 or self._fresh_tokens < 0 <= fresh:
            self._fresh_tokens = fresh
        if self._fresh_tokens >= 0:
            beside = max(0, self.cached_tokens) + max(0, self._written_tokens)
            self.prompt_tokens = self._fresh_tokens + beside
