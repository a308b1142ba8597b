"""One request from its last byte to its truth record.

In: a request, and the world's events with the moments they were due. Out: bytes on the
connection and one `Record`. Must stay true: times count from the moment the whole request had
been read; each timed write reports how late it was.
"""

from __future__ import annotations

from bench.clock import monotonic_ns, wall_ns
from bench.gateway.apis.paths import Place
from bench.gateway.apis.seam import Asked, Frames, GatewayApi, Headers, Incoming, Served
from bench.gateway.connection import Connection, Request
from bench.gateway.jobs import REFUSALS, Event, Job
from bench.gateway.keys import Allowance, key_of
from bench.gateway.play import Play
from bench.gateway.scenarios import Gateway, Model
from bench.gateway.tiers import Downgrade
from bench.gateway.truth import Record
from bench.gateway.wire import END, RequestError, Trouble, head, prompt_blocks
from bench.units import S

MAX_ID = 128
_WHILE_PROCESSING = "The server had an error while processing your request."
_WHILE_ANSWERING = "The upstream server had an error while answering."
_OVERLOADED = "The engine is currently overloaded, please try again later."
_NO_CAPACITY = "No capacity is available for this request at the moment. Please try again later."


def _fault_error(kind: str | None) -> RequestError:
    """What a fault of a scenario is to the client that meets it."""
    if kind in ("overload", "stream_overload"):
        return RequestError(
            503, _OVERLOADED, "server_error", code="slow_down", trouble=Trouble.overload
        )
    if kind == "capacity":
        return RequestError(
            429, _NO_CAPACITY, code="resource_unavailable", trouble=Trouble.capacity
        )
    if kind in REFUSALS:
        status = REFUSALS[kind]
        return RequestError(status, _WHILE_PROCESSING, "server_error", code=str(status))
    return RequestError(500, _WHILE_ANSWERING, "server_error", code="500")


def begin(play: Play, connection: Connection, request: Request, place: Place) -> None:
    """Check a request and hand it to the world, or refuse it."""
    api = place.api
    number, now_ns = play.count(request.read_ns)
    asked_id = request.headers.get("x-request-id", "")
    plain = asked_id.isascii() and asked_id.isprintable() and 0 < len(asked_id) <= MAX_ID
    request_id = asked_id if plain else f"req-{number:08x}"
    headers = [(api.id_header, request_id)]
    asked = model = None
    try:
        key = _key(play.scenario.gateway, request)
        play.keys.take(key, now_ns)
        asked = api.parse(Incoming(request.body, request.headers, place.model, place.stream))
        model = _model(play.scenario.gateway, asked)
        allowance = play.world.take(model, key, now_ns)
        if allowance is not None:
            headers += api.limit_headers(allowance, wall_ns())
            _check_allowance(allowance, asked)
        _check_length(model, asked)
    except RequestError as error:
        refusal = api.refuse(error, request_id)
        connection.answer(refusal.status, refusal.body, headers + refusal.headers)
        # a name that no model serves is not kept: clients could make up any number
        known = asked.model if asked is not None and model is not None else ""
        play.truth.add(
            Record(
                play.scenario.name,
                number,
                request_id,
                request.read_ns,
                known,
                status=refusal.status,
                outcome="rate_limited" if error.status == 429 else "refused",
                api=api.name,
                trouble=error.trouble.name,
            )
        )
        connection.answered()
        return
    served = Served(
        asked,
        number,
        request_id,
        model.served or asked.model,
        wall_ns() // S,
        asked.output_tokens or play.scenario.gateway.default_output_tokens,
    )
    tier = api.tier_asks.get(asked.tier)
    downgrade = play.tiers.downgrade(tier, asked.model, asked.prompt_tokens, now_ns)
    exchange = Exchange(play, connection, request, api, served, model, downgrade)
    exchange.headers = headers
    play.under_way += 1
    connection.exchange = exchange
    pool = downgrade.pool if downgrade is not None else None
    play.world.submit(exchange.job, request.headers.get("x-region"), pool)


class Exchange:
    """A request that was let in, being answered. Ends once, in `_end`."""

    #: those of its answer; more are added when it begins
    headers: Headers

    def __init__(
        self,
        play: Play,
        connection: Connection,
        request: Request,
        api: GatewayApi,
        served: Served,
        model: Model,
        downgrade: Downgrade | None,
    ):
        self._play = play
        self._connection = connection
        self._request = request
        self._api = api
        self._served = served
        asked = served.asked
        self._channel = model.tier or ("pro" if asked.model.startswith("Pro/") else "standard")
        self._status = 0
        self._first_ns = -1
        self._trouble = ""
        self._answering_tier = _name_tier(api, served, downgrade)
        self._frames: Frames | None = None
        block = play.prefix_block.get(model.name)
        self.job = Job(
            model,
            asked.prompt_tokens,
            served.output_tokens,
            play.scenario_ns(request.read_ns),
            stream=asked.stream,
            owner=self,
            blocks=prompt_blocks(asked.prompt, block) if block else (),
        )

    def happen(self, event: Event, due_ns: int) -> None:
        """An event of the world, due at `due_ns` in monotonic ns."""
        if event is Event.TOKEN:
            assert self._frames is not None
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

    def _begun(self) -> None:
        """The answer begins: status 200, and headers that name model, tier and region."""
        self.headers += [
            ("x-served-model", self._served.model),
            ("x-served-tier", self._channel),
            ("x-served-region", self.job.pool.region),
            *self._api.headers(self._served),
        ]
        if self.job.cold:
            self.headers.append(("x-cold-start", "1"))
        self._status = 200

    def _took_until(self, scenario_ns: int) -> None:
        """The provider's own time until a moment at the client: without the way to it."""
        job = self.job
        self._served.server_ns = max(0, scenario_ns - job.arrived_ns - job.distance_ns)

    def _start(self) -> None:
        if self.job.first_ns >= 0:
            self._took_until(self.job.first_ns)
        self._served.cached_tokens = self._cached()
        self._begun()
        start = head(
            200,
            self.headers,
            length=None,
            content_type=self._api.stream_type,
            close=not self._request.keep_alive,
        )
        self._frames = self._api.frames(self._served)
        self._connection.write(start + self._frames.begin())

    def _answer(self, body: bytes, sent: int | None = None) -> None:
        """An answer that is not streamed, or only the first `sent` bytes of it."""
        self._begun()
        self._connection.answer(
            200, body[:sent], self.headers, promise=len(body) - len(body[:sent])
        )

    def _last(self, due_ns: int) -> None:
        job = self.job
        self._took_until(self._play.scenario_ns(due_ns))
        if job.stream:
            assert self._frames is not None
            last = self._frames.token(job.output_tokens - 1)
            self._connection.write(last + self._frames.end() + END)
        else:
            self._answer(self._plain() if job.fault != "garbage" else b'{"id":"chatcmpl-')
        if self._connection.open:
            self._end("ok" if job.fault in (None, "slow_tail") else "faulted", self._wrote(due_ns))
        # else the client went while we wrote, and `disconnected` will be called

    def _plain(self) -> bytes:
        self._served.cached_tokens = self._cached()
        return self._api.plain(self._served)

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
            self._refuse(_fault_error(kind))
        elif kind == "reset":
            connection.abort(reset=True)
        elif kind == "truncate":
            if not job.stream:
                body = self._plain()
                self._answer(body, len(body) // 2)
            connection.close()
        elif kind in ("stream_error", "stream_overload"):
            self._break(_fault_error(kind))
        elif kind == "garbage":
            assert self._frames is not None
            connection.write(self._frames.garbage())
            self._wrote(due_ns)
            return
        elif kind == "stall":
            return
        self._end("faulted")

    def _refuse(self, error: RequestError) -> None:
        """An error in place of an answer."""
        refusal = self._api.refuse(error, self._served.request_id)
        self._trouble = error.trouble.name
        self._status = refusal.status
        self._connection.answer(refusal.status, refusal.body, self.headers + refusal.headers)

    def _break(self, error: RequestError) -> None:
        """An error in the middle of an answer, or in place of a whole one."""
        self._trouble = error.trouble.name
        if self._frames is not None:
            self._connection.write(self._frames.error(error) + END)
            return
        broken = self._api.broken(error, self._served)
        if broken.status == 200:
            self._begun()
        self._status = broken.status
        self._connection.answer(broken.status, broken.body, self.headers + broken.headers)

    def disconnected(self) -> None:
        """The client has gone before its answer was complete."""
        self._play.world.cancel(self.job, self._play.scenario_ns(monotonic_ns()))
        self._end("disconnected")

    def _end(self, outcome: str, last_ns: int | None = None) -> None:
        job = self.job
        served = self._served
        read_ns = self._request.read_ns
        self._connection.exchange = None
        self._play.under_way -= 1
        # the job may stay in the heap for a while; without an owner it holds nothing else alive
        job.owner = None
        self._play.truth.add(
            Record(
                self._play.scenario.name,
                served.number,
                served.request_id,
                read_ns,
                served.asked.model,
                served.model,
                self._channel,
                job.pool.region,
                job.stream,
                self._status,
                outcome,
                job.fault,
                job.prompt_tokens,
                job.emitted if self._api.makes_tokens else 0,
                ttft_ns=self._first_ns - read_ns if job.stream and self._first_ns >= 0 else None,
                e2e_ns=last_ns - read_ns if last_ns is not None else None,
                planned_ttft_ns=(
                    job.first_ns - job.arrived_ns if job.stream and job.first_ns >= 0 else None
                ),
                planned_e2e_ns=job.last_ns - job.arrived_ns if job.last_ns >= 0 else None,
                api=self._api.name,
                asked_tier=served.asked.tier,
                answering_tier=self._answering_tier,
                named_tier="spillover" if served.spilled else served.tier,
                trouble=self._trouble,
            )
        )
        self._connection.answered()


def _name_tier(api: GatewayApi, served: Served, downgrade: Downgrade | None) -> str:
    """The tier that answers, in the vendor's words, which the answer may say or hide."""
    asked = served.asked.tier
    usual = api.tier_served(asked, None)
    answering = usual if downgrade is None else api.tier_served(asked, downgrade.served)
    if downgrade is None or downgrade.named_by == "nothing":
        served.tier = usual
    elif downgrade.named_by == "spillover":
        served.spilled = True
    else:
        served.tier = answering
    return answering


def _key(gateway: Gateway, request: Request) -> str:
    key = key_of(request.headers, request.path.partition("?")[2])
    if gateway.require_key and not key:
        raise RequestError(
            401, "You didn't provide an API key.", "authentication_error", code="invalid_api_key"
        )
    return key or "anonymous"


def _model(gateway: Gateway, asked: Asked) -> Model:
    model = gateway.match(asked.model)
    if model is None:
        raise RequestError(
            404,
            f"The model '{asked.model[:200]}' does not exist or you do not have access to it.",
            param="model",
            code="model_not_found",
        )
    return model


def _check_allowance(allowance: Allowance, asked: Asked) -> None:
    if not allowance.allowed:
        raise RequestError(
            429,
            f"Rate limit reached for {asked.model[:200]} on requests per min (RPM): "
            f"limit {allowance.limit}.",
            "requests",
            code="rate_limit_exceeded",
        )


def _check_length(model: Model, asked: Asked) -> None:
    output = asked.output_tokens or 0
    if asked.prompt_tokens + output > model.context_tokens:
        raise RequestError(
            400,
            f"This model's maximum context length is {model.context_tokens} tokens. However, you "
            f"requested {asked.prompt_tokens} tokens in the messages and {output} in the"
            " completion.",
            param="messages",
            code="context_length_exceeded",
            trouble=Trouble.length,
        )
