"""Which httpx this is: httpx2, its maintained continuation with the same API, where installed.

In: what is installed, and TAILPROOF_HTTPX (`httpx` or `httpx2`) where one is wanted. Out: the
module `httpx`. Must stay true: nothing else imports either; the manifest names the one in use.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx
else:
    _wanted = os.environ.get("TAILPROOF_HTTPX")
    _names = [_wanted] if _wanted in ("httpx", "httpx2") else ["httpx2", "httpx"]
    httpx = importlib.import_module(
        next((name for name in _names if importlib.util.find_spec(name)), "httpx")
    )

__all__ = ["httpx", "in_use"]


def in_use() -> str:
    """Name and version: `httpx 0.28.1`, `httpx2 2.16.2`."""
    return f"{httpx.__name__} {httpx.__version__}"
