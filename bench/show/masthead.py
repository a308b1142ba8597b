"""The head of a report: the verdict with its cause, what it rests on, what to do next.

In: a run and its records. Out: the lead, the facts and the commands of a document. Must stay true:
what broke is said first, with what its slow requests go with; a rehearsal is as expected or not,
and its failures are no breach; a number stands beside its limit.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from bench.judge.review import Records
from bench.record.records.attribution import LaneAttribution
from bench.record.records.manifest import LaneRecord
from bench.record.records.rehearsed import SuiteName
from bench.record.records.summary import HealthRecord
from bench.record.records.verdicts import ClauseVerdict, Verdicts
from bench.record.run_folder import Run
from bench.show import wording
from bench.show.attribution import level_name
from bench.show.clauses import names_of
from bench.show.document import Code, Fact, Node, Text
from bench.show.facts import health_line
from bench.show.lessons import all_expected
from bench.show.verdicts import budget_used, spoilt, tallied
from bench.show.wording import (
    CUT,
    against_limit,
    capital,
    clause_title,
    count,
    few,
    first_answers,
    per_cent,
    title_in_sentence,
    visible,
)
from bench.units import show_duration

#: Broken clauses that the lead names, targets that a sentence names, models and endpoints that a
#: fact names.
_BROKEN_MOST, _NAMED_MOST, _LISTED_MOST = 2, 3, 3
#: Reasons against the harness that the lead gives.
_REASONS_MOST = 2
_REPEAT_MOST = 2000
#: What a reader of a rehearsal does next.
OWN_API = "tailproof run --url URL --model MODEL --slo 'e2e:p99<800ms' --slo 'uptime>=99.9%'"
#: A command that stands among the facts; a longer one stands in the evidence alone.
_SHORT = 60


def rehearsal(verdicts: Verdicts) -> str:
    """What stands in the verdict's place where the answers were known; empty where they were not,
    or nothing can be said.
    """
    if not verdicts.expects or verdicts.overall == "INVALID":
        return ""
    return "AS EXPECTED" if all(item.met for item in verdicts.expects) else "NOT AS EXPECTED"


def title_of(run: Run, suite: SuiteName) -> str:
    """The suite; of a run by flags the model and where it was asked."""
    if suite.name != _BY_FLAGS or len(run.lanes) != 1:
        return visible(suite.name, 80)
    lane = run.lanes[0]
    where = visible(lane.host, 80)
    return f"{visible(lane.model, 80)} at {where}" if where and lane.model else where


#: Name of the suite that flags make.
_BY_FLAGS = "adhoc"


def tally(verdicts: Verdicts) -> list[tuple[str, int]]:
    """How many clauses got each verdict; nothing where none can be had."""
    return [] if verdicts.overall == "INVALID" else tallied(verdicts.clauses)


# ---- the verdict and its cause


def lead(run: Run, records: Records) -> Iterator[Node]:
    """One or two sentences, the broken first."""
    verdicts = records.verdicts
    judged = [clause for clause in verdicts.clauses if clause.judged]
    if records.summary.overall == "INVALID":
        yield from _why_invalid(records.summary.health, judged)
    elif word := rehearsal(verdicts):
        yield Text(_rehearsed(verdicts, word))
    elif not judged and not verdicts.forecasts:
        part = run.manifest.shard is not None
        yield Text(NOT_WHOLE if part else NO_CONTRACT)
    else:
        yield from _sentences(run.lanes, judged, records)


def _why_invalid(health: HealthRecord, judged: Sequence[ClauseVerdict]) -> Iterator[Text]:
    """Whose fault, then what it was, once."""
    rest = any(not spoilt(clause) for clause in judged)
    nothing = "so what it spoilt is not judged" if rest else "so nothing is judged"
    yield Text(f"{capital(health.why_invalid)}, {nothing}.")
    said = [f"{capital(visible(reason, 300))}." for reason in health.reasons]
    if said:
        yield Text(first_answers(said, _REASONS_MOST), tone="soft")


NO_CONTRACT = "No contract was given, so nothing was judged."
NOT_WHOLE = "A part of the load is held against no contract."


def _rehearsed(verdicts: Verdicts, word: str) -> str:
    of = len(verdicts.expects)
    met = sum(each.met for each in verdicts.expects)
    if word == "AS EXPECTED":
        found = all_expected(of)
        said = f"This was a rehearsal: its faults were planted, and the test found {found}."
        broke = any(clause.verdict == "FAIL" for clause in verdicts.clauses)
        return f"{said} A FAIL below is the right answer." if broke else said
    return f"This was a rehearsal, and the test found {count(met)} of {count(of)} expected answers."


def _sentences(
    lanes: Sequence[LaneRecord], judged: Sequence[ClauseVerdict], records: Records
) -> Iterator[Text]:
    names = names_of(lanes)
    broken = [clause for clause in judged if clause.verdict == "FAIL"]
    broken.sort(key=budget_used, reverse=True)
    for clause in broken[:_BROKEN_MOST]:
        cause = _goes_with(records.attribution.targets.get(clause.target), clause)
        said = f"breaks {title_in_sentence(clause)}: {against_limit(clause)}{cause}."
        yield Text(said, label=names.get(clause.target, ""))
    rest = list(_the_rest(names, judged, len(broken)))
    if rest:
        yield Text(" ".join(rest))


def _the_rest(names: dict[str, str], judged: Sequence[ClauseVerdict], broken: int) -> Iterator[str]:
    if (beyond := broken - _BROKEN_MOST) > 0:
        yield f"{count(beyond)} more clause{'s are' if beyond > 1 else ' is'} broken."
    by_target: dict[str, set[str]] = {}
    for clause in judged:
        by_target.setdefault(clause.target, set()).add(clause.verdict)
    clean = [names.get(name, "") for name, got in by_target.items() if got == {"PASS"}]
    kept = [clause for clause in judged if clause.verdict == "PASS"]
    if len(clean) == len(by_target):
        yield _all_kept(kept)
    elif clean:
        yield f"{few(clean, _NAMED_MOST)} keep{'s' * (len(clean) == 1)} every clause."
    elif len(by_target) == 1 and kept:
        yield " ".join(_kept(each) for each in kept[:2])
    undecided = [clause for clause in judged if clause.verdict == "INCONCLUSIVE"]
    if len(undecided) == 1 or (len(by_target) == 1 and len(undecided) <= _BROKEN_MOST):
        yield from (_undecided(names, clause) for clause in undecided)
    elif undecided:
        yield f"{count(len(undecided))} clauses are undecided."


def _all_kept(kept: Sequence[ClauseVerdict]) -> str:
    if len(kept) == 1:
        return _kept(kept[0])
    nearest = max(kept, key=budget_used)
    said = "Both clauses are kept" if len(kept) == 2 else f"All {count(len(kept))} clauses are kept"
    return (
        f"{said}; nearest to its limit is {title_in_sentence(nearest)}: {against_limit(nearest)}."
    )


def _kept(clause: ClauseVerdict) -> str:
    return f"{clause_title(clause)} is kept: {against_limit(clause)}."


def _undecided(names: dict[str, str], clause: ClauseVerdict) -> str:
    whose = f"{names.get(clause.target, '')}, " if len(names) > 1 else ""
    head = f"{whose}{title_in_sentence(clause)}" if whose else clause_title(clause)
    why = wording.decider(clause).removesuffix(".")
    return f"{head} is undecided: {why[:1].lower()}{why[1:]}."


def _goes_with(record: LaneAttribution | None, clause: ClauseVerdict) -> str:
    """What the slow requests of a clause go with first: `; all of its 6,063 slow requests fell in
    phase burst`.
    """
    if record is None or record.metric != clause.metric or not record.causes:
        return ""
    cause = record.causes[0]
    name = level_name(cause.factor, cause.level)
    if cause.factor == "connection":  # new ones are opened because the old ones are held: a symptom
        return ""
    share = "all" if cause.share_of_tail == 1 else per_cent(cause.share_of_tail, 0)
    fell = f"fell in {name}" if cause.factor == "phase" else f"have {name}"
    return f"; {share} of its {count(record.tail)} slow requests {fell}"


# ---- what it rests on


def facts(run: Run, records: Records) -> Iterator[Fact]:
    """Of whom, how much, when, by what contract, whether the harness was fit."""
    lanes, summary = run.lanes, records.summary
    yield from _whom(lanes)
    yield Fact("Requests", _requests(run, records))
    yield Fact("When", when(run.manifest.started_utc))
    health = summary.health.state
    mark = {"valid": "PASS", "degraded": "INCONCLUSIVE"}.get(health, "INVALID")
    if all(lane.simulated for lane in lanes):
        yield Fact("Harness", "nothing was sent, so there was none to distrust")
    elif health == "invalid":  # the lead says why
        yield Fact("Harness", health, mark)
    else:
        yield Fact("Harness", health_line(summary).partition(". ")[0], mark)
    if said := _contracts(lanes, records.verdicts):
        yield Fact("Contract", said)
    if (breach := records.verdicts.projected_breach_usd) is not None:
        yield Fact("Breach", f"the contract prices one at {float(breach):,.0f} USD")
    repeat = run.manifest.repeat_command
    if repeat and len(repeat) <= _SHORT:
        yield Fact("Repeat", visible(repeat))


def _whom(lanes: Sequence[LaneRecord]) -> Iterator[Fact]:
    embedded = [lane for lane in lanes if lane.scenario]
    providers = dict.fromkeys(
        visible(lane.contract.scope.provider, 60)
        for lane in lanes
        if lane.contract and lane.contract.scope.provider
    )
    if embedded and len(embedded) == len(lanes):
        said = "tailproof's own simulator; nothing here describes a real service"
        yield Fact("Provider", said, tag="SIMULATED")
    else:
        if providers:
            yield Fact("Vendor", _once_each([*providers]))
        if played := [visible(lane.name, 60) for lane in lanes if lane.simulated]:
            yield Fact("Computed", f"{_once_each(played)}: nothing was sent", tag="SIMULATED")
        yield Fact("Endpoint", _once_each([visible(lane.base_url, 120) for lane in lanes]))
    models = [visible(model, 80) for lane in lanes for model in lane.models]
    if any(models):
        yield Fact("Model" if len(set(models)) == 1 else "Models", _once_each(models))


def _once_each(names: Sequence[str]) -> str:
    """The first of them; what several targets share stands once."""
    return few([name for name in dict.fromkeys(names) if name], _LISTED_MOST)


def _requests(run: Run, records: Records) -> str:
    """How many were sent in which time, and how many were computed."""
    sent = [lane for lane in run.lanes if not lane.simulated]
    played = [lane for lane in run.lanes if lane.simulated]
    targets = records.summary.targets

    def of(lanes: Sequence[LaneRecord]) -> str:
        total = sum(targets[lane.name].reached for lane in lanes)
        length = max(lane.end_ns for lane in lanes) - min(lane.start_ns for lane in lanes)
        whom = f" to {count(len(lanes))} targets" if len(lanes) > 1 else ""
        # of a run that was broken off the plan's length is not how long it was
        lasted = f" in {show_duration(length)}" if run.state == "complete" else ""
        return f"{count(total)}{{}}{whom}{lasted}"

    said = [of(sent).format(" sent")] if sent else []
    if played:
        total = sum(targets[lane.name].reached for lane in played)
        said.append(f"{count(total)} computed, not sent")
    return "; ".join(said)


def when(utc: str) -> str:
    """`30 November 2026, 09:20 UTC`; a text that is no moment as it is."""
    try:
        moment = datetime.fromisoformat(utc).astimezone(UTC)
    except ValueError:
        return visible(utc, 40)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def _contracts(lanes: Sequence[LaneRecord], verdicts: Verdicts) -> str:
    """Titles of the contracts, and at which confidence they were judged."""
    found = {lane.contract.name: lane.contract for lane in lanes if lane.contract}
    if not found:
        return ""
    titles = [visible(each.title or each.name, CUT) for each in found.values()]
    if len(titles) > 1:
        titles = [visible(name, 60) for name in found]
    levels = wording.confidence_levels(verdicts.clauses)
    confidence = " or ".join(per_cent(level) for level in levels)
    return f"{_once_each(titles)}; at {confidence} confidence"


# ---- what to do next


def _has_a_rest(run: Run) -> bool:
    """Whether `tailproof resume` would send what the run never began."""
    sent = [lane for lane in run.lanes if not lane.simulated]
    open_loop = bool(sent) and not any(lane.closed_loop for lane in sent)
    return run.state == "interrupted" and open_loop and run.manifest.cluster is None


def _again(run: Run, health: HealthRecord) -> Iterator[Code]:
    """What makes the next run valid: more requests do not."""
    if not health.mistakes:
        label = "See what this machine can time, then use a quieter one, a lower rate or --workers"
        yield Code("tailproof calibrate", label)
    if repeat := run.manifest.repeat_command:
        once = "Run it again" + " with the right key, model and body" * bool(health.mistakes)
        yield Code(visible(repeat, _REPEAT_MOST), once)


def commands(run: Run, records: Records) -> list[Code]:
    """At most three: decide what is open, hold an API of one's own to the same, check the files."""
    found = list[Code]()
    verdicts = records.verdicts
    if rehearsal(verdicts):
        found.append(Code(OWN_API, "Hold your own API to two clauses"))
    if _has_a_rest(run):
        rest = f"tailproof resume results/{shlex.quote(run.manifest.run)}"
        found.append(Code(visible(rest, 400), "Send the rest of it"))
    elif verdicts.overall == "INVALID":
        found += _again(run, records.summary.health)
    elif (decides := verdicts.next_command) is not None:
        found.append(Code(visible(decides, _REPEAT_MOST), "Decide what is open"))
    one_stage = len({lane.stage for lane in run.lanes}) == 1
    if records.comparisons is None and one_stage and len(run.lanes) == 2:
        arms = " ".join(shlex.quote(f"results/{run.manifest.run}:{x.name}") for x in run.lanes)
        found.append(Code(visible(f"tailproof compare {arms}", 400), "Compare the two"))
    checked = f"tailproof verify results/{shlex.quote(run.manifest.run)}"
    found.append(Code(visible(checked, 400), "Check this page against its files"))
    return found[:3]
