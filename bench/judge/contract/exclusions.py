"""Rows -> which count against a contract: kept or excluded (with the reason), failed, unknown.

In: a table, its facts, a contract. Out: one class a row, for runs and logs alike. Must stay
true: an excluded row keeps its place and has one reason, the first that applies; a term whose
column was not recorded is named, never silently passed over; nothing is guessed from a name.

Source: methods 1.1-1.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import numpy as np

from bench.judge.reached import undecided
from bench.plan.clause_keys import MINUTE_NS
from bench.plan.contract import Contract
from bench.plan.terms import BackOff, Exclusion
from bench.record.facts import Facts
from bench.record.samples import Bool, Columns, Flag, Int, Outcome
from bench.units import S, show_duration

__all__ = ["Classes", "Facts", "classify", "matches"]

_NEVER = np.iinfo(np.int64).max


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
        self.columns, self.facts = columns, facts
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
    for each in contract.exclusions:
        if (
            each.kind == "served_elsewhere"
        ):  # before the scope, which the same rows would leave without saying why
            _apply(sieve, each, contract)
    _scope(sieve, contract)
    for matcher in contract.requests.excluded:
        sieve.drop(matcher, *_matching(matcher, columns, facts))
    for each in contract.exclusions:
        if each.kind != "served_elsewhere":
            _apply(sieve, each, contract)
    if contract.back_off is not None:
        _repeats(sieve, contract.back_off, failed)
    return Classes(failed, unknown, sieve.excluded, sieve.reasons, sieve.unusable, missing)


def _failed(
    columns: Columns, matchers: Sequence[str], facts: Facts, unknown: Bool
) -> tuple[Bool, list[str]]:
    if not matchers:
        return ~columns.ok & ~unknown, []
    failed = np.zeros(len(columns), bool)
    missing = []
    for matcher in matchers:
        rows, needs = _matching(matcher, columns, facts)
        if rows is None:
            missing.append(f"{matcher} needs {needs}")
        else:
            failed |= rows
    return failed & ~unknown, missing


def matches(matcher: str, columns: Columns, facts: Facts) -> Bool | None:
    """Rows that an outcome name, `status:500`, `status:5xx`, `code:NAME` or `finish:NAME` means;
    None: no such column.
    """
    return _matching(matcher, columns, facts)[0]


def _matching(matcher: str, columns: Columns, facts: Facts) -> tuple[Bool | None, str]:
    """(rows or None, the column that it reads)."""
    kind, _, value = matcher.partition(":")
    samples = columns.samples
    if kind == "status":
        status = samples["status"]
        if len(status) and not status.any():
            return None, "status column"
        return (
            status // 100 == int(value[0]) if value.endswith("xx") else status == int(value)
        ), "status column"
    if kind == "code":
        return _named(
            facts, "code", facts.labels.get("code"), lambda text: text == value
        ), "code column"
    if kind == "finish":
        return _named(
            facts, "finish", samples["finish"], lambda text: text == value
        ), "finish column"
    return samples["outcome"] == Outcome[matcher], "outcome"


def _named(
    facts: Facts, kind: str, index: Int | None, wanted: Callable[[str], bool]
) -> Bool | None:
    """Rows whose text of this kind is wanted; a row without one is not.

    None where no row has one.
    """
    texts = facts.texts.get(kind, ())
    if index is None or not len(texts):
        return None
    yes = np.array([*map(wanted, texts), False])
    mask: Bool = yes[np.where((index >= 0) & (index < len(texts)), index, len(texts))]
    return mask


def _outside(
    facts: Facts,
    kind: str,
    index: Int | None,
    patterns: Sequence[str],
    asked: str | None,
    rows: int,
) -> Bool | None:
    """Rows that none of the patterns covers; a row without a text is covered."""

    def uncovered(text: str) -> bool:
        return not any(fnmatchcase(text.lower(), pattern.lower()) for pattern in patterns)

    return (
        np.full(rows, uncovered(asked))
        if asked is not None
        else _named(facts, kind, index, uncovered)
    )


def _scope(sieve: _Sieve, contract: Contract) -> None:
    scope, facts, samples, n = (
        contract.scope,
        sieve.facts,
        sieve.columns.samples,
        len(sieve.columns),
    )
    for name, patterns, kind, asked in (
        ("model", scope.models, "served_model", facts.model),
        ("region", scope.regions, "served_region", facts.region),
    ):
        if patterns:
            rows = _outside(facts, kind, samples[kind], patterns, asked, n)
            sieve.drop(f"{name} not covered", rows, f"{name} column")
    for name, patterns in (("endpoint", scope.endpoints), ("operation", scope.operations)):
        if patterns:
            rows = _outside(facts, name, facts.labels.get(name), patterns, None, n)
            sieve.drop(f"{name} not covered", rows, f"{name} column")
    if scope.tier and "tier" in facts.labels:
        sieve.drop(
            "tier not covered",
            _outside(facts, "tier", facts.labels["tier"], [scope.tier], None, n),
            "tier column",
        )
    if scope.streaming_only:
        # A request that failed before its first byte cannot show whether it was to be streamed.
        plain = sieve.columns.ok & ((samples["flags"] & Flag.STREAMED) == 0)
        sieve.drop("not streamed", plain, "")
    if scope.general_availability_only:
        sieve.unusable.append(
            "general availability: not applied, for rows do not show it; name the covered models"
        )


def _apply(sieve: _Sieve, rule: Exclusion, contract: Contract) -> None:
    facts, columns = sieve.facts, sieve.columns
    rows: Bool | None
    needs = ""
    if rule.kind == "window":
        assert rule.start is not None
        assert rule.end is not None
        at = _due(columns) + facts.start_wall_ns
        rows = (at >= _wall_ns(rule.start)) & (at < _wall_ns(rule.end))
    elif rule.kind == "long_context":
        needs, tokens = "prompt token column", _tokens(columns, "prompt_tokens")
        rows = None if tokens is None else tokens > (rule.above_prompt_tokens or 0)
    elif rule.kind == "short_deadline":
        needs, deadline = "deadline column", facts.labels.get("deadline_ns")
        if deadline is None and facts.timeout_ns is not None:
            deadline = np.full(len(columns), facts.timeout_ns)
        rows = None if deadline is None else (deadline >= 0) & (deadline < (rule.below or 0))
    elif rule.kind == "served_elsewhere":
        needs, paid = "tier column or no contracted tier", contract.scope.tier or facts.tier
        rows = (
            _outside(facts, "tier", facts.labels.get("tier"), [paid], None, len(columns))
            if paid
            else None
        )
    elif rule.kind == "label":
        needs = "label column"
        rows = _named(facts, "label", facts.labels.get("label"), lambda text: text == rule.label)
    else:
        needs, rows = "token columns", _beyond_rate(sieve, rule)
    sieve.drop(rule.reason, rows, needs)


def _due(columns: Columns) -> Int:
    """When each row was due, -1 where it never was."""
    return columns.samples["due_ns"].astype(np.int64)


def _wall_ns(moment: datetime) -> int:
    return round((moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * S


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
    prompt, output = _tokens(columns, "prompt_tokens"), _tokens(columns, "output_tokens")
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
        first = np.searchsorted(minute[order], np.arange(int(minute.max(initial=-1)) + 1))
        before = np.concatenate([[0], running])[first]
        beyond = np.empty(len(columns), bool)
        beyond[order] = running - before[minute[order]] > (rule.tokens_per_min or 0)
        return beyond & (counted > 0)
    total = np.bincount(minute, counted).astype(np.int64)
    assert rule.within is not None
    assert rule.above is not None
    least = np.full(len(total), _NEVER)
    for back in range(1, -(-rule.within // MINUTE_NS) + 1):
        earlier = total[:-back]
        least[back:] = np.minimum(least[back:], np.where(earlier > 0, earlier, _NEVER))
    grown = 1 + rule.above
    steep = (least < _NEVER) & (
        total * grown.denominator > np.where(least < _NEVER, least, 0) * grown.numerator
    )
    mask: Bool = steep[minute]
    return mask


def _repeats(sieve: _Sieve, rule: BackOff, failed: Bool) -> None:
    """Set aside the repeats of a failed request that came too soon, and those of the same error in
    the window.

    A repeat is a row with the key of a row that failed just before it. The wait counts from the
    end of that failure, and grows with each failure in a row. The window counts from the last
    attempt that was kept, so a lasting outage counts again once the window is over.
    """
    key, columns = sieve.facts.labels.get("key"), sieve.columns
    waits, window = (
        "repeat against the back-off",
        f"repeat within {show_duration(rule.repeat_window or 0)}",
    )
    if key is None:
        for reason in ([waits] if rule.first_wait is not None else []) + (
            [window] if rule.repeat_window else []
        ):
            sieve.drop(reason, None, "key column")
        return
    due, samples = _due(columns), columns.samples
    order = np.lexsort((due, key))
    follows = (key[order][1:] == key[order][:-1]) & (key[order][1:] >= 0) & failed[order][:-1]
    repeat = np.concatenate([[False], follows])
    at = np.flatnonzero(repeat)  # places in `order`; the row before each is the failure it repeats
    rows, before = order[at], order[at - 1]
    ended = np.maximum(samples["done_ns"][before], due[before])
    if rule.first_wait is not None:
        begun = np.maximum.accumulate(np.where(repeat, 0, np.arange(len(order))))[at]
        table = [
            min(int(rule.first_wait * rule.factor**power), rule.cap or _NEVER)
            for power in range(64)
        ]
        needed = np.minimum(np.array(table, object), _NEVER).astype(np.int64)[
            np.minimum(at - begun, 64) - 1
        ]
        sieve.drop(waits, _mask(len(columns), rows[due[rows] - ended < needed]), "")
    if rule.repeat_window is not None:
        code = sieve.facts.labels.get("code", np.full(len(columns), -1))
        error = (code + 1) * 100_000 + samples["status"].astype(np.int64) * 100 + samples["outcome"]
        same = failed[rows] & (error[rows] == error[before])
        sieve.drop(
            window,
            _mask(len(columns), _within(rows[same], before[same], due, rule.repeat_window)),
            "",
        )


def _within(rows: Int, before: Int, due: Int, window_ns: int) -> Int:
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
