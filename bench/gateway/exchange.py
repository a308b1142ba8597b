"""One chat request from its last byte to its truth record, and the scenario it is played in.

In: a request, and the world's events with the moments they were due. Out: bytes on the
connection and one `Record`. Must stay true: times count from the moment the whole request had
been read; each timed write reports how late it was.
"""

from __future__ import annotations

import json
from typing import TextIO

from bench.clock import monotonic_ns, wall_ns
from bench.errors import UserError
from bench.gateway.connection import Connection, Request
from bench.gateway.jobs import REFUSALS, Event, Job
from bench.gateway.scenarios import Change, Gateway, Model, Scenario
from bench.gateway.serving import Allowance, World
from bench.gateway.truth import Record, TruthBook
from bench.gateway.wire import (
    DONE,
    END,
    ChatFrames,
    ChatRequest,
    RequestError,
    error_body,
    head,
    parse_chat,
    plain_answer,
    prompt_blocks,
)
from bench.units import MS, S
from bench.userfile import parse_model

MAX_ID = 128


class Play:
    """One scenario being played: its world, its truth, and the moment it began."""

    def __init__(self, scenario: Scenario, log: TextIO | None):
        self.scenario = scenario
        self.world = World(scenario.gateway, scenario.seed, self._on_event)
        self.truth = TruthBook(scenario.name, log)
        #: tokens in a block of the prefix cache that a model's requests may meet
        self.prefix_block = _prefix_blocks(scenario.gateway)
        self.requests = self.under_way = 0
        #: the first chat request's moment: scenario time zero
        self.origin_ns: int | None = None

    def _on_event(self, job: Job, event: Event, due_ns: int) -> None:
        assert self.origin_ns is not None
        job.owner.happen(event, self.origin_ns + due_ns)

    def count(self, read_ns: int) -> tuple[int, int]:
        """The number of a request that has just been read, from 1, and its scenario time."""
        if self.origin_ns is None:
            self.origin_ns = read_ns
        self.requests += 1
        return self.requests, self.scenario_ns(read_ns)

    def scenario_ns(self, now_ns: int) -> int:
        """Monotonic ns as ns since the scenario began."""
        assert self.origin_ns is not None
        return now_ns - self.origin_ns

    def change(self, body: bytes) -> bytes:
        """Add a timeline entry, whose `at` counts from now. Raises RequestError."""
        try:
            change = parse_model(Change, json.loads(body), "change")
            self.scenario.gateway.check(change)
        except (ValueError, UserError) as error:
            raise RequestError(400, str(error)[:500]) from None
        if self.origin_ns is not None:
            now_ns = self.scenario_ns(monotonic_ns())
        else:
            now_ns = 0
        self.world.change(change, now_ns)
        return json.dumps(
            {"changed": self.scenario.name, "at_s": (now_ns + change.at) / S}
        ).encode()

    def advance(self, now_ns: int) -> None:
        """Run everything that is due by `now_ns`."""
        if self.origin_ns is not None:
            self.world.advance(now_ns - self.origin_ns)

    def due_ns(self) -> int | None:
        """When the next event is due, in monotonic ns."""
        due_ns = self.world.next_ns()
        if due_ns is None or self.origin_ns is None:
            return None
        return self.origin_ns + due_ns


def _prefix_blocks(gateway: Gateway) -> dict[str, int]:
    """Model -> tokens in a block of the first of its pools that has a prefix cache."""
    of_pool: dict[str, int] = {}
    for pool in gateway.pool:
        if pool.batch is not None and pool.batch.prefix_blocks:
            of_pool[pool.name] = pool.batch.prefix_block
    found: dict[str, int] = {}
    for model in gateway.model:
        for name in model.pool:
            if name in of_pool:
                found.setdefault(model.name, of_pool[name])
    return found


def begin(play: Play, connection: Connection, request: Request) -> None:
    """Check a chat request and hand it to the world, or refuse it."""
    number, now_ns = play.count(request.read_ns)
    asked_id = request.headers.get("x-request-id", "")
    plain = asked_id.isascii() and asked_id.isprintable() and 0 < len(asked_id) <= MAX_ID
    request_id = asked_id if plain else f"req-{number:08x}"
    headers = [("x-request-id", request_id)]
    chat = model = None
    try:
        key = _key(play.scenario.gateway, request)
        chat = parse_chat(request.body)
        model = _model(play.scenario.gateway, chat)
        allowance = play.world.take(model, key, now_ns)
        if allowance is not None:
            headers += _limit_headers(allowance)
            _check_allowance(allowance, chat)
        _check_length(model, chat)
    except RequestError as error:
        outcome = "rate_limited" if error.status == 429 else "refused"
        connection.answer(error.status, error.body, headers)
        # a name that no model serves is not kept: clients could make up any number
        known = chat.model if chat is not None and model is not None else ""
        play.truth.add(
            Record(
                play.scenario.name,
                number,
                request_id,
                request.read_ns,
                known,
                status=error.status,
                outcome=outcome,
            )
        )
        connection.answered()
        return
    exchange = Exchange(play, connection, request, chat, model, headers, number)
    play.under_way += 1
    connection.exchange = exchange
    play.world.submit(exchange.job, request.headers.get("x-region"))


class Exchange:
    """A request that was let in, being answered. Ends once, in `_end`."""

    def __init__(
        self,
        play: Play,
        connection: Connection,
        request: Request,
        chat: ChatRequest,
        model: Model,
        headers: list[tuple[str, str]],
        number: int,
    ):
        self._play = play
        self._connection = connection
        self._request = request
        self._chat = chat
        self._headers = headers
        self._number = number
        self._request_id = headers[0][1]
        self._tier = model.tier or ("pro" if chat.model.startswith("Pro/") else "standard")
        self._served_model = model.served or chat.model
        self._status = 0
        self._first_ns = -1
        self._answer_id = f"chatcmpl-{number:012x}"
        self._created = wall_ns() // S
        self._frames = ChatFrames(self._answer_id, self._served_model, self._created)
        tokens = chat.output_tokens or play.scenario.gateway.default_output_tokens
        block = play.prefix_block.get(model.name)
        self.job = Job(
            model,
            chat.prompt_tokens,
            tokens,
            play.scenario_ns(request.read_ns),
            stream=chat.stream,
            owner=self,
            blocks=prompt_blocks(chat.prompt, block) if block else (),
        )

    def happen(self, event: Event, due_ns: int) -> None:
        """An event of the world, due at `due_ns` in monotonic ns."""
        if event is Event.TOKEN:
            self._connection.write(self._frames.token(self.job.emitted - 1))
            self._wrote(due_ns)
        elif event is Event.START:
            self._start()
        elif event is Event.LAST:
            self._last(due_ns)
        else:
            self._fault(due_ns)

    def _wrote(self, due_ns: int) -> int:
        now_ns = monotonic_ns()
        self._play.truth.wrote(now_ns - due_ns)
        if self._first_ns < 0:
            self._first_ns = now_ns
        return now_ns

    def _served(self) -> None:
        """The answer begins: status 200, and headers that name model, tier and region."""
        self._headers += [
            ("x-served-model", self._served_model),
            ("x-served-tier", self._tier),
            ("x-served-region", self.job.pool.region),
        ]
        if self.job.cold:
            self._headers.append(("x-cold-start", "1"))
        self._status = 200

    def _start(self) -> None:
        self._served()
        start = head(
            200,
            self._headers,
            length=None,
            content_type="text/event-stream; charset=utf-8",
            close=not self._request.keep_alive,
        )
        self._connection.write(start + self._frames.role())

    def _answer(self, body: bytes, sent: int | None = None) -> None:
        """An answer that is not streamed, or only the first `sent` bytes of it."""
        self._served()
        self._connection.answer(
            200, body[:sent], self._headers, promise=len(body) - len(body[:sent])
        )

    def _last(self, due_ns: int) -> None:
        job, chat = self.job, self._chat
        if job.stream:
            if chat.include_usage:
                usage = self._frames.usage(chat.prompt_tokens, job.output_tokens, self._cached())
            else:
                usage = b""
            last = self._frames.token(job.output_tokens - 1)
            self._connection.write(last + self._frames.finish() + usage + DONE + END)
        else:
            self._answer(self._plain() if job.fault != "garbage" else b'{"id":"chatcmpl-')
        if self._connection.open:
            self._end("ok" if job.fault in (None, "slow_tail") else "faulted", self._wrote(due_ns))
        # else the client went while we wrote, and `disconnected` will be called

    def _plain(self) -> bytes:
        return plain_answer(
            self._answer_id,
            self._served_model,
            self._created,
            self.job.prompt_tokens,
            self.job.output_tokens,
            self._cached(),
        )

    def _cached(self) -> int | None:
        if self.job.pool.batch is not None:
            return self.job.cached_tokens
        return None

    def _fault(self, due_ns: int) -> None:
        """Carry out the job's fault; all but garbage in a stream and a stall end the answer."""
        job = self.job
        connection = self._connection
        kind = self.job.fault
        if kind in REFUSALS:
            self._status = REFUSALS[kind]
            body = error_body(
                "The server had an error while processing your request.",
                "server_error",
                code=str(self._status),
            )
            connection.answer(self._status, body, self._headers)
        elif kind == "reset":
            connection.abort(reset=True)
        elif kind == "truncate":
            if not job.stream:
                body = self._plain()
                self._answer(body, len(body) // 2)
            connection.close()
        elif kind == "stream_error" and job.stream:
            connection.write(self._frames.error() + END)
        elif kind == "garbage":
            connection.write(self._frames.garbage())
            self._wrote(due_ns)
            return
        elif kind == "stall":
            return
        else:
            self._answer(
                error_body(
                    "The upstream server had an error while answering.", "server_error", code="500"
                )
            )
        self._end("faulted")

    def disconnected(self) -> None:
        """The client has gone before its answer was complete."""
        self._play.world.cancel(self.job, self._play.scenario_ns(monotonic_ns()))
        self._end("disconnected")

    def _end(self, outcome: str, last_ns: int | None = None) -> None:
        job = self.job
        read_ns = self._request.read_ns
        self._connection.exchange = None
        self._play.under_way -= 1
        # the job may stay in the heap for a while; without an owner it holds nothing else alive
        job.owner = None
        self._play.truth.add(
            Record(
                self._play.scenario.name,
                self._number,
                self._request_id,
                read_ns,
                self._chat.model,
                self._served_model,
                self._tier,
                job.pool.region,
                job.stream,
                self._status,
                outcome,
                job.fault,
                job.prompt_tokens,
                job.emitted,
                ttft_ns=self._first_ns - read_ns if job.stream and self._first_ns >= 0 else None,
                e2e_ns=last_ns - read_ns if last_ns is not None else None,
                planned_ttft_ns=(
                    job.first_ns - job.arrived_ns if job.stream and job.first_ns >= 0 else None
                ),
                planned_e2e_ns=job.last_ns - job.arrived_ns if job.last_ns >= 0 else None,
            )
        )
        self._connection.answered()


def _key(gateway: Gateway, request: Request) -> str:
    key = request.headers.get("authorization", "")
    if gateway.require_key and not key:
        raise RequestError(
            401, "You didn't provide an API key.", "authentication_error", code="invalid_api_key"
        )
    return key or "anonymous"


def _model(gateway: Gateway, chat: ChatRequest) -> Model:
    model = gateway.match(chat.model)
    if model is None:
        raise RequestError(
            404,
            f"The model '{chat.model[:200]}' does not exist or you do not have access to it.",
            param="model",
            code="model_not_found",
        )
    return model


def _check_allowance(allowance: Allowance, chat: ChatRequest) -> None:
    if not allowance.allowed:
        raise RequestError(
            429,
            f"Rate limit reached for {chat.model[:200]} on requests per min (RPM): "
            f"limit {allowance.limit}.",
            "requests",
            code="rate_limit_exceeded",
        )


def _check_length(model: Model, chat: ChatRequest) -> None:
    output = chat.output_tokens or 0
    if chat.prompt_tokens + output > model.context_tokens:
        raise RequestError(
            400,
            f"This model's maximum context length is {model.context_tokens} tokens. However, you "
            f"requested {chat.prompt_tokens} tokens in the messages and {output} in the"
            " completion.",
            param="messages",
            code="context_length_exceeded",
        )


def _limit_headers(allowance: Allowance) -> list[tuple[str, str]]:
    headers = [
        ("x-ratelimit-limit-requests", str(allowance.limit)),
        ("x-ratelimit-remaining-requests", str(allowance.remaining)),
        ("x-ratelimit-reset-requests", f"{allowance.reset_ns / S:.3f}s"),
    ]
    if not allowance.allowed:
        headers += [
            ("retry-after", str(-(-allowance.retry_after_ns // S))),
            ("retry-after-ms", str(-(-allowance.retry_after_ns // MS))),
        ]
    return headers
