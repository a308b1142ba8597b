"""Contracts as OpenSLO v1 documents, and back.

In: a contract, or the documents of a YAML file. Out: documents and what OpenSLO has no place for,
or a contract and what was taken as a definition only. Must stay true: what OpenSLO has a place for
is read from there, the rest from our annotations, and with them a contract comes back equal; a
query in another system's language is never run, its SLO becomes an attested term.

Source: the OpenSLO v1 specification; the mapping is methods 2.2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from bench.errors import UserError
from bench.extras.formats.objective import (
    OURS,
    clause_of_objective,
    metric_source,
    objective_of_clause,
    period_of_window,
    table_of,
    target_of,
    window_of_period,
)
from bench.plan.clause import Clause
from bench.plan.contract import Contract
from bench.units import show_exact
from bench.userfile import parse_model

Document = dict[str, Any]
VERSION = "openslo/v1"
TERMS, LOSSY, NO_SLO = "tailproof/terms", "tailproof/lossy", "tailproof/clauses-without-slo"


def to_openslo(contract: Contract) -> tuple[list[Document], list[str]]:
    """Service, SLIs and SLOs of a contract, and a sentence for each place that loses something."""
    name = _slug(contract.name or contract.title, 40)
    service = _document("Service", name, contract.title, {"description": contract.source[:1050]})
    documents = [service]
    lossy = []
    without = {}
    window = window_of_period(contract.period)
    for number, clause in enumerate(contract.clauses, 1):
        if clause.limit is None and clause.at_least is None and clause.kind.has_values:
            without[str(number)] = clause.model_dump(mode="json", exclude_defaults=True)
            lossy.append(f"clause {number}, {clause.text}: no limit, so no SLO")
            continue
        slo_name = f"{name}-{number}-{_slug(clause.metric, 20)}"
        method, objective, indicator = objective_of_clause(clause)
        spec = {
            "service": name,
            "indicatorRef": slo_name,
            "timeWindow": [window],
            "budgetingMethod": method,
            "objectives": [{"displayName": clause.text, **objective}],
        }
        slo = _document("SLO", slo_name, clause.text, spec)
        plain = _dump(Clause.model_validate(clause_of_objective(method, objective, indicator, "")))
        if lost := _lost(_dump(clause), plain):
            _annotate(slo, lost)
            lossy.append(f"clause {number}, {clause.text}: {', '.join(lost)}")
        documents += [_document("SLI", slo_name, clause.text, indicator), slo]
    if without:
        service["metadata"].setdefault("annotations", {})[NO_SLO] = json.dumps(without)
    plain_terms = {"title": contract.title, "name": name, "source": service["spec"]["description"]}
    if len(documents) > 1:
        plain_terms["period"] = period_of_window([window], "")
    if lost := _lost(_dump(contract), _dump(Contract.model_validate(plain_terms))):
        _annotate(service, lost)
        lossy.append(f"contract: {', '.join(lost)}")
    return documents, lossy


def _dump(model: Clause | Contract) -> dict[str, Any]:
    return {
        key: value
        for key, value in model.model_dump(mode="json", by_alias=True).items()
        if key != "clause"
    }


def _lost(whole: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    """What `plain` lacks, table by table, to be `whole`; `_given` puts it back."""
    lost = {}
    for key, value in whole.items():
        held = plain.get(key)
        if isinstance(value, dict) and isinstance(held, dict):
            if inner := _lost(value, held):
                lost[key] = inner
        elif key not in plain or held != value:
            lost[key] = value
    return lost


def _given(plain: dict[str, Any], lost: dict[str, Any]) -> dict[str, Any]:
    whole = dict(plain)
    for key, value in lost.items():
        held = plain.get(key)
        if isinstance(value, dict) and isinstance(held, dict):
            whole[key] = _given(held, value)
        else:
            whole[key] = value
    return whole


def _slug(text: str, most: int) -> str:
    """An RFC 1123 label."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:most].strip("-") or "contract"


def _document(kind: str, name: str, title: str, spec: dict[str, Any]) -> Document:
    return {
        "apiVersion": VERSION,
        "kind": kind,
        "metadata": {"name": name, "displayName": title},
        "spec": spec,
    }


def _annotate(document: Document, lost: dict[str, Any]) -> None:
    notes = document["metadata"].setdefault("annotations", {})
    notes[TERMS], notes[LOSSY] = json.dumps(lost), json.dumps(list(lost))


def from_openslo(
    documents: list[Any],
    where: str,
    service: str | None = None,
) -> tuple[Contract, list[str]]:
    """The contract of one service, and a sentence for each SLO that was taken as a definition only.

    References are resolved among `documents`. Raises UserError naming the object and the field at
    fault.
    """
    known = _index(documents, where)
    slos = [document for (kind, _), document in known.items() if kind == "SLO"]
    name = _service_of(known, slos, where, service)
    described = known.get(("Service", name), {"metadata": {"name": name}, "spec": {}})
    data: dict[str, Any] = {
        "name": name,
        "title": described["metadata"].get("displayName", name),
        "source": described["spec"].get("description") or "",
    }
    clauses = []
    attested = []
    notes = []
    periods = []
    for slo in slos:
        if slo["spec"].get("service") != name:
            continue
        own = f"{where}: SLO {slo['metadata']['name']}"
        for clause, term in _read_slo(slo, known, own):
            if clause is None:
                attested.append({"term": term})
                notes.append(f"{own}: not measured by {OURS}, taken as a definition only")
            else:
                clauses.append(clause)
                periods.append(period_of_window(slo["spec"].get("timeWindow"), own))
    if periods:
        if any(period != periods[0] for period in periods):
            raise UserError(
                "its SLOs have different time windows; a contract has one",
                where=f"{where}: service {name}",
            )
        data["period"] = periods[0]
    for number, clause in _noted(described, NO_SLO, where).items():
        if not number.isdecimal():
            raise UserError("has clauses by number", where=f"{where}: annotation {NO_SLO}")
        clauses.insert(int(number) - 1, clause)
    data = _given(data, _noted(described, TERMS, where))
    return (
        parse_model(
            Contract,
            {**data, "clause": clauses, "attested": [*data.get("attested", []), *attested]},
            where,
        ),
        notes,
    )


def _service_of(
    known: dict[tuple[str, str], Document],
    slos: list[Document],
    where: str,
    asked: str | None,
) -> str:
    """The one service of the documents, or the one that was asked for. Raises UserError."""
    services = list(dict.fromkeys(str(slo["spec"].get("service")) for slo in slos))
    services += [name for kind, name in known if kind == "Service" and name not in services]
    if asked is None and len(services) != 1:
        remedy = "an OpenSLO file has Service or SLO documents"
        if services:
            remedy = f"choose by --service: {', '.join(services)}"
        raise UserError(f"holds {len(services)} services", where=where, remedy=remedy)
    name = asked or services[0]
    if name not in services:
        raise UserError(
            f"has no service {name!r}",
            where=where,
            remedy=f"there is {', '.join(services)}",
        )
    return name


def _index(documents: list[Any], where: str) -> dict[tuple[str, str], Document]:
    found: dict[tuple[str, str], Document] = {}
    for number, document in enumerate(documents, 1):
        own = f"{where}: document {number}"
        kind = table_of(document, own).get("kind")
        if document.get("apiVersion") != VERSION or not isinstance(kind, str):
            raise UserError(
                f"is not {VERSION} (apiVersion {document.get('apiVersion')!r}, kind {kind!r})",
                where=own,
            )
        name = table_of(document.get("metadata"), f"{own}: metadata").get("name")
        if not isinstance(name, str) or (kind, name) in found:
            raise UserError("needs a metadata.name of its own among its kind", where=own)
        found[kind, name] = {**document, "spec": table_of(document.get("spec", {}), f"{own}: spec")}
    return found


def _noted(document: Document, note: str, where: str) -> dict[str, Any]:
    text = table_of(document["metadata"].get("annotations") or {}, f"{where}: annotations").get(
        note
    )
    try:
        if text is None:
            return {}
        return table_of(json.loads(text), f"{where}: {note}")
    except (ValueError, TypeError):
        raise UserError("is not JSON", where=f"{where}: annotation {note}") from None


def _read_slo(
    slo: Document,
    known: dict[tuple[str, str], Document],
    where: str,
) -> Iterator[tuple[dict[str, Any] | None, str]]:
    """Each objective as the keys of a clause; None and a sentence where the indicator is
    not ours.
    """
    spec = slo["spec"]
    objectives = spec.get("objectives")
    if not isinstance(objectives, list) or not objectives:
        raise UserError("needs objectives", where=where)
    method = {
        "occurrences": "Occurrences",
        "timeslices": "Timeslices",
        "ratiotimeslices": "RatioTimeslices",
    }.get(str(spec.get("budgetingMethod", "Occurrences")).lower())
    if method is None:
        raise UserError(
            f"budgetingMethod {spec.get('budgetingMethod')!r} is not known", where=where
        )
    for number, entry in enumerate(objectives, 1):
        own = f"{where}: objective {number}"
        objective = table_of(entry, own)
        if {"indicator", "indicatorRef"} & set(objective):
            holder = objective
        else:
            holder = spec
        indicator = _indicator(holder, known, own)
        if "thresholdMetric" in indicator and len(objectives) > 1 and holder is spec:
            raise UserError("a thresholdMetric allows one objective only", where=where)
        if _is_ours(indicator, known):
            clause = clause_of_objective(method, objective, indicator, own)
            if len(objectives) == 1:
                terms = _noted(slo, TERMS, where)
            else:
                terms = {}
            if terms.get("method") == "downtime_minutes" and "slice_share" in clause:
                terms["error_rate"] = 1 - clause["slice_share"]
            yield _given(clause, terms), ""
        else:
            target = show_exact(target_of(objective, own) * 100)
            window = json.dumps(spec.get("timeWindow"), default=str)
            plain = dict(objective)
            plain.pop("displayName", None)
            plain.pop("indicator", None)
            yield (
                None,
                (
                    f"{slo['metadata'].get('displayName') or slo['metadata']['name']}: {target} %"
                    f" by {method}, time window {window}, objective"
                    f" {json.dumps(plain, default=str)}, indicator"
                    f" {json.dumps(indicator, default=str)} (its query is not run here)"
                ),
            )


def _indicator(
    holder: dict[str, Any],
    known: dict[tuple[str, str], Document],
    where: str,
) -> dict[str, Any]:
    """The SLI's spec, inline or by reference, with exactly one well-formed metric."""
    if ("indicator" in holder) == ("indicatorRef" in holder):
        raise UserError("needs one of indicator, indicatorRef", where=where)
    if "indicator" in holder:
        spec = table_of(
            table_of(holder["indicator"], f"{where}: indicator").get("spec"),
            f"{where}: indicator.spec",
        )
    elif ("SLI", str(holder["indicatorRef"])) in known:
        spec = known["SLI", str(holder["indicatorRef"])]["spec"]
    else:
        raise UserError(
            f"indicatorRef {holder['indicatorRef']!r} names no SLI of this file", where=where
        )
    if ("thresholdMetric" in spec) == ("ratioMetric" in spec):
        raise UserError("its indicator needs one of thresholdMetric, ratioMetric", where=where)
    ratio = table_of(spec.get("ratioMetric", {}), f"{where}: ratioMetric")
    if ratio and ("raw" in ratio) != ("rawType" in ratio):
        raise UserError(
            'a raw ratio needs rawType = "success" or "failure", and nothing else has one',
            where=where,
        )
    if ratio and ({"good", "bad", "total", "raw"} & set(ratio)) not in (
        {"good", "total"},
        {"bad", "total"},
        {"raw"},
    ):
        raise UserError("a ratioMetric is good and total, bad and total, or raw", where=where)
    return spec


def _is_ours(indicator: dict[str, Any], known: dict[tuple[str, str], Document]) -> bool:
    source = metric_source(indicator)
    held = known.get(("DataSource", str(source.get("metricSourceRef"))), {"spec": {}})
    return bool(source.get("type", held["spec"].get("type")) == OURS)
