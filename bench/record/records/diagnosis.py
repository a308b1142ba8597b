"""What `doctor` found at an endpoint: a document that is printed.

In: nothing. Out: `Diagnosis` and its parts. Must stay true: a key is added, never renamed, within
one format number; null is what is not known; no key, header or answer stands in it.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from bench.record.records.record import FileRecord, Number, Record

#: ok: as a run wants it; note: to know of; bad: a run would fail for it; unknown: nothing shows it
State = Literal["ok", "note", "bad", "unknown"]


class Finding(Record):
    """One thing that was looked at."""

    #: address, network, tls, http, api, auth, model, streaming, buffering, usage, tier, limits,
    #: clock or cost
    about: str
    state: State
    #: a sentence with its numbers
    says: str
    #: what to do; empty where nothing has to be done
    remedy: str = ""


class NetworkFound(Record):
    """The way to the server."""

    address: str = ""
    dns_ms: Number | None = None
    connect_ms: Number | None = None
    tls_ms: Number | None = None
    #: a GET on the open connection: there, through the server's front, and back
    round_trip_ms: Number | None = None
    tls_version: str = ""
    #: of h2 and http/1.1 the one that the server chose, by ALPN
    alpn: str = ""


class AnswerFound(Record):
    """What the request that was answered showed."""

    streamed: bool
    ttft_ms: Number | None = None
    e2e_ms: Number | None = None
    #: events with tokens, and the reads in which the body came
    token_events: int
    reads: int
    #: from the first token to the last
    spread_ms: Number | None = None
    #: all events with tokens came at once
    buffered: bool | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    model: str | None = None
    tier: str | None = None
    region: str | None = None


class ClockFound(Record):
    """The server's clock less this machine's, by the header Date, which has whole seconds."""

    #: between these two
    low_ms: Number
    high_ms: Number


class Attempt(Record):
    """One request that was sent: how far it came."""

    api: str
    #: 0: no status came
    status: int
    outcome: str
    note: str = ""


class Diagnosis(FileRecord):
    """`doctor --format json`."""

    #: Format history: 1 = first.
    FORMAT: ClassVar[int] = 1

    #: a run would be answered
    ready: bool
    says: str
    url: str
    api: str | None = None
    model: str | None = None
    findings: list[Finding]
    network: NetworkFound | None = None
    answer: AnswerFound | None = None
    clock: ClockFound | None = None
    #: as the server lists them
    models: list[str] = []
    #: keys of `[limits]`, as the headers state them
    limits: dict[str, int] = {}
    attempts: list[Attempt] = []
    #: what the answered request cost; null where no price is known
    usd: Number | None = None
    #: a target file, as `run` takes it; null where no request was answered
    target_toml: str | None = None
    #: what to type next
    next: str = ""
