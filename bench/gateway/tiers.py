"""Tiers: which of those that were asked for another one answers.

In: `[[gateway.downgrade]]` of a scenario; requests in order of arrival. Out: the downgrade that
meets each. Must stay true: the same seed and requests give the same downgrades; tiers have no
vendor's words here.
"""

from __future__ import annotations

from collections import defaultdict, deque
from fnmatch import fnmatchcase
from fractions import Fraction
from random import Random
from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from bench.gateway.laws import Window
from bench.units import S
from bench.userfile import PerSecond, Share

TierName = Literal["dedicated", "priority", "standard", "flex"]


class Downgrade(Window):
    """Requests that ask for a tier and are answered by another.

    Those that meet all the conditions given: asked, model, prompt_above, rate_above, and the time.
    """

    #: the tier that they ask for; without it any request, also one that asks for none
    asked: TierName | None = None
    #: the tier that answers
    served: TierName = "standard"
    #: `*` matches anything
    model: str = "*"
    #: so many of those that meet the conditions
    share: Share = Fraction(1)
    #: prompts of more tokens than this
    prompt_above: Annotated[int, Field(ge=0)] | None = None
    #: while more requests than this come for the tier, counted over the last second
    rate_above: PerSecond | None = None
    #: the pool that answers them; by default the model's own
    pool: str | None = None
    #: what says so: the answer's tier; headers of Azure's spillover; nothing, as with some
    #: resellers, whose answers name the tier that was asked for
    named_by: Literal["tier", "spillover", "nothing"] = Field(
        default="tier", validation_alias=AliasChoices("named_by", "told")
    )


class Downgrades:
    """Decides which tier answers."""

    def __init__(self, downgrades: list[Downgrade], seed: str):
        self._downgrades = downgrades
        self._rng = Random(f"{seed}/tiers")
        self._timed = any(each.rate_above is not None for each in downgrades)
        self._recent: defaultdict[TierName | None, deque[int]] = defaultdict(deque)

    def downgrade(
        self, asked: TierName | None, model: str, prompt_tokens: int, now_ns: int
    ) -> Downgrade | None:
        """The first downgrade that meets a request; None: what was asked for answers."""
        if not self._downgrades:
            return None
        rate = self._rate(asked, now_ns) if self._timed else 0
        for each in self._downgrades:
            if (
                each.asked in (None, asked)
                and fnmatchcase(model, each.model)
                and each.holds(now_ns)
                and (each.prompt_above is None or prompt_tokens > each.prompt_above)
                and (each.rate_above is None or rate > each.rate_above)
                and (each.share == 1 or self._rng.random() < each.share)
            ):
                return each
        return None

    def _rate(self, asked: TierName | None, now_ns: int) -> int:
        """Requests for a tier within the last second, this one counted."""
        recent = self._recent[asked]
        recent.append(now_ns)
        while recent[0] <= now_ns - S:
            recent.popleft()
        return len(recent)
