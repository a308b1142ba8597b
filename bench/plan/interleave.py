"""Arms of a comparison: targets of one stage that share one arrival process.

In: a `[[stage.compare]]` table, the due times of the common process. Out: which of them are one
arm's. Must stay true: every due time belongs to exactly one arm, and which one is settled before
anything is sent; an arm meets the load that its profile states, while it is its turn.

Source: methods 4 (random per request, or ABBA blocks shorter than the drift).
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from bench.errors import UserError
from bench.metrics import FROM_DUE
from bench.plan.draws import Draw, Purpose
from bench.plan.profile import Profile
from bench.units import show_limit
from bench.userfile import DurationNs, Share, Usd, UserModel

if TYPE_CHECKING:
    LatencyName = str
else:
    LatencyName = Literal[tuple(sorted(FROM_DUE))]
Outcome = Literal[
    "BETTER", "MATERIALLY_BETTER", "WORSE", "EQUIVALENT", "NOT_MATERIALLY_BETTER", "INCONCLUSIVE"
]


class CompareExpect(UserModel):
    """An expected answer (a rehearsal): this outcome must hold, in the whole or in
    one part.
    """

    #: the expected outcome
    outcome: Outcome
    #: the arm that is compared with the baseline; the last one by default
    arm: str | None = None
    #: of this phase instead of the whole
    phase: str | None = None
    #: of this context bucket instead of the whole
    bucket: str | None = None

    @model_validator(mode="after")
    def _one_part(self) -> Self:
        if self.phase is not None and self.bucket is not None:
            raise ValueError("a phase or a bucket, not both")
        return self


class FeeTerms(UserModel):
    """What a dearer tier costs on top of its tokens, as a suite or the command line says it."""

    #: what the last arm costs a year on top of its tokens
    yearly_usd: Usd | None = None
    #: the same a month
    monthly_usd: Usd | None = None
    #: requests a month that this fee is spread over: without it there is no price a request
    requests_per_month: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_fee(self) -> Self:
        if self.yearly_usd is not None and self.monthly_usd is not None:
            raise ValueError("a fee by the year or by the month, not both")
        if self.requests_per_month is not None and self.a_year_usd is None:
            raise ValueError("requests_per_month spreads a fee; add yearly_usd or monthly_usd")
        return self

    @property
    def a_year_usd(self) -> float | None:
        """The fee of a year, however it was said."""
        if self.monthly_usd is not None:
            return float(12 * self.monthly_usd)
        return None if self.yearly_usd is None else float(self.yearly_usd)


class Compare(FeeTerms):
    """Which targets of the stage are compared, and how their requests alternate."""

    #: the baseline first; a target named a second time is an A/A check, its lane is `NAME#2`
    arms: Annotated[list[str], Field(min_length=2)]
    #: random: each request goes to a tier at random; abba: the tiers take turns of `block`
    order: Literal["random", "abba"] = "random"
    #: of "abba": how long one arm has its turn
    block: DurationNs = 10_000_000_000
    #: a gain smaller than this is not worth its price
    margin: Share = Fraction(1, 10)
    #: the latency that is compared
    metric: LatencyName = "e2e"
    #: split the baseline's requests in two at random afterwards: the halves must not differ
    aa: bool = False
    #: outcomes that are expected (a rehearsal)
    expect: list[CompareExpect] = []

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if self.block <= 0:
            raise ValueError("block must be above zero")
        if not 0 < self.margin < 1:
            raise ValueError("margin must lie between 0 % and 100 %")
        if self.order == "random" and "block" in self.model_fields_set:
            raise ValueError('block belongs to order = "abba"')
        return self

    @property
    def lanes(self) -> list[str]:
        """The arms with `#2`, `#3` behind a name that came before."""
        names = []
        for position, name in enumerate(self.arms):
            earlier = self.arms[:position].count(name)
            names.append(f"{name}#{earlier + 1}" if earlier else name)
        return names


def check_compare(
    tables: list[Compare],
    targets: list[str],
    profile: Profile,
    where: str,
) -> None:
    """Raises UserError for an arm that is no target of the stage, or for arms that cannot share
    their arrivals.
    """
    used: list[str] = []
    for table in tables:
        for name in table.arms:
            if name not in targets:
                raise UserError(
                    f"compare names {name!r}, which is no target of this stage",
                    where=where,
                    remedy=f"its targets: {', '.join(targets)}",
                )
        for lane in table.lanes:
            if lane in used:
                raise UserError(
                    f"{lane!r} is an arm of two comparisons",
                    where=where,
                    remedy="name all its rivals as arms of one",
                )
        used += table.lanes
        for expect in table.expect:
            if expect.arm is not None and expect.arm not in table.lanes[1:]:
                raise UserError(
                    f"compare expects an outcome of {expect.arm!r}, which is no arm beside the"
                    " baseline",
                    where=where,
                    remedy=f"its arms: {', '.join(table.lanes[1:])}",
                )
    if tables and profile.closed_loop:
        raise UserError(
            "a closed loop has no arrivals to share among arms",
            where=where,
            remedy="give the profile a rate",
        )


@dataclasses.dataclass(frozen=True)
class Turn:
    """One arm's part of the common process."""

    arm: int
    arms: int
    order: Literal["random", "abba"]
    block_ns: int

    def common(self, profile: Profile) -> Profile:
        """The profile of the common process: so many requests that each arm has the profile's own.

        Drawn per request, the arms run at once and the rates add up; in blocks one has it all.
        """
        updates: dict[str, object] = {}
        if profile.requests is not None:
            updates["requests"] = profile.requests * self.arms
        if self.order == "random" and profile.arrivals.rate is not None:
            updates["arrivals"] = profile.arrivals.model_copy(
                update={"rate": profile.arrivals.rate * self.arms}
            )
        return profile.model_copy(update=updates)

    @property
    def unit_ns(self) -> int:
        """Length of one ABBA unit: every arm there and back."""
        return 2 * self.arms * self.block_ns

    def mine(
        self,
        due_ns: npt.NDArray[np.int64],
        warmup_ns: int,
        draw: Draw,
    ) -> npt.NDArray[np.bool_]:
        """Mask of the due times that are this arm's. Units begin with the measured part."""
        if self.order == "random":
            chosen: npt.NDArray[np.bool_] = (
                draw.stream(Purpose.ARMS).integers(self.arms, size=len(due_ns)) == self.arm
            )
            return chosen
        block = (due_ns - warmup_ns) // self.block_ns % (2 * self.arms)
        mask: npt.NDArray[np.bool_] = (block == self.arm) | (block == 2 * self.arms - 1 - self.arm)
        return mask

    def note(self) -> str:
        """How the arms alternate, as a sentence of the report."""
        if self.order == "random":
            how = "each request sent to one of them at random"
        else:
            how = f"in blocks of {show_limit(self.block_ns)}, there and back"
        return (
            f"{self.arms} arms share one arrival process, {how}; their n-th prompts are equally"
            " long, in other words"
        )
