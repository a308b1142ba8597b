"""The first files of a user, once they are written: a screen.

In: the folder, what its run sends and costs, and the command. Out: a result. Must stay true: the
command that decides comes last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.show.document import Code, Node, Pairs, Text
from bench.show.result import Result
from bench.show.wording import visible


def starter_result(
    folder: Path, files: Mapping[str, str], about: str, said: Sequence[str], command: str
) -> Result:
    """`files`: what each says; `about`: the endpoint; `said`: length, cost and what the plan goes
    beyond.
    """
    lead: list[Node] = [
        Text(f"WRITTEN  {len(files)} files in {visible(folder, 200)}", tone="strong"),
        Text(f"They test {visible(about, 200)}."),
    ]
    body: list[Node] = [Pairs(list(files.items()))]
    foot: list[Node] = [Text(visible(each, 400), label) for label, each in _labelled(said)]
    return Result(lead, body, [*foot, Code(command, "next")])


def _labelled(said: Sequence[str]) -> list[tuple[str, str]]:
    return [
        (label, text)
        for label, text in zip(("run", *("",) * len(said)), said, strict=False)
        if text
    ]
