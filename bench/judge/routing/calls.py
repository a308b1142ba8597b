"""The calls that a route made: which were billed, which answered, and what they cost.

In: attempts, the planned rows they belong to, prices of legs. Out: masks, tokens, USD. Must stay
true: every token that a provider could bill is counted once, on the attempt that caused it; without
a price there is a reason and no sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from bench.record.records.manifest import LegRecord
from bench.record.records.routes import (
    RouteCost,
    RouteTokens,
)
from bench.record.samples import AttemptFlag, Bool, Int, Outcome, Table

#: A call that reached the model is billed for its prompt: it answered, or was cut off while it did.
_BILLED = (
    Outcome.ok,
    Outcome.wrong_answer,
    Outcome.censored,
    Outcome.timeout_first,
    Outcome.timeout_total,
    Outcome.truncated,
    Outcome.malformed,
    Outcome.stream_error,
)


def billed_calls(attempts: Table) -> Bool:
    reached: Bool = (attempts["sent_ns"] >= 0) & np.isin(attempts["outcome"], _BILLED)
    return reached


def winners(attempts: Table) -> Bool:
    won: Bool = ((attempts["flags"] & AttemptFlag.CARRIED) != 0) & (
        attempts["outcome"] == Outcome.ok
    )
    return won


def billed_twice(attempts: Table, billed: Bool) -> int:
    """Rows for which two calls or more were billed."""
    return int((np.unique(attempts["row"][billed], return_counts=True)[1] > 1).sum())


def counts(values: Int, names: Any) -> dict[str, int]:
    counts = np.bincount(values, minlength=len(names))
    return {names(index).name: int(count) for index, count in enumerate(counts) if count}


def _paid(attempts: Table, planned: Table, billed: Bool) -> tuple[Int, Int]:
    """(prompt, output) tokens of each attempt: the server's usage; the planned prompt of a call
    that was cut off.
    """
    prompt = np.where(
        attempts["prompt_tokens"] >= 0,
        attempts["prompt_tokens"],
        planned["prompt_tokens"],
    ).astype(np.int64)
    output = np.maximum(attempts["output_tokens"], 0).astype(np.int64)
    return np.where(billed, prompt, 0), np.where(billed, output, 0)


def tokens_of(
    attempts: Table,
    planned: Table,
    billed: Bool,
    won: Bool,
) -> RouteTokens:
    prompt, output = _paid(attempts, planned, billed)
    return RouteTokens(
        prompt=int(prompt.sum()),
        output=int(output.sum()),
        wasted_prompt=int(prompt[~won].sum()),
        wasted_output=int(output[~won].sum()),
    )


def cost_of(
    attempts: Table,
    planned: Table,
    billed: Bool,
    won: Bool,
    legs: Sequence[LegRecord],
) -> RouteCost:
    """USD, exact to the token.

    `added_usd`: over the answers' own tokens at the price of the leg each row was planned for.
    """
    used: list[int] = sorted({*attempts["leg"][billed].tolist(), *planned["leg"][won].tolist()})
    prices = {leg: legs[leg].prices for leg in used}
    if missing := [legs[leg].name for leg in used if prices[leg] is None]:
        return RouteCost(usd=None, reason=f"no price for {', '.join(missing)}")
    prompt, output = _paid(attempts, planned, billed)

    def usd(chosen: Bool, leg_of: Int) -> Decimal:
        total = Decimal(0)
        for leg, price in prices.items():
            assert price is not None
            mine = chosen & (leg_of == leg)
            total += int(prompt[mine].sum()) * price.input_usd_per_million
            total += int(output[mine].sum()) * price.output_usd_per_million
        return total / 1_000_000

    whole = usd(billed, attempts["leg"])
    wasted = usd(billed & ~won, attempts["leg"])
    plain = usd(won, planned["leg"])
    return RouteCost(
        usd=float(whole),
        wasted_usd=float(wasted),
        added_usd=float(whole - plain),
        added_share=float((whole - plain) / plain) if plain else None,
    )
