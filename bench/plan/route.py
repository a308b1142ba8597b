"""A route: how one logical request finds its answer among several targets.

In: the `[route]` table of a target file. Out: a frozen `Route`, and for every planned row the leg
that it begins with. Must stay true: the choice of a first leg is made here, before the run, from
the seed, the row's session and its size; what follows depends on what happens, and is
`bench/load/route_decisions.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from bench.errors import UserError
from bench.plan.draws import Draw, Purpose
from bench.units import S
from bench.userfile import DurationNs, Times, UserModel

#: Column `leg` of the schedule for a row that no route plans.
NO_LEG = -1
MAX_LEGS = 100
Positive = Annotated[int, Field(gt=0)]
Length = Annotated[DurationNs, Field(gt=0)]


class Sequential(UserModel):
    """The next upstream is called after an error, after `timeout`, or when an answer was slow.

    The slow answer is waited for and thrown away: the row costs both waits.
    """

    #: call the next upstream if this call has not ended after this
    timeout: Length
    #: throw away a whole answer that took longer, and call the next upstream
    slower_than: Length | None = None


class Deadline(UserModel):
    """A call that has not ended `after` its start is cancelled, and the next upstream is called."""

    #: cancel a call that has not ended this long after its start, and call the next upstream
    after: Length


class Hedge(UserModel):
    """The next upstream is called this long `after` the start of the last call, if that still
    runs. The first answer wins.
    """

    #: call the next upstream too if the last call still runs this long after its start
    after: Length


class Retry(UserModel):
    """The same upstream again after an error that may pass, before any other is tried."""

    #: calls of one upstream in all
    attempts: Annotated[int, Field(ge=2, le=20)] = 3
    #: wait before the second call
    backoff: Length = 200_000_000
    #: each further wait is this many times the one before
    factor: Times = Fraction(2)
    #: no wait is longer
    longest: Length = 10 * S
    #: wait at least as long as the server's `retry-after` asks
    honour_retry_after: bool = True

    def wait_ns(self, calls: int, retry_after_ms: int) -> int:
        """How long to wait after the `calls`-th call of a leg has failed, in ns.

        `retry_after_ms` is -1 where the server named none.
        """
        own = min(round(self.backoff * float(self.factor) ** (calls - 1)), self.longest)
        if self.honour_retry_after:
            return max(own, retry_after_ms * 1_000_000)
        return own


class Breaker(UserModel):
    """The circuit breaker: when an upstream is taken out of use, and how it is tried again.

    Open: nothing is sent to it. After `open_for`, or as soon as the status feed is well again,
    it is half-open: one request at a time tries it, and `probes` good ones in a row close it.
    """

    #: failed calls in a row that open it
    failures: Positive | None = None
    #: open when the nearest-rank p99 of calls within `window` is above this; a call that is still
    #: under way counts as soon as it is older than this
    p99_over: Length | None = None
    #: calls that ended within this count for `p99_over`
    window: Length = 5 * S
    #: fewer calls than this within the window open nothing
    at_least: Positive = 50
    #: status feed of each upstream, in their order: polled with GET; "" = none
    status_urls: list[str] = []
    #: how often a status feed is asked
    poll: Length = 500_000_000
    #: how long an open circuit breaker sends nothing
    open_for: Length = 5 * S
    #: good probes in a row that close it again
    probes: Positive = 3

    @model_validator(mode="after")
    def _some_trigger(self) -> Self:
        if self.failures is None and self.p99_over is None and not any(self.status_urls):
            raise ValueError(
                "nothing would open the circuit breaker; give failures, p99_over or status_urls"
            )
        for url in self.status_urls:
            if url and not url.startswith(("http://", "https://")):
                raise ValueError(f'status_urls: {url!r} is not a URL; write "https://..."')
        return self


class Route(UserModel):
    """Upstreams in order of preference, which one a request begins with, and what happens then."""

    #: the upstreams: targets by name or path
    legs: Annotated[list[str], Field(min_length=1, max_length=MAX_LEGS)]
    #: order: the first. weighted, spread: drawn a session, by `weights` or in equal shares.
    #: context: by the prompt's size. nearest: the least of `distances`.
    pick: Literal["order", "weighted", "spread", "context", "nearest"] = "order"
    #: of weighted: one whole number an upstream
    weights: list[Positive] = []
    #: upstream i takes prompts up to this many tokens; the last one takes the rest
    context_up_to: list[Positive] = []
    #: of nearest: one duration an upstream, the shortest is taken
    distances: list[DurationNs] = []
    #: false: a request stays on the upstream it began with, also after an error
    fallback: bool = True
    #: when an answer is given to the user: once it is whole, or from its first token on (then
    #: other calls are cancelled, and an answer that fails later has failed)
    commit: Literal["finished", "first_token"] = "finished"
    #: the next upstream after an error, a timeout or a slow answer
    sequential: Sequential | None = None
    #: the next upstream when a call has not ended in time
    deadline: Deadline | None = None
    #: the next upstream beside a slow call; the first answer wins
    hedge: Hedge | None = None
    #: the same upstream again after an error that may pass
    retry: Retry | None = None
    #: the circuit breaker: when an upstream is taken out of use, and how it is tried again
    breaker: Breaker | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        count = len(self.legs)
        for pick, name, wanted in (
            ("weighted", "weights", count),
            ("context", "context_up_to", count - 1),
            ("nearest", "distances", count),
        ):
            given: list[Any] = getattr(self, name)
            if self.pick == pick and len(given) != wanted:
                raise ValueError(
                    f'pick = "{pick}" needs {wanted} {name}, one a leg'
                    + (" but the last" * (wanted < count))
                )
            if given and self.pick != pick:
                raise ValueError(f'{name} go with pick = "{pick}"')
        if self.context_up_to != sorted(set(self.context_up_to)):
            raise ValueError("context_up_to must rise from leg to leg")
        steps = [
            name for name in ("sequential", "deadline", "hedge") if getattr(self, name) is not None
        ]
        if len(steps) > 1:
            raise ValueError(f"{' and '.join(steps)} exclude each other; keep one")
        if steps and (count < 2 or not self.fallback):
            raise ValueError(f"{steps[0]} needs a second leg to go to, and fallback")
        if (
            self.sequential is not None
            and self.sequential.slower_than is not None
            and self.commit == "first_token"
        ):
            raise ValueError(
                "slower_than throws whole answers away, so nothing can be committed at the first"
                " token"
            )
        if (
            self.breaker is not None
            and self.breaker.status_urls
            and len(self.breaker.status_urls) != count
        ):
            raise ValueError(f'breaker.status_urls needs {count} entries, one a leg ("" for none)')
        return self

    @property
    def step_ns(self) -> int | None:
        """A call that is not the last leg's is cancelled this long after its start."""
        if self.sequential is not None:
            return self.sequential.timeout
        if self.deadline is not None:
            return self.deadline.after
        return None

    def order_from(self, first: int) -> list[int]:
        """The legs in the order in which a request that begins with `first` would come to them."""
        legs = list(range(len(self.legs)))
        if self.pick == "nearest":
            legs.sort(key=self.distances.__getitem__)
        legs.remove(first)
        return [first, *legs]


class RouteExpect(UserModel):
    """Expected answers about one lane of a stage (a rehearsal): each key that is given is
    one.
    """

    #: the lane that the answers are about
    target: str
    #: its p99 is longer than that of each of these targets, and their intervals do not overlap
    p99_above: list[str] = []
    #: "e2e p99 <= this" is a PASS: failed requests count as longer, as a contract counts them
    p99_within: Length | None = None
    #: after each cut of the stage's drills
    detect_within: Length | None = None
    #: after each cut: failed over within this
    switch_within: Length | None = None
    #: after each heal: failed back within this
    fail_back_within: Length | None = None
    #: at most this many requests are lost between cut and heal
    lost_at_most: Annotated[int | None, Field(ge=0)] = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set - {"target"}:
            raise ValueError(
                f"expects nothing of {self.target!r}; give p99_above, p99_within, detect_within or"
                " another"
            )
        return self


def check_route_expects(
    tables: Sequence[RouteExpect],
    targets: Sequence[str],
    cuts: int,
    where: str,
) -> None:
    """Raises UserError for a name that is no target of the stage, or a drill's figure where nothing
    is cut.
    """
    for table in tables:
        for name in (table.target, *table.p99_above):
            if name not in targets:
                raise UserError(
                    f"expect_route names {name!r}, which is no target of this stage",
                    where=where,
                    remedy=f"its targets: {', '.join(targets)}",
                )
        of_a_drill = {
            "detect_within",
            "switch_within",
            "fail_back_within",
            "lost_at_most",
        } & table.model_fields_set
        if of_a_drill and not cuts:
            raise UserError(
                f"expect_route.{min(of_a_drill)} needs a cut, and no drill of this stage is one",
                where=where,
                remedy='add [[stage.drill]] with do = "cut"',
            )


def first_legs(
    route: Route,
    prompt_tokens: npt.NDArray[Any],
    session: npt.NDArray[Any],
    draw: Draw,
) -> npt.NDArray[np.int8]:
    """The leg that each row of a lane begins with.

    A session stays with the leg that was drawn for it.
    """
    if route.pick == "context":
        legs = np.searchsorted(np.array(route.context_up_to, np.int64), prompt_tokens)
        return legs.astype(np.int8)
    if route.pick in ("weighted", "spread"):
        weights = np.array(route.weights or [1] * len(route.legs), np.float64)
        bounds = np.cumsum(weights / weights.sum())[:-1]
        drawn = draw.stream(Purpose.LEGS).random(int(session.max(initial=-1)) + 1)
        of_session = np.searchsorted(bounds, drawn, side="right").astype(np.int8)
        return np.take(of_session, session)
    first = 0
    if route.pick == "nearest":
        first = min(range(len(route.legs)), key=route.distances.__getitem__)
    return np.full(len(session), first, np.int8)
