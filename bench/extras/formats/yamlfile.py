"""YAML, which others write their objectives and rules in.

In: text or plain tables. Out: plain tables or text. Must stay true: only plain data is read (no
tags that make objects); without the library the message names the package to install.
"""

from __future__ import annotations

from typing import Any

from bench.errors import UserError


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
    """All documents of a YAML text, empty ones left out.

    Raises UserError naming the line at fault.
    """
    yaml = _library()
    try:
        return [document for document in yaml.safe_load_all(text) if document is not None]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = getattr(error, "problem", None) or str(error)
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"is not valid YAML: {problem}{line}", where=where) from None


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
