"""Commands on this machine alone: `gateway`, a provider by hand, and `calibrate`, our own error."""

from __future__ import annotations

import click

from bench.cli.help import command
from bench.cli.output import (
    described,
    format_option,
    print_json,
    print_lines,
    print_result,
    quiet_option,
)


@command(short_help="Serve the simulated provider until Ctrl-C.")
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    help="Built-in name or .toml path; repeatable.  [default: every built-in one]",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; a warning is printed for any but loopback.",
)
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="0 = any free port.",
)
@click.option(
    "--truth-log",
    type=click.Path(dir_okay=False),
    help="Append one JSON line a request: what really happened.",
)
@click.option("--list", "list_only", is_flag=True, help="List the scenarios and stop.")
@format_option("--list")
def gateway(
    scenarios: tuple[str, ...],
    host: str,
    port: int,
    truth_log: str | None,
    list_only: bool,
    form: str,
) -> int:
    """Serve a simulated LLM provider on loopback.

    It speaks every API; the base URL is http://HOST:PORT/SCENARIO/v1. GET /SCENARIO/truth answers
    with the exact quantiles of what it did.
    """
    from bench.gateway.__main__ import main
    from bench.gateway.scenarios import load_scenario, scenario_names

    if list_only:
        found = {name: load_scenario(name).description for name in scenario_names()}
        if form == "json":
            print_json({"scenarios": found})
        else:
            print_lines(described(found, max(map(len, found)), short=True))
        return 0
    arguments = [
        "--scenarios",
        ",".join(scenarios or scenario_names()),
        "--host",
        host,
        "--port",
        str(port),
    ]
    return main(arguments + (["--truth-log", truth_log] if truth_log else []))


@command(short_help="Measure this machine's own timing error and ceiling.")
@click.option(
    "--tokens",
    default=16,
    show_default=True,
    type=click.IntRange(1, 4096),
    help="Token chunks a stream.",
)
@click.option(
    "--seconds",
    default=4.0,
    show_default=True,
    type=click.FloatRange(1, 60),
    help="Length of each step.",
)
@click.option(
    "--max-rate", type=click.IntRange(100), help="Climb no higher than this many requests a second."
)
@quiet_option
@format_option()
def calibrate(tokens: int, seconds: float, max_rate: int | None, form: str, *, quiet: bool) -> int:
    """Send rising rates to a null server whose true times are known, and print how far off we are.

    The result is kept, and later runs say what share of this machine's ceiling they used.
    """
    from bench.errors import RunFolderError
    from bench.load.calibrate import LADDER_RPS
    from bench.load.calibrate import calibrate as measure
    from bench.load.ceiling import store
    from bench.show.calibration import calibration_result
    from bench.show.wording import whole_seconds

    ladder = tuple(rate for rate in LADDER_RPS if max_rate is None or rate <= max_rate)

    def begin(rate: int) -> None:
        left = whole_seconds(round((len(ladder) - ladder.index(rate)) * (seconds + 1) * 10**9))
        if not quiet:
            click.echo(f"measuring {rate:,}/s, at most {left} left", err=True)

    record = measure(lambda _: None, tokens=tokens, seconds=seconds, ladder=ladder, on_begin=begin)
    try:
        kept = str(store(record))
    except RunFolderError as error:
        # minutes of measuring are not lost by a home that cannot be written
        kept = ""
        click.echo(f"note: not kept for later runs: {error}", err=True)
    if form == "text":
        print_result(calibration_result(record, kept))
    else:
        print_json({**record.to_json(), "file": kept or None})
    return 0
