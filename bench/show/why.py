"""Why? What the slow requests of each target have in common, and where their time went.

In: a run and its records. Out: one section, or none where no target has enough slow requests. Must
stay true: it says what slow requests go with, never that it caused them; failures that came
together are named before what they bring with them; levels that mark the very same requests are
one cause.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.judge.review import Records
from bench.judge.shape import ENOUGH
from bench.record.records.attribution import Cause, Decomposition, LaneAttribution, TimePart
from bench.record.records.events import DrillEvent
from bench.record.run_folder import Run
from bench.show.attribution import level_bound, level_name
from bench.show.document import Bullets, Node, Section, Text
from bench.show.graphics.causes import KINDS, Card, Cards, Share, Spent
from bench.show.lanes import LaneView
from bench.show.wording import between, count, counts, milliseconds, per_cent, visible
from bench.units import show_list

QUESTION = "Why?"
#: Bars of a card, lines above the cards, cards on a page.
_BARS_MOST, _LINES_MOST, _CARDS_MOST = 3, 7, 40
#: Of the failures so many lie in the stretch of what was bad, if they are one outage.
_IN_OUTAGE = 0.9
_CAVEAT = (
    "A share is of the slow requests that would not have been slow, had they been like the rest."
    " That is what they go with; only an experiment shows a cause."
)
_SYMPTOM = "a likely symptom, for slow answers hold connections, so that new ones are opened"
_NEW_CONNECTION = level_name("connection", "new")
_NOTHING = "Nothing that was recorded sets the slow requests apart."
#: Part of a request's time -> class of its colour, words.
_PARTS = {
    "queue": ("pa-other", "waiting for a slot"),
    "retries": ("pa-up", "an earlier attempt"),
    "fallback": ("pa-up", "an earlier attempt at another upstream"),
    "connect": ("pa-other", "connecting"),
    "tls": ("pa-other", "TLS"),
    "harness_lag": ("pa-other", "our lateness"),
    "first_token": ("pa-first", "the server, to the first token"),
    "stall": ("pa-stall", "the longest stall"),
    "stream": ("pa-stream", "streaming"),
}


@dataclass(frozen=True)
class Merged:
    """Levels that mark the very same requests: one cause with several names."""

    names: Sequence[str]
    cause: Cause
    #: of the level that the fewest of all requests have
    share_overall: float

    @property
    def name(self) -> str:
        """All names."""
        return ", ".join(self.names)


@dataclass(frozen=True)
class Slow:
    """A target and what its slow requests have in common."""

    view: LaneView
    record: LaneAttribution
    causes: Sequence[Merged]
    #: an outage, or a time in which most of it came: said before any cause
    event: str
    #: the same in a few words, for a line
    event_name: str


def why_section(run: Run, records: Records, lanes: Sequence[LaneView]) -> Iterator[Section]:
    """The section; none without an answer."""
    explained = [
        _slow(run, view, record)
        for view in lanes
        if (record := records.attribution.targets.get(view.lane.name)) is not None
        and worth_a_card(view, record)
    ]
    explained.sort(key=lambda slow: -slow.record.tail)
    if not explained:
        return
    lines = _lines(explained)
    nodes: list[Node] = [Bullets(lines)] if len(lines) > 1 else []
    nodes += [
        Text(_CAVEAT, tone="remark"),
        Cards([_card(slow) for slow in explained[:_CARDS_MOST]]),
    ]
    yield Section("why", QUESTION, nodes, link="Why", answer=_answer(explained, lines))


def worth_a_card(view: LaneView, record: LaneAttribution) -> bool:
    """Whether enough requests were slow, and a clause asks why or something goes with them."""
    if record.tail < ENOUGH:
        return False
    asked = any(
        clause.metric == record.metric and clause.verdict in ("FAIL", "INCONCLUSIVE")
        for clause in view.clauses
    )
    return asked or bool(record.causes)


def merged(causes: Sequence[Cause]) -> list[Merged]:
    """Causes in their order; those that mark all slow requests, and the same share of them, are
    one.
    """
    found = list[Merged]()
    for cause in causes:
        name = level_name(cause.factor, cause.level)
        twin = next((each for each in found if _same(each.cause, cause)), None)
        if twin is None:
            found.append(Merged([name], cause, cause.share_overall))
            continue
        overall = min(twin.share_overall, cause.share_overall)
        names = [*twin.names, name]
        found[found.index(twin)] = Merged(names, twin.cause, overall)
    return found


def _same(one: Cause, other: Cause) -> bool:
    """Both mark every slow request and no other, as far as their shares tell."""
    whole = one.share_of_tail == other.share_of_tail == 1
    return whole and abs(one.paf - other.paf) < 1e-6


# ---- an outage before its symptoms


def _slow(run: Run, view: LaneView, record: LaneAttribution) -> Slow:
    event, name = _event(run, view, record)
    return Slow(view, record, merged(record.causes), event, name)


def _event(run: Run, view: LaneView, record: LaneAttribution) -> tuple[str, str]:
    """An outage, an error or a time that says more than any level: its sentence and its name."""
    failed, found = sum(record.failed.values()), view.together
    errors = counts(record.failed)
    if found is not None and view.slices is not None:
        during = _during(run, view)
        when = view.when(found)
        inside = sum(sum(view.slices.failed[a:b]) for a, b in found.stretches)
        part = "All" if found.share == 1 else per_cent(found.share, 0)
        if failed and inside >= _IN_OUTAGE * sum(view.slices.failed):
            said = f"Outage: {part} of them came {when}{during}, {errors} among them."
            return said.replace("All of them", "all of them"), f"outage {when}"
        with_errors = f" {_errors(record, failed)}" if failed else ""
        return f"{part} of them came {when}{during}.{with_errors}", f"{when}{during}"
    if failed:
        return _errors(record, failed), f"errors: {errors}"
    return "", ""


def _errors(record: LaneAttribution, failed: int) -> str:
    """`15 of them failed (http_5xx), scattered over the run.`"""
    errors = show_list([visible(name, 40) for name in record.failed])
    which = "All of them" if failed == record.tail else f"{count(failed)} of them"
    return f"{which} failed: {errors}."


def _during(run: Run, view: LaneView) -> str:
    """The drill that was on in that time."""
    lane, found = view.lane, view.together
    if found is None or not found.stretches:
        return ""
    slice_ns = view.length_ns / max(len(view.slices.requests if view.slices else ()), 1)
    first = lane.start_ns + found.stretches[0][0] * slice_ns
    end = lane.start_ns + found.stretches[-1][1] * slice_ns
    for drill in _on(run.manifest.events, lane.stage):
        begun, healed = drill
        inside = min(end, healed or end) - max(first, begun.done_ns)
        if inside > (end - first) / 2:
            return f", while {visible(begun.name, 40)} was on"
    return ""


def _on(events: Sequence[DrillEvent], stage: str) -> Iterator[tuple[DrillEvent, int | None]]:
    """Drills that cut something, and when that was healed."""
    mine = [event for event in events if event.stage == stage and event.ok]
    for place, event in enumerate(mine):
        if event.do != "heal":
            healed = [later.done_ns for later in mine[place + 1 :] if later.do == "heal"]
            yield event, healed[0] if healed else None


# ---- words


def _answer(explained: Sequence[Slow], lines: Sequence[str]) -> str:
    if len(explained) == 1 or len(lines) == 1:
        return _line(explained[0]) + "."
    targets = f"{len(explained)} targets"
    return f"What the slow requests of {targets} go with; those with most of them first."


def _lines(explained: Sequence[Slow]) -> list[str]:
    """The causes by target; then those that wait for an earlier attempt, and those without any."""
    if len(explained) < 2:
        return []
    with_cause = [slow for slow in explained if slow.event_name or _said_causes(slow)]
    waiting = [slow for slow in with_cause if _mostly(slow.record, "retries", "fallback")]
    alone = [slow for slow in with_cause if slow not in waiting]
    lines = [_line(slow) for slow in alone[:_LINES_MOST]]
    if waiting:
        lines.append(f"{_names(waiting)}: waiting for an earlier attempt")
    if more := alone[_LINES_MOST:]:
        lines.append(f"{_names(more)}: see below")
    if rest := [slow for slow in explained if slow not in with_cause]:
        lines.append(f"{_names(rest)}: nothing that was recorded sets them apart")
    return lines


def _names(slow: Sequence[Slow]) -> str:
    names = [each.view.name for each in slow]
    if len(names) > _LINES_MOST:
        names = [*names[:_LINES_MOST], f"{len(names) - _LINES_MOST} others"]
    return show_list(names)


def _line(slow: Slow) -> str:
    """`standard: phase burst 100 % of 6,063 slow requests`."""
    whole = f"of {count(slow.record.tail)} slow requests"
    said = ", ".join(
        f"{cause.names[0]} {per_cent(cause.cause.paf, 0)}" for cause in _said_causes(slow)[:3]
    )
    if slow.event_name and not said:
        return f"{slow.view.name}: {slow.event_name}, {count(slow.record.tail)} slow requests"
    if slow.event_name.startswith("outage"):
        return f"{slow.view.name}: {slow.event_name}, {count(slow.record.tail)} slow requests"
    return f"{slow.view.name}: {said} {whole}" if said else f"{slow.view.name}: {_NOTHING[:-1]}"


def _said_causes(slow: Slow) -> list[Merged]:
    """Causes that are no mere symptom."""
    return [cause for cause in slow.causes if list(cause.names) != [_NEW_CONNECTION]]


def _mostly(record: LaneAttribution, *parts: str) -> bool:
    found = _largest(record.decomposition)
    return found is not None and found.part in parts


def _largest(found: Decomposition | None) -> TimePart | None:
    """The part that most of the excess is."""
    return max(found.parts, key=lambda part: part.excess_ms) if found else None


def _card(slow: Slow) -> Card:
    record = slow.record
    where = "" if record.by == "limit" else "its own p99, "
    largest = _largest(record.decomposition)
    return Card(
        name=slow.view.name,
        about=(
            f"{count(record.tail)} of {count(record.n)} over {where}{milliseconds(record.above_ms)}"
        ),
        sentences=list(_sentences(slow)),
        shares=_shares(slow),
        spent=_spent(record.decomposition) if record.decomposition else [],
        mostly=_PARTS.get(largest.part, ("", visible(largest.part, 40)))[1] if largest else "",
    )


def _sentences(slow: Slow) -> Iterator[str]:
    """An outage or a time first, then what it goes with; what is a symptom is called one."""
    if slow.event:
        yield slow.event
    first = slow.causes[0] if slow.causes else None
    if first is None:
        if not slow.event:
            yield _NOTHING
        return
    share, overall = first.cause.share_of_tail, per_cent(first.share_overall, 0)
    which = "All slow requests" if share == 1 else f"{per_cent(share, 0)} of the slow requests"
    yield f"{which}, and {overall} of all: {first.name}."
    if any(_NEW_CONNECTION in cause.names for cause in slow.causes):
        yield f"New connections are {_SYMPTOM}."


def _shares(slow: Slow) -> list[Share]:
    """Bars, unless there is but one that is full."""
    causes = slow.causes[:_BARS_MOST]
    if not causes or (len(causes) == 1 and causes[0].cause.paf > 0.995):
        return []
    return [_bar(cause) for cause in causes]


def _bar(merged_cause: Merged) -> Share:
    cause = merged_cause.cause
    low, high = level_bound(cause)
    said = per_cent(cause.paf, 0)
    bounds = None
    if low is not None and high is not None:
        bounds = float(low), float(high)
        inside = between((max(low, 0), min(high, 1)), lambda share: per_cent(share, 0))
        said += f" ({inside.removesuffix(' %')})"
    return Share(merged_cause.name, cause.paf, bounds, said)


def _spent(found: Decomposition) -> list[Spent]:
    """Slow requests above the others."""
    slow = [(part.part, part.tail_ms) for part in found.parts]
    other = [(part.part, part.body_ms) for part in found.parts]
    return [_group("slow", found.tail_ms, slow), _group("other", found.body_ms, other)]


def _group(name: str, whole_ms: float, parts: Sequence[tuple[str, float]]) -> Spent:
    kinds: dict[str, float] = defaultdict(float)
    said = []
    for part, ms in parts:
        kind, words = _PARTS.get(part, ("pa-other", visible(part, 40)))
        kinds[kind] += ms
        if ms >= 1:
            said.append(f"{words} {milliseconds(ms)}")
    whole = milliseconds(whole_ms)
    return Spent(name, [(kind, kinds[kind]) for kind, _ in KINDS], whole, ", ".join(said) or whole)
