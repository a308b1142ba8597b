"""How often verdicts err: `python -m benchmarks.coverage [PART …]`.

In: nothing but a seed. Out: for each shape of dependence the share of runs that PASS and FAIL with
the true share exactly at the limit (both are errors), the power away from it, and how many verdicts
their own bound denies. Must stay true: the verdict is that of `judge_run`, whatever the clause; a
run of a shape depends on its seed, name, share and number alone, so rules can be held against each
other run by run. The figures of docs/statistics.md come from here.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.judge.stats.dependence import Outcome
from bench.judge.stats.tail import verdict_counts
from bench.plan.clause import Clause
from bench.record.records.verdicts import ClauseVerdict
from benchmarks import shapes, shapes_held_out, shapes_of_time
from benchmarks.production import Rows, contract_of, judged, stopped_early
from benchmarks.shapes_held_out import LIMIT_S, Shape
from benchmarks.shapes_incidents import Draw
from benchmarks.shapes_of_time import Stretches

P0, ALPHA, SEED = Fraction(1, 100), 0.05, 20261130
P99 = contract_of(Clause(metric="e2e", quantile="99%", limit=f"{LIMIT_S:g}s"))
UPTIME = contract_of(Clause(metric="uptime", share="99%"))
#: Shapes whose looks and whose uptime are drawn as well.
LOOKED_AT = (
    "independent, n 6,000",
    "queue, heavy service",
    "queue, surges of 1 s",
    "load that walks, 10 s",
    "unequal bursts, 2 s",
    "retry storm",
    "sessions, n 15,000",
)


class Rates(NamedTuple):
    """Shares of the simulated runs."""

    passed: float
    failed: float
    #: verdicts that their own bound denies
    denied: int = 0

    def __str__(self) -> str:
        return f"{100 * self.passed:.1f} / {100 * self.failed:.1f}"


def runs_of(name: str, draw: Draw, share: float, runs: int) -> Iterator[Rows]:
    """The first so many runs of a shape."""
    place = [SEED, zlib.crc32(name.encode()), round(share * 1e5)]
    for number in range(runs):
        yield draw(np.random.default_rng([*place, number]), share)


def denied(verdict: ClauseVerdict) -> bool:
    """Whether the printed bound says otherwise than the verdict beside it. A limit among failures
    is above any number, and has none.
    """
    sign = -1 if verdict.held_by[0] == ">" else 1  # the better end is the upper one
    ends = verdict.bound[::sign]
    low, high = (None if end is None else sign * end for end in ends)
    assert verdict.promised is not None
    promised = sign * verdict.promised
    if low is not None and high is not None and low > high:
        return True
    if verdict.verdict == "PASS":
        return high is None or high > promised
    if verdict.verdict == "FAIL":
        return low is not None and low <= promised
    return (high is not None and high <= promised) or (low is not None and low > promised)


def of_verdicts(verdicts: list[ClauseVerdict]) -> Rates:
    """How often each was said."""
    said = [each.verdict for each in verdicts]
    n = len(said)
    return Rates(said.count("PASS") / n, said.count("FAIL") / n, sum(map(denied, verdicts)))


def as_if_independent(rows: Rows) -> Outcome:
    """The exact binomial's verdict."""
    allowed, fails = verdict_counts(len(rows.due_ns), P0, ALPHA)
    bad = int(rows.over(LIMIT_S).sum())
    return "PASS" if bad <= allowed else "FAIL" if bad >= fails else "INCONCLUSIVE"


def powers(table: Callable[[float, int], Rates], shares: tuple[float, ...], few: int) -> list[str]:
    """PASS at half and a quarter, FAIL at twice the limit, in per cent."""
    half, quarter, double = (table(share, few) for share in shares[1:])
    return [f"{100 * each:.0f}" for each in (half.passed, quarter.passed, double.failed)]


def requests(runs: int, few: int, *, held_out: bool) -> list[tuple[str, Rates, Rates]]:
    """Both families under a clause on the p99."""
    print(
        "\n| shape | exact | judge: false PASS / FAIL | PASS at 1/2 | at 1/4 | FAIL at 2 | denied |"
    )
    print("|---|---|---|---|---|---|---|")
    found = []
    for shape in shapes_held_out.SHAPES if held_out else shapes.SHAPES:

        def table(share: float, count: int, shape: Shape = shape) -> Rates:
            drawn = runs_of(shape.name, shape.draw, share, count)
            return of_verdicts([judged(rows, P99)[0] for rows in drawn])

        exact, verdicts = [], []
        for rows in runs_of(shape.name, shape.draw, 0.01, runs):
            exact.append(as_if_independent(rows))
            verdicts.append(judged(rows, P99)[0])
        naive = Rates(exact.count("PASS") / runs, exact.count("FAIL") / runs)
        ours = of_verdicts(verdicts)
        name = f"*{shape.name}*" if shape.few else shape.name
        power = powers(table, shapes_held_out.SHARES, few)
        print(
            "|",
            " | ".join([name, str(naive), str(ours), *power, str(ours.denied)]),
            "|",
            flush=True,
        )
        found.append((shape.name, naive, ours))
    return found


def ratios(runs: int, few: int) -> None:
    """The same incidents under a clause on uptime by request."""
    print("\n| uptime by request | false PASS / FAIL | PASS at 1/2 | at 1/4 | FAIL at 2 | denied |")
    print("|---|---|---|---|---|---|")
    for shape in [each for each in shapes_held_out.SHAPES if each.name in LOOKED_AT]:

        def table(share: float, count: int, shape: Shape = shape) -> Rates:
            drawn = runs_of(shape.name, shape.draw, share, count)
            failing = (rows._replace(failed=rows.over(LIMIT_S)) for rows in drawn)
            return of_verdicts([judged(rows, UPTIME)[0] for rows in failing])

        ours = table(0.01, runs)
        power = powers(table, shapes_held_out.SHARES, few)
        print("|", " | ".join([shape.name, str(ours), *power, str(ours.denied)]), "|", flush=True)


def stretches(runs: int, few: int) -> None:
    """Clauses that count intervals, minutes, slices and windows."""
    print("\n| stretches of time | false PASS / FAIL | PASS at 1/2 | at 1/4 | FAIL at 2 | denied |")
    print("|---|---|---|---|---|---|")
    for shape in shapes_of_time.SHAPES:

        def table(share: float, count: int, shape: Stretches = shape) -> Rates:
            drawn = runs_of(shape.name, shape.draw, share, count)
            contract = contract_of(shape.clause)
            return of_verdicts([judged(rows, contract, shape.end_ns)[0] for rows in drawn])

        ours = table(shapes_of_time.SHARES[0], runs)
        power = powers(table, shapes_of_time.SHARES, few)
        print("|", " | ".join([shape.name, str(ours), *power, str(ours.denied)]), "|", flush=True)


def looks(runs: int, few: int) -> None:
    """What the looks of `run --early-stop` add, at the limit; and how many runs they end at twice
    it.
    """
    print("\n| early stop | one look: false PASS / FAIL | four looks | ended early at twice |")
    print("|---|---|---|---|")
    for shape in [each for each in shapes_held_out.SHAPES if each.name in LOOKED_AT]:
        drawn = list(runs_of(shape.name, shape.draw, 0.01, runs))
        once = of_verdicts([judged(rows, P99)[0] for rows in drawn])
        said = [stopped_early(rows, P99)[0] for rows in drawn]
        double = [
            stopped_early(rows, P99)[1] for rows in runs_of(shape.name, shape.draw, 0.02, few)
        ]
        print(
            f"| {shape.name} | {once} | {of_verdicts(said)} | {100 * np.mean(double):.0f} % |",
            flush=True,
        )


PARTS: dict[str, Callable[[int, int], object]] = {
    "chosen": lambda runs, few: requests(runs, few, held_out=False),
    "held-out": lambda runs, few: requests(runs, few, held_out=True),
    "ratios": ratios,
    "stretches": stretches,
    "looks": looks,
}


def main() -> None:
    """Print the tables that were asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--runs", type=int, default=400, help="simulated runs at the limit")
    parser.add_argument("--few", type=int, default=100, help="simulated runs elsewhere")
    parser.add_argument("--plot", type=Path, help="draw false PASS on held-out shapes as an SVG")
    asked = parser.parse_args()
    for part in asked.parts or PARTS:
        found = PARTS[part](asked.runs, asked.few)
        if asked.plot and part == "held-out" and isinstance(found, list):
            draw_plot(found, asked.plot)


def draw_plot(found: list[tuple[str, Rates, Rates]], path: Path) -> None:
    import matplotlib as mpl  # late: a second to import, and only for the picture

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "coverage", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    rows = range(len(found))[::-1]
    axes.axvline(5, color="0.6", linewidth=1)
    axes.plot(
        [100 * exact.passed for _, exact, _ in found],
        rows,
        "o",
        color="0.55",
        label="as if independent",
    )
    axes.plot([100 * ours.passed for *_, ours in found], rows, "o", color="#b3261e", label="judge")
    axes.set(
        yticks=rows,
        yticklabels=[name for name, *_ in found],
        xlabel="false PASS, % (truth at the limit; line: 5 %)",
    )
    axes.set_xlim(0)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
