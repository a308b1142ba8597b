"""URLs as users paste them, completed to what is asked.

In: a base URL (with or without `/v1`, with the whole path, with a query), an API's rule for the
path, and the target's own query. Out: the URL of a request. Must stay true: scheme, host and port
stay as they were written; a name stands in the query once, the target's before the URL's before the
API's; texts like `${ENV}` pass unchanged; no message repeats a query's value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import quote, unquote_plus, urlsplit

#: What the value behind such a name proves, by the vendors' and clouds' names for keys, tokens and
#: signatures of URLs.
_PROVES = re.compile(
    r"(?i)\w*(?:key|token|secret|password|passwd|signature|credentials?)"
    r"|(?:.*[-_.])?(?:key|token|secret|signature|credential|sig|auth|pass|pwd|code|jwt)"
    r"|authorization"
)


def complete_url(
    base_url: str,
    complete_path: Callable[[str], str],
    query: Mapping[str, str] | None = None,
) -> str:
    """The base URL with its path (no slash at the end) completed by an API's rule, which may add a
    query of its own; `query` joins it, percent-encoded but for `${ENV}`.
    """
    base, _, pasted = base_url.partition("?")
    base = base.rstrip("/")
    path = urlsplit(base).path
    whole, _, own = complete_path(path).partition("?")
    given = [f"{quote(name)}={quote(value, safe='${}')}" for name, value in (query or {}).items()]
    parts = _unlike(given, pasted) + given
    parts += _unlike(parts, own)
    return base[: len(base) - len(path)] + whole + (f"?{'&'.join(parts)}" if parts else "")


def _unlike(taken: list[str], query: str) -> list[str]:
    """The parts of a query whose names are not taken."""
    names = set(map(_name, taken))
    return [part for part in query.split("&") if part and _name(part) not in names]


def _name(part: str) -> str:
    return unquote_plus(part.partition("=")[0])


def ending_in(path: str, ending: str, without_path: str = "/v1") -> str:
    """The path with the API's own part at its end, once; no path at all means `without_path`, as
    `http://host:8000` does to other tools.
    """
    if path.endswith(ending):
        return path
    return (path or without_path) + ending


def ending_in_version(path: str, ending: str, version: str = "/v1") -> str:
    """The path with the API's own part at its end, once; a path that does not end in a version gets
    `version` first, as the API's official clients do with base URLs.
    """
    if path.endswith(ending):
        return path
    return path + ("" if re.search(r"/v\d\w*$", path) else version) + ending


def refuse_key_in_query(names: str | Mapping[str, str]) -> None:
    """Raises ValueError for a query (or a table of its parts) in which a name stands for a key."""
    found = map(_name, names.split("&")) if isinstance(names, str) else names
    for name in found:
        if _PROVES.fullmatch(name):
            raise ValueError(
                f"the query holds {name!r}, which would send a key where logs keep it; name an"
                " environment variable in api_key_env, and in auth how it is sent"
            )
