"""How slow are the slowest? Percentile curves of every target, on the same axes.

In: a run and its records. Out: one section, or none where nothing was answered. Must stay true: a
percentile that lies among the failed requests has no number; a mean stands only beside its p99.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from bench.metrics import HEADLINES, METRICS, in_summary
from bench.quantiles import P99, QUANTILES, quantile_name
from bench.record.records.summary import Quantiles
from bench.record.records.verdicts import ClauseVerdict
from bench.show.document import Column, Node, Section, Table
from bench.show.graphics.panel import Axis, Panel, PanelOf, Panels, Point
from bench.show.lanes import LaneView, by_stage
from bench.show.places import quantile_column
from bench.show.wording import capital, count, duration, milliseconds, per_cent
from bench.units import show_list

QUESTION = "How slow are the slowest?"
#: Up to so many targets have large panels and a table; so many peers stand behind a curve, and so
#: many panels on a page.
FEW, _PEERS_MOST, _PANELS_MOST = 3, 6, 60


def slow_section(lanes: Sequence[LaneView]) -> Iterator[Section]:
    """The section; none without an answer."""
    views = [view for view in lanes if view.curves]
    if not views:
        return
    if len(views) == 1:
        answer, metrics = _answer_of_one(views[0]), [*HEADLINES]
    else:
        metrics = [_metric_of(views)]
        answer = _answer_of_many(views, metrics[0])
    few = len(views) <= FEW
    nodes: list[Node] = [_panels(views, metrics, wide=few)]
    if few:
        nodes.append(_table(views))
    yield Section("slow", QUESTION, nodes, link="How slow", answer=answer)


def _metric_of(views: Sequence[LaneView]) -> str:
    """The one that most targets promise; end-to-end where none does."""
    promised = Counter(
        metric for view in views for metric in reversed(HEADLINES) if view.held(metric)
    )
    return promised.most_common(1)[0][0] if promised else HEADLINES[-1]


# ---- the answer


def _answer_of_one(view: LaneView) -> str:
    """`99 of 100 answers began within 207 ms and were complete within 413 ms`."""
    found = view.target.response_ms
    said = [
        f"{verb} within {duration(quantiles.p99)}"
        for metric, verb in zip(HEADLINES, ("began", "were complete"), strict=True)
        if (quantiles := found.get(metric)) is not None
    ]
    whole = found.get(HEADLINES[-1])
    slowest = f"; the slowest took {duration(whole.max)}" if whole else ""
    failed = f". {_failed(view)} failed" if view.failed else ""
    return f"99 of 100 answers {show_list(said)}{slowest}{failed}."


def _answer_of_many(views: Sequence[LaneView], metric: str) -> str:
    sentences = [_over(views, metric), _worst(views, metric), _hidden(views, metric)]
    return " ".join(filter(None, sentences))


def _over(views: Sequence[LaneView], metric: str) -> str:
    """Who is over the limit, those that are not decided among them."""
    held = [(view, clause) for view in views if (clause := view.held(metric)) is not None]
    if not held:
        return ""
    over = [(view, clause) for view, clause in held if _is_over(clause)]
    limits = {clause.limit_ms for _, clause in held}
    limit = f" of {duration(limits.pop())}" if len(limits) == 1 else ""
    quantiles = {clause.limited_quantile for _, clause in held}
    where = f" at p{100 * (quantiles.pop() or 0):g}" if len(quantiles) == 1 else ""
    if not over:
        return f"None of {len(held)} targets is over its limit{limit}{where}."
    few = len(over) <= FEW and len(over) < len(held)
    who = (
        show_list([view.name for view, _ in over]) if few else f"{len(over)} of {len(held)} targets"
    )
    one = len(over) == 1
    undecided = sum(clause.verdict == "INCONCLUSIVE" for _, clause in over)
    but = f", {undecided} of them not decided" if undecided else ""
    return (
        f"{who} {'is' if one else 'are'} over {'its' if one else 'their'} limit{limit}{where}{but}."
    )


def _is_over(clause: ClauseVerdict) -> bool:
    """Whether what was measured is over the limit, or has no number for failures."""
    if not clause.n or clause.limit_ms is None:
        return False
    if clause.kind.of_shares:
        return clause.verdict == "FAIL"
    return clause.measured is None or clause.measured > clause.limit_ms


def _worst(views: Sequence[LaneView], metric: str) -> str:
    """Whose p99 lies among failures, and the largest p99 that is a number."""
    lost = sorted((v for v in views if _among_failed(v, metric)), key=lambda v: -_share_failed(v))
    said = ""
    if lost:
        named = show_list(
            [f"{view.name} ({per_cent(_share_failed(view), 0)})" for view in lost[:FEW]]
        )
        more = f" and {len(lost) - FEW} others" if len(lost) > FEW else ""
        said = f"So many requests of {named}{more} failed that there is no p99. "
    rest = [(ms, view.name) for view in views if view not in lost if (ms := _p99(view, metric))]
    if rest:
        ms, name = max(rest)
        said += (
            f"The slowest p99{' of the others' if lost else ''} is that of {name}: {duration(ms)}."
        )
    return said.strip()


def _hidden(views: Sequence[LaneView], metric: str) -> str:
    """A mean within the limit of a target whose p99 is not: the one with the widest gap."""
    found = []
    for view in views:
        quantiles, clause = view.target.response_ms.get(metric), view.held(metric)
        if quantiles is None or clause is None or clause.limit_ms is None:
            continue
        if quantiles.mean < clause.limit_ms < quantiles.p99:
            found.append((quantiles.p99 / quantiles.mean, view.name, quantiles))
    if not found:
        return ""
    _, name, quantiles = max(found, key=lambda each: each[0])
    return (
        f"Means hide it: {name} has a mean of {duration(quantiles.mean)} and a p99 of"
        f" {duration(quantiles.p99)}."
    )


def _among_failed(view: LaneView, metric: str) -> bool:
    """Whether the p99 of all requests lies among those that failed."""
    curve = view.curves.get(metric)
    last = curve.points[-1] if curve else None
    return last is not None and last[1] is None and last[0] < P99


def _p99(view: LaneView, metric: str) -> float | None:
    quantiles = view.target.response_ms.get(metric)
    return None if quantiles is None else quantiles.p99


def _share_failed(view: LaneView) -> float:
    return view.failed / max(view.requests, 1)


def _failed(view: LaneView) -> str:
    return f"{count(view.failed)} of {count(view.requests)}"


# ---- the panels


def _panels(views: Sequence[LaneView], metrics: Sequence[str], *, wide: bool) -> Panels:
    axis = Axis.around(
        value
        for view in views
        for metric in metrics
        for value in (*_numbers(view, metric), _limit(view, metric))
        if value is not None
    )
    shown = list[PanelOf]()
    for of_stage in by_stage(views).values():
        for place, view in enumerate(of_stage):
            for metric in metrics:
                if metric in view.curves:
                    others = [] if len(metrics) > 1 else [v for v in of_stage if v is not view]
                    group = "" if place or len(views) <= 1 else view.stage
                    shown.append(
                        _panel(view, metric, axis, others, (group, len(metrics) > 1), wide)
                    )
    what = METRICS[metrics[0]].long_label if len(metrics) == 1 else "Latency"
    key = (
        f"{capital(what)} in seconds, logarithmic, the same axes everywhere."
        " Dotted: the limit; shaded: over it."
    )
    key += " Grey: other targets of the stage." if any(p.panel.peers for p in shown) else ""
    if any(view.failed for view in views):
        key += " A curve that runs off the top ends in failed requests."
    if len(shown) > _PANELS_MOST:
        key += f" The first {_PANELS_MOST} of {len(shown)} targets; Evidence has all."
    return Panels(key, shown[:_PANELS_MOST])


def _panel(
    view: LaneView,
    metric: str,
    axis: Axis,
    others: Sequence[LaneView],
    named: tuple[str, bool],
    wide: bool,
) -> PanelOf:
    group, by_metric = named
    clause = view.held(metric)
    note = _note(view, metric)
    label = METRICS[metric].long_label
    panel = Panel(
        says=f"{view.name}, percentiles of {label}: {note}{_against(clause)}",
        curve=view.curves[metric].points,
        axis=axis,
        limit_ms=_limit(view, metric),
        held=_marker(clause, view.curves[metric].points),
        peers=[] if wide and len(others) > _PEERS_MOST else _peers(others, metric),
        wide=wide,
    )
    name = METRICS[metric].label if by_metric else view.short
    name = "End-to-end" if name == "e2e" else name
    return PanelOf(name, panel, clause.verdict if clause else "", note, group)


def _note(view: LaneView, metric: str) -> str:
    """`p50 225 ms, p99 6,000 ms`, and how many failed."""
    quantiles = view.target.response_ms.get(metric)
    said = []
    if quantiles is not None:
        said.append(f"p50 {milliseconds(quantiles.p50)}")
        if not _among_failed(view, metric):
            said.append(f"p99 {milliseconds(quantiles.p99)}")
    if view.failed:
        said.append(f"{per_cent(_share_failed(view), 1)} failed")
    return ", ".join(said)


def _against(clause: ClauseVerdict | None) -> str:
    if clause is None:
        return ""
    return f"; limit {milliseconds(clause.limit_ms)}: {clause.verdict}"


def _marker(
    clause: ClauseVerdict | None, curve: Sequence[Point]
) -> tuple[float, float | None, str] | None:
    """Where the verdict's shape stands; nowhere for what is no percentile. The p99 of twenty
    requests is the slowest of them, where their curve ends.
    """
    if clause is None or clause.quantile is None or not clause.n:
        return None
    share = min(float(clause.quantile), max((at for at, _ in curve), default=1.0))
    return share, clause.measured, clause.verdict


def _limit(view: LaneView, metric: str) -> float | None:
    clause = view.held(metric)
    return clause.limit_ms if clause else None


def _numbers(view: LaneView, metric: str) -> list[float]:
    curve = view.curves.get(metric)
    return [ms for _, ms in curve.points if ms is not None] if curve else []


def _peers(others: Sequence[LaneView], metric: str) -> list[Sequence[Point]]:
    """The curves of others; of many some from the fastest to the slowest."""
    found = [view for view in others if metric in view.curves]
    if len(found) > _PEERS_MOST:
        found.sort(key=lambda view: _p99(view, metric) or 0.0)
        last = len(found) - 1
        found = [found[round(place * last / (_PEERS_MOST - 1))] for place in range(_PEERS_MOST)]
    return [view.curves[metric].points for view in found]


# ---- the table of a few targets


@dataclass(frozen=True)
class _Row:
    target: str
    metric: str
    found: Quantiles


def _enough_for(quantile: Fraction) -> Callable[[Sequence[_Row]], bool]:
    """Whether some row has a request above the quantile."""
    return lambda rows: any(row.found.n * (1 - quantile) >= 1 for row in rows)


SLOWEST_COLUMNS: list[Column[_Row]] = [
    Column("metric", lambda row: row.metric, "words"),
    Column(
        "target",
        lambda row: row.target,
        "words",
        show_if=lambda rows: len({row.target for row in rows}) > 1,
    ),
    *(
        replace(quantile_column(key, lambda row: row.found), show_if=_enough_for(quantile))
        for key, quantile in QUANTILES.items()
    ),
    *(quantile_column(key, lambda row: row.found) for key in ("max", "mean")),
]


def _table(views: Sequence[LaneView]) -> Table[_Row]:
    rows = [
        _Row(view.name, METRICS[metric].long_label, quantiles)
        for metric in in_summary("response_ms")
        for view in views
        if (quantiles := view.target.response_ms.get(metric)) is not None
        and quantiles != view.target.response_ms.get(METRICS[metric].refines)
    ]
    caption = "Response time of the requests that were answered, ms."
    for quantile in QUANTILES.values():
        if rows and not _enough_for(quantile)(rows):
            caption += (
                f" {quantile_name(quantile)} needs {count(round(1 / (1 - quantile)))} requests."
            )
    return Table(caption, SLOWEST_COLUMNS, rows)
