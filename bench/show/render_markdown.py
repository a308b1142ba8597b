"""A document as Markdown, for a pull request.

In: a document. Out: text. Must stay true: the order is the page's; figures are links below plots/;
whatever a server or a file said is shown as it is, never read as Markdown or HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from bench.show.document import (
    Bullets,
    Code,
    Document,
    Drawer,
    Figure,
    Graphic,
    Heading,
    Node,
    Pairs,
    Strip,
    Table,
    Text,
    Verdict,
)
from bench.show.graphics.mark import shape_of

_SYNTAX = re.compile(r"([\\`*_{}\[\]<>#|~$!@&])")


def markdown_page(document: Document) -> str:
    """The whole report."""
    return "\n".join(_page_lines(document)) + "\n"


def _page_lines(document: Document) -> Iterator[str]:
    word = document.word or document.overall
    yield from (f"## {f'{shape_of(word)} {escaped(word)}'.strip()}  {escaped(document.title)}", "")
    yield from _node_lines(document.lead)
    if document.brief:
        yield from _node_lines(document.brief)
        return
    if document.facts:
        yield from _node_lines([Pairs([(fact.name, fact.value) for fact in document.facts])])
    yield from _node_lines(document.commands)
    for section in document.sections:
        if section.title:
            yield from (f"### {escaped(section.title)}", "")
        if section.answer:
            yield from (escaped(section.answer), "")
        yield from _node_lines(section.nodes)


def _node_lines(nodes: Iterable[Node]) -> Iterator[str]:
    """Every node, with an empty line behind it."""
    for node in nodes:
        yield from _lines(node)
        yield ""


def _lines(node: Node) -> Iterator[str]:
    match node:
        case Heading():
            yield f"{'#' * (node.level + 1)} {escaped(node.text)}"
        case Text():
            yield _text(node)
        case Verdict():
            yield f"**{escaped(node.label)}** {escaped(node.verdict + node.says)}"
        case Pairs():
            yield from (f"- **{escaped(name)}**: {escaped(value)}" for name, value in node.items)
        case Bullets():
            yield from (f"- {escaped(item)}" for item in node.items)
        case Code():
            yield from _code(node)
        case Table():
            yield from _table(node)
        case Figure():
            yield f"![{escaped(node.title)}](plots/{node.file})"
        case Strip():
            yield f"{escaped(node.title)}: `{node.marks}` {escaped(node.says)}"
        case Drawer():
            yield from (f"<details><summary>{escaped(node.title)}</summary>", "")
            yield from _node_lines(node.nodes)
            yield "</details>"
        case Graphic():
            yield escaped(node.says)


def _text(node: Text) -> str:
    if node.tone == "alert":
        return f"> **{escaped(node.text)}**"
    label = f"**{escaped(node.label)}** " if node.label else ""
    return f"{label}{escaped(node.text)}"


def _code(node: Code) -> Iterator[str]:
    """Behind a fence that is longer than any run of backticks inside it."""
    if node.label:
        yield from (f"{escaped(node.label)}:", "")
    longest = max(map(len, re.findall("`+", node.text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (fence, node.text, fence)


def _table(table: Table[Any]) -> Iterator[str]:
    grid = table.grid("markdown")
    yield from (f"{escaped(table.caption)}:", "")
    yield f"| {' | '.join(escaped(name) or ' ' for name in grid.head)} |"
    yield f"|{'|'.join('---' if words else '---:' for words in grid.words)}|"
    for row in grid.rows:
        yield f"| {' | '.join(map(escaped, row))} |"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is: every mark of its syntax behind a backslash."""
    return _SYNTAX.sub(r"\\\1", text)
