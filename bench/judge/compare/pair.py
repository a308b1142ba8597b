"""Two arms that somebody named, held against each other.

In: two arms and the runs they come from. Out: one record. Must stay true: arms that do not belong
side by side are refused unless by force; two arms of one comparison in a suite are looked at in the
order they were sent in, and beside its A/A check.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from bench.errors import UserError
from bench.judge.compare.arms import Arm, arm_of, differences, one_after_the_other
from bench.judge.compare.compare import Question, compare_arms
from bench.judge.compare.compared import aa_check, question_of, split, table_of, with_aa
from bench.record.run_folder import Run
from bench.units import parse_share


def named_arm(run: Run, name: str | None, metric: str) -> Arm:
    """The arm of the run's target of this name, or of its only one.

    Raises UserError naming the targets there are.
    """
    names = [lane["name"] for lane in run.lanes]
    if name not in (None, *names):
        raise UserError(
            f"has no target named {name!r}",
            where=str(run.folder),
            remedy=f"it has {', '.join(names)}",
        )
    if name is None and len(names) > 1:
        raise UserError(
            f"has {len(names)} targets",
            where=str(run.folder),
            remedy=f"write {run.folder}:NAME with one of {', '.join(names)}",
        )
    return arm_of(run, names.index(name or names[0]), metric)


def compare_pair(
    first: Arm, second: Arm, runs: Sequence[Run], *, margin: str | None, force: bool
) -> dict[str, Any]:
    """The record of two arms; `runs` are those they come from, none for a stored baseline.

    `margin` is a share as users write it, None for the usual one. Raises UserError.
    """
    reasons = differences(first, second)
    if reasons and not force:
        raise UserError(
            f"{first.name} and {second.name} do not belong side by side: {'; '.join(reasons)}",
            remedy="compare like with like, or say --force",
        )
    asked = Question(
        design="one after the other" if one_after_the_other(first, second) else "side by side",
        limit_ns=first.facts["limit_ns"],
    )
    table = None
    if runs and runs[0].folder.resolve() == runs[1].folder.resolve():
        if first.name == second.name:
            raise UserError(f"{first.name} is compared with itself", remedy="name two targets")
        table = table_of(runs[0], [first.name, second.name])
    if table is not None:
        asked = question_of(runs[0], first, table, last=second.name == table.arms[-1])
    checks = [aa_check(*split(first, asked.seed), asked)] if table is not None and table.aa else []
    try:
        share = asked.margin if margin is None else parse_share(margin)
    except ValueError as error:
        raise UserError(str(error), where="--margin") from None
    if not 0 < share < 1:
        raise UserError("must lie between 0 % and 100 %", where="--margin")
    return with_aa(compare_arms(first, second, dataclasses.replace(asked, margin=share)), checks)
