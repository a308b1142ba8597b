"""One request by itself, and all that its answer shows: for looking at an endpoint, not for a run.

In: a target, a body. Out: a `Trial`: a `Request` that ended, with the answer's headers, error and
the moments at which its bytes came; and what a GET of the models says. Must stay true: it is sent
and read as a run's requests are; nothing raises for what a server says.
"""

from __future__ import annotations

import asyncio
from array import array
from dataclasses import dataclass

from bench.api.auth import Outgoing
from bench.clock import monotonic_ns, wall_ns
from bench.load.request import Request
from bench.load.transport.interface import Handle, Headers
from bench.load.transport.sender import make_sender
from bench.load.transport.stamps import StampedReader
from bench.load.transport.stock import classify_httpx, client_of
from bench.load.transport.wire import empty_request, httpx, signed_headers
from bench.plan.credentials import Redaction, request_signer, secrets_of
from bench.plan.target import Target
from bench.record.samples import Outcome
from bench.units import S

#: More of an error is not read.
_MOST_BYTES = 64 << 10
#: A server that has not answered by then is not looked at any longer.
_PATIENCE_NS = 30 * S


class Trial(Request):
    """What came of one request."""

    __slots__ = (
        *("arrivals", "body", "done", "head_wall_ns", "headers", "note", "outcome"),
        "sent_wall_ns",
    )

    def __init__(self, target: Target):
        super().__init__(0, None, monotonic_ns(), target.stream, array("q"), _ended)
        self.api = target.spoken
        #: names in lower case
        self.headers: Headers = []
        self.body = bytearray()
        #: of the reads that brought a part of the body (monotonic ns)
        self.arrivals: list[int] = []
        self.outcome, self.note = Outcome.censored, ""
        self.done = asyncio.Event()
        self.sent_wall_ns = self.head_wall_ns = wall_ns()

    def on_head(self, status: int, headers: Headers, stamp_ns: int, user_stamp: bool) -> None:
        """Status and headers."""
        self.headers, self.head_wall_ns = list(headers), wall_ns()
        super().on_head(status, headers, stamp_ns, user_stamp)

    def on_body(self, data: bytes, stamp_ns: int) -> None:
        """Body bytes."""
        if data:
            self.arrivals.append(stamp_ns)
            self.body += data[: max(_MOST_BYTES - len(self.body), 0)]
        super().on_body(data, stamp_ns)


def _ended(trial: Request, outcome: Outcome, note: str) -> None:
    assert isinstance(trial, Trial)
    trial.outcome, trial.note = outcome, note
    trial.done.set()


async def try_once(target: Target, body: bytes) -> Trial:
    """Send one request and wait for its end, or for the target's timeout. Raises UserError where
    the key or the TLS files cannot be had.
    """
    clean = Redaction(secrets_of(target)).clean
    patience_ns = min(target.timeout, _PATIENCE_NS)
    sender = make_sender(target, StampedReader())
    trial = Trial(target)

    def carried(handle: Handle) -> bool:
        trial.handle = handle
        return not trial.ended

    try:
        sender.start(body, "tailproof-doctor", trial, carried)
        await asyncio.wait_for(trial.done.wait(), patience_ns / S)
    except TimeoutError:
        late = Outcome.timeout_total if trial.status else Outcome.timeout_first
        trial.fail(late, f"no end within {patience_ns / S:g} s", monotonic_ns())
    finally:
        await sender.close()
    trial.note = clean(trial.note)
    return trial


@dataclass(frozen=True)
class Listing:
    """What a GET of the list of models came to; status 0: nothing came."""

    status: int
    note: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    models: tuple[str, ...] = ()
    sent_wall_ns: int = 0
    head_wall_ns: int = 0
    #: of a second one on the same connection; -1 where there was none
    round_trip_ns: int = -1


async def list_models(target: Target) -> Listing:
    """Two GETs, the second on the open connection: its time is the way there and back."""
    request = empty_request("GET", target.ready_url, target)
    if (sign := request_signer(target)) is not None:
        headers = signed_headers(request.headers)
        request.headers.update(sign(Outgoing("GET", str(request.url), headers, b"", wall_ns())))
    timeout = httpx.Timeout(min(target.connect_timeout, target.timeout) / S)
    try:
        async with client_of(target, timeout) as client:
            sent_ns = wall_ns()
            response = await client.send(request)
            head_ns = wall_ns()
            again_ns = monotonic_ns()
            await client.send(request)
            round_trip_ns = monotonic_ns() - again_ns
    except (httpx.HTTPError, OSError, UnicodeError) as error:
        outcome, note = classify_httpx(error)
        clean = Redaction(secrets_of(target)).clean
        return Listing(0, clean(f"{outcome.name}: {note}"))
    found: list[str] = []
    if response.is_success:
        found = target.spoken.listed_models(response.content, target.address)
    raw = tuple((name.lower(), value) for name, value in response.headers.raw)
    return Listing(
        status=response.status_code,
        headers=raw,
        models=tuple(found),
        sent_wall_ns=sent_ns,
        head_wall_ns=head_ns,
        round_trip_ns=round_trip_ns,
    )
