"""Which column of a log holds what: the names that common logs use, and the user's own.

In: the column names of a file, and `--column` choices. Out: field -> `Column`, with its unit. Must
stay true: a length without a unit is refused, never guessed; a log must hold when each request
began and how it ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from bench.errors import UserError
from bench.metrics import METRICS
from bench.record.log_values import UNITS, unit_of

Kind = Literal["moment", "length", "count", "status", "outcome", "flag", "text"]
#: field -> its kind, and the names that common logs give it. The first that a log has is taken.
FIELDS: dict[str, tuple[Kind, str]] = {
    "at": (
        "moment",
        (
            "at timestamp start_time starttime started_at start @timestamp ts time created_at"
            " created request_start"
        ),
    ),
    "ended": (
        "moment",
        "ended end_time endtime ended_at finished_at completed_at time_iso8601 msec",
    ),
    "first_token_at": ("moment", "first_token_at completion_start_time completionstarttime"),
    "latency": ("length", METRICS["e2e"].log_columns),
    "ttft": ("length", METRICS["ttft"].log_columns),
    "deadline": ("length", "deadline_ms deadline_s timeout_ms timeout_s client_timeout_ms"),
    "status": (
        "status",
        "status status_code http_status response_status response.status response_code",
    ),
    "outcome": ("outcome", "outcome result success succeeded ok"),
    "prompt_tokens": (
        "count",
        "prompt_tokens input_tokens usage.prompt_tokens usage.input_tokens context_tokens isl",
    ),
    "output_tokens": (
        "count",
        "output_tokens completion_tokens usage.completion_tokens usage.output_tokens osl",
    ),
    "streamed": ("flag", "streamed stream streaming request.stream"),
    "served_model": ("text", "model served_model model_name response.model"),
    "served_region": ("text", "region served_region"),
    "finish": ("text", "finish finish_reason stop_reason"),
    "error": ("text", "error error_message exception error.message"),
    "id": ("text", "request_id id x_request_id"),
    "tier": ("text", "served_tier service_tier tier"),
    "key": ("text", "key request_key idempotency_key"),
    "label": ("text", "label"),
    "resource": ("text", "resource deployment"),
    "endpoint": ("text", "endpoint path uri request_uri api_base"),
    "operation": ("text", "operation call_type"),
    "code": ("text", "code error_code error.code"),
}
#: Durations whose column name says no unit, and that are documented to be in seconds.
_SECONDS = {"request_time"}


class Column(NamedTuple):
    """A column of a log, and the unit of its numbers (empty: by kind)."""

    name: str
    unit: str


def map_columns(
    columns: Sequence[str],
    asked: Mapping[str, str],
    where: str,
) -> dict[str, Column]:
    """field -> column. `asked` holds the user's choices, `NAME` or `NAME:unit`.

    Raises UserError for a name that is not there, a length without unit, and where no column holds
    when a request began or how it ended.
    """
    if unknown := sorted(set(asked) - set(FIELDS)):
        raise UserError(
            f"{unknown[0]!r} is no field of a log",
            where="--column",
            remedy=f"known: {', '.join(FIELDS)}",
        )
    plain = {name.lower(): name for name in reversed(columns)}
    found: dict[str, Column] = {}
    for field_name, (kind, known) in FIELDS.items():
        wanted = asked.get(field_name) or _usual_name(known, plain)
        if wanted != "none":
            found[field_name] = _column(field_name, kind, wanted, columns, where)
    if "at" not in found and not {"ended", "latency"} <= set(found):
        raise UserError(
            f"no column says when a request began (columns: {', '.join(columns)})",
            where=where,
            remedy="name it: --column at=NAME, or --column ended=NAME and --column latency=NAME:ms",
        )
    if not {"status", "outcome"} & set(found):
        raise UserError(
            f"no column says how a request ended (columns: {', '.join(columns)})",
            where=where,
            remedy="name it: --column status=NAME (HTTP status) or --column outcome=NAME",
        )
    return found


def _usual_name(known: str, plain: Mapping[str, str]) -> str:
    for name in known.split():
        if name in plain:
            return plain[name]
    return "none"


def _column(
    field_name: str,
    kind: Kind,
    wanted: str,
    columns: Sequence[str],
    where: str,
) -> Column:
    """The column `NAME` or `NAME:unit`; a name may hold a colon itself."""
    name, unit = wanted, ""
    if wanted not in columns and ":" in wanted:
        name, _, unit = wanted.rpartition(":")
    if name not in columns:
        raise UserError(
            f"has no column {name!r} (columns: {', '.join(columns)})",
            where=where,
            remedy=f"correct --column {field_name}=...",
        )
    if kind == "length" and not unit:
        unit = unit_of(name) or ("s" if name in _SECONDS else "")
    if (unit or kind == "length") and unit not in UNITS:
        raise UserError(
            f"column {name!r} has no unit",
            where=where,
            remedy=(
                f"write --column {field_name}={name}:ms (or :s, :us, :ns), or --column"
                f" {field_name}=none"
            ),
        )
    return Column(name, unit)
