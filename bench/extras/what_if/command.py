"""`tailproof what-if`: router policies tried on the answers that were measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.help import command
from bench.cli.output import format_option, print_json, print_result

if TYPE_CHECKING:
    from bench.extras.what_if.record import WhatIf
    from bench.record.run_folder import Run


@command(short_help="Try router thresholds and hedging delays on recorded answers.")
@click.argument("runs", metavar="RUN[:NAME]...", nargs=-1, required=True)
@click.option(
    "--default",
    "first",
    metavar="NAME",
    required=True,
    help="Target that is called first.",
)
@click.option(
    "--fallback", "second", metavar="NAME", required=True, help="Target that is called next."
)
@click.option(
    "--policy",
    "policies",
    type=click.Choice(["sequential", "deadline", "hedge"]),
    multiple=True,
    help="What to try; repeatable.  [default: all]",
)
@click.option(
    "--threshold",
    metavar="SWEEP",
    help="Of sequential and deadline: such as 3s, or 1s..5s/9 (nine of them).",
)
@click.option(
    "--delay",
    metavar="SWEEP",
    help="Of hedge: such as 200ms, or 200ms..2s/10."
    "  [both by default: p50 to p99 of the default's answers]",
)
@format_option()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write what-if.json and what-if.svg there.",
)
def what_if(
    runs: tuple[str, ...],
    first: str,
    second: str,
    policies: tuple[str, ...],
    threshold: str | None,
    delay: str | None,
    form: str,
    out: Path | None,
) -> int:
    """Estimate what router policies would have done with the answers of RUN, without sending a
    request.

    Latency, success and cost of each policy at each threshold or delay, beside the models alone,
    with the Pareto front of p99 and cost. The router as published is always among them. Other
    targets of the stage, or those named, are shown as they were measured.
    """
    from bench.errors import UserError
    from bench.extras.what_if.replay import calls_of
    from bench.extras.what_if.settings import POLICIES, parse_sweep, settings_for
    from bench.extras.what_if.shown import what_if_result
    from bench.extras.what_if.what_if import what_if as replayed

    sweeps = []
    for flag, text in (("--threshold", threshold), ("--delay", delay)):
        try:
            sweeps.append(None if text is None else parse_sweep(text))
        except ValueError as error:
            raise UserError(str(error), where=flag) from None
    tried = policies or POLICIES
    for flag, sweep, of in (
        ("--threshold", sweeps[0], {"sequential", "deadline"}),
        ("--delay", sweeps[1], {"hedge"}),
    ):
        if sweep is not None and not of & set(tried):
            raise UserError(
                f"none of the chosen policies has one: --policy {', '.join(tried)}",
                where=flag,
                remedy=f"leave it out, or add --policy {min(of)}",
            )
    default, fallback, *others = (
        calls_of(run, index) for run, index in _lanes(runs, first, second)
    )
    settings = settings_for(default, tried, sweeps[0], sweeps[1])
    record = replayed(default, fallback, others, settings)
    if out is not None:
        _write(out, record)
    if form == "json":
        print_json(record.to_json())
    else:
        print_result(what_if_result(record))
    return 0


def _lanes(names: tuple[str, ...], first: str, second: str) -> list[tuple[Run, int]]:
    """The default, the fallback, then what stands beside them: lanes by name, and the default's
    whole stage of a bare RUN.
    """
    from bench.cli.flags import picked
    from bench.errors import UserError

    given = [picked(name) for name in names]
    lanes = [
        (run, index, named is not None)
        for run, named in given
        for index, lane in enumerate(run.lanes)
        if named in (None, lane.name)
    ]

    def found(name: str, flag: str) -> int:
        places = [
            place for place, (run, index, _) in enumerate(lanes) if run.lanes[index].name == name
        ]
        if len(places) != 1:
            known = ", ".join(dict.fromkeys(run.lanes[index].name for run, index, _ in lanes))
            said = f"{len(places)} of the runs have a target" if places else "there is no target"
            raise UserError(
                f"{said} named {name!r}",
                where=flag,
                remedy="name the one as RUN:NAME" if places else f"there are {known}",
            )
        return places[0]

    chosen = found(first, "--default"), found(second, "--fallback")
    if chosen[0] == chosen[1]:
        raise UserError(
            "the fallback is the default itself",
            where="--fallback",
            remedy="name another target",
        )
    home, at, _ = lanes[chosen[0]]
    stage = home.lanes[at].stage
    rest = [
        lane
        for place, lane in enumerate(lanes)
        if place not in chosen
        and (lane[2] or (lane[0].folder == home.folder and lane[0].lanes[lane[1]].stage == stage))
    ]
    return [(run, index) for run, index, _ in (*(lanes[place] for place in chosen), *rest)]


def _write(folder: Path, record: WhatIf) -> None:
    from bench.errors import UserError
    from bench.extras.what_if.shown import what_if_figure
    from bench.record.files import write_atomically, write_json

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot be made ({error.strerror})", where=str(folder)) from None
    write_json(folder / record.FILE, record.to_json())
    if (figure := what_if_figure(record)) is not None:
        write_atomically(folder / "what-if.svg", figure.encode())
