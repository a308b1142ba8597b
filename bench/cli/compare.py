"""`tailproof compare`: two targets held against each other, within a run, across runs or against a stored baseline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bench.judge.compare.arms import Arm
    from bench.record.run_folder import Run

_GATE = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}


@click.command(short_help="Compare two targets: is the dearer one faster, and is it worth it?")
@click.argument("arms", metavar="RUN[:NAME] [RUN[:NAME]]", nargs=-1, required=True)
@click.option("--metric", type=click.Choice(["e2e", "ttft", "ttft_answer"]), help="Which latency.  [default: e2e]")
@click.option("--margin", help="A gain below this share does not count.  [default: 10%]")
@click.option("--force", is_flag=True, help="Compare although machine, load profile or clock differ.")
@click.option("--baseline", type=click.Path(path_type=Path), help="Hold RUN against this stored baseline: exit 1 where it is worse beyond the margin.")  # fmt: skip
@click.option("--save-baseline", type=click.Path(path_type=Path), help="Store the (last) RUN[:NAME] as a baseline.")
@click.option(
    "--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)
def compare(arms: tuple[str, ...], metric: str | None, margin: str | None, force: bool, baseline: Path | None,
            save_baseline: Path | None, style: str) -> int:  # fmt: skip
    """Hold the second target against the first, the baseline. NAME is the target's name in the report.

    \b
    compare RUN                    the comparisons that the run's suite asked for
    compare RUN:standard RUN:pro   two targets of one run
    compare OLD:pro NEW:pro        the same target in two runs
    compare NEW:pro --baseline F   against a baseline that --save-baseline stored: exit 1 where it
                                   is worse beyond the margin, 3 where that cannot be told
    """
    from bench.errors import UserError
    from bench.judge.compare.arms import differences, load_baseline
    from bench.judge.compare.arms import save_baseline as save

    if len(arms) > 2 or (len(arms) == 2 and baseline is not None):
        raise UserError("compares two targets", remedy="name a baseline and one other")
    if len(arms) == 1 and baseline is None and save_baseline is None:
        return _suite_comparisons(arms[0], style, {"--metric": metric, "--margin": margin, "--force": force})
    stored = load_baseline(baseline) if baseline is not None else None
    if stored is not None and metric not in (None, stored.metric):
        raise UserError(f"the baseline holds {stored.metric}", where="--metric", remedy="leave --metric out")
    found = [_arm(name, metric or (stored.metric if stored else "e2e")) for name in arms]
    if save_baseline is not None:
        save(found[-1][0], save_baseline)
        if len(found) == 1 and stored is None:
            click.echo(f"stored    {save_baseline}")
            return 0
    first, second = (stored, found[0][0]) if stored is not None else (found[0][0], found[1][0])
    reasons = differences(first, second)
    if reasons and not force:
        raise UserError(f"{first.name} and {second.name} do not belong side by side: {'; '.join(reasons)}",
                        remedy="compare like with like, or say --force")  # fmt: skip
    runs = [] if stored is not None else [each[1] for each in found]
    record = _compared(first, second, runs, margin)
    _print([record], style)
    if stored is None:
        return 0
    gate = record["regression"]
    if style == "text":
        click.echo(f"gate      {gate['headline']}: {gate['reason']}")
    return _GATE[gate["headline"]]


def _suite_comparisons(folder: str, style: str, flags: dict[str, Any]) -> int:
    from bench.errors import UserError
    from bench.judge.compare.compared import compare_run
    from bench.record.run_folder import Run

    for flag, value in flags.items():
        if value:
            raise UserError("needs two targets; the suite's own comparisons are as the suite states them", where=flag)
    run = Run(Path(folder))
    made = compare_run(run)
    if made is None:
        names = [lane["name"] for lane in run.lanes]
        raise UserError("the run's suite compares nothing", where=folder,
                        remedy=f"name two targets: {folder}:{names[0]} {folder}:{names[-1]}")  # fmt: skip
    _print(made["comparisons"], style, made)
    return 0


def _arm(text: str, metric: str) -> tuple[Arm, Run]:
    """The arm and the run that `RUN[:NAME]` means. Raises UserError naming the targets there are."""
    from bench.cli.picked import picked
    from bench.errors import UserError
    from bench.judge.compare.arms import arm_of

    run, name = picked(text)
    names = [lane["name"] for lane in run.lanes]
    if name is None and len(names) > 1:
        raise UserError(f"has {len(names)} targets", where=text,
                        remedy=f"write {text}:NAME with one of {', '.join(names)}")  # fmt: skip
    return arm_of(run, names.index(name or names[0]), metric), run


def _compared(first: Arm, second: Arm, runs: list[Run], margin: str | None) -> dict[str, Any]:
    """The record of two arms; two of one comparison in a suite are looked at in the order they were sent in, and
    beside its A/A check."""
    import dataclasses

    from bench.errors import UserError
    from bench.judge.compare.arms import one_after_the_other
    from bench.judge.compare.compare import Question, compare_arms
    from bench.judge.compare.compared import aa_check, question_of, split, table_of, with_aa
    from bench.units import parse_share

    asked = Question(design="one after the other" if one_after_the_other(first, second) else "side by side",
                     limit_ns=first.facts["limit_ns"])  # fmt: skip
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


def _print(records: list[dict[str, Any]], style: str, made: dict[str, Any] | None = None) -> None:
    import json

    if style == "json":
        click.echo(json.dumps(made or records[0], indent=2, ensure_ascii=False, allow_nan=False))
        return
    from bench.cli.screen import show_comparisons

    show_comparisons(records, made["expects"] if made else [])
