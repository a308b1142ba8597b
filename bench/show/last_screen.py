"""The last screen of a run: the verdict, its cause, what to do next; of several runs their spread.

In: a run that is over. Out: a result. Must stay true: an INVALID run shows nothing that could be
quoted of a target; what broke is named, what passed is counted; the reason of what is undecided
ends with the size that would decide.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.judge.summary import Spread, spreads
from bench.metrics import HEADLINES, METRICS
from bench.quantiles import P50, P99, by_key
from bench.record.records.summary import Quantiles, Summary
from bench.record.records.verdicts import ClauseVerdict, Expectation, Verdicts
from bench.show import wording
from bench.show.document import Code, Column, Node, Table, Text, Verdict
from bench.show.facts import health_line, left_out_sentences
from bench.show.graphics.mark import shape_of
from bench.show.lessons import all_expected
from bench.show.masthead import rehearsal
from bench.show.result import Result
from bench.show.served import served_screen
from bench.show.terminal_cells import HELD, labels
from bench.show.verdicts import Judged, budget_used, spoilt, tallied, verdict_screen_table
from bench.show.wording import (
    ABSENT,
    capital,
    clause_title,
    count,
    few,
    milliseconds,
    number,
    per_cent,
    visible,
)

#: Of more targets than this only those that broke a clause have a line.
TARGETS_MOST = 6
#: Undecided clauses whose reason is given, and targets that a sentence names.
_REASONS_MOST, _NAMED_MOST = 2, 3
#: Reasons against the harness that stand above all else.
_INVALID_MOST = 3


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run that is over."""

    summary: Summary
    verdicts: Verdicts
    #: what was tested: of one target its model and where
    about: str = ""
    #: of comparisons, routes and slow requests, a sentence each
    further: Sequence[str] = ()
    #: further tables
    below: Sequence[Node] = ()
    #: what commands call the run; empty where its folder holds other verdicts than these
    folder: str = ""
    report: str = ""
    repeat: str = ""
    #: the command that goes on with a run that broke off
    resume: str = ""


def run_result(ended: Ended) -> Result:
    """Verdict, cause, clauses, reasons; harness, report, next command."""
    if ended.summary.overall == "INVALID":
        return _invalid(ended)
    verdicts = ended.verdicts
    body: list[Node] = []
    if shown := clauses_shown(verdicts):
        body += [clause_table(shown, verdicts), *reasons(verdicts.clauses)]
    elif not verdicts.clauses:
        body += _numbers_without_contract(ended.summary)
    body += [*_missed(verdicts), *_latencies(ended.summary), *ended.below]
    body += served_screen(ended.summary)
    body += [Text(sentence) for sentence in ended.further]
    return Result([*lead(verdicts, ended.about), *caveats(ended)], body, list(_foot(ended)))


# ---- the verdict and its cause


def lead(verdicts: Verdicts, about: str = "") -> Iterator[Node]:
    """The verdict and its cause; of a rehearsal whether its expected answers came."""
    overall, clauses = verdicts.overall, _judged(verdicts.clauses)
    about = visible(about, 200)
    if word := rehearsal(verdicts):
        yield Verdict(word, "", f"  {came(verdicts.expects)}", about)
        yield from _rehearsed(verdicts, clauses)
        return
    if overall == "FAIL":
        broken = [clause for clause in clauses if clause.verdict == "FAIL"]
        worst = max(broken, key=budget_used, default=None)
        if worst is not None:
            yield Verdict("FAIL", "", _broken(worst, len(broken), len(clauses)), about)
            yield Text(f"{_cause(worst)}{_keepers(clauses)}")
            return
    word = {"NONE": "NOT JUDGED"}.get(overall, overall)
    said = {
        "PASS": f"{_all(len(clauses))} kept",
        "INCONCLUSIVE": _undecided(clauses),
        "NONE": "no contract was given, so nothing was promised",
    }.get(overall, "")
    yield Verdict(visible(word, 20), "", f"  {said}", about)


def came(expects: Sequence[Expectation]) -> str:
    """How many expected answers came: `all 4 expected answers came`."""
    met = sum(item.met for item in expects)
    if met == len(expects):
        return f"{all_expected(met)} came"
    return f"{count(met)} of {count(len(expects))} expected answers came"


def _rehearsed(verdicts: Verdicts, clauses: Sequence[ClauseVerdict]) -> Iterator[Node]:
    """What a FAIL below means, and the worst."""
    broken = [clause for clause in clauses if clause.verdict == "FAIL"]
    if broken and all(item.met for item in verdicts.expects):
        yield Text("A rehearsal: its faults were planted, and a FAIL below is the right answer.")
    if worst := max(broken, key=budget_used, default=None):
        yield Text(f"{_broken(worst, len(broken), len(clauses)).strip()}. {_cause(worst)}")


def _judged(clauses: Sequence[ClauseVerdict]) -> list[ClauseVerdict]:
    return [clause for clause in clauses if clause.judged]


def _all(number_of: int) -> str:
    return "the clause is" if number_of == 1 else f"all {count(number_of)} clauses are"


def _undecided(clauses: Sequence[ClauseVerdict]) -> str:
    undecided = sum(clause.verdict == "INCONCLUSIVE" for clause in clauses)
    if undecided == len(clauses) == 1:
        return "the clause is undecided"
    are = "is" if undecided == 1 else "are"
    return f"{count(undecided)} of {count(len(clauses))} clauses {are} undecided"


def _broken(worst: ClauseVerdict, broken: int, clauses: int) -> str:
    """`standard breaks end-to-end p99: 3,720 ms against 800 ms`."""
    name = wording.title_in_sentence(worst)
    said = f"  {visible(worst.target, 60)} breaks {name}: {wording.against_limit(worst)}"
    return said if broken == 1 else f"{said}; {count(broken)} of {count(clauses)} clauses broken"


def _cause(clause: ClauseVerdict) -> str:
    said = wording.decider(clause)
    return said if said.endswith(".") else f"{said}."


def _keepers(clauses: Sequence[ClauseVerdict]) -> str:
    """` pro keeps both clauses.`: the targets that broke nothing, where they are few."""
    by_target: dict[str, list[str]] = {}
    for clause in clauses:
        by_target.setdefault(visible(clause.target, 60), []).append(clause.verdict)
    kept = [name for name, words in by_target.items() if set(words) == {"PASS"}]
    if not kept or len(by_target) > _NAMED_MOST:
        return ""
    each = {1: "its clause", 2: "both clauses"}.get(len(by_target[kept[0]]), "all its clauses")
    return "".join(f" {name} keeps {each}." for name in kept)


def caveats(ended: Ended) -> Iterator[Node]:
    """What must be known before the first number is read."""
    facts = ended.summary.health.facts
    if ended.summary.state != "complete":
        yield Text("Interrupted: this rests on the part that was carried out.")
    if shard := facts.get("shard"):
        yield Text(visible(shard), tone="strong")
    yield from (Text(visible(gap, 300), "gap") for gap in facts.get("gaps", []))
    for sentence in left_out_sentences(ended.verdicts):
        yield Text(sentence, "left out", "strong")


# ---- the clauses


def clauses_shown(verdicts: Verdicts) -> list[ClauseVerdict]:
    """The clauses that have a line: of many targets the worst of each that broke one."""
    clauses = _judged(verdicts.clauses) or list(verdicts.clauses)
    targets = list(dict.fromkeys(clause.target for clause in clauses))
    if len(targets) <= TARGETS_MOST:
        return clauses
    broken = [clause for clause in clauses if clause.verdict == "FAIL"]
    worst = [
        max((clause for clause in broken if clause.target == name), key=budget_used, default=None)
        for name in targets
    ]
    return [clause for clause in worst if clause is not None]


def clause_table(shown: Sequence[ClauseVerdict], verdicts: Verdicts) -> Table[Judged]:
    """They stand below their target's name where all clauses do."""
    every = len({clause.target for clause in verdicts.clauses})
    if every == 1:
        return verdict_screen_table(shown, "nowhere")
    return verdict_screen_table(shown, "above" if every <= TARGETS_MOST else "beside")


def reasons(clauses: Sequence[ClauseVerdict]) -> Iterator[Node]:
    """Why clauses are undecided, and what would decide each."""
    undecided = [clause for clause in clauses if clause.verdict == "INCONCLUSIVE"]
    several = len({clause.target for clause in clauses}) > 1
    if undecided:
        yield Text("")
    for clause in undecided[:_REASONS_MOST]:
        whose = f"{visible(clause.target, 60)}, " if several else ""
        yield Text(f"{whose}{clause_title(clause)}: {wording.decider(clause)}")
    if (more := len(undecided) - _REASONS_MOST) > 0:
        yield Text(f"{count(more)} more undecided: the report says what would decide each")


def _missed(verdicts: Verdicts) -> Iterator[Node]:
    """Expected answers of a rehearsal that did not come."""
    for item in verdicts.expects:
        if not item.met:
            clause = f"{visible(item.target, 60)}, {visible(item.clause, 90)}"
            yield Text(f"{clause}: expected {item.expected}, got {item.got or ABSENT}", "expected")


@dataclass(frozen=True)
class _Latency:
    """A latency of the only target."""

    label: str
    found: Quantiles


LAST_LATENCY_COLUMNS: list[Column[_Latency]] = [
    Column("latency, ms", lambda row: row.label, "words"),
    Column("p50", lambda row: number(row.found.p50)),
    Column("p90", lambda row: number(row.found.p90)),
    Column("p99", lambda row: number(row.found.p99)),
    Column("max", lambda row: number(row.found.max)),
]


def _latencies(summary: Summary) -> Iterator[Node]:
    if len(summary.targets) != 1:
        return
    (target,) = summary.targets.values()
    rows = []
    for metric in HEADLINES:
        found = target.response_ms.get(metric)
        if found is not None:
            rows.append(_Latency({"e2e": "end-to-end"}.get(metric, METRICS[metric].label), found))
    if rows:
        yield from (Text(""), Table("", LAST_LATENCY_COLUMNS, rows))


def _numbers_without_contract(summary: Summary) -> Iterator[Node]:
    """Of each target how many requests succeeded, and its latencies; then its failures."""
    *names, blank = labels([*(visible(name, 30) for name in summary.targets), ""])
    for name, target in zip(names, summary.targets.values(), strict=True):
        came = target.reached
        share = per_cent(target.ok / came, 2) if came else ABSENT
        parts = [f"ok {share} of {count(came)}"]
        for metric in HEADLINES:
            latency = target.response_ms.get(metric)
            if latency is not None and len(summary.targets) > 1:
                quantiles = (
                    f"{key} {milliseconds(getattr(latency, key))}" for key in by_key(P50, P99)
                )
                parts.append(f"{METRICS[metric].label} {' '.join(quantiles)}")
        held = "   ".join(part.replace(" ", HELD) for part in parts)
        yield Text(held, name)
        if failed := wording.failures(target.outcomes):
            yield Text(failed, blank)


# ---- below the tables


def _foot(ended: Ended) -> Iterator[Node]:
    summary, verdicts = ended.summary, ended.verdicts
    yield from tally(verdicts)
    if (breach := verdicts.projected_breach_usd) is not None:
        yield Text(f"the contract prices one at {float(breach):,.0f} USD", "breach")
    yield Text(short(health_line(summary)), "harness")
    yield from computed(summary)
    yield from _commands(ended)


def short(sentences: str, most: int = 2) -> str:
    """The first of them, and how many more the report has."""
    parts = sentences.split("; ")
    left = len(parts) - most
    said = "; ".join(parts[:most])
    return f"{said}; {left} more in the report" if left > 0 else said


def tally(verdicts: Verdicts, *, always: bool = False) -> Iterator[Node]:
    """`clauses   ▲ 13 FAIL   ◇ 13 INCONCLUSIVE   ● 11 PASS`, of more targets than have a line."""
    clauses = _judged(verdicts.clauses)
    if not always and len({clause.target for clause in clauses}) <= TARGETS_MOST:
        return
    said = [f"{shape_of(word)} {count(n)} {word}" for word, n in tallied(clauses)]
    if said:
        yield Text("   ".join(said).replace(" ", HELD), "clauses")


def computed(summary: Summary) -> Iterator[Node]:
    """Which targets were computed, of a run that was sent too."""
    virtual = [name for name, target in summary.targets.items() if target.simulated]
    if not virtual or len(virtual) == len(summary.targets):
        return
    requests = sum(summary.targets[name].reached for name in virtual)
    named = few([visible(name, 40) for name in virtual], _NAMED_MOST)
    yield Text(f"{named} ({count(requests)} requests): nothing was sent for them", "computed")


def _commands(ended: Ended) -> Iterator[Node]:
    verdicts = ended.verdicts
    if ended.report:
        yield Code(visible(ended.report, 4096), "report")
    if ended.resume:
        yield Code(visible(ended.resume, 4096), "go on")
    broken = next((each.target for each in verdicts.clauses if each.verdict == "FAIL"), None)
    if (decides := verdicts.next_command) is not None and not ended.resume:
        yield Code(visible(decides, 4096), "next")
    elif ended.folder and broken is not None:
        run = f"{ended.folder}:{broken}" if len(ended.summary.targets) > 1 else ended.folder
        yield Code(visible(shlex.join(["tailproof", "attribute", run]), 4096), "why")
    elif ended.folder:
        yield Code(visible(shlex.join(["tailproof", "verify", ended.folder]), 4096), "check")
    elif ended.repeat:
        yield Code(visible(ended.repeat, 4096), "again")


# ---- a run that judges nothing


def _invalid(ended: Ended) -> Result:
    """Why, once; nothing of a target, so that nothing can be quoted."""
    health = ended.summary.health
    judged = [clause for clause in _judged(ended.verdicts.clauses) if not spoilt(clause)]
    nothing = "so nothing is judged" if not judged else "so what it spoilt is not judged"
    why = f"  {health.why_invalid}, {nothing}"
    lead: list[Node] = [Verdict("INVALID", "", why)]
    reasons = [visible(reason, 300) for reason in health.reasons]
    told_why: list[Node] = [Text(f"{capital(reason)}.") for reason in reasons]
    lead += told_why[:_INVALID_MOST]
    foot: list[Node] = []
    if not health.mistakes:
        cores = health.facts.get("cpu_cores")
        of = f" (1 was used on {cores} cores)" if isinstance(cores, int) else ""
        tries = f"a lower --rate, more --workers{of}, or a quieter machine"
        foot += [Text(tries, "try"), Code("tailproof calibrate", "ceiling")]
    if ended.report:
        foot.append(Code(visible(ended.report, 4096), "report"))
    if ended.repeat:
        foot.append(Code(visible(ended.repeat, 4096), "again"))
    rest = clauses_shown(ended.verdicts.replace(clauses=judged)) if judged else []
    body: list[Node] = [clause_table(rest, ended.verdicts)] if rest else []
    body += told_why[_INVALID_MOST:]
    return Result([*lead, *caveats(ended)], body, foot)


# ---- below the screens of several runs


SPREAD_COLUMNS: list[Column[Spread]] = [
    Column("target", lambda row: visible(row.target, 60), "words"),
    Column("latency", lambda row: f"{METRICS[row.metric].label} {row.quantile}", "words"),
    Column("min", lambda row: number(row.values_ms[0])),
    Column("median", lambda row: number(row.median_ms)),
    Column("max", lambda row: number(row.values_ms[-1])),
    Column("spread", lambda row: per_cent(row.share, 1)),
]


def spread_table(summaries: Sequence[Summary]) -> Table[Spread]:
    """Run-to-run spread: the same quantile in each of the repeated runs."""
    caption = f"run-to-run spread over {len(summaries)} runs (response, ms)"
    return Table(caption, SPREAD_COLUMNS, list(spreads(summaries)))
