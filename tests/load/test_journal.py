"""Texts of servers without their secrets, rows as requests fill them, and probes of the process."""

from __future__ import annotations

import gc
from array import array
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from bench.api.decoding import MAX_ERROR_TEXT, error_message, retry_after_ms
from bench.api.registry import api_named
from bench.clock import cpu_ns, monotonic_ns
from bench.load.alarm import Alarm
from bench.load.journal import Journal
from bench.load.probe import ClockWatch, HarnessProbe, _frozen_already
from bench.load.request import Request
from bench.load.texts import Strings
from bench.record.pieces import SegmentWriter
from bench.record.samples import Flag, Outcome
from bench.units import MS, S
from tests.support.heard import on_loop
from tests.support.scripted_server import PATIENCE_S

KEY = "q7Wv-0123456789abcdef.long_opaque=key/" * 5


# ---- texts


def test_of_megabytes_that_a_server_sends_little_is_kept() -> None:
    """A model that has another name of 1 MB in each answer: neither names nor what they are found
    by grow with it.
    """
    strings = Strings()
    for number in range(300):
        strings.number(f"{number:08}" + "x" * 1_000_000)
    assert len(strings.names) == 300
    assert sum(map(len, [*strings.names, *strings._index])) < 300 * 2_000


@pytest.mark.parametrize("text", ["<", "<a ", "<!--", "< >", "<<>"])
def test_an_error_page_is_read_once(text: str) -> None:
    """A page of nothing but the beginnings of tags: searched to its end from each, 1 MB would take
    minutes.
    """
    began = cpu_ns()
    assert len(error_message(text.encode() * (1_000_000 // len(text)))) <= MAX_ERROR_TEXT
    assert cpu_ns() - began < 20 * S


@given(st.text(max_size=40), st.text(max_size=40), st.integers(0, 400), st.integers(5, 300))
@settings(deadline=None)
def test_no_piece_of_a_secret_is_kept_wherever_a_text_holds_or_cuts_it(
    before: str, after: str, padding: int, cut: int
) -> None:
    """A key in the middle, at the end, or cut by the length limit leaves no run of 8 of its
    characters.
    """
    strings = Strings([SecretStr(f"Bearer {KEY}"), SecretStr(KEY)])
    for text in (f"{before}{'.' * padding}{KEY}{after}", f"{'.' * padding}{KEY}"[: padding + cut]):
        kept = strings.names[strings.number(text)] if text else ""
        assert len(kept) <= 200
        assert not any(kept.find(KEY[i : i + 8]) >= 0 for i in range(38))


@pytest.mark.parametrize(
    "text",
    ["Incorrect API key provided: sk-abc123***xyz9.", "Bearer abcdefgh12345", "api_key-0123456789"],
)
def test_what_looks_like_a_key_is_removed_even_if_it_is_not_ours(text: str) -> None:
    """A server may quote another's key; shapes that keys have do not stay."""
    strings = Strings()
    assert "[redacted]" in strings.names[strings.number(text)]
    assert not any(part in strings.names[0] for part in ("abc123", "abcdefgh", "0123456789"))


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided. You can find it on your account page",
        "Missing required query parameter: api-version",
        "Missing bearer authentication in header",
        "Pass the API key header",
    ],
)
def test_words_about_keys_stay_readable(text: str) -> None:
    """What the server says has to be read by whoever mends it."""
    assert Strings().clean(text) == text


def test_texts_have_one_number_each_and_are_bounded_in_count() -> None:
    """Equal texts share a number, none is -1, and beyond a thousand all further ones share the
    last.
    """
    strings = Strings()
    assert (
        strings.number(None),
        strings.number(""),
        strings.number("a"),
        strings.number("b"),
        strings.number("a"),
    ) == (-1, -1, 0, 1, 0)
    numbers = [strings.number(f"text {index}") for index in range(5000)]
    assert len(strings.names) == 1001
    assert strings.names[-1] == "(further texts)"
    assert set(numbers[2000:]) == {1000}
    assert strings.number("text 7") == numbers[7]


# ---- requests


class Ending:
    """A request and how it ended."""

    def __init__(self, streamed: bool = True) -> None:
        self.ends: list[tuple[Outcome, str]] = []
        self.request = Request(
            0,
            None,
            0,
            streamed,
            array("q"),
            lambda _flight, outcome, note: self.ends.append((outcome, note)),
        )
        self.request.api = api_named("chat")

    def answered(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> Request:
        """A whole answer."""
        self.request.on_sent(10, False)
        self.request.on_head(status, headers, 20, False)
        self.request.on_body(body, 30)
        self.request.on_done(40)
        return self.request


SSE = [(b"content-type", b"text/event-stream; charset=utf-8")]
SOUND = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'


@pytest.mark.parametrize(
    ("status", "headers", "body", "outcome", "note"),
    [
        (200, SSE, SOUND, Outcome.ok, ""),
        (200, [], SOUND, Outcome.ok, ""),
        (
            200,
            [(b"content-type", b"application/json")],
            b'{"choices":[{"message":{"content":"a"}}]}',
            Outcome.ok,
            "",
        ),
        (200, SSE, b"", Outcome.truncated, "stream ended"),
        (200, SSE, SOUND[:40], Outcome.truncated, "stream ended"),
        (200, SSE, b'data: {"error":{"message":"full"}}\n\n', Outcome.stream_error, "full"),
        (200, [(b"content-type", b"text/html")], b"<html>", Outcome.malformed, "not JSON"),
        (204, [], b"", Outcome.truncated, ""),
        (302, [], b"", Outcome.malformed, "redirects"),
        (
            401,
            [],
            b'{"error":{"message":"Invalid API Key","code":401}}',
            Outcome.http_4xx,
            "HTTP 401: Invalid API Key",
        ),
        (
            422,
            [],
            b'{"detail":[{"loc":["body","stream_options"]}]}',
            Outcome.http_4xx,
            "stream_options",
        ),
        (
            429,
            [],
            b"<html><h1>429 Too Many</h1></html>",
            Outcome.rate_limited,
            "HTTP 429: 429 Too Many",
        ),
        (500, [], b'{"error":"plain words"}', Outcome.http_5xx, "HTTP 500: plain words"),
        (503, [], b"", Outcome.http_5xx, "HTTP 503"),
    ],
)
def test_an_answer_is_judged_by_what_it_says(
    status: int, headers: list[tuple[bytes, bytes]], body: bytes, outcome: Outcome, note: str
) -> None:
    """Status, content type and body together give one outcome and the server's own words."""
    ending = Ending()
    ending.answered(status, headers, body)
    ((found, words),) = ending.ends
    assert found == outcome
    assert note in words


def test_a_flight_that_ended_hears_nothing_more() -> None:
    """A stream error ends the request inside a read; the rest of that read and the end change
    nothing.
    """
    ending = Ending()
    request = ending.answered(200, SSE, b'data: {"error":{"message":"full"}}\n\n')
    request.on_body(SOUND, 50)
    request.on_fail(Outcome.reset, "late", 60)
    request.fail(Outcome.censored, "later", 70)
    assert ending.ends == [(Outcome.stream_error, "full")]
    assert request.done_ns == 30
    assert request.answer is not None
    assert request.answer.chunks == 0


def test_an_answer_cannot_come_before_its_request() -> None:
    """When the kernel had the answer before our write returned, the answer's instant bounds the
    sending.
    """
    request = Ending().request
    request.on_sent(1_000, True)
    request.on_head(200, SSE, 900, False)
    assert (request.sent_ns, request.headers_ns) == (900, 900)


def test_served_model_region_and_flags_come_from_headers_and_events() -> None:
    """What a gateway says of who answered is kept; reuse and reconnection are marked."""
    ending = Ending()
    ending.request.on_connected(5, -1)
    ending.request.on_reconnect()
    request = ending.answered(
        200,
        [*SSE, (b"x-served-model", b"m2"), (b"x-ms-region", b"east"), (b"retry-after", b"2")],
        SOUND,
    )
    assert (request.served_model, request.region, request.retry_after_ms, request.connect_ns) == (
        "m2",
        "east",
        2000,
        5,
    )
    assert request.flags == Flag.NEW_CONNECTION | Flag.RECONNECTED | Flag.STREAMED


@pytest.mark.parametrize(
    ("headers", "ms"),
    [
        ([(b"llm_provider-retry-after", b"60")], 60_000),
        ([(b"retry-after", b"2"), (b"llm_provider-retry-after", b"60")], 2000),
        ([(b"llm_provider-retry-after", b"60"), (b"retry-after", b"2")], 2000),
    ],
)
def test_litellms_name_for_the_wait_counts_where_there_is_no_other(
    headers: list[tuple[bytes, bytes]], ms: int
) -> None:
    """LiteLLM hands on what a provider said under a name of its own; `retry-after` itself is nearer
    to us.
    """
    assert Ending().answered(429, headers, b"").retry_after_ms == ms


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (b"0", 0),
        (b"1.5", 1500),
        (b"-3", 0),
        (b"1e400", -1),
        (b"nan", -1),
        (b"soon", -1),
        (b"", -1),
        (b"9" * 30, 2**31 - 1),
        (b"Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(value: bytes, ms: int) -> None:
    """RFC 9110 10.2.3; what is neither says nothing."""
    assert retry_after_ms(value) == ms


@given(st.binary(max_size=80))
def test_any_error_body_gives_a_bounded_text(body: bytes) -> None:
    """No body of an error breaks its reader."""
    assert len(error_message(body)) <= 2000


# ---- rows


def test_rows_reach_the_disk_with_their_texts_and_counted_tokens(tmp_path: Path) -> None:
    """A request fills its row once: times after the run's start, tokens counted where no usage
    came, notes by number.
    """
    (tmp_path / "samples").mkdir()
    journal = Journal(SegmentWriter(tmp_path), "run", 3, [1], [])
    journal.watch_gaps([[array("q")]])
    journal.begin(1 * S)
    ending = Ending()
    ending.request.row, ending.request.due_ns, ending.request.slot_free_ns = 1, 5 * MS, S + 6 * MS
    request = ending.request
    request.on_sent(S + 7 * MS, True)
    request.on_head(200, SSE, S + 9 * MS, False)
    request.on_body(SOUND.replace(b'"stop"', b"null") * 2, S + 10 * MS)
    request.on_body(SOUND, S + 14 * MS)
    request.on_done(S + 15 * MS)
    journal.record(request, *ending.ends[0], 0)
    journal.note_never_sent(2, 8 * MS, "why", 9 * MS)
    anyio.run(journal.flush)
    row, unsent = journal.samples[1], journal.samples[2]
    names = (
        "due",
        "slot_free",
        "sent",
        "headers",
        "first_byte",
        "first_token",
        "first_answer_token",
        "last_token",
        "done",
    )
    assert [int(row[f"{name}_ns"]) // MS for name in names] == [5, 6, 7, 9, 10, 10, 10, 14, 15]
    assert (
        row["gap_max_ns"],
        row["gap_sum_ns"],
        row["chunks"],
        row["output_tokens"],
        row["shared_reads"],
    ) == (
        4 * MS,
        4 * MS,
        3,
        3,
        1,
    )
    assert row["flags"] == Flag.STREAMED | Flag.COUNTED_TOKENS | Flag.TTFT_UPPER_BOUND
    assert (unsent["outcome"], unsent["due_ns"], journal.strings["note"].names[unsent["note"]]) == (
        Outcome.never_sent,
        8 * MS,
        "why",
    )
    assert list(np.load(next((tmp_path / "samples").glob("*.npy")))["row"]) == [1, 2]
    # Response of a success runs from its due time to its last token, or its first; lag from the
    # slot to the send.
    assert journal.response[0].percentile_ns(Fraction(1)) == pytest.approx(9 * MS, rel=0.001)
    assert journal.first_token[0].percentile_ns(Fraction(1)) == pytest.approx(5 * MS, rel=0.001)
    assert journal.lag.percentile_ns(Fraction(1)) == pytest.approx(1 * MS, rel=0.001)


USAGE = SOUND.replace(b'"choices"', b'"usage":{"prompt_tokens":7,"completion_tokens":5},"choices"')


def test_outcomes_and_tokens_are_summed_by_lane(tmp_path: Path) -> None:
    """Stated tokens add up, else an answer's chunks are counted; a prompt of which nobody spoke is
    counted unless it was refused.
    """
    journal = Journal(SegmentWriter(tmp_path), "run", 1, [1, 1], [])
    ended = [
        (200, USAGE),
        (200, USAGE),
        (200, SOUND.replace(b'"stop"', b"null") * 2 + SOUND),
        (429, b""),
    ]
    for status, body in ended:
        ending = Ending()
        journal.record(ending.answered(status, SSE, body), *ending.ends[0], 1)
    hung, unsent = Ending(), Ending()
    hung.request.on_sent(10, False)
    for ending, outcome in ((hung, Outcome.timeout_first), (unsent, Outcome.never_sent)):
        ending.request.fail(outcome, "", 50)
        journal.record(ending.request, *ending.ends[0], 1)
    assert (journal.prompt_tokens, journal.output_tokens, journal.without_usage) == (
        [0, 14],
        [0, 13],
        [0, 2],
    )
    counted = {
        Outcome.ok: 3,
        Outcome.rate_limited: 1,
        Outcome.timeout_first: 1,
        Outcome.never_sent: 1,
    }
    assert journal.outcomes == [
        [0] * len(Outcome),
        [counted.get(outcome, 0) for outcome in Outcome],
    ]


# ---- alarm and probe


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_alarm_never_rings_early_and_rings_for_an_instant_that_has_passed(loop: str) -> None:
    """A set instant replaces the one before; a passed one rings at the next turn."""

    async def ring(*instants: int) -> tuple[int, str]:
        rung, over = [], anyio.Event()

        def callback() -> None:
            rung.append(monotonic_ns())
            over.set()

        alarm = Alarm(callback)
        for instant in instants:
            alarm.set(instant)
        with anyio.fail_after(PATIENCE_S):
            await over.wait()
        alarm.close()
        assert len(rung) == 1
        return rung[0], alarm.kind

    def run(make: Callable[[int], list[int]]) -> tuple[int, int]:
        async def main() -> tuple[int, int]:
            now = monotonic_ns()
            rung, _ = await ring(*make(now))
            return now, rung

        return on_loop(loop, main)

    began, rung = run(lambda now: [now + 20 * MS])
    assert rung >= began + 20 * MS
    began, rung = run(lambda now: [now + 3600 * S, now + 5 * MS])
    assert began + 5 * MS <= rung < began + 3600 * S
    began, rung = run(lambda now: [now - S])
    assert rung >= began
    run(lambda _: [0])


@pytest.mark.parametrize("frozen", [False, True])
def test_the_probe_counts_stalls_and_gives_the_collector_back(frozen: bool) -> None:
    """Ticks above 10 ms are stalls, the worst is kept, and thresholds, callbacks and what is frozen
    are as before.
    """
    gc.unfreeze()
    _frozen_already.cache_clear()
    if frozen:
        gc.freeze()
    before, callbacks = gc.get_threshold(), list(gc.callbacks)
    probe = HarnessProbe()
    probe.start()
    assert gc.get_freeze_count() > 1000
    for late in (0, 10 * MS, 10 * MS + 1, 42 * MS):
        probe.tick(late)
    gc.collect()
    probe.stop()
    facts = probe.facts()
    assert (facts["loop_stalls"], facts["loop_stall_max_ms"]) == (2, 42.0)
    assert facts["gc_pause_max_ms"] > 0
    assert abs(facts["clock_step_ms"]) < 1000
    assert facts["suspended_ms"] < 1000
    assert (gc.get_threshold(), gc.callbacks) == (before, callbacks)
    assert (gc.get_freeze_count() > 1000) == frozen
    gc.freeze()
    _frozen_already.cache_clear()


def test_a_step_there_and_back_is_seen_and_a_drift_is_none() -> None:
    """A clock set forward and back an hour later stepped; one that runs 10 ppm fast for a week did
    not.
    """
    watch = ClockWatch(iter([0, 0, 70 * MS, 70 * MS, 0]).__next__, lambda: 0)
    for _ in range(4):
        watch.look()
    assert watch.step_ns == 70 * MS
    drifting = ClockWatch(iter(range(0, 7 * 86_400 * 10_000 + 1, 10_000)).__next__, lambda: 0)
    for _ in range(7 * 86_400):
        drifting.look()
    assert drifting.step_ns == 10_000


def test_a_sleep_is_no_step() -> None:
    """The machine slept 90 s, so the wall clock went on by 90 s while the monotonic one stood; it
    was then set back 2 s.
    """
    watch = ClockWatch(iter([5 * S, 95 * S, 93 * S]).__next__, iter([S, 91 * S, 91 * S]).__next__)
    watch.look()
    assert (watch.slept_ns, watch.step_ns) == (90 * S, 0)
    watch.look()
    assert (watch.slept_ns, watch.step_ns) == (90 * S, -2 * S)


def test_half_a_surrogate_pair_reaches_the_disk_as_a_question_mark() -> None:
    """A server that cuts its error text by bytes sends half of a pair; it is kept in a form that
    UTF-8 has.
    """
    strings = Strings()
    assert strings.names[strings.number("cut \ud83d")] == "cut ?"
    assert strings.number("cut \ud83d") == 0
