"""Where samples are gathered while the run lasts, and from where they reach the disk.

In: requests that ended. Out: the samples table, sealed segments, gap histograms, running
quantiles for the screen. Must stay true: a row is filled once; what ended more than a second
ago is on disk; no text of a server is kept without its secrets removed and its length bounded.
"""

from __future__ import annotations

import itertools
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
from bench.load.texts import Strings
from bench.record.histogram import Histogram
from bench.record.pieces import STRING_KINDS, SegmentWriter
from bench.record.records.events import LegChange
from bench.record.samples import (
    ATTEMPT_DTYPE,
    CAUSES,
    SAMPLE_DTYPE,
    AttemptFlag,
    Flag,
    Int,
    Outcome,
    Table,
    empty_attempts,
    empty_samples,
    in_order,
    row_writer,
)

SEGMENT_EVERY_S = 0.5
#: What is kept for the vendors is written whole each time: once in so many.
_EVIDENCE_EVERY = 10
#: The texts of a sample, in the order of its columns.
_TEXTS = ("served_model", "served_region", "finish", "note", "served_tier", "error_code")
_NO_ANSWER = Answer()
_ROW_BYTES = SAMPLE_DTYPE.itemsize


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
        self._write = row_writer(self.samples)
        self._fresh: list[int] = []
        self._seen = 0
        self._t0 = 0
        self._begun = False
        secrets = list(secrets)
        self.strings = {kind: Strings(secrets) for kind in STRING_KINDS}
        self._numbers = [self.strings[kind].number for kind in _TEXTS]
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
        t0, ok = self._t0, outcome is Outcome.ok
        served_model, served_region, finish, noted, served_tier, error_code = self._numbers
        answer = request.answer if request.answer is not None else _NO_ANSWER
        output_tokens = _output_tokens(answer, request.flags)
        counted = output_tokens != answer.output_tokens and Flag.COUNTED_TOKENS
        self._write(
            request.row * _ROW_BYTES,
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
            served_model(request.served_model or answer.model),
            served_region(request.region or answer.region),
            finish(answer.finish),
            noted(note),
            self._worker,
            served_tier(request.tier),
            error_code(request.error_code or None),
            -1 if ok else CAUSES.index(request.cause(outcome, note)),
            answer.server_ns if answer.server_ns >= 0 else request.server_ns,
            answer.first_tokens,
        )
        self._fresh.append(request.row)
        self.outcomes[lane_index][outcome] += 1
        if output_tokens > 0:
            self.output_tokens[lane_index] += output_tokens
        if answer.prompt_tokens >= 0:
            self.prompt_tokens[lane_index] += answer.prompt_tokens
        elif request.sent_ns >= 0 and request.status < 400:
            self.without_usage[lane_index] += 1
        self._observe(request, answer, lane_index, ok=ok)
        if request.request_id or request.requests_left >= 0 or request.tokens_left >= 0:
            self._evidence.note(request, outcome, note, t0, lane_index)
        if self._guard is not None:
            self._guard.ended(request, outcome, note, lane_index)

    def _observe(self, request: Request, answer: Answer, lane_index: int, *, ok: bool) -> None:
        """For those who look on: how late it was sent, and how long its answer took."""
        if request.sent_ns >= 0:
            ready_ns = max(request.slot_free_ns, request.due_ns + self._t0)
            self._lags.append(max(0, request.sent_ns - ready_ns))
        if ok:
            due_ns = self._t0 + request.due_ns
            self._responses[lane_index].append(end_of(request) - due_ns)
            if answer.first_token_ns >= 0:
                self._first_tokens[lane_index].append(answer.first_token_ns - due_ns)

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
