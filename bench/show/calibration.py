"""How far off this machine's own timing is, while it is measured and at the end.

In: the record of a calibration. Out: a result. Must stay true: a rate at which the error is beyond
the budget is marked; what the ladder did not reach is said.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.record.records.calibration import Calibration, CalibrationStep
from bench.show.document import Code, Column, Node, Table, Text
from bench.show.result import Result
from bench.show.wording import count


def _error(value_ms: float) -> str:
    return f"{value_ms:+.2f}"


def calibration_result(record: Calibration, kept: str) -> Result:
    """What this machine can measure; `kept` is its file, or empty."""
    lead: list[Node] = [
        Text(
            f"This machine measures {count(record.ceiling_rps)} requests/s and"
            f" {count(record.ceiling_events_per_s)} token events/s a worker with p50 and p99 within"
            f" {record.error_budget_ms:g} ms of the truth.",
            tone="strong",
        )
    ]
    if record.steps and record.ceiling_rps == record.steps[-1].rate_rps:
        lead.append(Text("The ladder ended before the error did: the true ceiling is higher."))
    rows = [_Step(step, record.error_budget_ms) for step in record.steps]
    foot: list[Node] = [Text("errors and lag in ms, CPU in µs a request", "units")]
    return Result(
        lead,
        [Table("", RESULT_COLUMNS, rows)] if rows else [],
        [*foot, Code(kept, "kept in")] if kept else foot,
    )


@dataclass(frozen=True)
class _Step:
    """A rate of the ladder, and the error that it may have."""

    step: CalibrationStep
    budget_ms: float

    @property
    def beyond(self) -> bool:
        """Whether p50 or p99 lie farther from the truth than that."""
        step = self.step
        errors = [*step.ttft_error_ms[:2], *step.e2e_error_ms[:2]]
        return max(map(abs, errors)) > self.budget_ms


RESULT_COLUMNS: list[Column[_Step]] = [
    Column("asked", lambda row: f"{count(row.step.rate_rps)}/s"),
    Column("sent", lambda row: f"{count(round(row.step.sent_rps))}/s"),
    Column("TTFT p50", lambda row: _error(row.step.ttft_error_ms[0])),
    Column("p99", lambda row: _error(row.step.ttft_error_ms[1])),
    Column("e2e p50", lambda row: _error(row.step.e2e_error_ms[0])),
    Column("p99", lambda row: _error(row.step.e2e_error_ms[1])),
    Column("lag p99", lambda row: f"{row.step.lag_p99_ms:.2f}"),
    Column("CPU", lambda row: f"{row.step.cpu_us_per_request:.0f}"),
    Column("budget", lambda row: "BEYOND" if row.beyond else "within", "words"),
]
