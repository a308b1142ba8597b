"""The verdicts of a run as tables, and what belongs beside them.

In: verdicts.json. Out: tables and remarks. Must stay true: a value stands beside the bound that the
verdict is, its limit and how many requests it rests on; a reason that many clauses share is given
once, whole, and of many targets in the sections alone; what a contract set aside is counted beside
what would have been without it. A column of the verdicts is one entry of `VERDICT_COLUMNS`, or a
field of `ClauseVerdict` that is `Shown`: page, Markdown, screen and junit.xml all draw that list.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any, Literal

from bench.record.records.record import Form, Shown
from bench.record.records.verdicts import (
    ClauseVerdict,
    Counts,
    Forecast,
    Steadiness,
    Verdicts,
)
from bench.show import wording
from bench.show.document import PAGE, Column, Kind, Table
from bench.show.scope import passes_speak_of
from bench.show.wording import (
    ABSENT,
    between,
    clause_title,
    count,
    in_usd,
    number,
    per_cent,
    visible,
)

#: The verdicts of judged clauses, the worst first.
WORST_FIRST = ("FAIL", "INCONCLUSIVE", "PASS")
#: A reason longer than this stands below the table where several clauses have it.
_SHARED_FROM = 40
#: Up to so many targets have their reasons in the table.
_REASONS_MOST = 3
#: How each form of a recorded number is written.
_FORMS: dict[Form, Callable[[Any], str]] = {"count": count, "number": number, "share": per_cent}
#: Kinds of columns that hold a number of a clause.
_NUMBERS = ("number", "count")


@dataclass(frozen=True)
class Judged:
    """A row of the verdicts: a clause, or the forecast of a bill."""

    #: a forecast has sums in USD where a clause has latencies or shares
    record: ClauseVerdict | Forecast
    #: the letter of a reason that several clauses share
    letter: str = ""
    #: where a screen names its target
    target: Literal["above", "beside", "nowhere"] = "above"


def judges_all(clause: ClauseVerdict, metric: str) -> bool:
    """Whether it judges this metric's response time of a whole run, not of a phase or bucket."""
    whole = clause.judged and clause.phase is None and clause.bucket is None
    return whole and (clause.metric, clause.view) == (metric, "response")


def spoilt(clause: ClauseVerdict) -> bool:
    """Whether it is open for the harness's own fault, and for no other reason."""
    return clause.verdict != "FAIL" and clause.open_cause == "harness"


def tallied(clauses: Iterable[ClauseVerdict]) -> list[tuple[str, int]]:
    """How many judged clauses got each verdict, the worst first; none that no clause got."""
    got = Counter(str(clause.verdict) for clause in clauses)
    return [(word, got[word]) for word in WORST_FIRST if got[word]]


def times_budget(clause: ClauseVerdict) -> tuple[float, float, float] | None:
    """Lower bound, measured and upper bound of the bad share, over the share that may be bad; None
    where nothing was counted or nothing may be.
    """
    if not clause.n or not clause.p0:
        return None
    low, high = clause.p_limits
    return low / clause.p0, clause.k / clause.n / clause.p0, high / clause.p0


def budget_used(clause: ClauseVerdict) -> float:
    """How many times its budget a clause used, to find the worst; one that allows nothing is beyond
    any once something broke it.
    """
    times = times_budget(clause)
    if times is None:
        return math.inf if clause.k else 0.0
    return times[1]


def _credit(clause: ClauseVerdict) -> str:
    """`10 % (0 – 25 %)`: what a whole period like this run would bring, and by the limits of the
    share.
    """
    found = clause.projected_credit
    if found is None:
        return ABSENT
    limits = found.at_least, found.at_most
    several = len(set(map(per_cent, limits))) > 1
    return per_cent(found.share) + (f" ({between(limits, per_cent)})" if several else "")


def _value(
    of_clause: Callable[[ClauseVerdict], str], of_bill: Callable[[Forecast], str] = lambda _: ABSENT
) -> Callable[[Judged], str]:
    """A cell of a clause, and the same column's cell of a forecast."""

    def cell(row: Judged) -> str:
        record = row.record
        return of_bill(record) if isinstance(record, Forecast) else of_clause(record)

    return cell


def _clauses_of(rows: Sequence[Judged]) -> list[ClauseVerdict]:
    return [row.record for row in rows if isinstance(row.record, ClauseVerdict)]


def _contracts(rows: Sequence[Judged]) -> list[str]:
    return list(dict.fromkeys(visible(row.record.contract, 40) for row in rows))


def _group(row: Judged) -> str:
    return visible(row.record.target, 60) if row.target == "above" else ""


def _target_and_clause(row: Judged) -> str:
    """What a screen calls the clause: behind its target's name where that stands nowhere else."""
    record = row.record
    said = visible(record.text) if isinstance(record, Forecast) else clause_title(record)
    return f"{visible(record.target, 28)}, {said}" if row.target == "beside" else said


def _bound_of_bill(bill: Forecast) -> str:
    low, high = map(in_usd, bill.interval_usd)
    return f"between {low} and {high} ({per_cent(2 * bill.confidence - 1)})"


def _few_targets(rows: Sequence[Judged]) -> bool:
    """Whether reasons stand beside the rows: of many targets a sentence a row is a page of them."""
    return len({row.record.target for row in rows}) <= _REASONS_MOST


def _has_credit(rows: Sequence[Judged]) -> bool:
    return any(clause.projected_credit for clause in _clauses_of(rows))


def _reason_or_letter(row: Judged) -> str:
    return f"see ({row.letter}) below" if row.letter else _reason(row)


def _reason(row: Judged) -> str:
    record = row.record
    if isinstance(record, Forecast):
        return visible(record.reason, 2 * wording.CUT)
    return wording.decider(record)


def _bound_heading(rows: Sequence[Judged]) -> str:
    levels = {clause.confidence for clause in _clauses_of(rows)}
    return f"bound, {per_cent(min(levels))}" if len(levels) == 1 else "bound"


def _short_bound(clause: ClauseVerdict) -> str:
    """`at most 250 ms`, `99.01 – 100 %`: its level stands in the heading."""
    said = wording.bound_words(clause).partition(" (")[0]
    low, between_them, high = said.removeprefix("between ").partition(" and ")
    return f"{low} – {high}" if between_them else low


def _bad(clause: ClauseVerdict) -> str:
    return f"{count(clause.k)} of {count(clause.n)}"


def _budgets(clause: ClauseVerdict) -> str:
    """How many times the share that may be bad the bad share is, at least and at most."""
    times = times_budget(clause)
    if times is None:
        return ABSENT
    low, _, high = (number(round(each, 2)) for each in times)
    return f"{low} – {high}"


def _recorded() -> list[Column[Judged]]:
    """The numbers that the record itself says are columns, each where some clause has it."""
    return [_of_field(name, said) for name, said in ClauseVerdict.shown()]


def _of_field(name: str, said: Shown) -> Column[Judged]:
    def cell(clause: ClauseVerdict) -> str:
        return _FORMS[said.form](getattr(clause, name))

    def has_any(rows: Sequence[Judged]) -> bool:
        return any(getattr(clause, name) is not None for clause in _clauses_of(rows))

    kind: Kind = "count" if said.form == "count" else "number"
    return Column(said.heading, _value(cell), kind, show_if=has_any, formats=PAGE)


#: The columns of the verdicts, in the order of the page. A screen draws those of its format, the
#: verdict last.
VERDICT_COLUMNS: list[Column[Judged]] = [
    Column("target", _group, "group"),
    Column(
        "contract",
        lambda row: visible(row.record.contract, 40),
        "words",
        show_if=lambda rows: len(_contracts(rows)) > 1,
        formats=PAGE,
    ),
    Column(
        "clause",
        _value(lambda clause: wording.clause_name(clause.text), lambda bill: visible(bill.text)),
        "words",
        formats=(*PAGE, "junit"),
    ),
    Column("clause", _target_and_clause, "words", formats=("terminal",)),
    Column("limit", _value(wording.limit), formats=("terminal",)),
    Column("verdict", lambda row: row.record.verdict, "verdict"),
    Column(
        "measured",
        _value(wording.measured, lambda bill: in_usd(bill.projected_usd)),
    ),
    Column("bound", _value(wording.bound_words, _bound_of_bill), "words", formats=(*PAGE, "junit")),
    Column(
        "limit",
        _value(wording.limit, lambda bill: in_usd(bill.forecast_usd)),
        formats=(*PAGE, "junit"),
    ),
    Column(_bound_heading, _value(_short_bound), formats=("terminal",)),
    Column("bad", _value(_bad), formats=("terminal",)),
    Column("× budget", _value(_budgets), formats=("terminal",)),
    *_recorded(),
    Column("effective n", _value(wording.worth), "count", formats=PAGE),
    Column(
        "credit, projected",
        _value(_credit),
        show_if=_has_credit,
        formats=PAGE,
    ),
    Column("bad", _value(_bad), show_if=lambda rows: not _few_targets(rows), formats=PAGE),
    Column("decided by", _reason_or_letter, "reason", show_if=_few_targets, formats=PAGE),
]


def verdict_table(verdicts: Verdicts) -> Table[Judged] | None:
    """One row a clause, then one a forecast; None without a contract."""
    clauses, forecasts = verdicts.clauses, verdicts.forecasts
    if not clauses and not forecasts:
        return None
    letters = _shared_reasons(clauses)
    rows = [Judged(clause, letter=letters.get(wording.decider(clause), "")) for clause in clauses]
    rows += [Judged(bill) for bill in forecasts]
    contracts = _contracts(rows)
    caption = "Verdicts" if len(contracts) > 1 else f"Verdicts by contract {contracts[0]}"
    return Table(caption, VERDICT_COLUMNS, rows)


def verdict_screen_table(
    clauses: Sequence[ClauseVerdict], target: Literal["above", "beside", "nowhere"]
) -> Table[Judged]:
    """The clauses for a screen; `target` is where the name of each one's stands."""
    rows = [Judged(each, target=target) for each in clauses]
    return Table("", VERDICT_COLUMNS, rows, "promises")


def in_a_sentence(clause: ClauseVerdict) -> str:
    """`measured 391 ms, bound at most 402 ms (95 %), limit ≤ 800 ms`: the numbers, where there is
    no table.
    """
    grid = Table("", VERDICT_COLUMNS, [Judged(clause)]).grid("junit")
    cells = zip(grid.columns, grid.head, grid.rows[0], strict=True)
    said = [f"{title} {cell}" for column, title, cell in cells if column.kind in _NUMBERS]
    return ", ".join(said)


def _shared_reasons(clauses: Sequence[ClauseVerdict]) -> dict[str, str]:
    """Long reasons that more than one clause has -> a letter each; none where no row names one."""
    if len({clause.target for clause in clauses}) > _REASONS_MOST:
        return {}
    reasons = Counter(wording.decider(clause) for clause in clauses)
    shared = [
        reason for reason, times in reasons.items() if times > 1 and len(reason) > _SHARED_FROM
    ]
    return dict(zip(shared, ascii_lowercase, strict=False))


def remarks(verdicts: Verdicts, looks: int | None = None) -> list[str]:
    """Reasons that several clauses share; `looks`: those of an early stop."""
    clauses = verdicts.clauses
    said = [f"({letter}) {why}" for why, letter in _shared_reasons(clauses).items()]
    said += passes_speak_of(clauses)
    if looks and clauses:
        levels = " or ".join(
            per_cent(1 - (1 - level) / looks) for level in wording.confidence_levels(clauses)
        )
        said.append(
            f"The run was looked at {looks} times, its end included, to end it once a promise was"
            f" broken: each look judges FAIL, and the bound that it rests on, at {levels}, so that"
            " all of them together keep the confidence of the contract. PASS is said once, at the"
            " end, with the whole error."
        )
    return said


@dataclass(frozen=True)
class _SetAside:
    """Rows of a clause that its contract sets aside, for one reason."""

    clause: ClauseVerdict
    reason: str
    rows: int
    #: the clause had they stayed
    with_excluded: Counts


SET_ASIDE_COLUMNS: list[Column[_SetAside]] = [
    Column("clause", lambda row: wording.clause_name(row.clause.text), "words"),
    Column("reason", lambda row: visible(row.reason), "words"),
    Column("rows", lambda row: count(row.rows)),
    Column("bad", lambda row: f"{count(row.clause.k)} of {count(row.clause.n)}"),
    Column(
        "bad, nothing set aside",
        lambda row: f"{count(row.with_excluded.k)} of {count(row.with_excluded.n)}",
    ),
]


@dataclass(frozen=True)
class _Steady:
    """A clause, and whether what it was judged by was one thing all along."""

    clause: ClauseVerdict
    found: Steadiness


STEADY_COLUMNS: list[Column[_Steady]] = [
    Column("clause", lambda row: wording.clause_name(row.clause.text), "words"),
    Column("all rows", lambda row: wording.measured(row.clause)),
    Column(
        "without MSER-5's warm-up",
        lambda row: wording.measured(row.clause.replace(measured=row.found.measured_without)),
    ),
    Column("rows that would drop", lambda row: count(row.found.mser5_drops)),
    Column("settled by MSER-5", lambda row: "yes" if row.found.steady else "NO"),
    Column("trend of breaches", lambda row: wording.trend(row.found)),
]


def beside_the_verdicts(clauses: Sequence[ClauseVerdict]) -> Iterator[Table[Any]]:
    """What a contract set aside, and clauses in whose run not all was one thing."""
    aside = [
        _SetAside(clause, reason, rows, found)
        for clause in clauses
        if (found := clause.with_excluded)
        for reason, rows in clause.excluded.items()
    ]
    if aside:
        yield Table("Set aside, and why", SET_ASIDE_COLUMNS, aside)
    unsteady = [
        _Steady(clause, run) for clause in clauses if (run := clause.steadiness) and not run.steady
    ]
    if unsteady:
        caption = "Was the run one thing? (diagnostics: no row was dropped)"
        yield Table(caption, STEADY_COLUMNS, unsteady)
