"""Which entry of a table by model is the one of a model.

In: a model's name, the names of a table's entries. Out: the entry's name. Must stay true: a name
stands for itself and its dated snapshots, and for more only where it ends in `*`; of several the
narrowest one counts, so that `gpt-5.4*` never speaks for a `gpt-5.4-mini` that has its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: What vendors add to a model's name for one version of it: `-2026-03-05`, `-20250929`, `-001`.
_SNAPSHOT = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{3})")


def check_names(names: Iterable[str]) -> None:
    """Raises ValueError for a name that could mean nothing, or more than its writer thinks."""
    for name in names:
        if not name.strip() or "*" in name[:-1]:
            raise ValueError(f"{name!r} is no model's name; `*` may stand at its end alone")


def entry_of(model: str, names: Iterable[str]) -> str | None:
    """The narrowest of the names that means this model, or None."""
    meant = [name for name in names if _means(name.lower(), model.lower())]
    return max(meant, key=lambda name: (not name.endswith("*"), len(name)), default=None)


def _means(name: str, model: str) -> bool:
    if name.endswith("*"):
        return model.startswith(name[:-1])
    if not model.startswith(name):
        return False
    rest = model[len(name) :]
    return not rest or _SNAPSHOT.fullmatch(rest) is not None
