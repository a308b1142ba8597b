"""Scenario files as the gateway reads them: models, pools, regions, limits, the timeline, the
truth.

In: one TOML file of `profiles/scenarios`. Out: a frozen `Scenario`. Must stay true: a scenario
holds laws, never draws; its `[[stage]]` tables belong to the suite and are not looked at here.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from bench.errors import UserError
from bench.gateway.keys import KeyLifetime, RateLimit
from bench.gateway.laws import Law, Window
from bench.gateway.tiers import Downgrade
from bench.userfile import (
    DurationNs,
    PerSecond,
    Share,
    Times,
    UserModel,
    builtin_names,
    builtin_root,
    find_file,
    load_model,
    read_toml,
)

#: Names that `/v1/models` lists wherever some pattern of the scenario answers them.
CATALOGUE = (
    "deepseek-ai/DeepSeek-V4-Flash",
    "deepseek-ai/DeepSeek-V3.2",
    "Pro/deepseek-ai/DeepSeek-V3.2",
    "Pro/deepseek-ai/DeepSeek-R1",
    "Qwen/Qwen3-32B",
)
#: What can go wrong with an answer. The first six come instead of one, the others within a
#: stream. `overload` and `capacity` (no room for this model or tier) have each API's own status.
FaultKind = Literal[
    "http_500",
    "http_502",
    "http_503",
    "overload",
    "capacity",
    "reset",
    "stall",
    "truncate",
    "slow_tail",
    "garbage",
    "stream_error",
    "stream_overload",
]


def _as_list(value: Any) -> Any:
    if isinstance(value, str):
        return [value]
    return value


class Batch(UserModel):
    """Continuous batching on engines: a step gives each running answer one token.

    A step takes `step` + `per_sequence` for each running answer + `prefill_per_token` for each
    prompt token that it reads; new prompts are read in pieces of `prefill_chunk` between them.
    """

    engines: Annotated[int, Field(gt=0)] = 1
    #: answers that one engine runs at once
    sequences: Annotated[int, Field(gt=0)]
    step: DurationNs
    per_sequence: DurationNs = 0
    prefill_per_token: DurationNs = 0
    prefill_chunk: Annotated[int, Field(gt=0)] = 2048
    #: memory of one engine; an answer holds its prompt's and all its own tokens from the start
    kv_tokens: Annotated[int, Field(gt=0)] | None = None
    #: blocks of `prefix_block` tokens that an engine remembers and need not read again
    prefix_blocks: Annotated[int, Field(ge=0)] = 0
    prefix_block: Annotated[int, Field(gt=0)] = 64

    @model_validator(mode="after")
    def _takes_time(self) -> Self:
        if self.step <= 0:
            raise ValueError("step must be above zero")
        return self


class Neighbours(UserModel):
    """Other customers' traffic on the same pool; its answers go nowhere."""

    rate: PerSecond
    #: gamma shape of the gaps = 1/CV²: 1 is Poisson, below 1 burstier
    burstiness: Annotated[float, Field(gt=0)] = 1.0
    prompt_tokens: Annotated[int, Field(ge=0)] = 500
    output_tokens: Annotated[int, Field(gt=0)] = 64


class Region(UserModel):
    """A place, and the round trip to it, which every answer from there takes longer."""

    name: str
    distance: DurationNs = 0


class Pool(UserModel):
    """Servers that share a queue, by one of three laws: `e2e`, `ttft` (and `gap`), or `batch`.

    Times are drawn once a request: an end-to-end time (the first token `first_at` into it), or
    a first-token time and the gap between tokens. `prefill_per_token` adds to the first-token
    time for each token of the prompt. `batch` draws nothing: its times follow from the load.
    """

    name: str
    region: str = "local"
    provider: str = "simulated"
    e2e: Law | None = None
    #: when the first token comes, as a share of the end-to-end time
    first_at: Annotated[float, Field(ge=0, le=1)] = 0.5
    ttft: Law | None = None
    gap: Law | None = None
    prefill_per_token: DurationNs = 0
    batch: Batch | None = None
    #: answers that may run at once; without it no request waits
    slots: Annotated[int, Field(gt=0)] | None = None
    #: requests that may wait; one more is turned away with 503
    queue_limit: Annotated[int, Field(ge=0)] | None = None
    #: slots that are always up; the others start when needed and stop after `keep_alive` unused
    warm: Annotated[int, Field(ge=0)] | None = None
    #: in place of `warm`: the share of requests that find their instance unloaded, by plan and not
    #: by load
    cold_share: Share | None = None
    #: what a cold start adds before the first token; such an answer carries `x-cold-start: 1`
    cold_start: Law | None = None
    keep_alive: DurationNs = 60_000_000_000
    neighbours: Neighbours | None = None

    @model_validator(mode="after")
    def _one_law(self) -> Self:
        if sum(law is not None for law in (self.e2e, self.ttft, self.batch)) != 1:
            raise ValueError("needs exactly one of e2e, ttft, batch")
        if self.gap is not None and self.ttft is None:
            raise ValueError("gap goes with ttft; with e2e the tokens are spread evenly")
        if (
            self.slots is None
            and self.batch is None
            and (self.queue_limit, self.warm) != (None, None)
        ):
            raise ValueError("queue_limit and warm need slots")
        if self.batch is not None and (self.slots, self.warm) != (None, None):
            raise ValueError("batch has its own sequences and engines in place of slots and warm")
        if (self.warm is not None) + (self.cold_share is not None) != (self.cold_start is not None):
            raise ValueError("cold_start goes together with one of warm, cold_share")
        if self.batch is not None and self.cold_share is not None:
            raise ValueError("batch has no cold starts")
        if self.warm is not None and self.warm > (self.slots or 0):
            raise ValueError(f"warm {self.warm} is above slots {self.slots}")
        return self


class Model(UserModel):
    """A name that requests ask for (`*` matches anything) and the pools that may answer it."""

    name: str
    #: one pool, or several: the first that is up answers, the nearest region's first
    pool: Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)]
    #: higher goes first where requests wait
    priority: int = 0
    #: the name in answers; the asked-for name by default
    served: str = ""
    #: by default `pro` where the name begins with `Pro/`, else `standard`
    tier: str = ""
    context_tokens: Annotated[int, Field(gt=0)] = 131_072
    rate_limit: RateLimit | None = None


class Change(Window):
    """From `at`, for `for` (to the end by default): another law, a slowdown, a fault, a burst.

    It holds for requests whose service begins inside; faults for those that arrive inside.
    Without `pool`, `provider` and `region` it holds everywhere. Where several overlap, the
    later entry's law wins, faults add up and factors multiply.
    """

    pool: str | None = None
    provider: str | None = None
    region: str | None = None
    e2e: Law | None = None
    ttft: Law | None = None
    gap: Law | None = None
    slowdown: Times = Fraction(1)
    #: the neighbours' rate is this many times their usual one
    neighbours: Times = Fraction(1)
    #: nothing is answered (503), and requests that have another pool go there once it is noticed
    outage: bool = False
    fault: FaultKind | None = None
    #: the share of requests that the fault hits
    share: Share = Fraction(1)

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        laws = (self.e2e, self.ttft, self.gap, self.fault)
        if (
            all(law is None for law in laws)
            and self.slowdown == self.neighbours == 1
            and not self.outage
        ):
            raise ValueError(
                "changes nothing; give it a law, a slowdown, neighbours, a fault or an outage"
            )
        if self.slowdown <= 0:
            raise ValueError("slowdown must be above zero")
        return self

    def covers(self, pool: Pool) -> bool:
        """True when the change holds for this pool."""
        return (
            self.pool in (None, pool.name)
            and self.provider in (None, pool.provider)
            and self.region in (None, pool.region)
        )


class Gateway(UserModel):
    """What the simulated provider consists of."""

    model: Annotated[list[Model], Field(min_length=1)]
    pool: Annotated[list[Pool], Field(min_length=1)]
    region: list[Region] = []
    timeline: list[Change] = []
    #: how long an outage lasts before requests go to another pool; without it they never do
    failover_after: DurationNs | None = None
    rate_limit: RateLimit | None = None
    require_key: bool = False
    key_lifetime: KeyLifetime | None = None
    #: requests that another tier answers than the one that they ask for: the first that fits
    downgrade: list[Downgrade] = []
    #: to be computed by `tailproof simulate`: as many rows over HTTP would take too long
    simulated: bool = False
    #: tokens answered when a request names no maximum
    default_output_tokens: Annotated[int, Field(gt=0)] = 64

    @model_validator(mode="after")
    def _names_meet(self) -> Self:
        pools = [pool.name for pool in self.pool]
        if len(set(pools)) < len(pools):
            raise ValueError("two pools have the same name")
        for model in self.model:
            for pool in model.pool:
                if pool not in pools:
                    raise ValueError(
                        f"model {model.name!r} names pool {pool!r}; there is: {', '.join(pools)}"
                    )
        for change in self.timeline:
            self.check(change)
        for downgrade in self.downgrade:
            if downgrade.pool not in (None, *pools):
                raise ValueError(f"a downgrade names pool {downgrade.pool!r}, which does not exist")
        return self

    def check(self, change: Change) -> None:
        """Raises ValueError when the change could change nothing here."""
        covered = [pool for pool in self.pool if change.covers(pool)]
        if not covered:
            raise ValueError("a change names a pool, provider or region that does not exist")
        if change.neighbours != 1 and not any(pool.neighbours for pool in covered):
            raise ValueError("a change of neighbours, and no pool that it reaches has any")
        if (change.e2e or change.ttft or change.gap) and all(pool.batch for pool in covered):
            raise ValueError("a batch has no law to change; give a slowdown")

    def repeated(self, period_ns: int) -> Gateway:
        """The same with its timeline played again each `period_ns`, for a plan made longer than the
        scenario's own.

        What begins at zero and never ends goes on; what repeats by itself is left alone.
        """
        again = []
        for change in self.timeline:
            if change.lasts is None:
                ends_ns = period_ns
            else:
                ends_ns = min(change.at + change.lasts, period_ns)
            if change.every is None and 0 < ends_ns - change.at < period_ns:
                change = change.model_copy(  # noqa: PLW2901
                    update={"lasts": ends_ns - change.at, "every": period_ns}
                )
            again.append(change)
        return self.model_copy(update={"timeline": again})

    def match(self, name: str) -> Model | None:
        """The first entry with exactly this name, else the first whose pattern fits."""
        exact = (model for model in self.model if model.name == name)
        return next(
            exact, next((model for model in self.model if fnmatchcase(name, model.name)), None)
        )

    def names(self) -> list[str]:
        """The names that can be asked for, as `/v1/models` lists them: patterns are not names."""
        exact = [model.name for model in self.model if not set(model.name) & set("*?[")]
        return exact + [name for name in CATALOGUE if name not in exact and self.match(name)]


class TruthLine(UserModel):
    """What a perfect observer would see of one model: quantiles in ms of answers, shares of
    requests.
    """

    model: str
    #: of requests that ask for this region
    region: str | None = None
    #: seconds of scenario time; without it the whole run at the stage's rate
    window_s: tuple[float, float] | None = None
    e2e_ms: dict[str, float] = {}
    ttft_ms: dict[str, float] = {}
    share: dict[str, float] = {}


class Truth(UserModel):
    """The planted truth, in words and in numbers."""

    says: str
    line: list[TruthLine] = []


class Scenario(UserModel):
    """A scenario file without what belongs to the suite."""

    description: str
    name: str = ""
    seed: int = 1
    gateway: Gateway
    truth: Truth
    stage: list[dict[str, Any]] = []


def scenario_names() -> list[str]:
    """The built-in scenarios that a gateway can play: one with [census] holds requests that were
    made elsewhere.
    """
    return [
        name
        for name in builtin_names("scenarios")
        if "gateway" in read_toml(builtin_root() / "scenarios" / f"{name}.toml")
    ]


def load_scenario(name: str, beside: Path | None = None) -> Scenario:
    """A scenario by built-in name or path. Raises UserError that names file and key."""
    path = find_file("scenarios", name, beside)
    if "gateway" not in read_toml(path):
        raise UserError(
            "has no [gateway]: there is nothing to serve",
            where=str(path),
            remedy="name another scenario",
        )
    scenario = load_model(Scenario, path)
    return scenario.model_copy(update={"name": scenario.name or path.stem})
