"""Commands on this machine alone: `gateway`, a provider by hand, and `calibrate`, our own error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli.output import described, format_option, print_json, print_lines, screen_width

if TYPE_CHECKING:
    from bench.record.records.calibration import CalibrationStep


@click.command(short_help="Serve the embedded gateway until Ctrl-C.")
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
    help="Address to bind; anything but loopback is warned of.",
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

    Its OpenAI-compatible base URL is http://HOST:PORT/SCENARIO/v1; GET /SCENARIO/truth tells
    the exact quantiles of what it did.
    """
    from bench.gateway.__main__ import main
    from bench.gateway.scenarios import load_scenario, scenario_names

    if list_only:
        found = {name: load_scenario(name).description for name in scenario_names()}
        if form == "json":
            print_json({"scenarios": found})
        else:
            print_lines(described(found, max(map(len, found))))
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


#: Two lines above the columns, of the widths that `_row` has.
_HEAD = (
    f"{'TTFT error, ms':>36}{'e2e error, ms':>21}{'p99, ms':>14}{'CPU':>7}",
    f"{'asked':>7}{'sent':>8}"
    + 2 * f"{'p50':>7}{'p99':>7}{'p99.9':>7}"
    + f"{'error':>7}{'lag':>7}{'µs':>7}",
)


@click.command(short_help="Measure this machine's own timing error and ceiling.")
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
@format_option()
def calibrate(tokens: int, seconds: float, max_rate: int | None, form: str) -> int:
    """Send rising rates to a null server whose true times are known, and print how far off we are.

    The result is kept, and later runs say what share of this machine's ceiling they used.
    """
    from bench.load.calibrate import LADDER_RPS
    from bench.load.calibrate import calibrate as measure
    from bench.load.ceiling import store
    from bench.show.render_terminal import wrapped

    text = form == "text"
    if text:
        print_lines(_HEAD)

    ladder = tuple(rate for rate in LADDER_RPS if max_rate is None or rate <= max_rate)
    record = measure(
        (lambda step: click.echo(_row(step))) if text else lambda _: None,
        tokens=tokens,
        seconds=seconds,
        ladder=ladder,
    )
    kept = store(record)
    if not text:
        print_json({**record.to_json(), "file": str(kept)})
        return 0
    said = (
        f"{record.ceiling_rps:,} requests/s, {record.ceiling_events_per_s:,} token events/s a"
        f" worker with p50 and p99 within {record.error_budget_ms:g} ms of the truth"
    )
    print_lines(wrapped("ceiling  ", said, screen_width()))
    if record.steps and record.ceiling_rps == record.steps[-1].rate_rps:
        click.echo("         the ladder ended before the error did: the true ceiling is higher")
    click.echo(f"kept in  {kept}")
    return 0


def _row(step: CalibrationStep) -> str:
    """One step of the ladder; `!`: no longer within the budget of the ceiling."""
    from bench.load.calibrate import within_budget

    errors = "".join(f"{value:+7.2f}" for value in (*step.ttft_error_ms, *step.e2e_error_ms))
    rates = f"{step.rate_rps:5d}/s{step.sent_rps:6.0f}/s"
    rest = f"{step.row_error_p99_ms:7.2f}{step.lag_p99_ms:7.2f}{step.cpu_us_per_request:7.0f}"
    return rates + errors + rest + ("" if within_budget(step) else " !")
