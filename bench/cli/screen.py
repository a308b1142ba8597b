"""What a command prints: the one place where `show` meets the terminal.

In: plans, running generators, finished runs. Out: text on stdout (results) and stderr (progress
and warnings). Must stay true: drawing is bounded to a few times a second; results go to stdout
so that they can be piped, progress never does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from bench.conclude import Finished
from bench.judge.contract.sizing import Sizing
from bench.judge.verify import Verified
from bench.load.player import Counters
from bench.plan.schedule import Lane, Plan
from bench.plan.suite import Suite
from bench.record.histogram import Histogram
from bench.record.run_folder import Run
from bench.show.comparison import comparison_text
from bench.show.live import LaneProgress, Progress, Screen
from bench.show.sections import further_lines
from bench.show.sizing import WIDTH as SIZING_WIDTH
from bench.show.sizing import sizing_record, sizing_table
from bench.show.terminal import verdict_lines
from bench.show.wording import visible
from bench.units import MS, S, show_duration, show_share

_DRAW_EVERY_NS = 250 * MS
_P50, _P99 = Fraction(1, 2), Fraction(99, 100)


class RunScreen:
    """Feeds the live screen from the generator; satisfies `conduct.Screen`."""

    def __init__(self, suite: Suite, *, quiet: bool):
        self._console = Console(stderr=True)
        self._screen = Screen(self._console, quiet=quiet)
        self._suite, self._quiet = suite, quiet
        self._drawn_ns = -_DRAW_EVERY_NS
        self._stages: list[tuple[str, list[Lane]]] = []

    def open(self, plan: Plan) -> None:
        """Say what will happen and for how long."""
        for lane in plan.lanes:
            if not self._stages or self._stages[-1][0] != lane.stage:
                self._stages.append((lane.stage, []))
            self._stages[-1][1].append(lane)
        urls = [(target.base_url, lane.scenario) for lane in plan.lanes for target in lane.target.endpoints]
        own = any(url.endswith(f"/{scenario}/v1") for url, scenario in urls)
        where = "embedded gateway" if own else urls[0][0]
        stages = f"{len(self._stages)} stages · " if len(self._stages) > 1 else ""
        planned = plan.end_ns or max(len(plan.schedule), 1)
        length = f"about {show_duration(-(-planned // S) * S)}" if plan.end_ns else f"{len(plan.schedule):,} requests"
        self._screen.__enter__()
        self._screen.note(
            f"{plan.suite.name} · {stages}{len(plan.schedule):,} requests · {where} · {length} · seed {plan.seed}"
        )

    def tick(self, now_ns: int, counters: Callable[[], Counters]) -> None:
        """Draw when it is time to."""
        if self._quiet or now_ns - self._drawn_ns < _DRAW_EVERY_NS or now_ns < 0:
            return
        self._drawn_ns = now_ns
        at = counters()
        number = max((n for n, (_, lanes) in enumerate(self._stages) if lanes[0].start_ns <= now_ns), default=0)
        name, lanes = self._stages[number]
        begin, end = lanes[0].start_ns, max(lane.end_ns for lane in lanes)
        phase = next((span.phase for span in lanes[0].spans if span.start_ns <= now_ns < span.end_ns), "draining")
        indices = [lane.index for lane in lanes]
        self._screen.update(Progress(
            stage=name, phase=phase, elapsed_ns=now_ns - begin, total_ns=end - begin,
            offered=sum(at.started[i] for i in indices), sent=sum(at.started[i] - at.waiting[i] for i in indices),
            done=sum(at.done[i] for i in indices), in_flight=sum(at.in_flight[i] for i in indices),
            failed=sum(at.failed[i] for i in indices), late_p99_ms=_ms(at.harness_lag, _P99),
            lanes=tuple(LaneProgress(lane.name, at.done[lane.index], at.failed[lane.index],
                                     _ms(at.response[lane.index], _P50), _ms(at.response[lane.index], _P99))
                        for lane in lanes),
            stage_number=number + 1, stages=len(self._stages),
        ))  # fmt: skip

    def warn(self, text: str) -> None:
        """A sentence that the user should see now."""
        self._screen.note(f"note: {text}")

    def close(self) -> None:
        """The run is over."""
        self._screen.__exit__(None, None, None)


def _ms(histogram: Histogram, q: Fraction) -> float | None:
    value = histogram.percentile_ns(q)
    return None if value is None else value / MS


def make_screen(suite: Suite, *, quiet: bool) -> RunScreen:
    """The screen of one run."""
    return RunScreen(suite, quiet=quiet)


def _print(text: Any) -> None:
    console = Console(file=sys.stdout, highlight=False)
    console.print(text, soft_wrap=True)


def show_finished(done: Finished) -> None:
    """Verdict, health, report path and repeat command of a run."""
    repeat = Run(done.folder).manifest.get("repeat_command", "")
    _print(
        verdict_lines(
            done.records.summary,
            done.records.verdicts,
            [*further_lines(done.records)],
            report=done.report,
            repeat=repeat,
        )
    )


def show_verdicts(run: Run, summary: dict[str, Any], verdicts: dict[str, Any]) -> None:
    """Verdicts of a run that was judged again."""
    _print(verdict_lines(summary, verdicts, repeat=run.manifest.get("repeat_command", "")))


def show_comparisons(records: Sequence[dict[str, Any]], expects: Sequence[dict[str, Any]]) -> None:
    """Outcome, numbers and price of each pair, and which rehearsed outcomes were missed."""
    for record in records:
        _print(comparison_text(record))
    for item in expects:
        where = item["phase"] or item["bucket"] or "the whole run"
        said = "met" if item["met"] else f"NOT MET, got {item['got']}"
        _print(
            f"expected  {visible(item['other'])} against {visible(item['baseline'])} in {visible(where)}: {item['expected']}, {said}"
        )


def show_paths(paths: Sequence[Path]) -> None:
    """Files that were written, one a line."""
    for path in paths:
        _print(str(path))


def show_spread(finished: Sequence[Finished]) -> None:
    """Run-to-run spread: the same quantile in each of the repeated runs."""
    _print(f"run-to-run spread over {len(finished)} runs (response, ms)")
    for name in finished[0].records.summary["targets"]:
        for metric in ("ttft", "e2e"):
            cells = [done.records.summary["targets"][name]["response_ms"][metric] for done in finished]
            present = [cell for cell in cells if cell is not None]
            if len(present) < 2:
                continue
            for quantile in ("p50", "p99"):
                values = sorted(cell[quantile] for cell in present)
                low, middle, high = values[0], values[(len(values) - 1) // 2], values[-1]
                spread = (high - low) / middle if middle else 0.0
                _print(f"  {name}  {metric} {quantile}   min {low:,.1f}   median {middle:,.1f}   max {high:,.1f}   "
                       f"spread {show_share(spread, 1)}")  # fmt: skip


def show_plan(plan: Plan, sizing: Sizing, *, as_json: bool) -> None:
    """What a suite would send, what its contracts need to be decided, and what it would say as it is."""
    if as_json:
        facts = {
            "format": 1,
            "suite": plan.suite.name,
            "seed": plan.seed,
            "requests": len(plan.schedule),
            "duration_ns": plan.end_ns,
        }
        sys.stdout.write(json.dumps(facts | sizing_record(sizing), indent=2, ensure_ascii=False) + "\n")
        return
    console = Console(file=sys.stdout, highlight=False, width=SIZING_WIDTH)
    console.print(Text(f"{plan.suite.name}: {visible(plan.suite.description)}"))
    console.print(f"{len(plan.schedule):,} requests in {show_duration(plan.end_ns)}, seed {plan.seed}")
    console.print(sizing_table(sizing))


def show_verified(found: Verified) -> None:
    """What differs in a run's folder, one a line, and what was looked at."""
    most = 50
    for difference in found.differences[:most]:
        _print(Text(visible(difference.text, 400)))
    if (more := len(found.differences) - most) > 0:
        _print(f"and {more:,} more")
    for note in found.notes:
        _print(Text(f"note: {visible(note, 400)}"))
    count = len(found.differences)
    said = "nothing differs" if not count else f"{count:,} difference{'s' * (count > 1)}"
    _print(f"{said}; looked at {found.files:,} files by digest and judged {found.clauses:,} clauses anew")
