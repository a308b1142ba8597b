"""Where samples are gathered while the run lasts, and from where they reach the disk.

In: requests that ended. Out: the samples table, sealed segments, gap histograms, running
quantiles for the screen. Must stay true: a row is filled once; what ended more than a second
ago is on disk; no text of a server is kept without its secrets removed and its length bounded.
"""

from __future__ import annotations

import itertools
import re
from array import array
from collections.abc import Iterable

import anyio
import anyio.to_thread
import numpy as np
from pydantic import SecretStr

from bench.api.answer import Answer
from bench.clock import monotonic_ns
from bench.load.evidence import Evidence, end_of
from bench.load.guard import Guard
from bench.load.request import Attempt, Request
from bench.plan.credentials import REDACTED, Redaction
from bench.record.histogram import Histogram
from bench.record.pieces import FURTHER_TEXTS, MAX_STRINGS, STRING_KINDS, SegmentWriter
from bench.record.records.events import LegChange
from bench.record.samples import (
    ATTEMPT_DTYPE,
    CAUSES,
    AttemptFlag,
    Flag,
    Int,
    Outcome,
    Table,
    empty_attempts,
    empty_samples,
    in_order,
)

SEGMENT_EVERY_S = 0.5
#: What is kept for the vendors is written whole each time: once in so many.
_EVIDENCE_EVERY = 10
_MAX_STRING = 200
#: Of a longer text only so much is searched for secrets, and the rest dropped.
_LOOKED_AT = 4 * _MAX_STRING
#: What looks like a key, ours or not. Words are none: "API key provided", "api-version".
_SECRET = re.compile(
    r"(?i)\b(?:(?:sk|pk)[-_]|(?:sk|pk|api|key|bearer)[-_ ](?=[a-z_.\-]*[0-9*]))[a-z0-9_*.\-]{6,}"
)
_NO_ANSWER = Answer()


class Strings:
    """Short texts by number, bounded in count and length; the last number stands for the rest."""

    def __init__(self, secrets: Iterable[SecretStr] = ()):
        self._redaction = Redaction(secrets)
        self._index: dict[str, int] = {}
        self.names: list[str] = []

    def number(self, text: str | None) -> int:
        """The number of a text, -1 for none."""
        if not text:
            return -1
        if len(text) > _LOOKED_AT:  # before it becomes a key: a server may send megabytes
            text = text[:_LOOKED_AT]
        known = self._index.get(text)
        if known is not None:
            return known
        clean = self.clean(text)
        if clean in self._index:
            return self._index[clean]
        if len(self.names) >= MAX_STRINGS:
            clean = FURTHER_TEXTS
        if clean not in self._index:
            self._index[clean] = len(self.names)
            self.names.append(clean)
        number = self._index[clean]
        if len(self._index) < 2 * MAX_STRINGS:
            self._index[text] = number
        return number

    def clean(self, text: str) -> str:
        """The text as it may be kept: writable, without secrets, of bounded length."""
        # Half a surrogate pair, from a server that cuts text by bytes, cannot be written as UTF-8.
        text = text.encode("utf-8", "replace").decode()[:_LOOKED_AT]
        return _SECRET.sub(REDACTED, self._redaction.clean(text))[:_MAX_STRING]


class Journal:
    """The samples of one process's rows."""

    def __init__(
        self,
        writer: SegmentWriter,
        run_id: str,
        rows: int,
        lane_phases: list[int],
        secrets: Iterable[SecretStr],
        worker: int = 0,
        guard: Guard | None = None,
    ):
        self._writer = writer
        self.run_id = run_id
        self._worker = worker
        self._guard = guard
        #: what ended is sealed this often
        self.seal_every_s = SEGMENT_EVERY_S
        self.samples = empty_samples(rows)
        self._fresh: list[int] = []
        self._seen = 0
        self._t0 = 0
        self._begun = False
        secrets = list(secrets)
        self.strings = {kind: Strings(secrets) for kind in STRING_KINDS}
        self._evidence = Evidence(len(lane_phases))
        self.gap_histograms = [[Histogram() for _ in range(phases)] for phases in lane_phases]
        self._gaps: list[list[array[int]]] = []
        #: for observers of the run alone: response of successes a lane, to the last token and to
        #: the first, and our own lag
        self.response, self.first_token = ([Histogram() for _ in lane_phases] for _ in range(2))
        self._responses, self._first_tokens = ([array("q") for _ in lane_phases] for _ in range(2))
        self._lags = array("q")
        self.lag = Histogram()
        #: what routes tried: rows not yet sealed, and tables that are
        self._tried: list[tuple[int, ...]] = []
        self._sealed = [empty_attempts()]
        #: changes of routes' legs, as the manifest keeps them
        self.leg_events: list[LegChange] = []
        #: rows that ended, by lane and value of Outcome; tokens that their servers stated or that
        #: were counted
        self.outcomes = [[0] * len(Outcome) for _ in lane_phases]
        self.prompt_tokens, self.output_tokens, self.without_usage = (
            [0] * len(lane_phases) for _ in range(3)
        )

    def begin(self, t0: int) -> None:
        """The run's time zero is known (monotonic ns)."""
        self._t0 = t0
        self._begun = True

    def record(self, request: Request, outcome: Outcome, note: str, lane_index: int) -> None:
        """Fill the row of a request that ended."""
        t0, text = self._t0, self.strings
        answer = request.answer if request.answer is not None else _NO_ANSWER
        output_tokens = _output_tokens(answer, request.flags)
        counted = output_tokens != answer.output_tokens and Flag.COUNTED_TOKENS
        self.samples[request.row] = (
            request.due_ns,
            _after(request.slot_free_ns, t0),
            _after(request.sent_ns, t0),
            _after(request.headers_ns, t0),
            _after(answer.first_byte_ns, t0),
            _after(answer.first_token_ns, t0),
            _after(answer.first_answer_token_ns, t0),
            _after(answer.last_token_ns, t0),
            _after(request.done_ns, t0),
            request.connect_ns,
            request.tls_ns,
            answer.gap_max_ns,
            answer.last_token_ns - answer.first_token_ns if answer.chunks > 1 else -1,
            outcome,
            request.flags | (answer.first_shared and Flag.TTFT_UPPER_BOUND) | counted,
            request.status,
            request.attempts,
            answer.chunks,
            answer.shared_reads,
            answer.prompt_tokens,
            output_tokens,
            answer.reasoning_tokens,
            answer.cached_tokens,
            request.retry_after_ms,
            text["served_model"].number(request.served_model or answer.model),
            text["served_region"].number(request.region or answer.region),
            text["finish"].number(answer.finish),
            text["note"].number(note),
            self._worker,
            text["served_tier"].number(request.tier),
            text["error_code"].number(request.error_code or None),
            _cause(request, outcome, note),
            answer.server_ns if answer.server_ns >= 0 else request.server_ns,
            answer.first_tokens,
        )
        self._fresh.append(request.row)
        self.outcomes[lane_index][outcome] += 1
        self.output_tokens[lane_index] += max(output_tokens, 0)
        if answer.prompt_tokens >= 0:
            self.prompt_tokens[lane_index] += answer.prompt_tokens
        elif request.sent_ns >= 0 and request.status < 400:
            self.without_usage[lane_index] += 1
        if request.sent_ns >= 0:
            ready_ns = max(request.slot_free_ns, request.due_ns + t0)
            self._lags.append(max(0, request.sent_ns - ready_ns))
        if outcome == Outcome.ok:
            self._responses[lane_index].append(end_of(request) - t0 - request.due_ns)
            if answer.first_token_ns >= 0:
                self._first_tokens[lane_index].append(answer.first_token_ns - t0 - request.due_ns)
        if request.request_id or request.requests_left >= 0 or request.tokens_left >= 0:
            self._evidence.note(request, outcome, note, t0, lane_index)
        if self._guard is not None:
            self._guard.ended(request, outcome, note, lane_index)

    def looked(self) -> None:
        """The loop runs: what was recorded up to now was recorded in time."""
        self._seen = len(self._fresh)

    def stood_still(self) -> None:
        """The harness stood still: of what was recorded since it last ran, too, nobody knows what
        its times mean.
        """
        rows = self._fresh[self._seen :]
        self.samples["flags"][rows] |= np.uint16(Flag.HELD_UP)

    def record_attempt(self, attempt: Attempt, *, carried: bool) -> None:
        """Keep what became of one call of a route whose row has ended."""
        t0 = self._t0
        flags = (AttemptFlag.CARRIED * carried) | (AttemptFlag.CANCELLED * attempt.cancelled)
        answer = attempt.answer if attempt.answer is not None else _NO_ANSWER
        output_tokens = _output_tokens(answer, attempt.flags)
        strings = self.strings
        self._tried.append(
            (
                attempt.row,
                attempt.number,
                attempt.leg,
                attempt.reason,
                flags,
                attempt.outcome,
                attempt.status,
                attempt.start_ns - t0,
                _after(attempt.sent_ns, t0),
                _after(answer.first_token_ns, t0),
                _after(attempt.done_ns, t0),
                attempt.connect_ns,
                answer.prompt_tokens,
                output_tokens,
                attempt.retry_after_ms,
                strings["served_model"].number(attempt.served_model or answer.model),
                strings["served_region"].number(attempt.region or answer.region),
                strings["note"].number(attempt.note),
                self._worker,
                strings["served_tier"].number(attempt.tier),
                strings["error_code"].number(attempt.error_code or None),
                _cause(attempt, attempt.outcome, attempt.note),
            )
        )
        if self._guard is not None:
            self._guard.called(attempt)

    def note_leg(
        self,
        lane: str,
        leg: int,
        at_ns: int,
        state: str,
        why: str,
    ) -> None:
        """A leg's breaker changed its state at `at_ns` (monotonic)."""
        self.leg_events.append(
            LegChange(
                lane=lane,
                leg=leg,
                at_ns=at_ns - self._t0,
                state=state,
                why=why,
                worker=self._worker,
            )
        )

    def attempts(self) -> Table:
        """What routes tried so far."""
        self._gather_attempts()
        return in_order(np.concatenate(self._sealed))

    def _gather_attempts(self) -> Table:
        """The attempts since the last call, as a table."""
        if self._tried:
            fresh = np.array(self._tried, ATTEMPT_DTYPE)
        else:
            fresh = empty_attempts()
        self._tried = []
        self._sealed.append(fresh)
        return fresh

    def note_never_sent(
        self,
        row: int,
        due_ns: int,
        note: str,
        now_ns: int,
    ) -> None:
        """The row was due and was not sent; `done` is when it was given up (ns after the run's
        start).
        """
        self.samples["due_ns"][row] = due_ns
        self.samples["done_ns"][row] = now_ns
        self.samples["note"][row] = self.strings["note"].number(note)
        self._fresh.append(row)

    def mark_due(self, rows: Int, due_ns: Int) -> None:
        """These rows never came up: keep when they were due; their outcome stays `never_sent`."""
        self.samples["due_ns"][rows] = due_ns
        self._fresh.extend(rows.tolist())

    def watch_gaps(self, gaps: list[list[array[int]]]) -> None:
        """The arrays that requests append their gaps to, by lane and phase."""
        self._gaps = gaps

    def fold(self) -> None:
        """Move gaps and latencies gathered since the last call into the histograms."""
        for buffers, histograms in zip(self._gaps, self.gap_histograms, strict=True):
            for buffer, histogram in zip(buffers, histograms, strict=True):
                _pour(buffer, histogram)
        for buffers, histograms in (
            (self._responses, self.response),
            (self._first_tokens, self.first_token),
        ):
            for buffer, histogram in zip(buffers, histograms, strict=True):
                _pour(buffer, histogram)
        _pour(self._lags, self.lag)

    async def write_regularly(self) -> None:
        """Seal what ended every `seal_every_s`, off the loop's thread."""
        for turn in itertools.count(1):
            await anyio.sleep(self.seal_every_s)
            await self.flush(evidence=turn % _EVIDENCE_EVERY == 0)

    async def flush(self, *, evidence: bool = True) -> None:
        """Seal what ended since the last call; `evidence`: also what is kept for the vendors.

        Raises RunFolderError naming the file that cannot be written.
        """
        self.fold()
        until_ns = monotonic_ns() - self._t0
        rows = np.array(self._fresh, np.int64)
        self._fresh = []
        self._seen = 0
        if self._tried:
            tried = self._gather_attempts()
        else:
            tried = empty_attempts()
        kept = self._evidence.copy() if evidence and self._evidence.changed else None
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(
                self._seal,
                rows,
                self.samples[rows],
                tried,
                self.texts(),
                until_ns,
                kept,
            )

    def _seal(
        self,
        rows: Int,
        samples: Table,
        tried: Table,
        texts: dict[str, list[str]],
        until_ns: int,
        kept: Evidence | None,
    ) -> None:
        if len(rows) or len(tried):
            self._writer.append(rows, samples, texts)
        if len(tried):
            self._writer.append_attempts(tried, texts)
        if kept is not None:
            self._writer.append_evidence(kept.records(self.strings["note"].clean))
        if self._begun and until_ns >= 0:
            self._writer.mark(until_ns)

    def texts(self) -> dict[str, list[str]]:
        """The texts behind the string columns, by kind."""
        return {kind: list(strings.names) for kind, strings in self.strings.items()}


def _after(moment: int, t0: int) -> int:
    return moment - t0 if moment >= 0 else -1


def _cause(request: Request, outcome: Outcome, note: str) -> int:
    """The column `cause`: -1 of a success."""
    return -1 if outcome is Outcome.ok else CAUSES.index(request.cause(outcome, note))


def _pour(buffer: array[int], histogram: Histogram) -> None:
    if buffer:
        histogram.record_many_ns(np.frombuffer(buffer, np.int64).clip(0))
        # A new view per call: an array that numpy looks at cannot be resized.
        del buffer[:]


def _output_tokens(answer: Answer, flags: int) -> int:
    """As the server stated them, else a streamed answer's chunks, else -1."""
    if answer.output_tokens <= 0 and answer.chunks and flags & Flag.STREAMED:
        return answer.chunks
    return answer.output_tokens
