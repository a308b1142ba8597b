"""Where a watch stands, in words: today, this period, the error budget.

In: the value of `watch --status`. Out: a `rich` Text whose lines fit the width. Must stay true: a
bound stands beside every value that has one; what was not watched is said; foreign text cannot
steer a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from bench.show.terminal import STYLES, WIDTH, wrapped
from bench.show.wording import ABSENT, clause_name, count, per_cent, visible
from bench.units import S, show_duration

Record = Mapping[str, Any]
_OUTAGES = 5


def watch_lines(record: Record, width: int = WIDTH) -> Text:
    """Print it with `soft_wrap=True`."""
    text, width = Text(), max(width, 80)
    running = "probing now" if record["watched_now"] else "nobody is probing"
    _add(
        text,
        "WATCH     ",
        f"{visible(record['folder'], 200)} · {running} · next roll {record['next_roll_utc']}",
        width,
        "bold",
    )
    for name, target in record["targets"].items():
        _target(text, visible(name, 60), target, width)
    for sentence in record["unreadable"]:
        _add(text, "unread    ", f"{visible(sentence)}; its time counts as unobserved", width)
    text.rstrip()
    return text


def _add(text: Text, label: str, said: str, width: int, style: str = "") -> None:
    for line in wrapped(label, said, width):
        text.append(f"{line}\n", style)


def _target(text: Text, name: str, target: Record, width: int) -> None:
    today = target["today"]
    _add(
        text,
        "target    ",
        f"{name} · {count(target['probes'])} probes, {target['first_utc']} to {target['last_utc']}",
        width,
        "bold",
    )
    _add(
        text,
        "today     ",
        f"{today['day']} · {count(today['probes'])} probes, {count(today['failed'])} failed, "
        f"{count(today['unknown'])} unknown · outages {count(today['outages'])} · "
        f"{count(today['observed_minutes'])} of {count(today['minutes'])} minutes observed",
        width,
    )
    for outage in reversed(target["outages"]["last"][-_OUTAGES:]):
        hidden = (
            f", {count(outage['unobserved_minutes'])} minutes of it unobserved"
            if outage["unobserved_minutes"]
            else ""
        )
        evidence = outage["evidence"][0]
        _add(
            text,
            "outage    ",
            f"{outage['start_utc']} – {outage['end_utc'] or 'now'} ·"
            f" {count(outage['failed_probes'])} failed probes{hidden};"
            f" {visible(evidence['run'], 120)} line {evidence['line']}",
            width,
            "" if outage["end_utc"] else STYLES["FAIL"],
        )
    if target["note"]:
        _add(text, "note      ", visible(target["note"], 400), width)
    if (period := target["period"]) is not None:
        _period(text, period, width)


def _period(text: Text, period: Record, width: int) -> None:
    _add(
        text,
        "period    ",
        f"{period['period']} ({period['time_zone'] or 'UTC'}) · contract"
        f" {visible(period['contract'], 40)} · {count(period['observed_minutes'])} of"
        f" {count(period['minutes'])} minutes observed",
        width,
        "bold",
    )
    for clause in period["clauses"]:
        verdict = clause["verdict"]
        _add(text, " ", f"{clause_name(clause)}: {verdict} so far", width, STYLES.get(verdict, ""))
        if verdict == "REPORTED":
            continue
        _add(text, "   ", visible(clause["reason"], 400), width, "dim")
        if "attained" in clause:
            attained = per_cent(clause["attained"]["share"] if clause["attained"] else None)
            _add(
                text,
                "   ",
                f"attained {attained}; by the period's end {per_cent(clause['worst']['share'])} at"
                f" worst, {per_cent(clause['best']['share'])} at best; promised"
                f" {per_cent(clause['promised']['share'])}",
                width,
            )
        if "budget_used" in clause:
            _budget(text, clause, width)
    if (credit := period["credit"]) is not None:
        _add(
            text,
            "credit    ",
            f"certain by now: {per_cent(credit['share']['share'])} of"
            f" {visible(credit['base'], 200)}; at most {per_cent(credit['at_most']['share'])} by"
            " the period's end",
            width,
        )
    _add(
        text, "overall   ", f"{period['overall']} so far", width, STYLES.get(period["overall"], "")
    )


def _budget(text: Text, clause: Record, width: int) -> None:
    lasts = clause["budget_lasts_s"]
    rest = (
        "none of it is left"
        if clause["budget_used"] >= 1
        else "at the rate of the last hour it lasts "
        + ("to the period's end" if lasts is None else show_duration(lasts * S))
    )
    _add(text, "   ", f"error budget used {per_cent(clause['budget_used'], 1)}; {rest}", width)
    for burn in clause["burn"]:
        windows = [show_duration(burn[key] * 60 * S) for key in ("long_min", "short_min")]
        rates = [
            ABSENT if burn[key] is None else f"{burn[key]:.1f}"
            for key in ("long_rate", "short_rate")
        ]
        said = (
            f"burn {windows[0]} {rates[0]}, {windows[1]} {rates[1]}, {burn['severity']} above"
            f" {burn['threshold']:.1f}"
        )
        said += ": FIRING" if burn["firing"] else ""
        said += (
            " (a single failure is enough at this rate)"
            if burn["coarse"] and burn["firing"]
            else ""
        )
        _add(text, "     ", said, width, STYLES["FAIL"] if burn["firing"] else "dim")
