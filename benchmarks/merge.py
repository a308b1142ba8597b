"""What merging costs: the histograms of many workers, and the rows of many shards.

In: how many workers, shards and rows. Out: a line of figures each. Must stay true: a histogram is
merged as it comes, from a worker's message and from a log; the rows are merged in a process of its
own, whose memory is read at its end.

    python -m benchmarks.merge --workers 1000 --shards 10 --rows 100000
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np

from bench.app.merge import merge
from bench.clock import cpu_ns, monotonic_ns, wall_ns
from bench.load.shard import Shard, Start
from bench.plan.profile import Profile
from bench.plan.schedule import Plan, compile_plan
from bench.plan.suite import Stage, Suite
from bench.plan.target import Target
from bench.record.histogram import Histogram, Interval, read_hlog, write_hlog
from bench.record.identity import plan_facts
from bench.record.run_folder import RunWriter
from bench.record.samples import Outcome, empty_samples
from bench.units import MS, S


def latencies(seed: int) -> Histogram:
    """A worker's 10,000 latencies with a long tail."""
    made = Histogram()
    made.record_many_ns((np.random.default_rng(seed).lognormal(4, 1, 10_000) * MS).astype(np.int64))
    return made


def histograms(workers: int) -> dict[str, float]:
    """CPU seconds to add all workers' histograms: from their messages, and from their logs."""
    cells = [json.dumps(latencies(number).cells()) for number in range(workers)]
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "all.hlog"
        write_hlog(
            log,
            [
                Interval(f"t{n}", 0, S, Histogram.from_cells(json.loads(text)))
                for n, text in enumerate(cells)
            ],
            0,
        )
        began = cpu_ns()
        told = Histogram()
        for text in cells:
            told.add(Histogram.from_cells(json.loads(text)))
        from_messages = cpu_ns() - began
        began = cpu_ns()
        kept = Histogram()
        for interval in read_hlog(log)[1]:
            kept.add(interval.histogram)
        from_logs = cpu_ns() - began
    assert (told.counts == kept.counts).all()
    assert told.n == workers * 10_000
    return {"from_messages_cpu_s": from_messages / S, "from_logs_cpu_s": from_logs / S}


def planned(rows: int) -> Plan:
    """So many requests, a thousand a second."""
    profile = Profile.model_validate(
        {
            "name": "p",
            "description": "d",
            "arrivals": {"kind": "poisson", "rate": "1000/s"},
            "requests": rows,
            "prompt_tokens": [{"fixed": 500}],
            "output_tokens": [{"fixed": 64}],
        }
    )
    target = Target.model_validate(
        {"name": "t", "description": "d", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
    )
    stage = Stage(
        name="s",
        targets=[target],
        profile=profile,
        contract=None,
        scenario=None,
        settle_ns=0,
        expect=[],
    )
    return compile_plan(Suite(name="merge", description="d", seed=1, stages=[stage], files=[]), 1)


def folder(plan: Plan, shard: Shard, place: Path) -> Path:
    """A shard's folder, every request answered after 0.2 s."""
    part, at_ns = shard.cut(plan), wall_ns()
    writer = RunWriter(
        place / f"s{shard.number}",
        plan_facts(part, "r", at_ns).replace(**shard.facts(Start(0, at_ns))),
        part.schedule,
    )
    shard.keep(part, writer)
    samples = empty_samples(len(part.schedule))
    samples["due_ns"] = samples["slot_free_ns"] = samples["sent_ns"] = part.schedule["due_ns"]
    samples["done_ns"], samples["outcome"], samples["worker"] = (
        samples["due_ns"] + 200 * MS,
        Outcome.ok,
        0,
    )
    strings: dict[str, list[str]] = {
        kind: [] for kind in ("served_model", "served_region", "finish", "note")
    }
    writer.finish(
        "complete", samples, {"strings": strings, "harness": {"workers": 1, "by_worker": [{}]}}
    )
    return writer.folder


def rows(shards: int, each: int) -> dict[str, float]:
    """Seconds and peak memory of merging so many shards of so many rows."""
    with tempfile.TemporaryDirectory() as place:
        plan = planned(shards * each)
        for number in range(1, shards + 1):
            folder(plan, Shard(number, shards), Path(place))
        command = [sys.executable, "-m", "benchmarks.merge", "--merge", place]
        told: dict[str, float] = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
        )
    return told | {"cpu_us_per_row": told["cpu_seconds"] / (shards * each) * 1e6}


def merged(place: Path) -> dict[str, float]:
    """Merge what lies there.

    Arrays are what numpy holds at most; files that are mapped can be let go of at any time.
    """
    tracemalloc.start()
    began, cpu = monotonic_ns(), cpu_ns()
    merge(sorted(place.iterdir()), place / "all")
    return {
        "seconds": (monotonic_ns() - began) / S,
        "cpu_seconds": (cpu_ns() - cpu) / S,
        "arrays_mb": tracemalloc.get_traced_memory()[1] / 1e6,
    }


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--shards", type=int, default=10)
    parser.add_argument("--rows", type=int, default=100_000, help="of each shard")
    parser.add_argument("--merge", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.merge is not None:
        sys.stdout.write(json.dumps(merged(args.merge)))
        return 0
    for name, found in (
        (f"{args.workers:,} histograms", histograms(args.workers)),
        (f"{args.shards} shards of {args.rows:,} rows", rows(args.shards, args.rows)),
    ):
        sys.stdout.write(
            f"{name}: {', '.join(f'{key} {value:,.3g}' for key, value in found.items())}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
