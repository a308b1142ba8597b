"""Flags that show the metrics of a run while it lasts, and what shows them.

In: a port, the URL of a collector. Out: an `Exporter`, while it is open. Must stay true: what
cannot be served is refused before a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from bench.app.exporter import Exporter

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
