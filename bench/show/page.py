"""What a report holds, in the order in which it says it, before it is HTML, PDF or Markdown.

In: nothing; `show.contents` fills it. Out: records of strings, tables and figures. Must stay true:
verdicts come before what explains them; a cell is text that can be shown as it is, for every string
that a server or a user's file supplied has passed through `wording.visible`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.show.figures import Figure

#: A name and what is said of it.
Pair = tuple[str, str]
NO_CONTRACT = "No contract was given, so nothing was judged."


@dataclass(frozen=True)
class Table:
    """A caption, the headings, rows of strings, and how many leading columns are words."""

    caption: str
    head: list[str]
    rows: list[list[str]]
    words: int = 1


@dataclass(frozen=True)
class Part:
    """Everything about one lane, one comparison, one drill."""

    name: str
    about: list[Pair]
    tables: list[Table]
    figures: list[Figure]
    notes: list[str]
    #: words that no other kind of part uses, with their meaning
    terms: tuple[Pair, ...] = ()
    #: the target that all of it is about; empty for what is about several or none
    target: str = ""


@dataclass(frozen=True)
class Page:
    """The whole report."""

    run: str
    title: str
    description: str
    overall: str
    #: for a suite of known answers: how many were met
    rehearsal: str
    alerts: list[str]
    verdicts: Table | None
    #: what must be known to read the verdicts' table
    remarks: list[str]
    expects: Table | None
    health: str
    paragraph: str
    parts: list[Part]
    attested: list[str]
    notes: list[str]
    facts: list[Pair]
    repeat: str
    definitions: list[Pair] = field(default_factory=list)
    #: what stands where no verdict does
    unjudged: str = NO_CONTRACT
