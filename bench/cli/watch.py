"""`tailproof watch`: low-rate probing for days or weeks, and where it stands."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.flags import parsed, parsed_rate, takes
from bench.cli.help import command
from bench.cli.output import format_option, print_json, print_result
from bench.cli.run_flags import metrics_flags, monitored
from bench.cli.streams import Lines

if TYPE_CHECKING:
    from bench.plan.contract import Contract

#: Seldom enough for weeks, often enough for a contract that counts minutes.
_RATE = "1/30s"


@dataclasses.dataclass(frozen=True, kw_only=True)
class WatchFlags:
    """The flags of `watch`."""

    suite: str | None
    rate: str
    contract: str | None
    out: Path | None
    lasts: str | None
    hook: str | None
    max_cost_per_day: str | None
    seed: int | None
    metrics_port: int | None
    otlp_endpoint: str | None
    status: Path | None
    form: str


@command(short_help="Probe for days or weeks; outages, monthly verdict, error budget.")
@click.argument("suite", required=False)
@click.option(
    "--rate",
    default=_RATE,
    show_default=True,
    help=(
        'Probes of each target, evenly apart: "1/30s", "2/min"; "profile" = as the suite\'s own'
        " profile has them."
    ),
)
@click.option(
    "--contract", help="Contract to judge by: built-in name or .toml path.  [default: the suite's]"
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help=(
        "Folder of the watch; started again with it, the watch goes on.  [default:"
        " results/watch-SUITE]"
    ),
)
@click.option(
    "--for", "lasts", help='End by itself after this long, e.g. "7d".  [default: at Ctrl-C]'
)
@click.option(
    "--hook",
    help="Command to call on outage, outage_end, breach, recovery, budget (see docs/watch.md).",
)
@click.option(
    "--max-cost-per-day", metavar="USD", help="Refuse probes that may cost more than this a day."
)
@metrics_flags
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Seed of schedules and prompts.  [default: the suite's]",
)
@click.option(
    "--status",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    metavar="DIR",
    help="Print where the watch in DIR stands, and stop.",
)
@format_option("--status")
@takes(WatchFlags)
def watch(flags: WatchFlags) -> int:
    """Probe the targets of SUITE, which has one stage, until Ctrl-C or SIGTERM (exit 130).

    Time in which nothing was probed counts as unobserved, neither up nor down.
    """
    from bench.errors import UserError
    from bench.plan.contract import load_contract

    held = load_contract(flags.contract) if flags.contract else None
    if flags.status is not None:
        if flags.suite is not None:
            raise UserError("does not go with SUITE", where="--status")
        return _status(flags.status, held, flags.form)
    if flags.suite is None:
        raise UserError("needs a suite", where="watch", remedy="name one, or give --status DIR")
    return _watch(flags.suite, held, flags)


def _watch(name: str, contract: Contract | None, flags: WatchFlags) -> int:
    from bench.app.watch import Terms, Watch
    from bench.app.watch_plan import probing, resolution
    from bench.errors import ExitCode
    from bench.load.generator import run_loop
    from bench.plan.suite import load_suite
    from bench.units import parse_duration_ns, parse_usd

    loaded = probing(
        load_suite(name),
        None if flags.rate == "profile" else parsed_rate("--rate", flags.rate),
        contract,
    )
    terms = Terms(
        flags.out or Path("results") / f"watch-{loaded.name}",
        loaded.seed if flags.seed is None else flags.seed,
        parsed("--hook", shlex.split, flags.hook) or (),
        parsed("--for", parse_duration_ns, flags.lasts),
        parsed("--max-cost-per-day", parse_usd, flags.max_cost_per_day),
        shlex.join(
            [
                "tailproof",
                "watch",
                name,
                "--rate",
                flags.rate,
                *(["--contract", flags.contract] if flags.contract else []),
            ]
        ),
    )
    with closing(Lines()) as lines:
        say = _dated(lines)
        for sentence in resolution(loaded):
            say(sentence)

        async def main() -> tuple[Watch, list[str]]:
            watching = Watch(loaded, terms, say)
            return watching, await watching.go_on()

        with monitored(flags.metrics_port, flags.otlp_endpoint, say) as exporter:
            terms = dataclasses.replace(terms, opened=exporter.follow)
            watching, verdicts = run_loop(main)
    return int(ExitCode.INTERRUPTED) if watching.stopped else _exit(verdicts)


def _dated(lines: Lines) -> Callable[[str], None]:
    from bench.clock import utc_text, wall_ns
    from bench.show.wording import visible

    return lambda text: lines.say(f"{utc_text(wall_ns())} {visible(text, 400)}")


def _exit(verdicts: list[str]) -> int:
    from bench.errors import ExitCode

    by_name = {"FAIL": ExitCode.FAIL, "INCONCLUSIVE": ExitCode.INCONCLUSIVE}
    return int(next((code for name, code in by_name.items() if name in verdicts), ExitCode.PASS))


def _status(folder: Path, contract: Contract | None, form: str) -> int:
    from bench.app.watch_records import overall, status

    record = status(folder, contract)
    if form == "json":
        print_json(record.to_json())
    else:
        from bench.show.watch import watch_result

        print_result(watch_result(record))
    return _exit(overall(record.targets))
