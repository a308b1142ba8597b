"""`tailproof compare`: two targets held against each other, within a run, across runs or against a
stored baseline.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.output import format_option, print_json, print_lines, screen_width

if TYPE_CHECKING:
    from bench.judge.compare.arms import Arm
    from bench.record.records.comparisons import Comparison, Comparisons
    from bench.record.run_folder import Run

_GATE = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}


@click.command(short_help="Compare two targets: is the dearer one faster, and is it worth it?")
@click.argument("arms", metavar="RUN[:NAME] [RUN[:NAME]]", nargs=-1, required=True)
@click.option(
    "--metric",
    type=click.Choice(["e2e", "ttft", "ttft_answer"]),
    help="Which latency.  [default: e2e]",
)
@click.option("--margin", help="A gain below this share does not count.  [default: 10%]")
@click.option(
    "--force", is_flag=True, help="Compare although machine, load profile or clock differ."
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    help="Hold RUN against this stored baseline: exit 1 where it is worse beyond the margin.",
)
@click.option(
    "--save-baseline",
    type=click.Path(path_type=Path),
    help="Store the (last) RUN[:NAME] as a baseline.",
)
@format_option()
def compare(
    arms: tuple[str, ...],
    metric: str | None,
    margin: str | None,
    force: bool,
    baseline: Path | None,
    save_baseline: Path | None,
    form: str,
) -> int:
    """Hold the second target against the first, the baseline.

    NAME is the target's name in the report.

    \b
    compare RUN                    the comparisons that the run's suite asked for
    compare RUN:standard RUN:pro   two targets of one run
    compare OLD:pro NEW:pro        the same target in two runs
    compare NEW:pro --baseline F   against a baseline that --save-baseline stored: exit 1 where it
                                   is worse beyond the margin, 3 where that cannot be told
    """
    from bench.errors import UserError
    from bench.judge.compare.arms import load_baseline
    from bench.judge.compare.arms import save_baseline as save
    from bench.judge.compare.compared import compare_pair
    from bench.show.render_terminal import wrapped

    if len(arms) > 2 or (len(arms) == 2 and baseline is not None):
        raise UserError("compares two targets", remedy="name a baseline and one other")
    if len(arms) == 1 and baseline is None and save_baseline is None:
        return _suite_comparisons(
            arms[0], form, {"--metric": metric, "--margin": margin, "--force": force}
        )
    stored = load_baseline(baseline) if baseline is not None else None
    if stored is not None and metric not in (None, stored.metric):
        raise UserError(
            f"the baseline holds {stored.metric}", where="--metric", remedy="leave --metric out"
        )
    found = [_arm(name, metric or (stored.metric if stored else "e2e")) for name in arms]
    if save_baseline is not None:
        save(found[-1][0], save_baseline)
        if len(found) == 1 and stored is None:
            if form == "json":
                print_json({"format": 1, "baseline": str(save_baseline)})
            else:
                click.echo(f"stored    {save_baseline}")
            return 0
    first, second = (stored, found[0][0]) if stored is not None else (found[0][0], found[1][0])
    runs = [] if stored is not None else [each[1] for each in found]
    record = compare_pair(first, second, runs, margin=margin, force=force)
    _print([record], form)
    if stored is None:
        return 0
    gate = record.regression
    if form == "text":
        print_lines(wrapped("gate      ", f"{gate.headline}: {gate.reason}", screen_width()))
    return _GATE[gate.headline]


def _suite_comparisons(folder: str, form: str, flags: dict[str, Any]) -> int:
    from bench.errors import UserError
    from bench.judge.compare.compared import compare_run
    from bench.record.run_folder import Run

    for flag, value in flags.items():
        if value:
            raise UserError(
                "needs two targets; the suite's own comparisons are as the suite states them",
                where=flag,
            )
    run = Run(Path(folder))
    made = compare_run(run)
    if made is None:
        names = [lane.name for lane in run.lanes]
        raise UserError(
            "the run's suite compares nothing",
            where=folder,
            remedy=f"name two targets: {folder}:{names[0]} {folder}:{names[-1]}",
        )
    _print(made.comparisons, form, made)
    return 0


def _arm(text: str, metric: str) -> tuple[Arm, Run]:
    """The arm and the run that `RUN[:NAME]` means.

    Raises UserError naming the targets there are.
    """
    from bench.cli.picked import picked
    from bench.judge.compare.compared import named_arm

    run, name = picked(text)
    return named_arm(run, name, metric), run


def _print(records: list[Comparison], form: str, made: Comparisons | None = None) -> None:
    if form == "json":
        print_json((made or records[0]).to_json())
        return
    from bench.cli.screen import show_comparisons

    show_comparisons(records, made.expects if made else [])
