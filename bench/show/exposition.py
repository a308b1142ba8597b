"""Metrics of a run in the formats of monitoring systems: Prometheus text, OpenTelemetry's OTLP as
JSON.

In: metrics. Out: text, or a JSON value. Must stay true: both say the same under names that follow
from one another; buckets of Prometheus add up, those of OTLP do not; label values are cut and
harmless, whatever a server put into them.

Source: Prometheus text format 0.0.4; opentelemetry-proto, ExportMetricsServiceRequest in its JSON
mapping.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import accumulate
from typing import Any

from bench import __version__
from bench.judge.telemetry import Metric
from bench.show.wording import visible
from bench.units import show_exact

#: How a unit stands in a name of Prometheus; units in braces and 1 do not.
_SUFFIX = {"s": "_seconds"}
_CUMULATIVE = 2


def prometheus_name(metric: Metric) -> str:
    """`gen_ai.client.operation.duration` in s -> `gen_ai_client_operation_duration_seconds`;
    counters end in `_total`.
    """
    return (
        metric.name.replace(".", "_")
        + _SUFFIX.get(metric.unit, "")
        + ("_total" if metric.kind == "counter" else "")
    )


def prometheus_text(metrics: Iterable[Metric]) -> Iterator[str]:
    """The lines of a scrape, without timestamps: the values are those of the finished run."""
    for metric in metrics:
        name = prometheus_name(metric)
        yield f"# HELP {name} {metric.says}\n# TYPE {name} {metric.kind}\n"
        for point in metric.points:
            if metric.kind != "histogram":
                yield f"{name}{_labels(point.labels)} {point.value:g}\n"
                continue
            edges = [
                *(show_exact(Fraction(edge, metric.per_unit)) for edge in metric.edges),
                "+Inf",
            ]
            for edge, below in zip(edges, accumulate(point.counts), strict=True):
                yield f"{name}_bucket{_labels({**point.labels, 'le': edge})} {below}\n"
            yield (
                f"{name}_sum{_labels(point.labels)}"
                f" {point.value!r}\n{name}_count{_labels(point.labels)} {sum(point.counts)}\n"
            )


def _labels(labels: Mapping[str, str]) -> str:
    # `visible` has written line breaks out already, with a backslash that is itself escaped here.
    pairs = (
        f'{name.replace(".", "_")}="{_escaped(visible(value))}"' for name, value in labels.items()
    )
    return f"{{{','.join(pairs)}}}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"")


def otlp(metrics: Iterable[Metric], start_wall_ns: int, end_wall_ns: int) -> dict[str, Any]:
    """One ExportMetricsServiceRequest; moments are wall-clock ns of the run's start and end."""
    span = {"startTimeUnixNano": str(start_wall_ns), "timeUnixNano": str(end_wall_ns)}
    resource = {
        "attributes": _attributes({"service.name": "tailproof", "service.version": __version__})
    }
    scope = {"name": "tailproof", "version": __version__}
    return {
        "resourceMetrics": [
            {
                "resource": resource,
                "scopeMetrics": [
                    {"scope": scope, "metrics": [_otlp_metric(metric, span) for metric in metrics]}
                ],
            }
        ]
    }


def _otlp_metric(metric: Metric, span: Mapping[str, str]) -> dict[str, Any]:
    data: dict[str, Any] = {"aggregationTemporality": _CUMULATIVE}
    if metric.kind == "histogram":
        data["dataPoints"] = [
            {
                "attributes": _attributes(point.labels),
                **span,
                "count": str(sum(point.counts)),
                "sum": point.value,
                "bucketCounts": [str(count) for count in point.counts],
                "explicitBounds": [edge / metric.per_unit for edge in metric.edges],
            }
            for point in metric.points
        ]
    else:
        data["dataPoints"] = [
            {"attributes": _attributes(point.labels), **span, "asDouble": point.value}
            for point in metric.points
        ]
    if metric.kind == "counter":
        data["isMonotonic"] = True
    if metric.kind == "gauge":
        del data["aggregationTemporality"]
    key = {"counter": "sum"}.get(metric.kind, metric.kind)
    return {"name": metric.name, "description": metric.says, "unit": metric.unit, key: data}


def _attributes(labels: Mapping[str, str]) -> list[dict[str, Any]]:
    # The conventions make the port a number; numbers of 64 bits are text in OTLP's JSON.
    return [
        {
            "key": key,
            "value": {"intValue" if key == "server.port" else "stringValue": visible(value)},
        }
        for key, value in labels.items()
    ]
