"""Values as TOML, for the files that tailproof writes for a user.

In: plain values, as a model dumps them. Out: text that `tomllib` reads back as the same values.
Must stay true: a key without a value is left out, for TOML has no null.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_table(name: str, found: Mapping[str, Any]) -> str:
    """A table; `name` stands as it is, so that `[stage]` makes one of several."""
    lines = [
        f"{toml_key(key)} = {toml_value(value)}"
        for key, value in found.items()
        if value is not None
    ]
    return "\n".join([f"\n[{name}]", *lines])


def toml_key(name: str) -> str:
    """A key, quoted where it has to be."""
    return name if _BARE.fullmatch(name) else toml_value(name)


def toml_value(value: Any) -> str:
    """One value on a line; JSON's texts are TOML's, but for the one character that TOML escapes."""
    if isinstance(value, dict):
        inner = ", ".join(f"{toml_key(key)} = {toml_value(each)}" for key, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value)
