"""The APIs that tailproof speaks, by name.

In: a name as users write it. Out: the `Api`. Must stay true: one line an API; the list of names
costs no import of what they mean, so that `--help` stays quick.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bench.errors import RunFolderError

if TYPE_CHECKING:
    from bench.api.interface import Api

#: One line an API: its name, and the module whose `API` speaks it.
MODULES = {
    "chat": "bench.api.chat",
    "completions": "bench.api.completions",
    "responses": "bench.api.responses",
    "embeddings": "bench.api.embeddings",
    "rerank": "bench.api.rerank",
    "messages": "bench.api.messages",
    "gemini": "bench.api.gemini",
    "converse": "bench.api.converse",
}
DEFAULT = "chat"


@functools.cache
def api_named(name: str) -> Api:
    """The API of that name. Raises ValueError with the names that there are."""
    if name not in MODULES:
        raise ValueError(f"{name!r} is no API that tailproof speaks; write {one_of(MODULES)}")
    found: Api = importlib.import_module(MODULES[name]).API
    return found


def api_of_record(names: str) -> Api:
    """The API that a lane's record names, of a route its first leg's. Raises RunFolderError."""
    try:
        return api_named(names.partition(", ")[0])
    except ValueError as error:
        raise RunFolderError(str(error), remedy="use the version that wrote the run") from None


def one_of(names: Iterable[str]) -> str:
    """Names to choose from, as a message lists them."""
    *others, last = map(repr, names)
    return f"{', '.join(others)} or {last}" if others else last
