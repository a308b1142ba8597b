"""One request under way: the transport's events become one sample.

In: the transport's events, and the API that the answer is read by. Out: the fields of one row. Must
stay true: exactly one outcome, decided here and once; an answer is judged by what it says, not by
its status line alone; no vendor is known here.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

from bench.api.answer import Answer, MalformedAnswer, StreamError
from bench.api.cause import Cause
from bench.api.decoding import count_of, ms_as_ns, retry_after_ms, server_timing_ns, wait_ms
from bench.api.interface import Api, HeaderFact
from bench.api.reading import Reader, Sniffer
from bench.api.registry import DEFAULT, api_named
from bench.load.checked import CheckedReader
from bench.load.transport.interface import Handle, Headers
from bench.plan.expectation import REFUSED, Expectation
from bench.record.samples import Flag, Outcome, Reason, cause_of_end

_MAX_ERROR_BYTES = 64 << 10
#: Codings that pack a body. `none`, `identity`, `utf-8` and other words that are none leave it as
#: it is, as every client takes it.
_PACKED = frozenset(
    b"gzip x-gzip deflate br zstd compress x-compress dcb dcz lz4 snappy lzma xz bzip2".split()
)
#: What a request that no endpoint has sent yet would be read by.
_UNTIL_SENT = api_named(DEFAULT)
#: How long to wait, the finest first: milliseconds, then the answering server's own seconds, then
#: those that a gateway passes on from the provider behind it.
_WAITS = (HeaderFact.retry_after_ms, HeaderFact.retry_after, HeaderFact.provider_retry_after)
#: Headers that are kept as they are, and where.
_TEXTS = {
    HeaderFact.served_model: "served_model",
    HeaderFact.served_region: "region",
    HeaderFact.served_tier: "served_tier",
}
#: The vendor's answer that another deployment served the request names no tier.
SPILLED_OVER = "spillover"


class Request:
    """Implements `Receiver` for one row. `on_end` is called once, with the outcome and a note."""

    __slots__ = (
        "_error_body",
        "_on_end",
        "_reader",
        "_wait_rank",
        "answer",
        "api",
        "attempts",
        "body_version",
        "choices",
        "connect_ns",
        "deadline_ns",
        "done_ns",
        "due_ns",
        "ended",
        "error_code",
        "expect",
        "flags",
        "gaps",
        "handle",
        "headers_ns",
        "lane",
        "region",
        "request_id",
        "requests_left",
        "retry_after_ms",
        "row",
        "sent_ns",
        "served_model",
        "served_tier",
        "server_ns",
        "should_retry",
        "slot_free_ns",
        "status",
        "streamed",
        "tls_ns",
        "tokens_left",
    )

    #: by which its answer is read; set by the endpoint that sends it
    api: Api

    def __init__(
        self,
        row: int,
        lane: Any,
        due_ns: int,
        streamed: bool,
        gaps: array[int],
        on_end: Callable[[Request, Outcome, str], None],
    ):
        self.row = row
        self.lane = lane
        self.due_ns = due_ns
        self.streamed = streamed
        self.gaps = gaps
        self._on_end = on_end
        self.api = _UNTIL_SENT
        self.slot_free_ns = self.sent_ns = self.headers_ns = self.done_ns = -1
        self.connect_ns = self.tls_ns = -1
        self.deadline_ns = self.body_version = self.status = self.flags = 0
        self.attempts = self.choices = 1
        #: what its answer has to be; set by the endpoint, as `api` is
        self.expect: Expectation | None = None
        self.retry_after_ms = -1
        self.ended = False
        self.handle: Handle | None = None
        self.answer: Answer | None = None
        self._reader: Reader | Sniffer | None = None
        self._error_body: bytearray | None = None
        self._forget_what_answered()

    def _forget_what_answered(self) -> None:
        """What only headers say, and what an error says, is of one answer."""
        self.served_model: str | None = None
        self.served_tier: str | None = None
        self.region: str | None = None
        #: the vendor's own name of the request; b"" where it gives none
        self.request_id = b""
        #: the server's own time, and what is left of the buyer's limits; -1 where it says nothing
        self.server_ns = self.requests_left = self.tokens_left = -1
        #: the code of the error that ended it, in the vendor's words
        self.error_code = ""
        #: what the server says of another try, whatever its status; None: nothing
        self.should_retry: bool | None = None
        self._wait_rank = len(_WAITS)

    def begin_again(self, now_ns: int) -> None:
        """The same request once more, from `now_ns` (monotonic) on, as if nothing had been sent."""
        self.attempts += 1
        self.ended = False
        self.answer = self._reader = self._error_body = None
        self.status = 0
        self.sent_ns = self.headers_ns = self.done_ns = -1
        self.slot_free_ns = now_ns
        self._forget_what_answered()

    # ---- events of the transport

    def on_connected(self, connect_ns: int, tls_ns: int) -> None:
        """A new connection was opened for it."""
        self.connect_ns = connect_ns
        self.tls_ns = tls_ns
        self.flags |= Flag.NEW_CONNECTION

    def on_reconnect(self) -> None:
        """The idle connection had ended before the request was on it; a new one is dialled."""
        self.flags |= Flag.RECONNECTED

    def on_held(self, length_ns: int) -> None:
        """The peer or the link was slow: no lateness of ours."""
        self.slot_free_ns += length_ns

    def on_sent(self, now_ns: int, reused: bool) -> None:
        """The request is written."""
        self.sent_ns = now_ns
        if reused:
            self.flags &= ~Flag.NEW_CONNECTION

    def on_head(
        self,
        status: int,
        headers: Headers,
        stamp_ns: int,
        user_stamp: bool,
    ) -> None:
        """Status and headers; from here the body is an answer or an error text."""
        self.status = status
        self.headers_ns = stamp_ns
        # A quick server answers before the write has returned to us: it had the request by then.
        self.sent_ns = min(self.sent_ns, stamp_ns)
        if user_stamp:
            self.flags |= Flag.USER_STAMP
        content_type, codings = b"", list[bytes]()
        known = self.api.response_headers
        for name, value in headers:
            if name == b"content-type":
                content_type = value.lower()
            elif name == b"content-encoding":
                codings += [word.strip() for word in value.lower().split(b",")]
            elif name in known:
                self._note_header(known[name], value)
        if not 200 <= status < 300:
            self._error_body = bytearray()
            return
        if packed := _PACKED.intersection(codings):
            # To unpack it would cost time that the stamps do not show, and memory without bound.
            note = f"content-encoding {min(packed).decode()}: identity was asked for"
            self.fail(Outcome.malformed, note, stamp_ns)
            return
        labelled = self.api.is_stream(content_type.strip(), self.streamed)
        self._reader = Sniffer(labelled, self.api.looks_streamed, self._begin_body)

    def _begin_body(self, streamed: bool) -> Reader:
        """Its first bytes have shown what the body is."""
        if streamed:
            self.flags |= Flag.STREAMED
        self.answer, reader = self.api.open(streamed, self.gaps)
        self.answer.asked = self.choices
        if self.expect is not None:
            reader = CheckedReader(reader, self.api, self.expect, streamed=streamed)
        self._reader = reader
        return reader

    def _note_header(self, fact: HeaderFact, value: bytes) -> None:
        if fact in _TEXTS:
            setattr(self, _TEXTS[fact], value.decode("latin-1"))
        elif fact is HeaderFact.spilled_from or (
            fact is HeaderFact.spilled_over and value.lower() == b"true"
        ):
            self.served_tier = SPILLED_OVER
        elif fact is HeaderFact.request_id:
            self.request_id = value
        elif fact is HeaderFact.error_code:
            self.error_code = value.partition(b":")[0].decode("latin-1")[:80]
        elif fact is HeaderFact.server_ms:
            self.server_ns = ms_as_ns(value)
        elif fact is HeaderFact.server_timing:
            self.server_ns = max(self.server_ns, server_timing_ns(value))
        elif fact is HeaderFact.requests_left:
            self.requests_left = count_of(value)
        elif fact is HeaderFact.tokens_left:
            # Of several budgets the one that will be used up first.
            known = (self.tokens_left, count_of(value))
            self.tokens_left = min((left for left in known if left >= 0), default=-1)
        elif fact is HeaderFact.cold_start and value == b"1":
            self.flags |= Flag.COLD_START
        elif fact is HeaderFact.should_retry:
            self.should_retry = {b"true": True, b"false": False}.get(value)
        elif fact in _WAITS:
            self._note_wait(_WAITS.index(fact), value)

    def _note_wait(self, rank: int, value: bytes) -> None:
        wait = retry_after_ms(value) if rank else wait_ms(value)
        if wait >= 0 and rank <= self._wait_rank:
            self.retry_after_ms, self._wait_rank = wait, rank

    def on_body(self, data: bytes, stamp_ns: int) -> None:
        """Body bytes."""
        if self.ended:
            return
        if self._reader is None:
            if self._error_body is None:
                self._error_body = bytearray()
            self._error_body += data
            if len(self._error_body) > _MAX_ERROR_BYTES:
                self.fail(*self._judge_status(), stamp_ns)
            return
        try:
            self._reader.feed(data, stamp_ns)
        except StreamError as error:
            self.error_code = error.code
            self.fail(Outcome.stream_error, str(error), stamp_ns)
        except MalformedAnswer as error:
            self.fail(Outcome.malformed, str(error), stamp_ns)

    def on_done(self, stamp_ns: int) -> None:
        """The body is complete."""
        if self.ended:
            return
        self.done_ns = stamp_ns
        self.end(*self._judge())

    def on_fail(self, outcome: Outcome, note: str, now_ns: int) -> None:
        """Failed below HTTP; an error status that had come stands, whatever became of its text."""
        if self.ended:
            return
        self.done_ns = now_ns
        if self._error_body is not None:
            outcome, note = self._judge_status()
        self.end(outcome, note)

    # ---- decisions

    def _judge(self) -> tuple[Outcome, str]:
        if self._reader is None:
            return self._judge_status()
        try:
            self._reader.close()
        except StreamError as error:
            self.error_code = error.code
            return Outcome.stream_error, str(error)
        except MalformedAnswer as error:
            return Outcome.malformed, str(error)
        if self.answer is None or not self.answer.complete:
            return Outcome.truncated, self.api.cut_note
        wrong = self._reader.failure() if isinstance(self._reader, CheckedReader) else ""
        return (Outcome.wrong_answer if wrong else Outcome.ok), wrong

    def _judge_status(self) -> tuple[Outcome, str]:
        body = bytes(self._error_body or b"")
        self.error_code = self.api.error_code(body) or self.error_code
        text = self.api.error_message(body)
        note = f"HTTP {self.status}: {text}" if text else f"HTTP {self.status}"
        if self.status == 429:
            return Outcome.rate_limited, note
        if 400 <= self.status < 500:
            return Outcome.http_4xx, note
        if self.status >= 500:
            return Outcome.http_5xx, note
        return Outcome.malformed, f"HTTP {self.status}: redirects are not followed"

    @property
    def tier(self) -> str | None:
        """The tier that answered, in the vendor's word. An answer that another deployment gave
        names that one's tier: it says nothing of what was bought.
        """
        if self.answer is None or self.served_tier == SPILLED_OVER:
            return self.served_tier
        return self.answer.tier or self.served_tier

    def cause(self, outcome: Outcome, note: str) -> Cause:
        """Whose fault it is that the request ended with a failure."""
        if outcome is Outcome.malformed and 300 <= self.status < 400:
            return Cause.request  # another URL is meant
        if outcome is Outcome.wrong_answer and note == REFUSED:
            return Cause.filter
        return cause_of_end(outcome, self.status, self.error_code, note, self.api.cause)

    def fail(self, outcome: Outcome, note: str, now_ns: int) -> None:
        """End it here and give its connection up."""
        if self.ended:
            return
        self.done_ns = now_ns
        if self.handle is not None:
            self.handle.abort()
        self.end(outcome, note)

    def end(self, outcome: Outcome, note: str) -> None:
        """It is over: `on_end` is called, once."""
        self.ended = True
        self.handle = None
        self._on_end(self, outcome, note)


class Attempt(Request):
    """One try of a routed request at one leg: its lane is the `RoutedRequest`, which gets its first
    token and its end.
    """

    __slots__ = (
        "cancelled",
        "leg",
        "note",
        "number",
        "outcome",
        "reason",
        "start_ns",
        "token_reported",
    )

    def __init__(
        self,
        row: int,
        routed: Any,
        number: int,
        leg: int,
        reason: Reason,
        start_ns: int,
        streamed: bool,
    ):
        """`start_ns` (monotonic): since when nothing but the harness stood in its way."""
        super().__init__(row, routed, -1, streamed, array("q"), routed.attempt_ended)
        self.number = number
        self.leg = leg
        self.reason = reason
        self.start_ns = start_ns
        self.slot_free_ns = start_ns
        self.token_reported = self.cancelled = False
        self.outcome = Outcome.censored
        self.note = ""

    def on_body(self, data: bytes, stamp_ns: int) -> None:
        """Body bytes; the first token is reported to the route."""
        super().on_body(data, stamp_ns)
        if (
            not self.token_reported
            and not self.ended
            and self.answer is not None
            and self.answer.first_token_ns >= 0
        ):
            self.token_reported = True
            self.lane.first_token(self, stamp_ns)

    def cancel(self, now_ns: int) -> None:
        """Give it up and its connection with it; no callback follows."""
        self.ended = self.cancelled = True
        self.done_ns = now_ns
        if self.handle is not None:
            self.handle.abort()
            self.handle = None
