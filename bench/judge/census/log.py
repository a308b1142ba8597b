"""A request log as the census sees it: what it has columns for, what it is, its rows as evidence.

In: a log, a contract. Out: refusals, records. Must stay true: a log that lacks what a judged clause
speaks of is refused, with the flag that names the column.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.clock import utc_text
from bench.errors import UserError
from bench.metrics import METRICS
from bench.plan.clause import Clause
from bench.plan.contract import Contract
from bench.record.records.census import (
    EvidenceRow,
    LogFile,
    LogRecord,
    UnreadableRow,
    UnreadableRows,
)
from bench.record.request_log import RequestLog
from bench.record.samples import Int, Outcome, latency_ns
from bench.units import MS, S, show_list
from bench.userfile import file_digest

#: Episodes and rows that the record itself lists; the evidence has all.
LISTED = 1_000
#: Of the models of a log a refusal names so many.
_MODELS_NAMED = 5
#: At most so many resources have minutes of their own.
_MOST_RESOURCES = 500


def refuse_missing(log: RequestLog, contract: Contract) -> None:
    for number, clause in enumerate(contract.clauses, 1):
        where = f"contract {contract.name}: clause {number} ({clause.text})"
        if clause.phase is not None:
            raise UserError(
                "a log has no phases",
                where=where,
                remedy="judge a run, or leave phase out",
            )
        if clause.report_only:
            continue
        if lacking := lacking_of(log, clause):
            raise UserError(
                f"the log has no column for it ({lacking})",
                where=where,
                remedy="name the column with --column, or judge a contract without this clause",
            )


def for_log(contract: Contract, log: RequestLog, model: str | None = None) -> Contract:
    """The contract with its limits for the model of the log, or for this one of several.

    Raises UserError: no such limit, several models with limits of their own, or no model known.
    """
    where = f"contract {contract.name}"
    if not contract.by_model:
        if model is not None:
            raise UserError(
                "has the same terms for all models", where=where, remedy="leave --model out"
            )
        return contract
    answered = _models(log)
    if model is None:
        # The log of an account holds models that were bought otherwise: the contract is none of
        # theirs.
        named = [each for each in answered if None not in contract.entries_of(each)] or answered
    else:
        entries = contract.entries_of(model)
        alike = [each for each in answered if contract.entries_of(each) == entries]
        if answered and not alike:
            raise UserError(
                f"no row of the log is of it, only of {show_list(answered[:_MODELS_NAMED])}",
                where=f"--model {model}",
                remedy="--column served_model=none takes every row for the model named",
            )
        named = [model, *alike]
    if not named:
        raise UserError(
            "has terms by model, and the log does not say which model answered",
            where=where,
            remedy="add --model NAME, or name its column with --column served_model=COLUMN",
        )
    return contract.for_models(named)


def _models(log: RequestLog) -> list[str]:
    """The models that were asked for or answered."""
    if log.facts.model is not None:
        return [log.facts.model]
    texts = log.facts.texts.get("served_model", ())
    used = np.unique(log.columns.samples["served_model"])
    return [texts[index] for index in used.tolist() if 0 <= index < len(texts)]


def lacking_of(log: RequestLog, clause: Clause) -> str:
    """What a clause needs and the log does not have, as fields of `--column`; empty where it has
    all.
    """
    if clause.metric not in log.metrics:
        fields = METRICS[clause.metric].log_fields
        return show_list(fields) if fields else f"{clause.metric}: only a run records it"
    if not clause.with_ttft and "ttft" not in log.metrics:
        return "ttft"
    if clause.weight != "together" and "resource" not in log.facts.labels:
        return f'resource, for weight = "{clause.weight}"'
    if clause.weight != "together" and (n := len(log.facts.texts["resource"])) > _MOST_RESOURCES:
        return f"resource: this one has {n:,} different texts, {_MOST_RESOURCES} at most"
    if clause.bucket is not None and not (log.columns.samples["prompt_tokens"] >= 0).any():
        return f"prompt_tokens, for the context bucket {clause.bucket}"
    return ""


def log_record(log: RequestLog, wall: Int) -> LogRecord:
    """What was read; `wall` are the moments of its rows, Unix ns."""
    return LogRecord(
        files=[
            LogFile(name=name, sha256=file_digest(Path(name)) if Path(name).is_file() else None)
            for name in log.names
        ],
        rows=len(log.columns),
        first_utc=utc_text(int(wall[0])),
        last_utc=utc_text(int(wall[-1])),
        columns={
            name: column.name + (f":{column.unit}" if column.unit else "")
            for name, column in log.mapping.items()
        },
        notes=log.notes,
        unreadable=UnreadableRows(
            count=len(log.unread_ns),
            first=[
                UnreadableRow(file=each.file, line=each.line, reason=each.reason)
                for each in log.unreadable[:LISTED]
            ],
        ),
    )


def row_record(log: RequestLog, row: int) -> EvidenceRow:
    """One row of the log as evidence: where it stands, when it began, how it ended."""
    samples = log.columns.samples[row : row + 1]
    e2e = int(latency_ns(samples, "e2e")[0])
    at = int(samples["due_ns"][0]) + log.facts.start_wall_ns
    fraction = f".{at % S // MS:03d}" if at % S else ""
    return EvidenceRow(
        file=log.names[log.file[row]],
        line=int(log.line[row]),
        at_utc=utc_text(at).replace("Z", f"{fraction}Z"),
        outcome=Outcome(int(samples["outcome"][0])).name,
        status=int(samples["status"][0]) or None,
        e2e_ms=e2e / MS if e2e >= 0 else None,
    )
