"""Which nodes of a run the verdict leaves out, in sentences.

In: verdicts.json. Out: sentences. Must stay true: what is set aside is counted, with the reason,
and its load is not passed over in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.judge.left_out import ASKED_FOR
from bench.show.wording import CUT, count, visible

Record = Mapping[str, Any]


def left_out_sentences(verdicts: Record) -> list[str]:
    """`node-2 is left out of the verdict, as was asked for: ...`, one a node."""
    return [_sentence(entry) for entry in verdicts.get("left_out", [])]


def _sentence(entry: Record) -> str:
    asked = entry["why"] == ASKED_FOR
    said = (
        f"{visible(entry['node'], 60)} is left out of the"
        f" verdict{', as was asked for' if asked else ''}: the {count(entry['requests'])} of"
        f" {count(entry['of'])} requests that were its part are set aside, and {_load(entry)}"
    )
    return said if asked else f"{said}; the reason: {visible(entry['why'], 2 * CUT)}"


def _load(entry: Record) -> str:
    """What became of the load of a node that is left out."""
    if not entry["sent"]:
        return "none of them was sent"
    if entry["sent"] == entry["requests"]:
        return "their load was there all the same"
    return f"the load of the {count(entry['sent'])} that were sent was there all the same"


def for_buyers(left_out: Sequence[Record]) -> str:
    """The same for a reader who is no engineer, of all nodes together."""
    names = " and ".join(f"“{visible(entry['node'], 60)}”" for entry in left_out)
    part, several = sum(entry["requests"] for entry in left_out), len(left_out) > 1
    asked = [entry["why"] == ASKED_FOR for entry in left_out]
    unfit = f"because {'they were' if several else 'it was'} not fit to measure"
    why = (
        "as was asked for"
        if all(asked)
        else f"partly as was asked for, partly {unfit}"
        if any(asked)
        else unfit
    )
    return (
        f"The terms are judged without the {count(part)} of {count(left_out[0]['of'])} requests"
        f" sent from {names}, {why}."
    )
