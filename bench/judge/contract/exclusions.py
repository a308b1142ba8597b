"""Rows -> which count against a contract: kept or excluded (with the reason), failed, unknown.

In: a table, its facts, a contract. Out: one class a row, for runs and logs alike. Must stay
true: an excluded row keeps its place and has one reason, the first that applies; a term whose
column was not recorded is named, never silently passed over; nothing is guessed from a name.

Source: methods 1.1-1.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from bench.judge.contract.matching import (
    by_another_tier,
    matching,
    named,
    outside,
    without_tier,
)
from bench.judge.reached import undecided
from bench.plan.clause_keys import MINUTE_NS
from bench.plan.contract import Contract
from bench.plan.terms import BackOff, Exclusion
from bench.record.facts import Facts
from bench.record.samples import CAUSES, Bool, Columns, Flag, Int
from bench.units import S, show_duration

_NEVER = np.iinfo(np.int64).max
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Classes:
    """One class a row."""

    failed: Bool
    #: rows that ended without the provider's doing: they may have failed or not
    unknown: Bool
    #: index into `reasons`, -1 where the row is kept
    excluded: Int
    reasons: list[str]
    #: sentences: terms that set rows aside, and for which the columns are missing
    unusable: list[str]
    #: matchers of `requests.failed` that need a column which is missing: `failed` is then not whole
    missing: list[str]
    #: answers that do not say which tier served them, under a contract of one tier; None where it
    #: is of any tier, or no answer has one to name
    tier_unknown: Bool | None = None

    @property
    def kept(self) -> Bool:
        """Rows that count."""
        mask: Bool = self.excluded < 0
        return mask

    def counts(self) -> dict[str, int]:
        """Excluded rows by reason, in the order of the contract's terms, zero counts left out."""
        number = np.bincount(self.excluded + 1, minlength=len(self.reasons) + 1)[1:]
        return {reason: int(n) for reason, n in zip(self.reasons, number, strict=True) if n}


class _Sieve:
    """The rows still kept, while one term after the other is applied."""

    def __init__(self, columns: Columns, facts: Facts):
        self.columns = columns
        self.facts = facts
        self.excluded: Int = np.full(len(columns), -1)
        self.reasons: list[str] = []
        self.unusable: list[str] = []
        #: rows that are set aside whatever the contract says
        self.left_out: Bool = np.zeros(len(columns), bool)
        for reason, rows in facts.aside:
            self.drop(reason, rows, "")
            self.left_out |= rows

    def drop(self, reason: str, rows: Bool | None, needs: str) -> None:
        """Exclude `rows`; None says that the columns `needs` are missing."""
        if rows is None:
            self.unusable.append(f"{reason}: not applied, for there is no {needs}")
            return
        if reason not in self.reasons:
            self.reasons.append(reason)
        self.excluded[rows & (self.excluded < 0)] = self.reasons.index(reason)


def classify(columns: Columns, contract: Contract, facts: Facts) -> Classes:
    """Class every row.

    Rows must be in the order of their due times where back-off or rates count.
    """
    unknown = undecided(columns)
    failed, missing = _failed(columns, contract.requests.failed, facts, unknown)
    sieve = _Sieve(columns, facts)
    elsewhere = [rule for rule in contract.exclusions if rule.kind == "served_elsewhere"]
    others = [rule for rule in contract.exclusions if rule.kind != "served_elsewhere"]
    # Before the scope, which would take the same rows without saying why.
    for rule in elsewhere:
        _apply(sieve, rule, contract)
    _scope(sieve, contract)
    for matcher in contract.requests.excluded:
        rows, needs = matching(matcher, columns, facts)
        sieve.drop(matcher, rows, needs)
    for rule in others:
        _apply(sieve, rule, contract)
    if contract.back_off is not None:
        _repeats(sieve, contract.back_off, failed)
    return Classes(
        failed,
        unknown,
        sieve.excluded,
        sieve.reasons,
        sieve.unusable,
        missing,
        without_tier(columns, facts, paid) if (paid := _paid_tier(contract, facts)) else None,
    )


def _paid_tier(contract: Contract, facts: Facts) -> str | None:
    """The tier that the contract is of, where it sets aside what others serve."""
    if any(rule.kind == "served_elsewhere" for rule in contract.exclusions):
        return contract.scope.tier or facts.tier
    return contract.scope.tier or None


def _failed(
    columns: Columns,
    matchers: Sequence[str],
    facts: Facts,
    unknown: Bool,
) -> tuple[Bool, list[str]]:
    if not matchers:
        return ~columns.ok & ~unknown, []
    failed = np.zeros(len(columns), bool)
    missing = []
    for matcher in matchers:
        rows, needs = matching(matcher, columns, facts)
        if rows is None:
            missing.append(f"{matcher} needs {needs}")
        else:
            failed |= rows
    return failed & ~unknown, missing


def _scope(sieve: _Sieve, contract: Contract) -> None:
    scope = contract.scope
    facts = sieve.facts
    samples = sieve.columns.samples
    labels = facts.labels

    def cover(
        name: str,
        kind: str,
        index: Int | None,
        covered: Sequence[str],
        asked: str | None,
    ) -> None:
        if covered:
            rows = outside(facts, kind, index, covered, asked, len(samples))
            sieve.drop(f"{name} not covered", rows, f"{name} column")

    cover("model", "served_model", samples["served_model"], scope.models, facts.model)
    cover("region", "served_region", samples["served_region"], scope.regions, facts.region)
    cover("endpoint", "endpoint", labels.get("endpoint"), scope.endpoints, None)
    cover("operation", "operation", labels.get("operation"), scope.operations, None)
    if scope.tier and "tier" in labels:
        rows = by_another_tier(facts, scope.tier, len(samples))
        sieve.drop("tier not covered", rows, "tier column")
    if scope.streaming_only:
        # A request that failed before its first byte cannot show whether it was to be streamed.
        plain = (samples["flags"] & Flag.STREAMED) == 0
        sieve.drop("not streamed", sieve.columns.ok & plain, "")
    if scope.general_availability_only:
        sieve.unusable.append(
            "general availability: not applied, for rows do not show it; name the covered models"
        )


def _apply(sieve: _Sieve, rule: Exclusion, contract: Contract) -> None:
    rows, needs = _set_aside_by(rule, sieve, contract)
    sieve.drop(rule.reason, rows, needs)


def _set_aside_by(
    rule: Exclusion,
    sieve: _Sieve,
    contract: Contract,
) -> tuple[Bool | None, str]:
    """(rows that the rule sets aside, or None; the columns that it needs)."""
    facts = sieve.facts
    columns = sieve.columns
    if rule.kind == "window":
        return _in_window(rule, columns, facts), ""
    if rule.kind == "long_context":
        return _long_context(rule, columns), "prompt token column"
    if rule.kind == "short_deadline":
        return _short_deadline(rule, columns, facts), "deadline column"
    if rule.kind == "served_elsewhere":
        return _elsewhere(contract, columns, facts), "tier column or no contracted tier"
    if rule.kind == "cause":
        return _of_cause(rule, columns), "cause column"
    if rule.kind == "label":
        assert rule.label is not None
        return named(facts, "label", facts.labels.get("label"), rule.label), "label column"
    return _beyond_rate(sieve, rule), "token columns"


def _in_window(rule: Exclusion, columns: Columns, facts: Facts) -> Bool:
    assert rule.start is not None
    assert rule.end is not None
    at = _due(columns) + facts.start_wall_ns
    begun = at >= _wall_ns(rule.start)
    return begun & (at < _wall_ns(rule.end))


def _long_context(rule: Exclusion, columns: Columns) -> Bool | None:
    tokens = _tokens(columns, "prompt_tokens")
    if tokens is None:
        return None
    return tokens > (rule.above_prompt_tokens or 0)


def _short_deadline(rule: Exclusion, columns: Columns, facts: Facts) -> Bool | None:
    deadline = facts.labels.get("deadline_ns")
    if deadline is None and facts.timeout_ns is not None:
        deadline = np.full(len(columns), facts.timeout_ns)
    if deadline is None:
        return None
    return (deadline >= 0) & (deadline < (rule.below or 0))


def _of_cause(rule: Exclusion, columns: Columns) -> Bool | None:
    """None where no failure has a cause."""
    cause = columns.samples["cause"]
    failed = ~columns.ok & ~undecided(columns)
    if failed.any() and not (cause[failed] >= 0).any():
        return None
    return np.isin(cause, [CAUSES.index(each) for each in rule.cause or ()])


def _elsewhere(contract: Contract, columns: Columns, facts: Facts) -> Bool | None:
    paid = contract.scope.tier or facts.tier
    if not paid:
        return None
    return by_another_tier(facts, paid, len(columns))


def _due(columns: Columns) -> Int:
    """When each row was due, -1 where it never was."""
    return columns.samples["due_ns"].astype(np.int64)


def _wall_ns(moment: datetime) -> int:
    since = moment.astimezone(UTC) - _EPOCH
    return round(since.total_seconds()) * S


def _tokens(columns: Columns, name: str) -> Int | None:
    """Tokens a row as the server counted them, else as planned; None where no row has any."""
    seen = columns.samples[name].astype(np.int64)
    tokens = np.where(seen >= 0, seen, columns.schedule[name])
    return tokens if tokens.any() else None


def _beyond_rate(sieve: _Sieve, rule: Exclusion) -> Bool | None:
    """Rows above the purchased tokens a minute, or in a minute that ramps too steeply.

    Minutes are the wall clock's.

    Of the minutes before, those without traffic set no level to ramp from.
    """
    columns = sieve.columns
    prompt = _tokens(columns, "prompt_tokens")
    output = _tokens(columns, "output_tokens")
    if prompt is None and output is None:
        return None
    tokens = sum(np.maximum(each, 0) for each in (prompt, output) if each is not None)
    # a node that was left out had its share of the purchased rate all the same
    counted = np.where((sieve.excluded < 0) | sieve.left_out, tokens, 0)
    minute = (_due(columns) + sieve.facts.start_wall_ns) // MINUTE_NS
    minute -= minute.min(initial=_NEVER)
    order = np.argsort(minute, kind="stable")
    if rule.kind == "above_rate":
        running = np.cumsum(counted[order])
        minutes = np.arange(int(minute.max(initial=-1)) + 1)
        first = np.searchsorted(minute[order], minutes)
        before = np.concatenate([[0], running])[first]
        used = np.empty(len(columns), np.int64)
        used[order] = running - before[minute[order]]
        return (used > (rule.tokens_per_min or 0)) & (counted > 0)
    total = np.bincount(minute, counted).astype(np.int64)
    steep = _ramps_too_steeply(total, rule)
    mask: Bool = steep[minute]
    return mask


def _ramps_too_steeply(total: Int, rule: Exclusion) -> Bool:
    """Minutes whose tokens grew by more than the rule allows over the least of those before."""
    assert rule.within is not None
    assert rule.above is not None
    least = np.full(len(total), _NEVER)
    minutes_back = -(-rule.within // MINUTE_NS)
    for back in range(1, minutes_back + 1):
        earlier = total[:-back]
        level = np.where(earlier > 0, earlier, _NEVER)
        least[back:] = np.minimum(least[back:], level)
    has_level = least < _NEVER
    level = np.where(has_level, least, 0)
    grown = 1 + rule.above
    mask: Bool = has_level & (total * grown.denominator > level * grown.numerator)
    return mask


def _repeats(sieve: _Sieve, rule: BackOff, failed: Bool) -> None:
    """Set aside the repeats of a failed request that came too soon, and those of the same error in
    the window.

    A repeat is a row with the key of a row that failed just before it. The wait counts from the
    end of that failure, and grows with each failure in a row. The window counts from the last
    attempt that was kept, so a lasting outage counts again once the window is over.
    """
    key = sieve.facts.labels.get("key")
    columns = sieve.columns
    samples = columns.samples
    waits = "repeat against the back-off"
    window = f"repeat within {show_duration(rule.repeat_window or 0)}"
    if key is None:
        if rule.first_wait is not None:
            sieve.drop(waits, None, "key column")
        if rule.repeat_window:
            sieve.drop(window, None, "key column")
        return
    due = _due(columns)
    order = np.lexsort((due, key))
    keys = key[order]
    same_key = (keys[1:] == keys[:-1]) & (keys[1:] >= 0)
    follows = same_key & failed[order][:-1]
    repeat = np.concatenate([[False], follows])
    at = np.flatnonzero(repeat)  # places in `order`; the row before each is the failure it repeats
    rows = order[at]
    before = order[at - 1]
    ended = np.maximum(samples["done_ns"][before], due[before])
    if rule.first_wait is not None:
        places = np.arange(len(order))
        begun = np.maximum.accumulate(np.where(repeat, 0, places))[at]
        too_soon = due[rows] - ended < _waits_ns(rule, at - begun)
        sieve.drop(waits, _mask(len(columns), rows[too_soon]), "")
    if rule.repeat_window is not None:
        code = sieve.facts.labels.get("code", np.full(len(columns), -1))
        status = samples["status"].astype(np.int64)
        error = (code + 1) * 100_000 + status * 100 + samples["outcome"]
        same = failed[rows] & (error[rows] == error[before])
        inside = _within(rows[same], before[same], due, rule.repeat_window)
        sieve.drop(window, _mask(len(columns), inside), "")


def _waits_ns(rule: BackOff, failures: Int) -> Int:
    """How long to wait after so many failures in a row."""
    assert rule.first_wait is not None
    waits = []
    for power in range(64):
        wait = min(int(rule.first_wait * rule.factor**power), rule.cap or _NEVER)
        waits.append(min(wait, _NEVER))
    table = np.array(waits, np.int64)
    return np.asarray(table[np.minimum(failures, 64) - 1])


def _within(
    rows: Int,
    before: Int,
    due: Int,
    window_ns: int,
) -> Int:
    """Of repeats in order, those no later than the window after the last attempt that was kept."""
    anchor: dict[int, int] = {}  # row -> due time of the kept attempt that its chain hangs on
    inside = []
    for row, earlier in zip(rows.tolist(), before.tolist(), strict=True):
        start = anchor.get(earlier, int(due[earlier]))
        if int(due[row]) - start <= window_ns:
            inside.append(row)
            anchor[row] = start
    return np.array(inside, np.int64)


def _mask(length: int, rows: Int) -> Bool:
    mask = np.zeros(length, bool)
    mask[rows] = True
    return mask
