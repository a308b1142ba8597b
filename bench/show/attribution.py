"""Where the slow requests come from: one line, a report's section, a screen.

In: records of attribution.json. Out: strings, tables, a figure and one section a lane. Must
stay true: it says "associated with" and never "caused by"; what was not tested or did not stand is
not named; foreign text has passed through `wording.visible`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.record.records.attribution import (
    Cause,
    Confounded,
    LaneAttribution,
    LevelRecord,
    When,
)
from bench.record.records.verdicts import Interval
from bench.show.document import PAGE, Code, Column, Node, Pairs, Table, Text
from bench.show.result import Result
from bench.show.wording import (
    between,
    capital,
    change,
    count,
    counts,
    milliseconds,
    number,
    per_cent,
    visible,
)

#: Levels that one line names, and that a table lists.
_NAMED_MOST, _LISTED_MOST = 4, 20
_ODDS_MOST = 1000
_SAY = {
    ("connection", "new"): "new connection",
    ("cold start", "yes"): "cold start",
    ("attempts", "2"): "second attempt",
    ("attempts", "3 or more"): "third attempt or later",
}
#: Factors by a shorter name before the level's own.
_CALL = {"route leg": "upstream", "served model": "model", "served region": "region"}


def level_name(factor: str, level: str) -> str:
    """`context >32K`, `phase burst`, `new connection`."""
    return _SAY.get((factor, level), f"{_CALL.get(factor, factor)} {visible(level, 60)}")


def attribution_line(name: str, record: LaneAttribution) -> str:
    """`the slow 1 % of standard is associated with: phase burst 83 % (76 – 89), context
    >32K 9 %`.
    """
    share = per_cent(record.tail / record.n, 1) if record.tail else "requests"
    head = (
        f"the slow {share} of {visible(name, 60)} {'is' if record.tail else 'are'} associated"
        " with: "
    )
    if record.reason:
        return head + visible(record.reason)
    causes = [
        _with_limits(level_name(cause.factor, cause.level), cause.paf, level_bound(cause))
        for cause in record.causes[:_NAMED_MOST]
    ]
    if not causes:
        causes = ["nothing that was recorded stands out"]
        if record.when:
            causes.append(_when(record.when))
    return head + ", ".join(causes)


def _with_limits(name: str, share: float, limits: Sequence[float | None]) -> str:
    if None in limits:
        return f"{name} {per_cent(share, 0)}"
    ends = [per_cent(max(limit, 0), 0) for limit in limits if limit is not None]
    if ends[0] == ends[-1]:
        return f"{name} {per_cent(share, 0)} (bounds {ends[0]})"
    inside = between(limits, lambda limit: per_cent(max(limit, 0), 0)).removesuffix(" %")
    return f"{name} {per_cent(share, 0)} ({inside})"


def level_bound(level: Cause | LevelRecord) -> Interval:
    """The limits that decide; older files have those of 95 % alone."""
    return level.paf_95 if level.bound == (None, None) else level.bound


def _when(when: When) -> str:
    return f"{per_cent(when.share_of_tail, 0)} of it fell into {', '.join(when.slices)}"


def attribution_result(targets: Mapping[str, LaneAttribution], run: str) -> Result:
    """A line a target, then the numbers of the first whose tail goes with something."""
    lines = [Text(_sentence(attribution_line(name, record))) for name, record in targets.items()]
    name, record = next(
        (each for each in targets.items() if each[1].causes), next(iter(targets.items()))
    )
    body: list[Node] = [*lines[1:], *([Text("")] if lines[1:] else [])]
    if len(targets) > 1:
        body.append(Text(visible(name, 60), tone="strong"))
    body += _tables(record)
    foot: list[Node] = [Text("a share says what the tail goes with, not what caused it", "caution")]
    body += [Text(_confounding(level)) for level in record.confounded]
    body.append(Pairs(list(_about(record))))
    if len(targets) > 1:
        other = next(each for each in targets if each != name)
        again = shlex.join(["tailproof", "attribute", f"{run}:{other}"])
        foot.append(Code(visible(again, 4096), "next"))
    else:
        foot.append(Code(visible(shlex.join(["tailproof", "report", run]), 4096), "next"))
    return Result(lines[:1], body, foot)


def _sentence(said: str) -> str:
    return f"{capital(said)}."


def _tail(record: LaneAttribution) -> str:
    where = "the limit" if record.by == "limit" else "the run's own p99"
    return (
        f"{count(record.tail)} of {count(record.n)} requests: {record.view} {record.metric} above"
        f" {milliseconds(record.above_ms)}, {where}"
    )


def _tables(record: LaneAttribution) -> list[Table[Any]]:
    found = (_levels(record), _shares(record), _time(record))
    return [table for table in found if table is not None]


def _about(record: LaneAttribution) -> Iterator[tuple[str, str]]:
    yield "the tail", _tail(record)
    if record.failed:
        yield "failed, in the tail", counts(record.failed, name_first=True)
    if record.set_apart:
        yield "set apart", f"{count(record.set_apart)} cut off or never sent: nobody knows"
    if record.reason:
        yield "not looked into", visible(record.reason)
        return
    causes = [level_name(cause.factor, cause.level) for cause in record.causes]
    yield "associated with", ", ".join(causes) or "nothing that was recorded"
    if record.when:
        yield "when", _when(record.when)
    if record.bound_confidence is not None:
        yield (
            "limits",
            (
                f"{per_cent(record.bound_confidence, 2)} each: a level is named where they leave"
                " out 0, and of the named one in ten may be wrong"
            ),
        )


def _confounding(level: Confounded) -> str:
    crude, within = level.odds_ratio_crude, level.mh_odds_ratio
    part = (
        "part of it goes with the context size"
        if within < crude
        else "the context size hides part of it"
    )
    return (
        f"{level_name(level.factor, level.level)}: odds ratio {_odds(crude)}, within like"
        f" contexts {_odds(within)}: {part}."
    )


LEVEL_COLUMNS: list[Column[LevelRecord]] = [
    Column("level", lambda level: level_name(level.factor, level.level), "words"),
    Column("effect", lambda level: level.effect, "words", formats=PAGE),
    Column("of the tail", lambda level: per_cent(level.paf, 0)),
    Column("limits that decide", lambda level: between(level_bound(level), _whole)),
    Column("share in tail", lambda level: per_cent(level.share_of_tail, 0)),
    Column("share of all", lambda level: per_cent(level.share_overall, 0)),
    Column("odds ratio", lambda level: _odds(level.odds_ratio), formats=PAGE),
    Column("within like contexts", lambda level: _odds(level.mh_odds_ratio), formats=PAGE),
    Column("its p99", lambda level: number(level.p99_ms), unit="ms"),
    Column("p99 without it", lambda level: number(level.p99_without_ms), unit="ms", formats=PAGE),
]


def _levels(record: LaneAttribution) -> Table[LevelRecord] | None:
    """Levels that stood the test; where a level is named, its factor's others are but its
    mirror.
    """
    named = {level.factor for level in record.levels if level.effect == "associated"}
    shown = [
        level
        for level in record.levels
        if level.effect == "associated"
        or (level.effect == "protective" and level.factor not in named)
    ]
    if not shown:
        return None
    return Table("What the tail is associated with", LEVEL_COLUMNS, shown[:_LISTED_MOST])


def _odds(ratio: float | None) -> str:
    """Beyond a thousand the rows no longer tell how many times."""
    return number(ratio) if ratio is None or ratio <= _ODDS_MOST else f"> {_ODDS_MOST:,}"


def _whole(share: float) -> str:
    return change(share, 0)


@dataclass(frozen=True)
class _Share:
    """What part of the tail goes to one factor, or to none."""

    factor: str
    share: float


SHARE_COLUMNS: list[Column[_Share]] = [
    Column("factor", lambda row: row.factor, "words"),
    Column("of the tail", lambda row: per_cent(row.share, 0)),
]


def _shares(record: LaneAttribution) -> Table[_Share] | None:
    found = record.shapley
    if found is None:
        return None
    rows = [
        _Share(", ".join(level_name(one.factor, level) for level in one.levels), one.share)
        for one in found.factors
    ]
    rows.append(_Share("none of them", found.baseline))
    return Table("Shared out so that it adds up (Shapley)", SHARE_COLUMNS, rows)


@dataclass(frozen=True)
class _Time:
    """A part of the time, of slow requests and of the others."""

    part: str
    slow_ms: float
    others_ms: float
    more_ms: float
    #: empty for the whole
    of_the_excess: str


TIME_COLUMNS: list[Column[_Time]] = [
    Column("part", lambda row: row.part, "words"),
    Column("slow", lambda row: number(row.slow_ms)),
    Column("others", lambda row: number(row.others_ms)),
    Column("more", lambda row: number(row.more_ms)),
    Column("of the excess", lambda row: row.of_the_excess),
]


def _time(record: LaneAttribution) -> Table[_Time] | None:
    found = record.decomposition
    if found is None:
        return None
    rows = [
        _Time(
            part.about, part.tail_ms, part.body_ms, part.excess_ms, change(part.share_of_excess, 0)
        )
        for part in found.parts
        if part.tail_ms or part.body_ms
    ]
    rows.append(_Time("whole", found.tail_ms, found.body_ms, found.tail_ms - found.body_ms, ""))
    caption = (
        f"Where the time goes: mean of {count(found.tail_rows)} slow against"
        f" {count(found.body_rows)} other answers, ms"
    )
    return Table(caption, TIME_COLUMNS, rows)
