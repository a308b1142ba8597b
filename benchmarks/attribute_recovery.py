"""Does `attribute` name planted causes in the right order, and how long does it take?

In: seeds, rows. Out: for each seed the causes named, how many seeds had long contexts, cold starts
and bursts first, second and third; and, three times, the seconds by the clock and of CPU that a
table of a million rows takes.

    python benchmarks/attribute_recovery.py            # 20 seeds of 40,000 rows, then 1,000,000
    rows
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from bench.judge.attribution.attribute import attribute_lane
from bench.plan.profile import bucket_names
from bench.record.records.manifest import LaneRecord
from bench.record.samples import SCHEDULE_DTYPE, Columns, Flag, Outcome, empty_samples

MS, S = 10**6, 10**9
TRUTH = [("context", ">32K"), ("cold start", "yes"), ("phase", "burst")]
#: Share of requests that have the cause, and of those that are slow for it: 50 %, 30 % and 20 % of
#: a slow 1 %.
LONG, COLD, BURST = (0.05, 0.10), (0.02, 0.15), (0.10, 0.02)


def planted(seed: int, rows: int) -> tuple[Columns, LaneRecord]:
    """A run of 30 minutes at constant rate whose slow 1 % have three causes; the body is lognormal,
    median 210 ms.
    """
    draw = np.random.default_rng(seed)
    span = 1800 * S
    schedule, samples = np.zeros(rows, SCHEDULE_DTYPE), empty_samples(rows)
    due = np.arange(rows) * span // rows
    # ten bursts of 18 s at places of their own
    starts = np.sort(draw.choice(100, 10, replace=False)) * 18 * S
    burst = (due[:, None] >= starts).sum(axis=1) > (due[:, None] >= starts + 18 * S).sum(axis=1)
    long, cold = draw.random(rows) < LONG[0], draw.random(rows) < COLD[0]
    slow = np.zeros(rows, bool)
    for present, chance in ((long, LONG[1]), (cold, COLD[1]), (burst, BURST[1])):
        slow |= present & (draw.random(rows) < chance)
    whole = (
        np.where(
            slow, draw.lognormal(np.log(3000), 0.3, rows), draw.lognormal(np.log(210), 0.25, rows)
        )
        * MS
    )
    schedule["due_ns"], schedule["phase"] = due, burst
    schedule["bucket"] = np.where(long, 3, draw.integers(0, 3, rows))
    schedule["output_tokens"] = samples["output_tokens"] = draw.integers(10, 600, rows)
    samples["outcome"], samples["attempts"] = Outcome.ok, 1
    samples["due_ns"] = samples["slot_free_ns"] = samples["sent_ns"] = due
    samples["first_token_ns"], samples["last_token_ns"] = (
        due + (whole * 0.8).astype(int),
        due + whole.astype(int),
    )
    samples["done_ns"] = samples["last_token_ns"]
    samples["served_region"] = draw.integers(0, 3, rows)
    samples["flags"] = (
        Flag.STREAMED
        | np.where(draw.random(rows) < 0.05, Flag.NEW_CONNECTION, 0)
        | np.where(cold, Flag.COLD_START, 0)
    )
    lane = LaneRecord(
        target="t",
        stage="s",
        phase_spans=[],
        requests=rows,
        name="planted",
        contract=None,
        phases=["calm", "burst"],
        buckets=bucket_names(),
        start_ns=0,
        end_ns=span,
    )
    return Columns(schedule, samples), lane


def strings(kind: str) -> list[str]:
    """Texts behind the sample columns."""
    return {"served_region": ["eu", "us", "sg"]}.get(kind, [])


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    asked = parser.parse_args()
    right = 0
    for seed in range(asked.seeds):
        record = attribute_lane(*planted(seed, asked.rows), strings, 800 * MS)
        named = [(cause.factor, cause.level) for cause in record.causes]
        right += named[:3] == TRUTH
        print(seed, ", ".join(f"{c.factor} {c.level} {c.paf:.0%}" for c in record.causes))
    print(f"{right} of {asked.seeds} seeds name the three causes first and in order")
    columns, lane = planted(0, asked.many)
    for _ in range(3):
        begun, used = time.perf_counter(), time.process_time()
        attribute_lane(columns, lane, strings, 800 * MS)
        print(
            f"{asked.many:,} rows: {time.perf_counter() - begun:.2f} s, of which CPU"
            f" {time.process_time() - used:.2f} s"
        )


if __name__ == "__main__":
    main()
