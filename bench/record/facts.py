"""What the rows of a table do not say themselves: where time 0 lies, what was asked for, texts.

In: a run's lane, or what a log's reader found. Out: `Facts` beside the rows. Must stay true: a
column that was not recorded is absent, never filled with a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.record.pieces import STRING_KINDS
from bench.record.run_folder import Run
from bench.record.samples import Bool, Int

#: Texts a row that logs may hold beside the columns of the samples; `deadline_ns` is a number.
LABELS = ("tier", "key", "label", "resource", "endpoint", "operation", "code")


@dataclass(frozen=True)
class Facts:
    """Beside one table of rows."""

    #: Unix ns of time 0 of the table
    start_wall_ns: int
    #: texts behind the sample columns served_model, served_region, finish, note, and behind
    #: `labels`
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: what all rows asked for; None where each row says it for itself (as served_model,
    #: served_region)
    model: str | None = None
    region: str | None = None
    tier: str | None = None
    #: the client's own timeout, of all rows
    timeout_ns: int | None = None
    #: one entry a row: an index into `texts` of the same name, -1 for none; `deadline_ns` holds ns,
    #: -1 for none
    labels: Mapping[str, Int] = field(default_factory=dict)
    #: rows that are set aside whatever the contract says: why, and a mask
    aside: Sequence[tuple[str, Bool]] = ()

    def where(self, keep: Bool | Any) -> Facts:
        """The facts beside the rows that `keep` (a mask, indices or a slice) selects."""
        return replace(
            self,
            labels={name: values[keep] for name, values in self.labels.items()},
            aside=[(reason, rows[keep]) for reason, rows in self.aside],
        )


def run_facts(run: Run, lane: Mapping[str, Any]) -> Facts:
    """The facts beside the rows of one lane of a run."""
    return Facts(
        start_wall_ns=int(run.manifest.get("started_wall_ns", 0)),
        texts={kind: run.strings(kind) for kind in STRING_KINDS},
        model=lane.get("model") or None,
        region=lane.get("region") or None,
        tier=lane.get("tier") or None,
        timeout_ns=lane.get("timeout_ns"),
    )
