"""How far off this machine's own timing is, while it is measured and at the end.

In: the steps of a calibration as they come, then its record. Out: lines of a table that is drawn
row by row, nodes of a screen. Must stay true: a rate at which the error is beyond the budget is
marked; what the ladder did not reach is said.
"""

from __future__ import annotations

from bench.record.records.calibration import Calibration, CalibrationStep
from bench.show.document import Code, Column, Node, Text
from bench.show.terminal_tables import RowByRow
from bench.show.wording import count


def _error(value_ms: float) -> str:
    return f"{value_ms:+.2f}"


#: One rate of the ladder. Errors and lag are in ms, CPU in µs a request.
STEP_COLUMNS: list[Column[CalibrationStep]] = [
    Column("asked", lambda step: f"{step.rate_rps}/s", width=7),
    Column("sent", lambda step: f"{step.sent_rps:.0f}/s", width=8),
    Column("TTFT error p50", lambda step: _error(step.ttft_error_ms[0]), width=7),
    Column("TTFT error p99", lambda step: _error(step.ttft_error_ms[1]), width=7),
    Column("TTFT error p99.9", lambda step: _error(step.ttft_error_ms[2]), width=7),
    Column("e2e error p50", lambda step: _error(step.e2e_error_ms[0]), width=7),
    Column("e2e error p99", lambda step: _error(step.e2e_error_ms[1]), width=7),
    Column("e2e error p99.9", lambda step: _error(step.e2e_error_ms[2]), width=7),
    Column("row error p99", lambda step: f"{step.row_error_p99_ms:.2f}", width=7),
    Column("lag p99", lambda step: f"{step.lag_p99_ms:.2f}", width=7),
    Column("CPU", lambda step: f"{step.cpu_us_per_request:.0f}", width=7),
]


def calibration_head() -> list[str]:
    """What stands above the steps."""
    return ["errors and lag in ms, CPU in µs a request", *RowByRow(STEP_COLUMNS).head()]


def calibration_line(step: CalibrationStep, *, within_budget: bool) -> str:
    """One step; `!`: no longer within the budget of the ceiling."""
    return RowByRow(STEP_COLUMNS).row(step) + ("" if within_budget else " !")


def calibration_screen(record: Calibration, kept: str) -> list[Node]:
    """What this machine can measure, below the steps; `kept` is its file, or empty."""
    nodes: list[Node] = [
        Text(
            f"{count(record.ceiling_rps)} requests/s, {count(record.ceiling_events_per_s)} token"
            f" events/s a worker with p50 and p99 within {record.error_budget_ms:g} ms of the"
            " truth",
            "ceiling",
        )
    ]
    if record.steps and record.ceiling_rps == record.steps[-1].rate_rps:
        higher = "the ladder ended before the error did: the true ceiling is higher"
        nodes.append(Text(higher, " "))
    return [*nodes, Code(kept, "kept in")] if kept else nodes
