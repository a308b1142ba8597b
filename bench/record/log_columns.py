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
from bench.record.log_numbers import UNITS, unit_of

Kind = Literal["moment", "length", "count", "status", "outcome", "flag", "text"]
#: field -> its kind, and the names that common logs give it. The first that a log has is taken.
FIELDS: dict[str, tuple[Kind, str]] = {
    "at": (
        "moment",
        (
            "at timestamp start_time starttime started_at start @timestamp ts time created_at"
            " created request_start starttimeunixnano"
        ),
    ),
    "ended": (
        "moment",
        (
            "ended end_time endtime ended_at finished_at completed_at time_iso8601 msec"
            " endtimeunixnano"
        ),
    ),
    "first_token_at": ("moment", "first_token_at completion_start_time completionstarttime"),
    "latency": ("length", METRICS["e2e"].log_columns + " time-taken"),
    "ttft": ("length", METRICS["ttft"].log_columns),
    "deadline": ("length", "deadline_ms deadline_s timeout_ms timeout_s client_timeout_ms"),
    "status": (
        "status",
        (
            "status status_code http_status response_status response.status response_code"
            " http_status_code statuscode sc-status attributes.http.response.status_code"
            " attributes.http.status_code status.status_code"
        ),
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
    "error": (
        "text",
        (
            "error error_message exception error.message errors error_msg err exception_message"
            " failure_reason error_type error_class error_code error.code"
            " metadata.error_information.error_message metadata.error_information.error_code"
        ),
    ),
    "id": ("text", "request_id id x_request_id x-edge-request-id"),
    "tier": ("text", "served_tier service_tier tier"),
    "key": ("text", "key request_key idempotency_key"),
    "label": ("text", "label"),
    "resource": ("text", "resource deployment"),
    "endpoint": ("text", "endpoint path uri request_uri api_base cs-uri-stem"),
    "operation": ("text", "operation call_type"),
    "code": ("text", "code error_code error.code metadata.error_information.error_code"),
}
#: Durations whose column name says no unit, and that are documented to be in seconds.
_SECONDS = {"request_time"}
#: Fields of which every known column counts: a failure may stand in any of them.
_IN_ANY = ("status", "error")


class Column(NamedTuple):
    """A column of a log, and the unit of its numbers (empty: by kind)."""

    name: str
    unit: str
    #: further columns of this meaning
    others: tuple[str, ...] = ()
    #: of times of day: the column with their date
    date: str = ""


def map_columns(
    columns: Sequence[str],
    asked: Mapping[str, str],
    where: str,
    *,
    may_grow: bool = False,
) -> dict[str, Column]:
    """field -> column. `asked` holds the user's choices, `NAME` or `NAME:unit`; while the columns
    `may_grow`, one that is not there yet is left out.

    Raises UserError for a name that is not there, a length without unit, and where no column holds
    when a request began or how it ended.
    """
    if unknown := sorted(set(asked) - set(FIELDS)):
        raise UserError(
            f"{unknown[0]!r} is no field of a log",
            where="--column",
            remedy=f"known: {', '.join(FIELDS)}",
        )
    plain = {name.lower().replace(" ", "_"): name for name in reversed(columns)}
    found: dict[str, Column] = {}
    for field_name, (kind, known) in FIELDS.items():
        names = [plain[name] for name in known.split() if name in plain]
        wanted = asked.get(field_name) or (names[0] if names else "none")
        if may_grow and wanted not in columns and wanted.rpartition(":")[0] not in columns:
            continue
        if wanted != "none":
            column = _column(field_name, kind, wanted, columns, where)
            if field_name in _IN_ANY and field_name not in asked:
                column = column._replace(others=tuple(names[1:]))
            found[field_name] = column
    _join_dates(found, plain, asked)
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


def _join_dates(
    found: dict[str, Column], plain: Mapping[str, str], asked: Mapping[str, str]
) -> None:
    """Date and time of day in two columns are one moment: that of the end where the file is a
    server's own (W3C extended log).
    """
    if not {"date", "time"} <= set(plain) or {"at", "ended"} & set(asked):
        return
    joined = Column(plain["time"], "", date=plain["date"])
    if found.get("at", joined).name == joined.name:
        found.pop("at", None)
        found["ended" if "time-taken" in plain and "latency" in found else "at"] = joined


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
        if name == "time-taken":  # CloudFront has seconds, IIS milliseconds
            unit = (
                "s"
                if "x-edge-location" in columns
                else "ms"
                if "sc-win32-status" in columns
                else ""
            )
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
