"""What a lane sends with: the bodies of its requests, its sender, its pool of connections, what is
under way and what waits.

In: a target, the run's prompt text, a row that is due. Out: its request on the wire, in the format
of the target's API. Must stay true: assembling a body costs a few memory copies and nothing per
token; what connecting takes is the network's, so it moves `slot_free`; a server that refuses an
option it does not know gets the row once more without it, at most twice; the queue of deadlines is
in the order in which requests began.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from bench.api.conversation import forced
from bench.api.interface import Api, BodyFormat, BodyOptions
from bench.errors import UserError
from bench.load.request import Request
from bench.load.transport.interface import Sender
from bench.plan.expectation import Expectation
from bench.plan.own_requests import OwnRequests, own_requests
from bench.plan.prompts import PromptText
from bench.plan.schedule import Lane, Table
from bench.plan.target import Target
from bench.plan.trace_prefix import RecordedPrefixes
from bench.record.samples import Flag
from bench.userfile import expand_env


def _filled(value: Any, where: str) -> Any:
    """JSON with each `${ENV}` in its texts filled in. Raises UserError when one is not set."""
    if isinstance(value, str):
        return expand_env(value, where)
    if isinstance(value, dict):
        return {key: _filled(inner, where) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, where) for inner in value]
    return value


def body_format(target: Target) -> BodyFormat:
    """The writer of a target's bodies. Raises UserError when the extra body is not JSON, or names
    a variable that is not set.
    """
    where = f"{target.title}: extra_body"
    options = BodyOptions(
        model=target.model,
        stream=target.stream,
        include_usage=target.include_usage,
        max_tokens_field=target.max_tokens_field,
        extra_body=_filled(target.extra_body, where),
        tier_body=target.tier_ask.body,
        url=target.shown_request_url,
    )
    try:
        return target.spoken.body_format(options)
    except (TypeError, ValueError) as error:
        raise UserError(f"is not JSON ({error})", where=where) from None


def _choices(body: Mapping[str, Any]) -> int:
    """How many answers to one prompt a body asks for, where an API gives several."""
    settings = body.get("generationConfig")
    of_gemini = settings.get("candidateCount") if isinstance(settings, dict) else None
    wanted = body.get("n", of_gemini)
    return wanted if type(wanted) is int and wanted > 1 else 1


class BodyWriter:
    """Writes the bodies of one lane."""

    def __init__(self, lane: Lane, schedule: Table, text: PromptText):
        """Raises UserError when the extra body is not JSON."""
        target = lane.target
        self.api = target.spoken
        self.choices = _choices(target.extra_body)
        self._schedule = schedule
        self._text = text
        if lane.profile.shared_prefix:
            self._prefix_tokens = lane.profile.shared_prefix.tokens
        else:
            self._prefix_tokens = 0
        self._own = own_requests(lane.profile.prompts, [target.api])
        #: what every answer has to be, where no line of own requests says more
        self.expect = lane.profile.expect_answer
        #: the same by line; where some say it, none is left unchecked
        self.expected = self._own.expected if self._own is not None else {}
        if self.expected and self.expect is None:
            self.expect = Expectation()
        #: a body's frame, as the target writes it, by length and version: of own requests
        self._ours: dict[tuple[int, int], dict[str, Any]] = {}
        self._recorded = None
        trace = lane.profile.arrivals.trace
        if trace is not None and trace.prefix == "as recorded":
            self._recorded = RecordedPrefixes(trace.file)
        self._sessions = lane.profile.sessions is not None
        #: raised when an option is left out: a body written before may have been refused for it
        self.version = 0
        self._format = body_format(target)

    def drop_refused(self, message: str, version: int) -> bool:
        """The server refused a body of `version` and said `message`: leave out what it names.

        True when the next body would differ, so that the request deserves another try.
        """
        if version < self.version:
            return True
        if not self._format.drop_refused(message.lower()):
            return False
        self.version += 1
        return True

    def body(self, row: int) -> bytes:
        """The body of one row."""
        planned = self._schedule[row]
        if self._own is not None:
            return self._own_body(self._own, planned)
        return self._format.write(self._texts(row, planned), int(planned["output_tokens"]))

    def expect_of(self, row: int) -> Expectation | None:
        """What the answer of a row has to be, where lines say it."""
        return self.expected.get(int(self._schedule[row]["body"]), self.expect)

    def _own_body(self, own: OwnRequests, planned: Any) -> bytes:
        """What the user's file asks, with the target's model, stream and length."""
        asked = own.body(
            int(planned["body"]), int(planned["turn"]) if own.talks else 0, self.api.name
        )
        length = int(planned["output_tokens"])
        ours = self._ours.get((length, self.version))
        if ours is None:
            ours = json.loads(self._format.write([b""], length))
            self._ours[length, self.version] = ours
        return json.dumps(forced(asked, ours, self.api.name), separators=(",", ":")).encode()

    def _texts(self, row: int, planned: Any) -> list[bytes]:
        if self._sessions:
            return self._conversation(row, planned)
        if self._recorded is not None:
            tokens = int(planned["prompt_tokens"])
            return [self._recorded.prompt(self._text, int(planned["body"]), tokens)]
        prompt = self._text.prompt(
            int(planned["body"]),
            int(planned["prompt_tokens"]),
            self._prefix_tokens,
            int(planned["prefix_group"]),
        )
        return [prompt]

    def _conversation(self, row: int, planned: Any) -> list[bytes]:
        """All turns up to this one: the user's texts and stand-ins for the answers."""
        turn = int(planned["turn"])
        rows = self._schedule[row - turn : row + 1]
        context = rows["prompt_tokens"].astype(int)
        answers = rows["output_tokens"].astype(int)
        # What a turn adds to its context beyond the answer before it is the user's.
        added = [int(context[k] - context[k - 1] - answers[k - 1]) for k in range(1, turn + 1)]
        user = [int(context[0]), *added]
        return self._text.turns(
            int(planned["body"]),
            list(zip(user, map(int, answers), strict=True)),
            self._prefix_tokens,
            int(planned["prefix_group"]),
        )


class LaneSender(Protocol):
    """Where a lane's rows go: an endpoint, or a route over several."""

    def send(self, request: Request, request_id: str) -> None:
        """Begin; events go to the request."""

    def send_again(
        self,
        request: Request,
        note: str,
        now_ns: int,
        request_id: str,
    ) -> bool:
        """True when a request that ended as http_4xx was sent once more instead, without an option
        that was refused.
        """

    async def close(self) -> None:
        """Close every connection."""

    def facts(self) -> dict[str, object]:
        """What the manifest says of it."""


class Endpoint:
    """Sends the requests of one target."""

    __slots__ = ("api", "by_line", "choices", "expect", "key_refused", "sender", "writer")

    def __init__(
        self,
        sender: Sender,
        writer: BodyWriter,
        key_refused: Callable[[int], None] | None = None,
    ):
        """`key_refused` is called at each 401, with the moment at which that request was sent."""
        self.sender, self.key_refused = sender, key_refused
        self.writer = writer
        self.api: Api = writer.api
        self.choices = writer.choices
        self.expect = writer.expect
        self.by_line = bool(writer.expected)

    def send(self, request: Request, request_id: str) -> None:
        """Begin; events go to the request."""
        request.api, request.choices = self.api, self.choices
        request.expect = self.writer.expect_of(request.row) if self.by_line else self.expect
        counted = max(request.connect_ns, 0) + max(request.tls_ns, 0)

        def carried(handle: object) -> bool:
            """The connection is there; the time it took to open is the network's, not ours."""
            if request.ended:
                return False
            request.handle = handle  # type: ignore[assignment]
            nonlocal counted
            connecting = max(request.connect_ns, 0) + max(request.tls_ns, 0)
            request.slot_free_ns += connecting - counted
            counted = connecting
            return True

        request.body_version = self.writer.version
        self.sender.start(self.writer.body(request.row), request_id, request, carried)

    def send_again(
        self,
        request: Request,
        note: str,
        now_ns: int,
        request_id: str,
    ) -> bool:
        """One row, two attempts, both counted: the refused one was the server's doing, not our
        lateness.
        """
        if request.status == 401 and self.key_refused is not None:
            self.key_refused(request.sent_ns)
        if request.status not in (400, 422) or request.attempts > 2:
            return False
        if not self.writer.drop_refused(note, request.body_version):
            return False
        request.begin_again(now_ns)
        request.flags |= Flag.OPTION_DROPPED
        self.send(request, request_id)
        return True

    async def close(self) -> None:
        """Close every connection."""
        await self.sender.close()

    def facts(self) -> dict[str, object]:
        """What the manifest says of it."""
        return self.sender.facts()


class LaneState:
    """One lane in one process."""

    __slots__ = (
        "cap",
        "deadlines",
        "gaps",
        "in_flight",
        "index",
        "sender",
        "started",
        "stops_at_ns",
        "streamed",
        "timeout_ns",
        "waiting",
    )

    def __init__(self, lane: Lane, sender: LaneSender, cap: int | None):
        """`cap` is this process's part of the lane's in-flight cap; None = no cap."""
        profile = lane.profile
        self.index = lane.index
        self.sender = sender
        self.cap = cap if cap is not None else sys.maxsize
        self.timeout_ns = lane.target.timeout
        self.streamed = lane.target.stream
        #: a closed loop bounded by duration begins nothing at or after this instant
        self.stops_at_ns: int | None = None
        if profile.closed_loop and profile.duration is not None:
            self.stops_at_ns = lane.end_ns
        #: rows that came due so far
        self.started = 0
        self.in_flight = 0
        self.waiting: deque[Request] = deque()
        #: requests in the order they began: one timeout a lane keeps this sorted by deadline
        self.deadlines: deque[Request] = deque()
        self.gaps = [array("q") for _ in lane.phases]
