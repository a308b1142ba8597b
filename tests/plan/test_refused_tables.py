"""Tables of a scenario, a comparison and a suite that mean nothing: refused by the key's name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bench.gateway.scenarios import Batch, Change, Gateway, Pool
from bench.plan.interleave import Compare

LAW = {"fixed": "1s"}
MODEL = {"name": "*", "pool": "p"}
POOL = {"name": "p", "e2e": LAW}
BATCH = {"name": "p", "batch": {"sequences": 2, "step": "10ms"}}
S = 10**9


def gateway(*pools: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A gateway of these pools."""
    return {"model": [MODEL], "pool": [*pools], **more}


@pytest.mark.parametrize(
    ("model", "table", "said"),
    [
        (Batch, {"sequences": 1, "step": "0s"}, "step must be above zero"),
        (Pool, {"name": "p", "e2e": LAW, "gap": LAW}, "gap goes with ttft"),
        (Pool, {"name": "p", "e2e": LAW, "ttft": LAW}, "exactly one of e2e, ttft, batch"),
        (Change, {"at": "0s", "slowdown": 0}, "slowdown must be above zero"),
        (Change, {"at": "0s"}, "changes nothing"),
        (Gateway, gateway(POOL, POOL), "two pools have the same name"),
        (Gateway, gateway({"name": "q", "e2e": LAW}), "names pool 'p'; there is: q"),
        (
            Gateway,
            gateway(BATCH, timeline=[{"at": "0s", "e2e": LAW}]),
            "a batch has no law to change",
        ),
        (
            Gateway,
            gateway(POOL, timeline=[{"at": "0s", "pool": "q", "slowdown": 2}]),
            "names a pool, provider or region that does not exist",
        ),
        (
            Gateway,
            gateway(POOL, timeline=[{"at": "0s", "neighbours": 2}]),
            "no pool that it reaches has any",
        ),
        (Compare, {"arms": ["a", "b"], "block": "0s"}, "block must be above zero"),
        (Compare, {"arms": ["a", "b"], "margin": "100%"}, "margin must lie between"),
        (
            Compare,
            {"arms": ["a", "b"], "yearly_usd": 12, "monthly_usd": 1},
            "a fee by the year or by the month, not both",
        ),
        (
            Compare,
            {"arms": ["a", "b"], "requests_per_month": 1000},
            "requests_per_month spreads a fee",
        ),
        (Compare, {"arms": ["a", "b"], "block": "1s"}, 'block belongs to order = "abba"'),
    ],
)
def test_what_means_nothing_is_refused(model: Any, table: dict[str, Any], said: str) -> None:
    """The sentence says what to write, or what there is."""
    with pytest.raises(ValidationError, match=said):
        model.model_validate(table)


def test_a_timeline_is_played_again() -> None:
    """Of a period of 60 s: what never ends goes on from where it began, what began at zero and
    never ends is left, what repeats by itself too, what ends beyond the period is cut.
    """
    timeline = [
        {"at": "0s", "slowdown": 2},
        {"at": "20s", "slowdown": 2},
        {"at": "50s", "for": "30s", "slowdown": 2},
        {"at": "5s", "for": "1s", "every": "10s", "slowdown": 2},
    ]
    again = Gateway.model_validate(gateway(POOL, timeline=timeline)).repeated(60 * S).timeline
    assert [(change.at, change.lasts, change.every) for change in again] == [
        (0, None, None),
        (20 * S, 40 * S, 60 * S),
        (50 * S, 10 * S, 60 * S),
        (5 * S, 1 * S, 10 * S),
    ]
