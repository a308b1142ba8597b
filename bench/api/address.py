"""URLs as users paste them, completed to what is asked.

In: a base URL (with or without `/v1`, with the whole path, with a query), and an API's rule for the
path. Out: the URL of a request. Must stay true: scheme, host and port stay as they were written;
a query of the user's and one of the API's are both kept; texts like `${ENV}` pass unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit


def complete_url(base_url: str, complete_path: Callable[[str], str]) -> str:
    """The base URL with its path (no slash at the end) completed by an API's rule, which may add a
    query of its own.
    """
    base, _, query = base_url.partition("?")
    base = base.rstrip("/")
    path = urlsplit(base).path
    whole, _, own_query = complete_path(path).partition("?")
    queries = "&".join(part for part in (query, own_query) if part)
    return base[: len(base) - len(path)] + whole + (f"?{queries}" if queries else "")


def ending_in(path: str, ending: str, without_path: str = "/v1") -> str:
    """The path with the API's own part at its end, once; no path at all means `without_path`, as
    `http://host:8000` does to other tools.
    """
    return path if path.endswith(ending) else (path or without_path) + ending
