"""Which tier answered, whose fault the failures were, and the requests to ask the vendor about.

In: one target of summary.json. Out: tables for the page, a sentence each for the screen. Must stay
true: a share of answers stands beside its interval and what it is a share of; what no answer said
is no tier; where no tier was asked for and one answered all, nothing is said of tiers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from bench.api.cause import Cause
from bench.record.records.served import EvidenceRow, Honoured, TierCounts, Tiers
from bench.record.records.summary import Summary, TargetSummary
from bench.show.document import PAGE, Column, Pair, Table, Text
from bench.show.wording import ABSENT, between, count, number, per_cent, visible
from bench.units import S, show_duration

#: So many stretches of time, requests of a cause and slow ones are written out; summary.json has
#: all.
_STRETCHES_MOST, _EVIDENCE_MOST = 12, 3


def tier_shown(tiers: Tiers) -> bool:
    """Whether there is something to say: several tiers, or one to hold against what was asked."""
    if tiers.asked_by == "request":
        return tiers.answers > 0
    return len(tiers.served) > 1 or bool(tiers.asked and tiers.served)


def served_tables(target: TargetSummary, *, ask: bool = True) -> Iterator[Table[Any]]:
    """Tiers, when they changed, causes, evidence: those that have something to say. `ask`: there is
    a vendor to put the evidence to.
    """
    tiers = target.tiers
    if tier_shown(tiers):
        yield Table(_tier_caption(tiers), TIER_COLUMNS, _tier_rows(tiers))
        if tiers.mixed:
            yield Table("When which tier answered", WHEN_COLUMNS, list(_when(tiers)))
    if causes_known(target.causes):
        total = sum(target.causes.values())
        rows = [(name, n, total) for name, n in target.causes.items()]
        yield Table("Why requests failed, and whose it is to mend", CAUSE_COLUMNS, rows)
    if ask and target.evidence:
        caption = "Requests to ask the vendor about, by its own names for them"
        yield Table(caption, EVIDENCE_COLUMNS, list(_told(target.evidence)))


def served_pairs(target: TargetSummary) -> Iterator[Pair]:
    """What is left of the buyer's own limits."""
    room = target.headroom
    if room is None:
        return
    left = ((room.requests_left, "requests"), (room.tokens_left, "tokens"))
    said = [f"{count(n)} {what}" for n, what in left if n is not None]
    if said:
        yield "least left of your own rate limits", " and ".join(said)


def served_screen(summary: Summary) -> Iterator[Text]:
    """A line for the tiers and one for the causes of each target that has them."""
    several = len(summary.targets) > 1
    for name, target in summary.targets.items():
        whose = f"{visible(name, 30)}: " if several else ""
        if tier_shown(target.tiers):
            yield Text(f"{whose}{tier_sentence(target.tiers)}", "tier")
        if causes_known(target.causes):
            yield Text(f"{whose}{cause_sentence(target.causes)}", "causes")


# ---- tiers


def tier_sentence(tiers: Tiers) -> str:
    """`priority asked for, 150 of 300 answers by it (44.2 – 55.8 %); 150 default`."""
    others = {word: n for word, n in tiers.served.items() if word not in _honoured_words(tiers)}
    said = [f"{count(n)} {visible(word, 40)}" for word, n in others.items()]
    if tiers.unknown:
        said.append(f"{count(tiers.unknown)} name no tier")
    if not tiers.asked:
        return f"answers by {', '.join(said)}"
    asked = f"{visible(tiers.asked, 40)} asked for"
    if (found := tiers.honoured) is not None:
        asked += f", {count(found.n)} of {count(found.of)} answers by it ({_interval(found)})"
        asked += _least(tiers, found)
    return "; ".join([asked, *([", ".join(said)] if said else [])])


def _least(tiers: Tiers, whole: Honoured) -> str:
    """`, least in phase burst (3 %)`: the part that was surely served so less often than the whole;
    empty without one.
    """
    less = [
        (part.honoured.share, kind, name)
        for kind, name, part in _when(tiers)
        if part.honoured is not None and part.honoured.interval[1] < whole.interval[0]
    ]
    if not less:
        return ""
    share, kind, name = min(less)
    where = f"from {name}" if kind == "time" else f"in {kind} {name}"
    return f", least {where} ({per_cent(share)})"


def _honoured_words(tiers: Tiers) -> Sequence[str]:
    return tiers.honoured.words if tiers.honoured else ()


def _interval(found: Honoured) -> str:
    return between(found.interval, per_cent)


def _tier_caption(tiers: Tiers) -> str:
    if not tiers.asked:
        return "Which tier answered"
    asked = f"Tier asked for: {visible(tiers.asked, 40)}"
    return f"{asked}. Which tier answered"


#: Name of the tier, its class, its answers, of how many, and whether it is what was asked for.
@dataclass(frozen=True)
class _Tier:
    word: str
    kind: str
    n: int
    of: int
    fits: str
    interval: str = ABSENT


def _tier_rows(tiers: Tiers) -> list[_Tier]:
    ours = _honoured_words(tiers)
    rows = []
    for word, n in tiers.served.items():
        fits = ABSENT
        if tiers.honoured is not None:
            fits = "yes" if word in ours else "no"
        rows.append(
            _Tier(visible(word, 40), tiers.classes.get(word, "unknown"), n, tiers.answers, fits)
        )
    if tiers.unknown:
        rows.append(_Tier("(not named)", "unknown", tiers.unknown, tiers.answers, "unknown"))
    if (found := tiers.honoured) is not None:
        label = "as asked, of those that name a tier"
        rows.append(_Tier(label, ABSENT, found.n, found.of, ABSENT, _interval(found)))
    return rows


TIER_COLUMNS: list[Column[_Tier]] = [
    Column("tier", lambda row: row.word, "words"),
    Column("class", lambda row: row.kind, "words"),
    Column("answers", lambda row: count(row.n)),
    Column("share", lambda row: per_cent(row.n / row.of if row.of else None)),
    Column("95 % interval", lambda row: row.interval),
    Column("as asked", lambda row: row.fits, "words"),
]

#: What kind of part, its name, and its answers.
_Part = tuple[str, str, TierCounts]


def _when(tiers: Tiers) -> Iterator[_Part]:
    """Phases and context buckets where there are several, and the stretches with the smallest
    shares of what was asked for.
    """
    for kind, parts in (("phase", tiers.by_phase), ("context", tiers.by_bucket)):
        if len(parts) > 1:
            yield from ((kind, visible(name, 40), found) for name, found in parts.items())
    stretches = tiers.by_time
    if len(stretches) > _STRETCHES_MOST:
        worst = sorted(stretches, key=lambda each: each.honoured.share if each.honoured else 1.0)
        stretches = sorted(worst[:_STRETCHES_MOST], key=lambda each: each.start_s)
    for each in stretches:
        begin, end = (show_duration(round(at * S)) for at in (each.start_s, each.end_s))
        yield "time", f"{begin if each.start_s else '0 s'} to {end}", each


def _share_as_asked(row: _Part) -> str:
    found = row[2].honoured
    return per_cent(found.share) if found else ABSENT


def _interval_as_asked(row: _Part) -> str:
    found = row[2].honoured
    return _interval(found) if found else ABSENT


def _words(row: _Part) -> str:
    counts = row[2]
    said = [f"{visible(word, 40)} {count(n)}" for word, n in counts.served.items()]
    return ", ".join([*said, *([f"not named {count(counts.unknown)}"] if counts.unknown else [])])


def _some_asked(rows: Sequence[_Part]) -> bool:
    return any(row[2].honoured for row in rows)


WHEN_COLUMNS: list[Column[_Part]] = [
    Column("by", lambda row: row[0], "group"),
    Column("when", lambda row: row[1], "words"),
    Column("answers", lambda row: count(row[2].answers)),
    Column("as asked", _share_as_asked, show_if=_some_asked),
    Column("95 % interval", _interval_as_asked, show_if=_some_asked),
    Column("by tier", _words, "words"),
]


# ---- causes


def causes_known(causes: Mapping[Cause, int]) -> bool:
    """Whether any failure has a cause."""
    return any(name != Cause.unknown for name in causes)


def cause_sentence(causes: Mapping[Cause, int]) -> str:
    """`12 failed: yours 10 quota; theirs 2 overload`."""
    by_whose: dict[str, list[str]] = {}
    for name, n in causes.items():
        by_whose.setdefault(name.whose, []).append(f"{count(n)} {name}")
    parts = []
    for whose, said in by_whose.items():
        alone = whose in ("unknown", "the filter's")
        parts.append(", ".join(said) if alone else f"{whose} {', '.join(said)}")
    return f"{count(sum(causes.values()))} failed: {'; '.join(parts)}"


#: A cause, how many, of how many failures.
_Failure = tuple[Cause, int, int]
CAUSE_COLUMNS: list[Column[_Failure]] = [
    Column("cause", lambda row: row[0], "words"),
    Column("whose", lambda row: row[0].whose, "words"),
    Column("requests", lambda row: count(row[1])),
    Column("share of failures", lambda row: per_cent(row[1] / row[2])),
]


# ---- evidence


def _told(rows: Sequence[EvidenceRow]) -> Iterator[EvidenceRow]:
    """The first of each cause, and the slowest."""
    for _, each in groupby(rows, lambda row: (row.why, row.cause)):
        yield from list(each)[:_EVIDENCE_MOST]


EVIDENCE_COLUMNS: list[Column[EvidenceRow]] = [
    Column("why", lambda row: row.why, "group"),
    Column("sent at", lambda row: visible(row.at_utc, 40), "words"),
    Column("outcome", lambda row: visible(row.outcome, 40), "words"),
    Column("cause", lambda row: row.cause or ABSENT, "words"),
    Column("status", lambda row: str(row.status) if row.status else ABSENT),
    Column("code", lambda row: visible(row.code or ABSENT, 60), "words", formats=PAGE),
    Column("response", lambda row: number(row.response_ms), unit="ms"),
    Column("request id", lambda row: visible(row.request_id, 120), "words"),
]
