"""YAML, which others write their objectives and rules in.

In: text or plain tables. Out: plain tables or text. Must stay true: only plain data is read (no
tags that make objects); without the library the message names the package to install.
"""

from __future__ import annotations

from typing import Any

from bench.errors import UserError

#: Values in all documents of a file, each reference counted as what it stands for; and how deep
#: they may nest.
_MOST_NODES, _DEEPEST = 200_000, 100


def _library() -> Any:
    try:
        import yaml
    except ImportError:
        raise UserError(
            "needs PyYAML",
            where="YAML",
            remedy="pip install 'tailproof[openslo]'",
        ) from None
    return yaml


def parse_documents(text: str, where: str) -> list[Any]:
    """All documents of a YAML text, empty ones left out; the items of one that is a list stand for
    themselves.

    Raises UserError naming the line at fault.
    """
    yaml = _library()
    try:
        _refuse_bombs(yaml, text, where)
        found: list[Any] = []
        for document in yaml.safe_load_all(text):
            found += document if isinstance(document, list) else [document]
        return [document for document in found if document is not None]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = getattr(error, "problem", None) or str(error)
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"is not valid YAML: {problem}{line}", where=where) from None


def _refuse_bombs(yaml: Any, text: str, where: str) -> None:
    """Raises UserError for a text of few bytes that stands for values without bound: references
    within references, or to what they stand in.
    """
    #: by anchor what it stands for in nodes, None while it is still being read
    sizes: dict[str, int | None] = {}
    open_: list[tuple[str | None, int]] = []
    size = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            known = sizes.get(event.anchor, 1)
            if known is None:
                raise UserError(f"refers to itself by *{event.anchor}", where=where)
            size += known
        elif isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, size))
            size += 1
            if event.anchor is not None:
                sizes[event.anchor] = None
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            if anchor is not None:
                sizes[anchor] = size - before
        elif isinstance(event, yaml.ScalarEvent):
            size += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        if size > _MOST_NODES or len(open_) > _DEEPEST:
            raise UserError(
                f"stands for more than {_MOST_NODES:,} values, or nests deeper than {_DEEPEST}",
                where=where,
                remedy="write out what its references (*) mean",
            )


def write_documents(documents: list[Any]) -> str:
    """The documents as YAML, keys in the order given, `---` between them, nothing by reference."""
    yaml = _library()

    class Plain(yaml.SafeDumper):  # type: ignore[misc, name-defined]
        def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 PyYAML's signature
            return True

    text: str = yaml.dump_all(
        documents,
        Dumper=Plain,
        sort_keys=False,
        allow_unicode=True,
        width=120,
    )
    return text
