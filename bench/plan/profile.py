"""A load profile: when requests are due and how large they are.

In: one TOML file of `profiles/load`. Out: a frozen `Profile`. Must stay true: a profile holds
laws, never draws; everything random happens in `schedule`, from an explicit seed.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bench.errors import UserError
from bench.plan.arrival_laws import Arrivals
from bench.plan.expectation import Expectation
from bench.userfile import DurationNs, Times, UserModel, find_file, load_model

#: Upper edges (tokens, inclusive) of the context buckets that reports and histograms use.
CONTEXT_EDGES = (1_024, 8_192, 32_768)
WARMUP = "warmup"
#: What a profile is called that was made of flags alone.
MADE_OF_FLAGS = "flags"
Tokens = Annotated[int, Field(ge=0, le=10_000_000)]


class Lognormal(UserModel):
    """Natural-log parameters: the median is exp(mu)."""

    #: natural log of the median
    mu: float
    #: standard deviation of the natural log
    sigma: Annotated[float, Field(ge=0)]


class Amount(UserModel):
    """One component of a mix of sizes: exactly one of `fixed`, `lognormal`, `quantiles`."""

    #: how often this component is drawn, relative to the others of the list
    weight: Annotated[float, Field(gt=0)] = 1.0
    #: always this many tokens
    fixed: Tokens | None = None
    #: a lognormal law of tokens
    lognormal: Lognormal | None = None
    #: per cent -> tokens, as in `{ "0" = 2, "50" = 1020, "100" = 14050 }`; linear in between
    quantiles: dict[str, Annotated[float, Field(ge=0)]] | None = None
    #: a smaller draw counts as this many tokens
    min: Tokens = 1
    #: a larger draw counts as this many tokens
    max: Tokens = 1_000_000
    #: where the numbers come from, in words
    source: str = ""

    @model_validator(mode="after")
    def _one_law(self) -> Self:
        laws = [self.fixed, self.lognormal, self.quantiles]
        if sum(law is not None for law in laws) != 1:
            raise ValueError("needs exactly one of fixed, lognormal, quantiles")
        if self.quantiles is not None:
            points = self.quantile_points()
            if len(points) < 2 or points[0][0] != 0 or points[-1][0] != 100:
                raise ValueError('quantiles need at least the keys "0" and "100"')
            if not all(0 <= percent <= 100 for percent, _ in points):
                raise ValueError("the keys of quantiles are per cent, from 0 to 100")
            if any(later[1] < earlier[1] for earlier, later in itertools.pairwise(points)):
                raise ValueError("quantiles must not fall as the per cent rise")
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        if self.fixed is not None and not self.min <= self.fixed <= self.max:
            raise ValueError(
                f"fixed {self.fixed} lies outside min {self.min} and max {self.max}; state the"
                " other bound"
            )
        return self

    def quantile_points(self) -> list[tuple[float, float]]:
        """The quantile table as sorted (per cent, tokens) pairs."""
        if self.quantiles is None:
            return []
        try:
            return sorted((float(key), value) for key, value in self.quantiles.items())
        except ValueError:
            raise ValueError('the keys of quantiles are per cent, such as "99.5"') from None


class Phase(UserModel):
    """A stretch of the run under one name; its rate is `burst` times the profile's rate."""

    #: its name in reports, in clauses (`phase`) and in histograms
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=40)]
    #: how long it lasts
    duration: DurationNs
    #: its rate as a multiple of the profile's
    burst: Times = Fraction(1)
    #: the multiplier reached at the phase's end, linearly; without it the rate is flat
    ramp_to: Times | None = None

    @model_validator(mode="after")
    def _has_length(self) -> Self:
        if self.duration <= 0:
            raise ValueError("duration must be above zero")
        if self.name == WARMUP:
            raise ValueError(f"{WARMUP!r} is the name of the warm-up; choose another")
        return self


class RateCurve(UserModel):
    """Slow modulation of the rate: one factor a step, repeated to the end."""

    #: how long each factor holds
    step: DurationNs
    #: multiples of the rate, one a step, repeated to the end
    factors: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=1)]
    #: where the curve comes from, in words
    source: str = ""

    @model_validator(mode="after")
    def _can_fire(self) -> Self:
        if self.step <= 0 or not any(self.factors):
            raise ValueError("needs a step above zero and at least one factor above zero")
        return self


class Sessions(UserModel):
    """Several turns a user: turn k+1 is due `think` after turn k was answered.

    Each turn's prompt holds the turns before it and stand-ins of the planned length for
    their answers, so the context grows as in a real chat.
    """

    #: how many requests a session has
    turns: Amount
    #: pause between an answer and the session's next request
    think: DurationNs = 0
    #: fixed: always `think`; exponential: drawn with that mean
    think_law: Literal["fixed", "exponential"] = "fixed"


class SharedPrefix(UserModel):
    """A system prompt that `groups` groups of requests share; off by default (prefix caches)."""

    #: length of the prompt's beginning that requests of a group share
    tokens: Annotated[int, Field(gt=0)]
    #: how many different beginnings there are
    groups: Annotated[int, Field(gt=0)] = 1


class Profile(UserModel):
    """One load profile. `duration` or `requests` (or both: whichever ends first)."""

    #: one line for `tailproof profiles` and the report
    description: str
    #: its name in reports; the file's name by default
    name: str = ""
    #: when requests are due
    arrivals: Arrivals
    #: how long requests are sent
    duration: DurationNs | None = None
    #: how many requests (turns, where it has sessions) are sent at most
    requests: Annotated[int, Field(gt=0, le=100_000_000)] | None = None
    #: repeated in order until the duration is filled
    phases: list[Phase] = []
    #: slow modulation of the rate, such as a day's
    rate_curve: RateCurve | None = None
    #: a file of your own requests, in place of made-up words: docs/own-requests.md
    prompts: str | None = None
    #: sizes of the prompts: one law, or several to draw from by weight
    prompt_tokens: Annotated[list[Amount], Field(min_length=1)] = [Amount(fixed=500)]
    #: sizes of the answers that are asked for (`max_tokens`)
    output_tokens: Annotated[list[Amount], Field(min_length=1)] = [Amount(fixed=64)]
    #: several turns a user instead of single requests
    sessions: Sessions | None = None
    #: a system prompt that groups of requests share, for prefix caches
    shared_prefix: SharedPrefix | None = None
    #: what every answer has to be; one that is not ends as `wrong_answer`
    expect_answer: Expectation | None = None
    #: open loop with a cap: at most this many requests at a time; waiting for a free place counts
    #: as latency
    max_in_flight: Annotated[int, Field(gt=0)] | None = None
    #: at the run's beginning; its requests are sent and kept, but not judged
    warmup: DurationNs = 0
    #: fixes the draws of this profile, whatever seed the run has
    seed: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if (
            self.duration is None
            and self.requests is None
            and not self.phases
            and self.arrivals.kind not in ("trace", "recorded")
        ):
            raise ValueError("needs duration, requests or phases: a run must end")
        if self.duration is not None and self.duration <= 0:
            raise ValueError("duration must be above zero")
        if self.arrivals.kind in ("closed", "trace", "recorded"):
            for name in ("phases", "rate_curve", "sessions", "warmup"):
                if getattr(self, name):
                    raise ValueError(f'arrivals of kind "{self.arrivals.kind}" cannot have {name}')
        if self.arrivals.kind == "trace":
            for name in ("prompt_tokens", "output_tokens"):
                if name in self.model_fields_set:
                    raise ValueError(f"a trace brings its own sizes; leave {name} out")
        return self

    @model_validator(mode="after")
    def _of_own_requests(self) -> Self:
        if self.arrivals.kind == "recorded" and self.prompts is None:
            raise ValueError('arrivals of kind "recorded" need prompts, whose times they are')
        if self.prompts is not None:
            for name in ("prompt_tokens", "sessions", "shared_prefix"):
                if name in self.model_fields_set:
                    raise ValueError(f"own requests bring their texts; leave {name} out")
            if self.arrivals.kind == "trace":
                raise ValueError("a trace brings its own sizes; leave prompts out")
        return self

    @property
    def numbered_by_file(self) -> bool:
        """Whether a row's body is a row of a file, so that lanes may send the same."""
        trace = self.arrivals.trace
        return self.prompts is not None or (trace is not None and trace.prefix == "as recorded")

    @property
    def closed_loop(self) -> bool:
        """A closed loop slows down with the server: its latencies judge no contract."""
        return self.arrivals.kind == "closed"


def load_profile(name: str, beside: Path | None = None) -> Profile:
    """A profile by built-in name or path. A trace's relative path is taken from the file."""
    path = find_file("load", name, beside)
    profile = load_model(Profile, path)
    updates: dict[str, object] = {"name": profile.name or path.stem}
    trace = profile.arrivals.trace
    if trace is not None and (path.parent / trace.file).is_file():
        found = trace.model_copy(update={"file": str(path.parent / trace.file)})
        updates["arrivals"] = profile.arrivals.model_copy(update={"trace": found})
    if profile.prompts is not None and (path.parent / profile.prompts).is_file():
        updates["prompts"] = str(path.parent / profile.prompts)
    return profile.model_copy(update=updates)


def bucket_names(edges: tuple[int, ...] = CONTEXT_EDGES) -> list[str]:
    """Display names of the context buckets: `≤1K`, `1K–8K`, `8K–32K`, `>32K`."""
    short = [f"{edge // 1024}K" for edge in edges]
    middle = [f"{low}–{high}" for low, high in itertools.pairwise(short)]
    return [f"≤{short[0]}", *middle, f">{short[-1]}"]


def override_profile(
    profile: Profile,
    where: str,
    *,
    rate: Fraction | None = None,
    duration_ns: int | None = None,
    requests: int | None = None,
    max_in_flight: int | None = None,
) -> Profile:
    """The profile with a suite's or a flag's numbers in place of its own. Raises UserError."""
    updates: dict[str, object] = {}
    if rate is not None:
        if profile.arrivals.rate is None:
            raise UserError(
                f'arrivals of kind "{profile.arrivals.kind}" have no rate to set', where=where
            )
        updates["arrivals"] = profile.arrivals.model_copy(update={"rate": rate})
    if duration_ns is not None:
        if duration_ns <= 0:
            raise UserError("duration must be above zero", where=where)
        updates["duration"] = duration_ns
        updates["requests"] = requests
    elif requests is not None:
        updates["requests"] = requests
        updates["duration"] = None if not profile.phases else profile.duration
    if max_in_flight is not None and profile.closed_loop:
        updates["arrivals"] = profile.arrivals.model_copy(update={"concurrency": max_in_flight})
    elif max_in_flight is not None:
        updates["max_in_flight"] = max_in_flight
    return profile.model_copy(update=updates)


def stretched(profile: Profile, times: Fraction, where: str) -> Profile:
    """The profile going on for `times` its length, in time, in requests or in both; its warm-up
    stays. Raises UserError for a trace, which is as long as it was recorded.
    """
    if profile.arrivals.kind in ("trace", "recorded"):
        raise UserError(
            "a recorded trace has the length that it has",
            where=where,
            remedy="leave --stretch out",
        )
    updates: dict[str, object] = {}
    if profile.requests is not None:
        updates["requests"] = max(1, math.ceil(profile.requests * times))
    length = profile.duration or sum(phase.duration for phase in profile.phases)
    if length:
        updates["duration"] = max(1, math.ceil(length * times))
    return profile.model_copy(update=updates)
