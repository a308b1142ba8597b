"""A month's bill as it was forecast, held against what a run was billed.

In: a run's lane and the `[forecast]` of its contract. Out: a record, with PASS, FAIL or
INCONCLUSIVE. Must stay true: PASS only if the whole interval of the projected bill lies within the
margin, FAIL only if it lies wholly outside; tokens that no usage states decide nothing; without a
price there is a reason and no sum.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np

from bench.judge.spend import AgainstForecast, Spend, forecast_interval, spend_of
from bench.plan.contract import Contract
from bench.plan.terms import Forecast
from bench.record.records.verdicts import Forecast as ForecastVerdict
from bench.record.records.verdicts import Verdict
from bench.record.run_folder import Run
from bench.record.samples import Columns, Flag, Float
from bench.units import show_share

#: More answers than this without usage, and the bill is an estimate of ours.
UNSTATED_MOST = Fraction(1, 100)


def judge_forecast(run: Run, index: int, contract: Contract) -> ForecastVerdict | None:
    """One lane against its contract's forecast; None where the contract has none.

    The projected bill is `tokens_per_month` times what a useful token of the run cost, all calls
    paid for included; its limits are drawn by time block, each one-sided at the contract's
    confidence.
    """
    forecast = contract.forecast
    lane = run.lanes[index]
    if forecast is None:
        return None
    found = _projected(run, index, contract, forecast)
    return ForecastVerdict(
        target=lane.name,
        stage=lane.stage,
        contract=contract.name,
        text=forecast.text,
        forecast_usd=float(forecast.monthly_usd),
        tokens_per_month=forecast.tokens_per_month,
        within=float(forecast.within),
        confidence=float(contract.confidence),
        projected_usd=found.projected_usd,
        interval_usd=found.interval_usd,
        run_usd=found.run_usd,
        verdict=found.verdict,
        reason=found.reason,
    )


@dataclasses.dataclass(frozen=True)
class _Projection:
    reason: str
    verdict: Verdict = "INCONCLUSIVE"
    projected_usd: float | None = None
    interval_usd: tuple[float | None, float | None] = (None, None)
    run_usd: float | None = None


def _projected(
    run: Run,
    index: int,
    contract: Contract,
    forecast: Forecast,
) -> _Projection:
    spend = spend_of(run, index)
    if isinstance(spend, str):
        return _Projection(spend)
    columns = run.columns.lane(index)
    priced = dataclasses.replace(spend, planned=_useful_tokens(columns) * _usd_per_token(forecast))
    found = forecast_interval(priced, forecast.within, float(1 - contract.confidence))
    projected, low, high = (
        None if ratio is None else ratio * float(forecast.monthly_usd)
        for ratio in (found.ratio, *found.interval)
    )
    open_ = _Projection(
        "no answer was of use: nothing can be projected from it",
        projected_usd=projected,
        interval_usd=(low, high),
        run_usd=float(spend.paid_usd),
    )
    if projected is None:
        return open_
    if (unstated := _unstated(columns)) > UNSTATED_MOST:
        return dataclasses.replace(
            open_,
            reason=f"{show_share(unstated, 1)} of the answers came without usage: their tokens are"
            " our own count",
        )
    verdicts: dict[bool | None, Verdict] = {True: "PASS", False: "FAIL", None: "INCONCLUSIVE"}
    return dataclasses.replace(
        open_,
        verdict=verdicts[found.holds],
        reason=found.reason or _sentence(found, spend),
    )


def _usd_per_token(forecast: Forecast) -> float:
    return float(Fraction(forecast.monthly_usd) / forecast.tokens_per_month)


def _useful_tokens(columns: Columns) -> Float:
    """Tokens of each row that succeeded: as the server said, a prompt of which it said nothing as
    planned.
    """
    prompt, output = (
        columns.samples[name].astype(np.float64) for name in ("prompt_tokens", "output_tokens")
    )
    useful = np.where(prompt >= 0, prompt, columns.schedule["prompt_tokens"]) + np.maximum(
        output, 0
    )
    return np.where(columns.ok, useful, 0.0)


def _unstated(columns: Columns) -> Fraction:
    """Share of the answers whose tokens the server did not state."""
    samples = columns.samples[columns.ok]
    unstated = (samples["prompt_tokens"] < 0) | ((samples["flags"] & Flag.COUNTED_TOKENS) != 0)
    return Fraction(int(unstated.sum()), max(len(samples), 1))


def _sentence(found: AgainstForecast, spend: Spend) -> str:
    low, high = (show_share((ratio or 0) - 1, 1) for ratio in found.interval)
    overhead = "" if not spend.overhead else f"; overhead {show_share(spend.overhead, 1)}"
    return f"the bill is {low} to {high} off its forecast{overhead}"
