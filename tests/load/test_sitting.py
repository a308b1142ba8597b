"""A run taken up again: what it will send, what it may still cost, and that no moment of taking it
up can lose a row.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from bench.clock import wall_ns
from bench.errors import UserError
from bench.judge.fitness import fitness
from bench.load.guard import UNCAPPED, Caps
from bench.load.sitting import take_up
from bench.plan.drill import Drill, PlannedDrill
from bench.plan.schedule import Plan
from bench.record.gather import gather_attempts, parts_in
from bench.record.identity import plan_facts
from bench.record.pieces import SegmentWriter, Texts
from bench.record.run_folder import Run, RunWriter
from bench.record.samples import ATTEMPT_DTYPE, Outcome, empty_samples
from bench.units import MS, S
from tests.support.world import plan_for

#: 60 requests of 12 and 4 tokens, 100 ms apart
PRICED = {
    "prices": {
        "input_usd_per_million": 1000,
        "output_usd_per_million": 2000,
        "as_of": "2026-11-23",
        "source": "s",
    }
}
LATER_NS = 60 * S
TEXTS: dict[str, list[str]] = {
    "served_model": ["m"],
    "served_region": [],
    "finish": ["stop"],
    "note": ["said"],
}


def made_plan() -> Plan:
    """Constant arrivals, and a drill at each end."""
    plan = plan_for({"kind": "constant", "rate": "10/s"}, PRICED, requests=60)
    drills = tuple(
        PlannedDrill(at, "s", Drill.model_validate({"at": f"{at // MS}ms", "do": "cut"}))
        for at in (500 * MS, 1_900 * MS)
    )
    return dataclasses.replace(plan, drills=drills)


def broken_off(folder: Path, plan: Plan, state: str) -> None:
    """Eight rows answered, the record ends after 700 ms; the run began a minute ago."""
    began = wall_ns() - LATER_NS
    facts = plan_facts(plan, "r", began).replace(repeat_command="tailproof run s")
    writer, pieces = RunWriter(folder, facts, plan.schedule), SegmentWriter(folder)
    samples, rows = empty_samples(60), np.arange(7)
    samples["outcome"][rows], samples["note"][rows], samples["finish"][rows] = Outcome.ok, 0, 0
    samples["due_ns"][rows] = samples["sent_ns"][rows] = plan.schedule["due_ns"][rows]
    samples["done_ns"][rows] = samples["due_ns"][rows] + 5 * MS
    samples["prompt_tokens"][rows], samples["output_tokens"][rows] = 10, 3
    attempts = np.zeros(2, ATTEMPT_DTYPE)
    attempts["row"], attempts["note"], attempts["outcome"] = [0, 1], 0, Outcome.ok
    attempts["prompt_tokens"], attempts["output_tokens"] = 10, 3
    pieces.append(rows, samples[rows], TEXTS)
    pieces.append_attempts(attempts, TEXTS)
    pieces.mark(700 * MS)
    if state == "interrupted":
        writer.finish("interrupted", samples, {"strings": TEXTS, "stopped_ns": 700 * MS}, attempts)
    writer.let_go()


@pytest.mark.parametrize(
    ("state", "first"), [("running", 18), ("interrupted", 7)], ids=["killed", "Ctrl-C"]
)
def test_a_run_is_taken_up_where_it_broke_off(state: str, first: int, tmp_path: Path) -> None:
    """Killed, a second beyond the record is cut off, for it may have begun; else nothing is.

    The rest is due from now on, 100 ms apart.
    """
    plan = made_plan()
    broken_off(tmp_path / "r", plan, state)
    sitting = take_up(plan, tmp_path / "r", 1, UNCAPPED)
    assert sitting.number == 2
    due = sitting.plan.schedule["due_ns"]
    assert {*due[:first].tolist()} == {-1}
    assert np.diff(due[first:]).tolist() == [100 * MS] * (59 - first)
    assert LATER_NS <= due[first] <= LATER_NS + 30 * S
    assert sitting.shift_ns == due[first] - plan.schedule["due_ns"][first]
    (lane,) = sitting.plan.lanes
    cut, end = int(plan.schedule["due_ns"][first]), plan.end_ns
    assert [(span.start_ns, span.end_ns) for span in lane.spans] == [
        (0, cut),
        (due[first], end + sitting.shift_ns),
    ]
    assert [drill.at_ns for drill in sitting.plan.drills] == [1_900 * MS + sitting.shift_ns]
    run = Run(tmp_path / "r")
    outcomes = run.columns.samples["outcome"]
    assert {*outcomes[:7]} == {Outcome.ok}
    assert {*outcomes[7:first]} <= {Outcome.censored}
    assert run.manifest.lanes[0].phase_spans[1].start_ns == due[first]
    assert run.gaps_ns[0] == (700 * MS, due[first])
    said = fitness(run).facts["gaps"]
    assert said[0].startswith("broken off after 700 ms and resumed ")
    assert said[1].endswith(f"{60 - first} of 60 requests were never reached")


def states(before: Path, after: Path, place: Path) -> Iterator[Path]:
    """The folder as a process leaves it that is killed while it takes a run up: each new piece,
    then the manifest, then what goes.
    """

    def files(folder: Path) -> set[str]:
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

    state = place / "state"
    shutil.copytree(before, state)
    yield state
    for name in [*sorted(files(after) - files(before)), "run.json"]:
        (state / name).parent.mkdir(exist_ok=True)
        shutil.copy(after / name, state / name)
        yield state
    for name in sorted(files(before) - files(after)):
        (state / name).unlink()
        yield state


@pytest.mark.parametrize("state", ["running", "interrupted"])
def test_no_moment_of_taking_up_loses_a_row(state: str, tmp_path: Path) -> None:
    """Between any two files that are written or removed the same answers, texts and attempts are
    read, and it can be taken up.
    """
    plan = made_plan()
    broken_off(tmp_path / "r", plan, state)
    shutil.copytree(tmp_path / "r", tmp_path / "before")
    take_up(plan, tmp_path / "r", 1, UNCAPPED).writer.let_go()
    seen = 0
    for number, folder in enumerate(states(tmp_path / "before", tmp_path / "r", tmp_path)):
        run = Run(folder)
        samples = run.columns.samples
        assert np.flatnonzero(samples["outcome"] == Outcome.ok).tolist() == list(range(7))
        assert {run.strings("note")[each] for each in samples["note"][:7]} == {"said"}
        assert {run.strings("finish")[each] for each in samples["finish"][:7]} == {"stop"}
        assert run.attempts["row"].tolist() == [0, 1]
        again = tmp_path / f"again{number}"
        shutil.copytree(folder, again)
        assert (take_up(plan, again, 1, UNCAPPED).plan.schedule["due_ns"] >= 0).sum() in range(
            31, 54
        )
        assert gather_attempts(parts_in(again), Texts())["row"].tolist() == [0, 1]
        seen += 1
    assert seen >= 5


def test_a_spending_cap_holds_for_all_sittings(tmp_path: Path) -> None:
    """Seven rows were billed by their usage: what is left is the difference to the cap; nothing,
    where they cost more than that.
    """
    plan = made_plan()
    broken_off(tmp_path / "r", plan, "interrupted")
    sitting = take_up(plan, tmp_path / "r", 1, Caps(Fraction(100)))
    assert sitting.caps.cost_usd == 100 - 7 * (10 * Fraction(1000) + 3 * Fraction(2000)) / 10**6
    broken_off(tmp_path / "spent", plan, "interrupted")
    assert take_up(plan, tmp_path / "spent", 1, Caps(Fraction(1, 10))).caps.cost_usd == 0


def test_nothing_left_is_said(tmp_path: Path) -> None:
    """A run that was killed within its last second has nothing left to send."""
    plan = plan_for({"kind": "constant", "rate": "10/s"}, PRICED, requests=9)
    broken = dataclasses.replace(plan, schedule=plan.schedule)
    facts = plan_facts(plan, "r", wall_ns() - LATER_NS).replace(repeat_command="tailproof run s")
    RunWriter(tmp_path / "r", facts, broken.schedule).let_go()
    SegmentWriter(tmp_path / "r").mark(300 * MS)
    with pytest.raises(UserError, match="no request left"):
        take_up(broken, tmp_path / "r", 1, UNCAPPED)
