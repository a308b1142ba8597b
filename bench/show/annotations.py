"""GitHub Actions annotations: a line a clause that wants a reader, for a job's log.

In: summary and verdicts. Out: workflow commands (`::error ...::...`). Must stay true: FAIL, an
unmet expectation and an INVALID run are errors, INCONCLUSIVE and a degraded harness warnings; no
foreign text can begin a command of its own.

Source: docs.github.com, workflow commands for GitHub Actions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.show import wording
from bench.show.junit import rehearsed
from bench.show.left_out import left_out_sentences
from bench.show.wording import visible

Record = Mapping[str, Any]
_LEVELS = {"FAIL": "error", "INCONCLUSIVE": "warning"}


def github_lines(summary: Record, verdicts: Record, file: str | None = None) -> Iterator[str]:
    """The lines, the overall verdict last as a notice.

    `file`: the contract's, where the annotations are pinned.
    """
    as_rehearsed = rehearsed(verdicts)
    for clause in verdicts["clauses"]:
        level = _LEVELS.get(clause["verdict"])
        if level is not None and (clause["target"], clause["text"]) not in as_rehearsed:
            title = f"{clause['verdict']} {clause['target']}: {clause['text']}"
            yield _line(
                level,
                title,
                f"measured {wording.measured(clause)} ({wording.interval(clause)}):"
                f" {clause['reason']}",
                file,
            )
    for bill in verdicts.get("forecasts", []):
        if bill["verdict"] in _LEVELS:
            yield _line(
                _LEVELS[bill["verdict"]],
                f"{bill['verdict']} {bill['target']}: {bill['text']}",
                bill["reason"],
                file,
            )
    for item in verdicts.get("expects", []):
        if not item["met"]:
            yield _line(
                "error",
                f"NOT MET {item['target']}: {item['clause']}",
                f"expected {item['expected']}, got {item['got']}",
                file,
            )
    health = summary["health"]
    if health["state"] != "valid":
        yield _line(
            "error" if health["state"] == "invalid" else "warning",
            f"harness {health['state']}",
            "; ".join(health["reasons"]),
        )
    for entry, said in zip(verdicts.get("left_out", []), left_out_sentences(verdicts), strict=True):
        yield _line("warning", f"{entry['node']} left out", said)
    expects = verdicts.get("expects", [])
    met = (
        f", {sum(item['met'] for item in expects)} of {len(expects)} known answers met"
        if expects
        else ""
    )
    yield _line("notice", "tailproof", f"{verdicts['overall']}{met}, run {verdicts['run']}")


def _line(level: str, title: str, message: str, file: str | None = None) -> str:
    places = {"file": file, "title": title}
    told = ",".join(
        f"{key}={_escaped(value, property_=True)}" for key, value in places.items() if value
    )
    return f"::{level} {told}::{_escaped(message)}"


def _escaped(text: str, *, property_: bool = False) -> str:
    # `visible` leaves no line break that could begin a command; what it escapes is theirs, not
    # ours.
    shown = visible(text, 400).replace("%", "%25")
    return shown.replace(":", "%3A").replace(",", "%2C") if property_ else shown
