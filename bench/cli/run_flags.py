"""Flags of commands that send: metrics while a run lasts, and the part of a run that is sent here.

In: a port, the URL of a collector; `--shard`, `--start-at`, `--vantage`. Out: an `Exporter`, while
it is open; a `Shard`. Must stay true: what cannot be served or sent is refused before a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bench.cli.flags import parsed

if TYPE_CHECKING:
    from bench.app.exporter import Exporter
    from bench.load.shard import Shard

Command = TypeVar("Command", bound=Callable[..., Any])


def metrics_flags(command: Command) -> Command:
    """Adds --metrics-port and --otlp-endpoint."""
    port = click.option(
        "--metrics-port",
        type=click.IntRange(0, 65535),
        help=(
            "Serve the metrics of the run on this port of the loopback, /metrics, for Prometheus; 0"
            " = a free one."
        ),
    )
    endpoint = click.option(
        "--otlp-endpoint",
        metavar="URL",
        help=(
            "Push the metrics of the run to this OpenTelemetry collector every few seconds."
            " Headers: OTEL_EXPORTER_OTLP_HEADERS."
        ),
    )
    return port(endpoint(command))


@contextmanager
def monitored(
    metrics_port: int | None, otlp_endpoint: str | None, warn: Callable[[str], None]
) -> Iterator[Exporter]:
    """What the flags ask for, while it is open; the address is printed. Raises UserError."""
    from bench.app.exporter import PATH, exporting
    from bench.errors import UserError
    from bench.plan.target import check_base_url

    try:
        if otlp_endpoint is not None:
            check_base_url(otlp_endpoint)
            if "?" in otlp_endpoint:
                raise ValueError("a collector's URL has no query")
    except ValueError:
        raise UserError(
            "is not the URL of a collector",
            where="--otlp-endpoint",
            remedy="write http://127.0.0.1:4318, and headers into OTEL_EXPORTER_OTLP_HEADERS",
        ) from None
    with exporting(metrics_port, otlp_endpoint, warn) as exporter:
        if exporter.port is not None:
            click.echo(f"metrics: http://127.0.0.1:{exporter.port}{PATH}", err=True)
        yield exporter


def shard_of(
    shard: str | None,
    start_at: str | None,
    vantage: str | None,
    repeat: int,
    *,
    early_stop: bool,
) -> Shard:
    """What `--shard`, `--start-at` and `--vantage` ask for.

    Raises UserError for what no part of a run can do alone.
    """
    from bench.errors import UserError
    from bench.load.shard import Shard, parse_instant, parse_shard, parse_vantage

    if (shard or start_at) and repeat > 1:
        raise UserError(
            "does not go with --repeat",
            where="--shard" if shard else "--start-at",
            remedy="leave one of them out",
        )
    if shard and early_stop:
        raise UserError(
            "does not go with --early-stop: a shard alone decides no clause",
            where="--shard",
            remedy="leave one of them out",
        )
    if vantage and not shard:
        raise UserError(
            "says where a shard is sent from, and this run is no shard",
            where="--vantage",
            remedy="add --shard I/N",
        )
    number, of = parsed("--shard", parse_shard, shard) or (1, 1)
    return Shard(
        number,
        of,
        parsed("--start-at", parse_instant, start_at),
        parsed("--vantage", parse_vantage, vantage),
    )
