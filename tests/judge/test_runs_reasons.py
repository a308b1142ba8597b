"""The sentence of a clause over several runs, by what its rows came to."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from bench.judge.runs.counted import Counted
from bench.judge.runs.rule import Rule, needed_runs, reason_of
from bench.judge.stats.scales import lay_out

S = 10**9


def runs(bad: list[int], rows: int = 200, unknown: int = 0) -> Rule:
    """Ten runs of so many rows, of which at most 1 % may be bad; `unknown` of each were cut off."""
    counted = []
    for count in bad:
        at_ns = np.arange(rows, dtype=np.int64) * S
        is_bad, is_unknown = np.zeros(rows, bool), np.zeros(rows, bool)
        is_bad[np.linspace(0, rows - 2, count, dtype=int)] = True
        is_unknown[rows - unknown :] = True
        counted.append(
            Counted("r", at_ns, None, is_bad, is_unknown, at_ns * 0, None, {}, lay_out(at_ns))
        )
    return Rule(counted, Fraction(1, 100), 0.05)


@pytest.mark.parametrize(
    ("bad", "rows", "unknown", "cause"),
    [
        ([0] * 10, 20, 0, "few_rows"),
        ([0] * 10, 40, 1, "unknown_rows"),
        ([*[0] * 9, 14], 200, 0, "worst_block"),
        ([2] * 10, 200, 0, "near_limit"),
    ],
)
def test_an_open_clause_says_why(bad: list[int], rows: int, unknown: int, cause: str) -> None:
    """At most 1 % may break it: 200 rows of 0 bad show nothing; 400 would with no row cut off."""
    rule = runs(bad, rows, unknown)
    assert (rule.outcome, rule.cause) == ("INCONCLUSIVE", cause)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (runs([0] * 10), "0 of 2,000 requests in 10 runs were bad; that is at most"),
        (runs([0] * 10, unknown=1), "10 more were cut off"),
        (runs([20] * 10), "that is at least"),
        (runs([2] * 10), "no number of such runs decides, if the share stays"),
        (runs([1] * 10, rows=130), "such runs would decide, if the share stays"),
        (runs([0] * 10, rows=20), "too few requests to prove it even if none had broken it"),
        (runs([*[0] * 9, 14]), "one more run like the worst would break it"),
    ],
    ids=["pass", "cut off", "fail", "at the limit", "more", "few", "worst"],
)
def test_a_reason_says_what_was_seen_and_what_would_decide(rule: Rule, said: str) -> None:
    """Of what is decided the bound; of what is not, why and how many such runs would decide."""
    assert said in reason_of(rule)
    if "no number" in said:
        assert needed_runs(rule) is None
