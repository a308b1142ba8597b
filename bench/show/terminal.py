"""The last screen of a run: the verdict a tired person can read.

In: summary and verdicts. Out: a `rich` Text whose lines fit the width asked for; its `plain` is
the same without colour. Must stay true: colour only where it carries the verdict; foreign text
is never read as markup or as a terminal's control sequence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from bench.metrics import HEADLINES, METRICS
from bench.show import wording
from bench.show.facts import health_line
from bench.show.left_out import left_out_sentences
from bench.show.wording import count, milliseconds, per_cent, visible

Record = Mapping[str, Any]
WIDTH = 100
STYLES = {
    "PASS": "bold green",
    "FAIL": "bold red",
    "INCONCLUSIVE": "bold yellow",
    "INVALID": "bold red",
}
#: Columns after the clause: measured (with its interval where there is room), limit, rows, verdict.
_MEASURED, _BARE, _LIMIT, _ROWS, _VERDICT = 31, 18, 13, 10, 12
#: Longer names stand on a line of their own, so that two of them never look alike by being cut.
_TARGET_MOST = 10
_NUMBER_AND_UNIT = re.compile(r"(?<=\d) (?=(?:%|ns|µs|ms|s|min|h|K|M|B|T|USD)(?:\W|$))")
_HELD = "\N{NO-BREAK SPACE}"


def verdict_lines(
    summary: Record,
    verdicts: Record,
    further: Sequence[str] = (),
    *,
    beside: Iterable[str] = (),
    report: Path | str | None = None,
    repeat: str = "",
    resume: str = "",
    width: int = WIDTH,
) -> Text:
    """Contract by contract, then key numbers, health, `further` sentences, the report's path and
    what to type next.

    `beside` are lines of tables, drawn to the width. `resume` is the command that goes on with a
    run that broke off. Print it with `soft_wrap=True`: its lines are cut to `width` (80 at least),
    except path and commands, which must be copied whole.
    """
    text = Text()
    width = max(width, 80)
    _before_anything_else(text, summary, verdicts, width)
    clauses = verdicts["clauses"]
    for contract in dict.fromkeys(clause["contract"] for clause in clauses):
        _contract(
            text,
            contract,
            [clause for clause in clauses if clause["contract"] == contract],
            wording.interval_title(verdicts),
            width,
        )
    if not clauses:
        for line in _numbers_without_contract(summary, width):
            text.append(f"{fit(line, width).rstrip()}\n")
    text.append("".join(f"{line}\n" for line in beside))
    text.append("overall   ")
    text.append(f"{visible(summary['overall'], 20)}\n", STYLES.get(summary["overall"], ""))
    for line in wrapped("harness   ", health_line(summary), width):
        text.append(f"{line}\n")
    for sentence in further:
        for line in wrapped("          ", sentence, width):
            text.append(f"{line}\n")
    missed = [item for item in verdicts.get("expects", []) if not item["met"]]
    if verdicts.get("expects"):
        text.append(
            f"expected  {len(verdicts['expects']) - len(missed)} of {len(verdicts['expects'])}"
            " known answers met\n"
        )
    for item in missed:
        said = (
            f"{visible(item['target'], 60)}, {visible(item['clause'], 90)}: expected"
            f" {item['expected']}, got {item['got']}"
        )
        for line in wrapped("          ", said, width):
            text.append(f"{line}\n")
    if report is not None:
        text.append(f"report    {visible(report, 4096)}\n")
    if resume:
        text.append(f"go on     {visible(resume, 4096)}\n")
    if repeat:
        text.append(f"again     {visible(repeat, 4096)}\n")
    text.rstrip()
    return text


def _before_anything_else(text: Text, summary: Record, verdicts: Record, width: int) -> None:
    """What must be known before the first number is read."""
    if summary["overall"] == "INVALID":
        text.append("INVALID", STYLES["INVALID"])
        text.append(": the measuring side was itself the limit; nothing here judges a target\n")
    virtual = [
        visible(name, 60) for name, target in summary["targets"].items() if target.get("simulated")
    ]
    if virtual:
        for line in wrapped(
            "SIMULATED ", f"computed from a model, nothing was sent: {', '.join(virtual)}", width
        ):
            text.append(f"{line}\n", "bold")
    if summary.get("state") != "complete":
        text.append("interrupted: what follows rests on the part that was carried out\n")
    if shard := summary["health"]["facts"].get("shard"):
        text.append(f"{visible(shard, width)}\n", "bold")
    for gap in summary["health"]["facts"].get("gaps", []):
        for line in wrapped("gap       ", visible(gap, 300), width):
            text.append(f"{line}\n")
    for sentence in left_out_sentences(verdicts):
        for line in wrapped("left out  ", sentence, width):
            text.append(f"{line}\n", "bold")


def _contract(text: Text, contract: str, clauses: list[Record], interval: str, width: int) -> None:
    names = [visible(clause["target"], 60) for clause in clauses]
    widest = max(map(cell_len, names))
    beside = widest + 2 if widest <= _TARGET_MOST else 2
    value_width = _MEASURED if width >= WIDTH else _BARE
    clause_width = width - beside - 1 - value_width - _LIMIT - _ROWS - _VERDICT
    title = f"measured ({interval})" if width >= WIDTH else "measured"
    head = fit(f"CONTRACT {visible(contract, 40)}", 1 + beside + clause_width)
    text.append(
        f"{head}{fit(title, value_width)}{fit('limit', _LIMIT)}{'rows':>{_ROWS - 2}}  verdict\n",
        "bold",
    )
    above = ""
    for name, clause in zip(names, clauses, strict=True):
        if widest > _TARGET_MOST and name != above:
            above = name
            text.append(f" {fit(name, width - 1).rstrip()}\n")
        label = f" {fit(name if widest <= _TARGET_MOST else '', beside)}"
        promise = wording.clause_name(clause)
        if (
            cell_len(promise) >= clause_width
        ):  # a promise is never cut in two: it takes a line of its own
            text.append(f"{fit(label + promise, width).rstrip()}\n")
            label, promise = " " * (1 + beside), ""
        label += fit(promise, clause_width)
        value = wording.measured(clause) + (
            f" ({wording.interval(clause)})" if width >= WIDTH else ""
        )
        rows = f"{count(clause['n']):>{_ROWS - 2}}  "
        text.append(f"{label}{fit(value, value_width)}{fit(wording.limit(clause), _LIMIT)}{rows}")
        text.append(f"{clause['verdict']}\n", STYLES.get(clause["verdict"], ""))
        if clause["verdict"] in ("FAIL", "INCONCLUSIVE"):
            for line in wrapped(" " * (beside + 1), wording.decider(clause), width):
                text.append(f"{line}\n", "dim")


def _numbers_without_contract(summary: Record, width: int) -> Iterator[str]:
    beside = 1 + max((cell_len(visible(name, 30)) for name in summary["targets"]), default=0) + 2
    for name, target in summary["targets"].items():
        came = target.get("reached", target["requests"])
        share = per_cent(target["ok"] / came, 2) if came else wording.ABSENT
        parts = [f"ok {share} of {count(came)}"]
        for metric in HEADLINES:
            latency = target["response_ms"].get(metric)
            if latency is not None:
                label, (p50, p99) = METRICS[metric].label, (latency["p50"], latency["p99"])
                parts.append(f"{label} p50 {milliseconds(p50)} p99 {milliseconds(p99)}")
        line = fit(f" {visible(name, 30)}", beside)
        for part in parts:
            if cell_len(line) + cell_len(part) > width:
                yield line
                line = " " * beside
            line += f"{part}   "
        yield line.rstrip()
        ended = {outcome: times for outcome, times in target["outcomes"].items() if outcome != "ok"}
        if ended:
            words = [f"{count(times)} {visible(outcome, 30)}" for outcome, times in ended.items()]
            yield " " * beside + ", ".join(words)


def fit(text: str, width: int) -> str:
    """Exactly `width` terminal cells: padded, or cut with an ellipsis and a blank."""
    if cell_len(text) < width:
        return text + " " * (width - cell_len(text))
    return set_cell_size(text, width - 2) + "… "


def pieces(text: str) -> list[str]:
    """Where a line may be broken: between words, never between a number and its unit."""
    return [piece.replace(_HELD, " ") for piece in _NUMBER_AND_UNIT.sub(_HELD, text).split(" ")]


def wrapped(label: str, said: str, width: int) -> Iterator[str]:
    """Lines of at most `width` cells, continued under the text; words longer than a line
    are cut.
    """
    line = label
    for word in pieces(said):
        if line.strip() and cell_len(line) + cell_len(word) >= width and line != " " * len(label):
            yield line.rstrip()
            line = " " * len(label)
        line += fit(word, width - len(label)).rstrip() + " "
    yield line.rstrip()
