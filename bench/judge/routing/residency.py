"""Where answers came from: the region that each response names, against those that are allowed.

In: a run's rows, attempts and lanes. Out: a record for each lane with an allowed list. Must
stay true: every response counts, warm-up and losing calls included, for data has left with each;
a response that names no region is counted as such and never as one at home.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from bench.record.records.routes import ResidencyRecord
from bench.record.run_folder import Run
from bench.record.samples import Table


def residency(run: Run) -> dict[str, ResidencyRecord]:
    """By lane; lanes without an allowed list are left out.

    Allowed are the regions of the contract's scope (a name may end in `*`), else the target's own;
    of a route its legs', each call held to its own leg's.
    """
    texts = run.strings("served_region")
    found: dict[str, ResidencyRecord] = {}
    attempts = run.attempts if any(lane.get("legs") for lane in run.lanes) else None
    for index, lane in enumerate(run.lanes):
        legs = lane.get("legs") or [lane]
        scope = ((lane.get("contract") or {}).get("scope") or {}).get("regions") or []
        allowed = [scope or ([leg["region"]] if leg["region"] else []) for leg in legs]
        if not all(allowed):
            continue
        rows = run.columns.schedule["lane"] == index
        if lane.get("legs") and attempts is not None:
            calls = attempts[rows[attempts["row"]]]
            parts = [(calls[calls["leg"] == leg], names) for leg, names in enumerate(allowed)]
        else:
            parts = [(run.columns.samples[rows], allowed[0])]
        found[lane["name"]] = ResidencyRecord(
            allowed=sorted({name for names in allowed for name in names}),
            by="contract" if scope else "target",
            **_count(parts, texts),
        )
    return found


def _count(parts: Sequence[tuple[Table, Sequence[str]]], texts: Sequence[str]) -> dict[str, Any]:
    """Responses by region, and how many came from outside.

    An error that names no region is no answer from anywhere.
    """
    by_region: dict[str, int] = {}
    elsewhere = unnamed = 0
    for calls, allowed in parts:
        named = calls["served_region"][calls["served_region"] >= 0]
        counts = np.bincount(named, minlength=len(texts)).tolist()
        unnamed += int(((calls["served_region"] < 0) & (calls["status"] // 100 == 2)).sum())
        for region, times in zip(texts, counts, strict=True):
            if times:
                by_region[region] = by_region.get(region, 0) + times
                elsewhere += 0 if any(fnmatchcase(region, name) for name in allowed) else times
    return {
        "checked": sum(by_region.values()),
        "elsewhere": elsewhere,
        "unnamed": unnamed,
        "by_region": by_region,
    }
