"""The end of a rehearsal on a screen: what was planted, what was found, a line a lesson.

In: lessons of a run that is over. Out: a result. Must stay true: the first line says whether every
expected answer came; a lesson whose answers did not come says what came instead; what was computed
and what was sent are told apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from bench.record.records.manifest import Manifest
from bench.record.records.summary import HealthRecord, Summary
from bench.show.document import Code, Node, Text, Verdict
from bench.show.facts import health_line
from bench.show.graphics.mark import shape_of
from bench.show.last_screen import Ended, caveats, run_result, short, tally
from bench.show.lessons import Lesson, all_expected
from bench.show.masthead import OWN_API
from bench.show.result import Result
from bench.show.terminal_cells import cell_len, fit
from bench.show.wording import count, visible, whole_seconds

#: Rehearsals of fewer lessons end as any run does.
LESSONS_LEAST = 3
_PIECES, _VERDICT = re.compile(r"(?<=[;,]) "), re.compile(r": [A-Z]{4}")


def lessons_result(ended: Ended, found: Sequence[Lesson], manifest: Manifest, width: int) -> Result:
    """Whether it went as expected, the lessons, then what the run rests on."""
    health = ended.summary.health
    if health.mistakes:
        return run_result(ended)
    lead: list[Node] = [
        Verdict(*_headline(found, health), _about(manifest, width)),
        Text("A rehearsal on tailproof's own simulator: a FAIL below is the right answer."),
        *caveats(ended),
    ]
    body: list[Node] = list(_lines(found, health.unfit, width - 1))
    return Result(lead, body, list(_foot(ended, found, manifest)))


def _headline(found: Sequence[Lesson], health: HealthRecord) -> tuple[str, str, str]:
    """The word, no label, and how many answers came; of what a busy machine spoilt nothing is
    told.
    """
    fit = [each for each in found if each.stage not in health.unfit]
    met, of = sum(each.met for each in fit), sum(each.of for each in fit)
    if health.state == "invalid":
        spoilt = f"{len(found) - len(fit)} of {len(found)} lessons"
        rest = "the others came as expected" if met == of else f"of the others {met} of {of} came"
        if not fit:
            rest = "nothing is told"
        return "INVALID", "", f"  the machine was too busy for {spoilt}; {rest}"
    if met == of:
        return "AS EXPECTED", "", f"  {all_expected(of)} of {len(found)} lessons"
    return "NOT AS EXPECTED", "", f"  {count(met)} of {count(of)} expected answers"


def _about(manifest: Manifest, width: int) -> str:
    name = visible(manifest.suite.name, 40) if manifest.suite else ""
    parts = [name, f"seed {manifest.seed}"]
    if manifest.ended_wall_ns is not None and width >= 90:
        parts.append(whole_seconds(max(manifest.ended_wall_ns - manifest.started_wall_ns, 0)))
    return ", ".join(parts)


def _lines(found: Sequence[Lesson], unfit: Mapping[str, str], width: int) -> Iterator[Node]:
    left = min(max((cell_len(each.title) for each in found), default=0), 36)
    left = min(left, 24) if width < 90 else left
    yield Text(f"    {fit('planted', left + 1).rstrip():<{left}}  found", tone="soft")
    for each in found:
        why = unfit.get(each.stage)
        shape = shape_of("INVALID" if why else each.verdict)
        number = f" {each.number} " if len(found) < 10 else f" {each.number:>2} "
        title = each.title
        planted = title if cell_len(title) <= left else fit(title, left + 1).rstrip()
        planted += " " * (left - cell_len(planted))
        room = width - 1 - len(number) - left - 2
        said = each.found if each.verdict == "PASS" else each.unmet
        if why:
            said = f"not told: {visible(why, 200).partition(' (')[0]}"
        yield Verdict(shape, "", f"{number}{planted}  {fitting(said, room)}")


def fitting(text: str, room: int) -> str:
    """As many of its parts as fit: from the first on where that has the verdict, else up to the
    last, which has it.
    """
    parts = _PIECES.split(text)
    from_first = _VERDICT.search(parts[0]) or not _VERDICT.search(parts[-1])
    kept = parts[:1] if from_first else parts[-1:]
    rest = parts[1:] if from_first else parts[-2::-1]
    for part in rest:
        longer = [*kept, part] if from_first else [part, *kept]
        if cell_len(" ".join(longer)) > room:
            break
        kept = longer
    said = " ".join(kept)
    said = said.rstrip(";,") if len(kept) < len(parts) else said
    return said if cell_len(said) <= room else fit(said, room).rstrip()


def _foot(ended: Ended, found: Sequence[Lesson], manifest: Manifest) -> Iterator[Node]:
    yield from tally(ended.verdicts, always=True)
    yield Text(short(health_line(ended.summary), 1), "harness")
    yield from _computed(ended.summary, found, manifest)
    if ended.report:
        yield Code(visible(ended.report, 4096), "report")
    if ended.resume:
        yield Code(visible(ended.resume, 4096), "go on")
    elif ended.summary.overall == "INVALID":
        yield Code(visible(ended.repeat, 4096), "again")
    else:
        yield Code(OWN_API, "next")


def _computed(summary: Summary, found: Sequence[Lesson], manifest: Manifest) -> Iterator[Node]:
    """Which lessons nothing was sent for: stages of the simulator, and logs of a month."""
    stages = {lane.stage for lane in manifest.lanes}
    virtual = {lane.stage for lane in manifest.lanes if lane.simulated}
    if not virtual or virtual == stages:
        return
    names = [lane.name for lane in manifest.lanes if lane.simulated]
    requests = sum(summary.targets[name].reached for name in names if name in summary.targets)
    numbers = [each.number for each in found if each.stage in virtual or each.stage not in stages]
    which = _spans(numbers)
    yield Text(f"lessons {which}: {count(requests)} requests, nothing was sent", "computed")


def _spans(numbers: Sequence[int]) -> str:
    """`1, 6 to 9`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in spans)
