"""The kinds of clauses: each is named by its keys alone, and says what it counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from bench.errors import UserError
from bench.plan.clause import RECORDED, Clause
from bench.plan.contract import Contract
from bench.plan.kinds.kind import EVERYWHERE, Kind
from bench.plan.kinds.registry import KINDS, kind_of
from bench.userfile import parse_model
from tests.support.clauses import WRITTEN
from tests.support.made_runs import clause_of


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_keys_of_a_clause_name_one_kind(kind: Kind) -> None:
    """Every kind can be written, allows 1 % here, and has a text that no other has."""
    clause = Clause.model_validate(WRITTEN[kind.name])
    assert kind_of(clause) is kind
    assert float(clause.allowed_share) == 0.01
    by_requests = ("quantile", "share_of_requests", "error_share", "request_ratio", "answer_ok")
    assert clause.by_time == (kind.name not in by_requests)
    others = (Clause.model_validate(each) for name, each in WRITTEN.items() if name != kind.name)
    assert clause.text not in [other.text for other in others]


#: A value of each key that only some kinds have.
SAID: dict[str, Any] = {
    "statistic": "share_of_requests",
    "method": "request_ratio",
    "view": "response",
    "quantile": "99%",
    "limit": "1s",
    "limits": {"<=1K": "1s"},
    "limit_by_model": {"m": "1s"},
    "at_least": "50/s",
    "at_least_by_model": {"m": "50/s"},
    "with_ttft": True,
    "share": "99%",
    "window": "5min",
    "of_window": "p50",
    "min_requests": 1,
    "failed": "miss",
    "min_output_tokens": 1,
    "empty": "up",
    "error_rate": "5%",
    "minutes": 5,
    "slice_share": "95%",
    "weight": "together",
}


def test_every_key_is_of_any_kind_or_of_some() -> None:
    """No key is left that a clause could be given and nobody reads."""
    assert EVERYWHERE | set(SAID) == set(Clause.model_fields)
    assert set().union(*(kind.keys for kind in KINDS)) == set(SAID)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_key_that_says_nothing_is_refused(kind: Kind) -> None:
    """Even with the value that it would have anyway; the error names file, key and remedy."""
    for key in set(SAID) - kind.keys - {kind.named_by}:
        said = WRITTEN[kind.name] | {key: SAID[key]}
        with pytest.raises(UserError, match=rf"c\.toml: clause\[0\]: {key} .*leave it out"):
            parse_model(Contract, {"title": "t", "clause": [said]}, "c.toml")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_a_run_was_made_with_can_be_read_again(kind: Kind) -> None:
    """A run's folder has every key of a clause written out, also those that say nothing in it."""
    clause = Clause.model_validate(WRITTEN[kind.name])
    written = clause.model_dump(mode="json")
    assert Clause.model_validate(written, context=RECORDED) == clause
    with pytest.raises(ValidationError, match="leave it out"):
        Clause.model_validate({key: value for key, value in written.items() if value is not None})


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({}, "response_ms/e2e/p99"),
        ({"quantile": 0.999, "view": "service"}, "service_ms/e2e/p999"),
        ({"phase": "burst"}, "by_phase/burst/response_ms/e2e/p99"),
        ({"bucket": "≤1K"}, "by_bucket/≤1K/response_ms/e2e/p99"),
        ({"phase": "burst", "bucket": "≤1K"}, None),
        ({"quantile": 0.75}, None),
        ({"metric": "output_tps", "unit": "tokens/s"}, None),
        ({"statistic": "share_of_requests", "quantile": None, "share": 0.99}, None),
        ({"metric": "uptime"}, "uptime/request_ratio"),
        ({"metric": "uptime", "phase": "burst"}, None),
        ({"metric": "uptime", "method": "slice_ok"}, None),
        ({"metric": "error_share"}, None),
    ],
)
def test_where_summary_json_has_what_a_clause_measures(
    more: dict[str, Any], place: str | None
) -> None:
    """The same quantile of the same rows, or the ratio of all of them, or nothing."""
    verdict = clause_of("t", 1, "text", **{"metric": "e2e", "quantile": 0.99, **more})
    assert verdict.kind.in_summary(verdict) == place


def test_a_verdict_of_no_kind_is_refused() -> None:
    """A statistic that nobody knows, as in a file that was edited."""
    with pytest.raises(ValidationError, match="no kind of clause"):
        clause_of("t", 1, "text", "e2e", statistic="median")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_a_stretch_loses(kind: Kind) -> None:
    """Of three stretches one is whole, one lost a tenth, one all of its requests: by hand."""
    if kind.losses is None:
        return
    n, k = np.array([[10, 10, 10]]), np.array([[0, 1, 10]])
    lost = kind.losses(Clause.model_validate(WRITTEN[kind.name]), n, k)
    expected = {
        "share_of_windows": [0, 0, 1],
        "request_ratio": [0, 0.1, 1],
        "mean_of_intervals": [0, 0.1, 1],
        "downtime_minutes": [0, 1, 1],
        "minute_all_fail": [0, 0, 1],
        "slice_ok": [0, 1, 1],
    }
    assert (lost.num / lost.den).tolist() == [expected[kind.name]]
    assert bool(lost.counted.all())
