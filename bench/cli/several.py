"""Several runs of one plan: `run --repeat M --over 7d`, and `judge RUN RUN …`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.flags import parsed
from bench.cli.output import print_json, print_result
from bench.errors import ExitCode, UserError

if TYPE_CHECKING:
    from bench.app.conclude import Finished
    from bench.load.options import RunOptions
    from bench.plan.contract import Contract
    from bench.plan.schedule import Plan
    from bench.plan.suite import Suite

#: Plays a plan, with what its screen shows.
Play = Callable[["Plan", "RunOptions"], "Finished"]


@dataclasses.dataclass(frozen=True)
class OverTime:
    """What `run --over` was asked for."""

    suite: Suite
    seed: int
    repeat: int
    over: str
    options: RunOptions
    #: the command that plays a run of this seed again
    again: Callable[[int], str]
    repeat_command: str
    #: of the plan, before the first is sent
    said: Sequence[str]
    form: str
    quiet: bool


def refuse_over(repeat: int, suite: Suite, *, early_stop: bool, form: str) -> None:
    """Raises UserError for what runs over time cannot be."""
    if repeat < 2:
        raise UserError(
            "says within how long, and not how many runs", where="--over", remedy="add --repeat 12"
        )
    if any(stage.simulated for stage in suite.stages):
        raise UserError(
            "does not go with the simulator, whose time is no real time",
            where="--over",
            remedy="leave it out, or add --over-http",
        )
    if early_stop:
        raise UserError(
            "does not go with --early-stop: the run is the unit, and all must be of one length",
            where="--over",
            remedy="leave one of them out",
        )
    if form == "github":
        raise UserError("does not go with --over", where="--format github", remedy="use json")


def run_over(asked: OverTime, play: Play) -> int:
    """Wait, play, judge; the exit code."""
    from bench.app.conclude import conclude
    from bench.app.repeat import Players, Repeat, Terms
    from bench.cli.streams import Lines
    from bench.load.options import read_plan
    from bench.plan.schedule import compile_plan
    from bench.record.identity import named
    from bench.show.wording import visible
    from bench.units import parse_duration_ns

    first = compile_plan(asked.suite, asked.seed)
    over_ns = parsed("--over", parse_duration_ns, asked.over)
    folder = asked.options.folder or asked.options.results / named(
        f"runs-{asked.suite.name}", _now(), first.schedule.tobytes()
    )

    def begin(path: Path, seed: int, alone: bool) -> Finished:
        plan = compile_plan(asked.suite, seed)
        options = dataclasses.replace(asked.options, folder=path, repeat_command=asked.again(seed))
        return play(*((plan, options) if alone else _whatever_answers(plan, options)))

    def resume(path: Path) -> Finished:
        plan, options = read_plan(path)
        return play(plan, dataclasses.replace(options, resume=path))

    lines = Lines()
    tell = (lambda _: None) if asked.quiet else lines.say
    terms = Terms(folder, asked.repeat, over_ns, asked.seed, asked.repeat_command)
    try:
        repeat = Repeat(first, terms, Players(begin, resume, conclude), tell)
        tell(f"{asked.repeat} runs within {asked.over} into {folder}; the same command with")
        tell("  this --out goes on with them after an interruption")
        for sentence in asked.said:
            tell(f"  {visible(sentence, 400)}")
        whole = repeat.go_on()
        if not any(start.started_utc for start in repeat.record.starts):
            tell("interrupted before the first run: nothing was sent")
            return int(ExitCode.INTERRUPTED)
    finally:
        lines.close()
    code = judge_several([folder], None, folder, asked.form)
    return code if whole else int(ExitCode.INTERRUPTED)


def _now() -> int:
    from bench.clock import wall_ns

    return wall_ns()


def _whatever_answers(plan: Plan, options: RunOptions) -> tuple[Plan, RunOptions]:
    """A later run measures what there is: a service that is down or refuses is data, not the end of
    the run.
    """
    lanes = []
    for lane in plan.lanes:
        target = lane.target.model_copy(
            update={
                "ready_check": False,
                "legs": tuple(
                    leg.model_copy(update={"ready_check": False}) for leg in lane.target.legs
                ),
            }
        )
        lanes.append(dataclasses.replace(lane, target=target))
    caps = dataclasses.replace(options.caps, stop_rule=False)
    return dataclasses.replace(plan, lanes=tuple(lanes)), dataclasses.replace(options, caps=caps)


def judge_several(
    folders: Sequence[Path], override: Contract | None, out: Path | None, form: str
) -> int:
    """Judge runs of one plan together, write what was found into `out`, print it."""
    from bench.judge.runs.judged import judge_together
    from bench.judge.runs.together import together
    from bench.record.files import write_json
    from bench.show.runs import runs_screen, write_runs_report

    if form == "github":
        raise UserError("is not made of several runs", where="--format github", remedy="use json")
    runs = together(folders, override)
    verdicts = judge_together(runs, override)
    suite = runs.runs[0].manifest.suite
    title = suite.name if suite else verdicts.run
    repeat = runs.drawn.repeat_command if runs.drawn else ""
    report = None
    if out is not None:
        _make_folder(out)
        write_json(out / "verdicts.json", verdicts.to_json())
        report = write_runs_report(out, verdicts, title, repeat)
    if form == "json":
        print_json(verdicts.to_json())
    else:
        print_result(runs_screen(verdicts, report, repeat))
    return verdicts.exit_code


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror})", where=f"--out {folder}") from None
