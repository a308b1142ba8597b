"""`tailproof attribute`: where the slow requests of a run come from."""

from __future__ import annotations

import click

from bench.cli.output import format_option, print_json, print_screen


@click.command(short_help="Say what the slow requests of a run have in common.")
@click.argument("which", metavar="RUN[:NAME]")
@click.option(
    "--limit",
    help=(
        "Latency from which a request is slow, such as 800ms.  [default: the contract's; p99"
        " without one]"
    ),
)
@format_option()
def attribute(which: str, limit: str | None, form: str) -> int:
    """Compare the slow requests of RUN, a folder below results/, with the others.

    For each level of each factor (context size, phase, new connection, cold start, region ...) the
    share of the tail that is associated with it, with its interval; then where their time went. The
    tail is what exceeds the contract's limit, or the slowest 1 % where fewer than 30 requests do.
    """
    from bench.cli.picked import picked
    from bench.errors import UserError
    from bench.judge.attribution.attribute import attribute_run
    from bench.show.attribution import attribution_screen
    from bench.units import parse_duration_ns

    run, name = picked(which)
    try:
        limit_ns = None if limit is None else parse_duration_ns(limit)
    except ValueError as error:
        raise UserError(str(error), where="--limit") from None
    record = attribute_run(run, limit_ns, name)
    if form == "json":
        print_json(record.to_json())
        return 0
    print_screen(*(attribution_screen(*lane) for lane in record.targets.items()))
    return 0
