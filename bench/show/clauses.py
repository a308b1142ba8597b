"""Was each clause kept? The scorecard, what would decide the open clauses, the statement to file.

In: a run and its records. Out: one section, or none where nothing was judged. Must stay true: every
clause lies on the axis of the error budget, with the bounds that decide it; what is open says why,
and which run would decide it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.judge.review import Records
from bench.record.records.manifest import LaneRecord
from bench.record.records.verdicts import ClauseVerdict, Forecast
from bench.record.run_folder import Run
from bench.show import wording
from bench.show.document import Bullets, Code, Column, Heading, Node, Section, Table, Text
from bench.show.graphics.scorecard import Cell, Forest, Kind, Legend, Line, Matrix, Row
from bench.show.graphics.track import Track
from bench.show.verdicts import spoilt, times_budget
from bench.show.wording import clause_title, count, number, per_cent, short_name, visible
from bench.units import show_list

#: Up to so many targets have a row a clause; up to so many targets and kinds have tracks.
FEW, _TRACKS_MOST, _KINDS_MOST = 3, 60, 3
_NAME_MOST = 60
_AXIS = (
    "Axis: share of bad requests (slow or failed), as a multiple of the share it allows."
    " Line: the one-sided bounds that decide. Shaded: over the limit."
)
_WORDS = {"PASS": "kept", "FAIL": "broken", "INCONCLUSIVE": "undecided"}


def clauses_section(run: Run, records: Records, below: Sequence[Node] = ()) -> Iterator[Section]:
    """The section; `below` stands at its end."""
    verdicts = records.verdicts
    judged = [clause for clause in verdicts.clauses if clause.judged]
    if not judged and not verdicts.forecasts:
        return
    nodes: list[Node] = []
    if len(run.lanes) <= FEW:
        nodes += _forest(run.lanes, verdicts.clauses)
    else:
        nodes += _matrix(run.lanes, verdicts.clauses)
        nodes += _decide(run.lanes, judged)
        if command := verdicts.next_command:
            label = "A run that would probably decide all that is open"
            nodes.append(Code(visible(command, 2000), label))
    if verdicts.forecasts:
        nodes.append(Bullets([_forecast(each) for each in verdicts.forecasts]))
    answer = clauses_answer([*judged, *verdicts.forecasts], run.lanes)
    question = "Was each clause kept?"
    yield Section("clauses", question, [*nodes, *below], "Clauses", answer)


def clauses_answer(
    judged: Sequence[ClauseVerdict | Forecast], lanes: Sequence[LaneRecord] = ()
) -> str:
    """`1 of 4 clauses is broken, 2 are kept, 1 is undecided.`"""
    got = Counter(str(clause.verdict) for clause in judged)
    if len(judged) <= 2 and len(lanes) == 1:
        if len(judged) == 2 and len(got) == 1:
            return f"Both clauses are {_WORDS[judged[0].verdict]}."
        each = [f"{_title(clause)} is {_WORDS[clause.verdict]}" for clause in judged]
        return f"{show_list(each)}."
    first, *more = [word for word in ("FAIL", "PASS", "INCONCLUSIVE") if got[word]]
    are = "is" if got[first] == 1 else "are"
    parts = [f"{count(got[first])} {are} {_WORDS[first]}"]
    parts += [f"{count(got[word])} {_WORDS[word]}" for word in more]
    several = f"clause{'s' * (len(judged) != 1)}"
    said = f"Of {count(len(judged))} {several} {show_list(parts)}."
    broke = {clause.target for clause in judged if clause.verdict == "FAIL"}
    if broke and len(lanes) > FEW:
        several = "s" * (len(broke) == 1)
        said += f" {count(len(broke))} of {count(len(lanes))} targets break{several} at least one."
    return said


def _title(clause: ClauseVerdict | Forecast) -> str:
    if isinstance(clause, Forecast):
        return visible(clause.text, 90)
    return f"{clause_title(clause)} {wording.limit(clause)}"


def _forecast(bill: Forecast) -> str:
    came = f"{wording.in_usd(bill.projected_usd)} against {wording.in_usd(bill.forecast_usd)}"
    return f"{visible(bill.target, 60)}, {visible(bill.text)}: {came}, {bill.verdict}"


def names_of(lanes: Sequence[LaneRecord]) -> dict[str, str]:
    """What a sentence calls each target: its name within its stage, where that tells it."""
    short = {lane.name: short_name(lane.name, lane.stage) for lane in lanes}
    if len(set(short.values())) == len(short):
        return short
    return {lane.name: visible(lane.name, _NAME_MOST) for lane in lanes}


# ---- a clause on the axis


def track_of(clause: ClauseVerdict) -> Track | None:
    """The clause on the axis."""
    times = times_budget(clause)
    if times is None or not clause.judged:
        return None
    low, measured, high = times
    says = (
        f"{clause.verdict}: {count(clause.k)} of {count(clause.n)} bad, {number(measured)} times"
        f" the budget of {per_cent(clause.p0)}; bounds {number(low)} to {number(high)} times"
    )
    return Track(low, measured, high, clause.verdict, says)


def _cell(clause: ClauseVerdict, common: str = "", *, unit: bool) -> Cell:
    value = wording.measured(clause)
    if not unit and clause.unit != "share":
        value = value.removesuffix(f" {clause.unit}")
    limit = wording.limit(clause)
    own = limit if clause.judged and common and limit != common else ""
    return Cell(value, clause.verdict, track_of(clause), own)


# ---- few targets: a row a clause


def _forest(lanes: Sequence[LaneRecord], clauses: Sequence[ClauseVerdict]) -> Iterator[Node]:
    names = names_of(lanes)
    several, rows = len(lanes) > 1, list[Row]()
    reported = list[str]()
    for clause in clauses:
        name = names.get(clause.target, visible(clause.target, 40))
        if not clause.judged:
            whose = f"{name}, " if several else ""
            bound = wording.bound_words(clause)
            said = f"{whose}{clause_title(clause)} {wording.measured(clause)} ({bound})"
            reported.append(said)
            continue
        fit = not spoilt(clause)  # else the lead says why, and more requests help nothing
        decided_by = clause.decide.command if clause.decide and fit else None
        rows.append(
            Row(
                target=name if several else "",
                title=clause_title(clause),
                limit=wording.limit(clause),
                cell=_cell(clause, unit=True),
                bound=wording.bound_words(clause),
                why=_sentence(wording.decider(clause)) if fit else "Not judged.",
                command=visible(decided_by, 2000) if decided_by else "",
                first=name not in {row.target for row in rows},
            )
        )
    if rows:
        yield Forest(rows, clauses_answer([each for each in clauses if each.judged], lanes))
        yield Text(_AXIS, tone="remark")
    if reported:
        yield Text(f"Reported, promised by nobody: {'; '.join(reported)}.", tone="remark")


def _sentence(said: str) -> str:
    return said if said.endswith((".", ")", "…")) else f"{said}."


# ---- many targets: a matrix


def _kind_of(clause: ClauseVerdict) -> tuple[object, ...]:
    return (
        *(clause.metric, clause.quantile, clause.method, clause.statistic),
        *(clause.view, clause.phase, clause.bucket),
    )


def _matrix(lanes: Sequence[LaneRecord], clauses: Sequence[ClauseVerdict]) -> Iterator[Node]:
    by_kind: dict[tuple[object, ...], list[ClauseVerdict]] = {}
    for clause in clauses:
        by_kind.setdefault(_kind_of(clause), []).append(clause)
    kinds = sorted(by_kind.values(), key=lambda of: all(not clause.judged for clause in of))
    columns, limits = list[Kind](), list[str]()
    for of in kinds:
        common = Counter(wording.limit(clause) for clause in of if clause.judged).most_common(1)
        limits.append(common[0][0] if common else "")
        unit = "" if of[0].unit == "share" else of[0].unit
        columns.append(Kind(clause_title(of[0]), unit, limits[-1]))
    lines = list[Line]()
    for lane in lanes:
        mine = [next((each for each in of if each.target == lane.name), None) for of in kinds]
        if not any(mine):
            continue
        cells = [
            None if clause is None else _cell(clause, common, unit=False)
            for clause, common in zip(mine, limits, strict=True)
        ]
        requests = max(clause.n for clause in mine if clause)
        name = visible(lane.name, _NAME_MOST)
        stage, short = visible(lane.stage, 40), short_name(lane.name, lane.stage)
        lines.append(Line(stage, name, short, count(requests), lane.simulated, cells))
    judged = sum(bool(limit) for limit in limits)
    tracks = judged <= _KINDS_MOST and len(lines) <= _TRACKS_MOST
    says = f"Verdict of each clause by target, {count(len(lines))} targets"
    yield Legend(_AXIS)
    yield Matrix(columns, lines, says, tracks)


# ---- what would decide the open clauses


@dataclass(frozen=True)
class Open:
    """The open clauses of a stage."""

    stage: str
    clauses: Sequence[ClauseVerdict]

    @property
    def what(self) -> str:
        """`3 × Uptime, 1 × End-to-end p99`."""
        times = Counter(clause_title(clause) for clause in self.clauses)
        return ", ".join(f"{n} × {name}" for name, n in times.items())

    @property
    def command(self) -> str:
        """The longest of the runs that would each decide one of them."""
        runnable = [each.decide for each in self.clauses if each.decide and each.decide.command]
        longest = max(runnable, key=lambda decide: decide.duration_s or 0, default=None)
        if longest and longest.command:
            return visible(longest.command, 400)
        if found := [each.decide for each in self.clauses if each.decide]:
            return f"{count(max(decide.requests for decide in found))} requests of its target"
        unfit = any(each.open_cause == "harness" for each in self.clauses)
        return "the same run with a fit harness" if unfit else "no run would"

    @property
    def why(self) -> str:
        """A sentence a cause."""
        causes = dict.fromkeys(clause.open_cause or "" for clause in self.clauses)
        return " ".join(
            said
            for cause in causes
            if (said := _why(cause, [c for c in self.clauses if (c.open_cause or "") == cause]))
        )


def _why(cause: str, clauses: Sequence[ClauseVerdict]) -> str:
    if cause == "few_rows":
        sizes = sorted(clause.n for clause in clauses)
        few = (
            count(sizes[0]) if sizes[0] == sizes[-1] else f"{count(sizes[0])} to {count(sizes[-1])}"
        )
        needed = max((clause.decide.requests for clause in clauses if clause.decide), default=None)
        more = f" That takes {count(needed)}." if needed else ""
        return f"{few} requests are too few to tell.{more}"
    return {
        "few_blocks": "Slow requests came in clusters, which count as fewer independent ones.",
        "worst_block": "One cluster decides it.",
        "unknown_rows": "The requests still unanswered at the end would decide it.",
        "near_limit": "The measured share is near the limit.",
        "harness": "The harness was not fit to tell.",
    }.get(cause, "")


OPEN_COLUMNS: list[Column[Open]] = [
    Column("stage", lambda row: row.stage, "group"),
    Column("undecided", lambda row: row.what, "words"),
    Column("why", lambda row: row.why, "words"),
    Column("what would decide it", lambda row: row.command, "words"),
]


def _decide(lanes: Sequence[LaneRecord], judged: Sequence[ClauseVerdict]) -> Iterator[Node]:
    stages = dict.fromkeys(lane.stage for lane in lanes)
    open_ = [clause for clause in judged if clause.verdict == "INCONCLUSIVE"]
    rows = [
        Open(visible(stage, 40), mine)
        for stage in stages
        if (mine := [clause for clause in open_ if clause.stage == stage])
    ]
    if rows:
        yield Heading("What would decide the open clauses")
        yield Table("By stage", OPEN_COLUMNS, rows)
