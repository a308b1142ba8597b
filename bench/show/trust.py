"""Can this test be trusted? The harness's own conduct against its budgets, and who answered.

In: summary.json, verdicts.json, the manifest. Out: a section. Must stay true: targets that were
computed say nothing of the harness and are not blamed; each reason against it is given once, in its
own sentence; a budget is the one that health was judged by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.judge.health import (
    CLOCK_STEP_MS,
    DEGRADED_LAG_NS,
    DEGRADED_SHARE,
    LATE_STAMPS_SHARE,
    SENT_SHARE_INVALID,
)
from bench.judge.review import Records
from bench.record.records.manifest import LaneRecord
from bench.record.records.summary import Summary
from bench.record.records.verdicts import ClauseVerdict
from bench.show.clauses import FEW
from bench.show.document import Bullets, Column, Drawer, Node, Section, Table, Text
from bench.show.facts import SENT_LATE
from bench.show.graphics.gauge import Gauge
from bench.show.served import served_tables, tier_sentence, tier_shown
from bench.show.wording import ABSENT, capital, count, few, milliseconds, number, per_cent, visible
from bench.units import MS, show_share

_TITLE = "Can this test be trusted?"
_WORDS = {"valid": "Yes", "degraded": "With care", "invalid": "No"}
#: Reasons in the section's first line, and names in a sentence.
_REASONS_MOST, _NAMED_MOST = 3, 5


def trust_section(records: Records, lanes: Sequence[LaneRecord]) -> Section:
    """Checks, what else is known of how it was measured, and which tier answered."""
    summary = records.summary
    sent = [lane for lane in lanes if not lane.simulated]
    served = list(_tiers(summary))
    if lanes and not sent:
        answer = (
            "Nothing was sent, so there was no harness to distrust: every request was computed by"
            " the simulator's model."
        )
        note = "The same seed gives the same rows."
        return Section("trust", _TITLE, [Text(note, tone="soft"), *served], "trust", answer)
    facts = summary.health.facts
    nodes: list[Node] = []
    if checks := list(_checks(facts, sent)):
        nodes.append(Table("Each budget, and what was used of it", CHECK_COLUMNS, checks))
    more = [*_measured(facts), *_steady(records.verdicts.clauses)]
    if more:
        nodes.append(Text(" ".join(more), tone="soft"))
    reasons = [visible(reason) for reason in summary.health.reasons]
    if len(reasons) > _REASONS_MOST:
        nodes.append(Drawer("Every reason", [Bullets(reasons)]))
    return Section("trust", _TITLE, [*nodes, *served], "trust", trust_answer(summary, lanes))


# ---- the answer


def trust_answer(summary: Summary, lanes: Sequence[LaneRecord]) -> str:
    """`Yes: it sent all 24,957 requests, 0.69 ms late at p99.`, or the reasons against it."""
    health = summary.health
    word = _WORDS[health.state]
    reasons = [visible(reason) for reason in health.reasons]
    if reasons:
        more = len(reasons) - _REASONS_MOST
        said = f"{word}: {'; '.join(reasons[:_REASONS_MOST])}."
        said += f" {count(more)} more reasons below." if more > 0 else ""
        if health.state == "degraded":
            said += f" {SENT_LATE}."
    else:
        said = f"{word}: {_sent(health.facts)}"
    virtual = [lane for lane in lanes if lane.simulated]
    if virtual:
        rows = sum(summary.targets[lane.name].requests for lane in virtual)
        said += (
            f" {count(len(virtual))} target{'s' * (len(virtual) != 1)} ({count(rows)} requests)"
            f" {'were' if len(virtual) != 1 else 'was'} computed: nothing was sent for them, and"
            " this says nothing of them."
        )
    return said


def _sent(facts: Mapping[str, Any]) -> str:
    due, unsent = facts.get("due"), facts.get("never_sent", 0)
    late = facts.get("harness_lag_p99_ms")
    if due is None:
        return "nothing speaks against the harness."
    came = (
        f"it sent all {count(due)} due requests"
        if not unsent
        else f"it sent {count(due - unsent)} of {count(due)} due requests"
    )
    return came + ("." if late is None else f", {milliseconds(late)} late at p99.")


# ---- checks


@dataclass(frozen=True)
class Check:
    """A budget of the harness, and what was used of it."""

    name: str
    measured: str
    budget: str
    #: of the budget; more than one is over it
    used: float

    #: health was judged by it
    judged: bool = True

    @property
    def within(self) -> bool:
        """Whether the budget held."""
        return self.used <= 1

    @property
    def word(self) -> str:
        """What to call it."""
        return "within" if self.within else "over" if self.judged else "beyond"


def _checks(facts: Mapping[str, Any], sent: Sequence[LaneRecord]) -> Iterator[Check]:
    """Those whose facts are known."""
    due = max(facts.get("due") or 0, 1)
    if (late := facts.get("harness_lag_p99_ms")) is not None:
        limit_ms = _tightest_ms(facts, sent)
        of = f", {show_share(DEGRADED_SHARE)} of the tightest limit" if _limits(sent) else ""
        budget = f"{milliseconds(limit_ms)}{of}"
        yield Check("Sent late by us, p99", milliseconds(late), budget, late / limit_ms)
    if (unsent := facts.get("could_not_send")) is not None:
        most = 1 - SENT_SHARE_INVALID
        said = f"{count(unsent)} of {count(facts.get('due'))}"
        used = unsent / due / most
        yield Check("Due and not sent, by our fault", said, per_cent(most, 0), used)
    if (stamped := facts.get("user_stamps")) is not None:
        share = stamped / due
        name = "Answers stamped by us, not by the kernel"
        budget = per_cent(LATE_STAMPS_SHARE, 0)
        yield Check(name, per_cent(share), budget, share / LATE_STAMPS_SHARE)
    for key, name in (
        ("censored", "Still unanswered at the end"),
        ("held_up", "Set aside, for we stood still"),
    ):
        if (rows := facts.get(key)) is not None:
            yield _none_of(name, count(rows), rows)
    for key, name in (("clock_step_ms", "Wall clock stepped by"), ("suspended_ms", "Asleep for")):
        if (ms := facts.get(key)) is not None:
            size = abs(float(ms))
            budget = milliseconds(CLOCK_STEP_MS)
            yield Check(name, milliseconds(size), budget, size / CLOCK_STEP_MS)
    yield from _machines(facts)


def _machines(facts: Mapping[str, Any]) -> Iterator[Check]:
    """The simulator, and what this machine can measure."""
    if gateways := facts.get("gateway"):
        behind = sum(not each.get("kept_up", True) for each in gateways.values())
        said = f"{count(behind)} of {count(len(gateways))} stages"
        yield _none_of("Simulator behind its own plan", said, behind)
    if calibration := facts.get("calibration"):
        share = float(calibration["share"])
        said = per_cent(share, 0) if share <= 1 else f"{number(share)} times"
        name = "Busiest second, of what this machine measures"
        yield Check(name, said, "100 %", share, judged=False)


def _none_of(name: str, measured: str, found: int) -> Check:
    """A check that one is too many for."""
    return Check(name, measured, "0", 2.0 if found else 0.0)


def _limits(sent: Sequence[LaneRecord]) -> list[int]:
    held = (lane.contract.tightest_limit_ns for lane in sent if lane.contract is not None)
    return [limit for limit in held if limit is not None]


def _tightest_ms(facts: Mapping[str, Any], sent: Sequence[LaneRecord]) -> float:
    """The budget of lateness: what health wrote down, else what it is by the contracts."""
    if (known := facts.get("harness_lag_budget_ms")) is not None:
        return float(known)
    limits = _limits(sent)
    return (min(limits) * float(DEGRADED_SHARE) if limits else DEGRADED_LAG_NS) / MS


def _used(check: Check) -> Gauge:
    said = f"{check.name}: {check.measured} of a budget of {check.budget}"
    return Gauge(check.used, said, "" if check.within or not check.judged else "fail")


CHECK_COLUMNS: list[Column[Check]] = [
    Column("check", lambda check: check.name, "words"),
    Column("measured", lambda check: check.measured),
    Column("used", lambda _: "", "words", formats=("html",), graphic=_used),
    Column("budget", lambda check: check.budget, "words"),
    Column(
        "is",
        lambda check: check.word,
        "words",
        coloured_by=lambda check: {"within": "PASS", "over": "FAIL"}.get(check.word, ""),
    ),
]


# ---- stages


@dataclass(frozen=True)
class _Stage:
    """What a stage sent, and how late at worst of its targets."""

    name: str
    requests: int
    late_ms: float | None
    computed: bool


def _stages(summary: Summary, lanes: Sequence[LaneRecord]) -> list[_Stage]:
    found = []
    for stage in dict.fromkeys(lane.stage for lane in lanes):
        mine = [lane for lane in lanes if lane.stage == stage]
        targets = [summary.targets[lane.name] for lane in mine if lane.name in summary.targets]
        late = [each.harness_lag_ms.p99 for each in targets if each.harness_lag_ms is not None]
        found.append(
            _Stage(
                visible(stage, 60),
                sum(each.requests for each in targets),
                max(late, default=None),
                all(lane.simulated for lane in mine),
            )
        )
    return found


STAGE_COLUMNS: list[Column[_Stage]] = [
    Column("stage", lambda row: row.name, "words"),
    Column("requests", lambda row: count(row.requests)),
    Column(
        "sent late at p99, its worst target",
        lambda row: "computed, nothing sent" if row.computed else milliseconds(row.late_ms),
    ),
]


# ---- in sentences


def _measured(facts: Mapping[str, Any]) -> Iterator[str]:
    """Who stamped, how busy we were, whether the machine was measured before."""
    if (stamped := facts.get("user_stamps")) is not None:
        by = "socket read" if stamped else "kernel"
        shared = facts.get("first_token_shared_read", 0)
        said = f"Arrivals stamped by the {by}"
        if shared:
            share = per_cent(facts.get("first_token_shared_read_share"))
            said += (
                f"; {count(shared)} first tokens ({share}) shared a read with later ones, so their"
                " TTFT is an upper bound"
            )
        yield f"{said}."
    busy = []
    if (workers := facts.get("workers")) is not None:
        busy.append(f"{count(workers)} sending process{'es' * (workers != 1)}")
    if (cpu := facts.get("cpu_share")) is not None:
        busy.append(f"{number(100 * float(cpu))} % of a core")
    pauses = [facts[key] for key in ("loop_stall_max_ms", "gc_pause_max_ms") if facts.get(key)]
    if pauses:
        busy.append(f"longest pause of ours {milliseconds(max(pauses))}")
    if (latest := facts.get("harness_lag_max_ms")) is not None:
        busy.append(f"latest send {milliseconds(latest)}")
    if busy:
        yield f"{capital(', '.join(busy))}."
    if calibration := facts.get("calibration"):
        measured = visible(str(calibration.get("measured_utc", ABSENT))[:10], 20)
        yield f"This machine was calibrated on {measured}."
    else:
        yield "This machine was not calibrated: tailproof calibrate measures what it can time."


def _steady(clauses: Sequence[ClauseVerdict]) -> Iterator[str]:
    known = [clause for clause in clauses if clause.steadiness is not None]
    odd = dict.fromkeys(
        visible(clause.target, 60)
        for clause in known
        if clause.steadiness is not None and not clause.steadiness.steady
    )
    if odd:
        names = few([*odd], _NAMED_MOST)
        yield f"Not steady over the run: {names}; a diagnostic, no request was dropped."
    elif known:
        yield "The latencies were steady over the run."


# ---- who answered, and how late each stage was


def _tiers(summary: Summary) -> Iterator[Text]:
    """A sentence for each target of which a tier was asked, or several answered."""
    for name, target in summary.targets.items():
        if tier_shown(target.tiers):
            yield Text(f"{visible(name, 60)}: {tier_sentence(target.tiers)}.")


def conduct_drawers(summary: Summary, lanes: Sequence[LaneRecord]) -> Iterator[Drawer]:
    """How late each stage was sent; of many targets who answered, whose fault failures were, and
    what to ask the vendor about: nothing of our own simulator.
    """
    stages = _stages(summary, lanes)
    if len(stages) > 1:
        yield Drawer("Sent late, stage by stage", [Table("Sent late", STAGE_COLUMNS, stages)])
    if len(lanes) <= FEW:  # all of each target stands by itself
        return
    ours = {lane.name for lane in lanes if lane.scenario}
    for name, target in summary.targets.items():
        if tables := list(served_tables(target, ask=name not in ours)):
            yield Drawer(f"Who answered, and why not: {visible(name, 60)}", tables)
