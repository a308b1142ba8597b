"""`tailproof gateway`: the simulated provider, by hand."""

from __future__ import annotations

import click

from bench.cli.output import described, format_option, print_json, print_lines


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
