"""Texts of servers, by number, as they may be kept.

In: whatever a server says. Out: numbers, and the texts behind them. Must stay true: no text is kept
without its secrets removed and its length bounded; their number is bounded too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydantic import SecretStr

from bench.plan.credentials import REDACTED, Redaction
from bench.record.pieces import FURTHER_TEXTS, MAX_STRINGS

_MAX_STRING = 200
#: Of a longer text only so much is searched for secrets, and the rest dropped.
_LOOKED_AT = 4 * _MAX_STRING
#: What looks like a key, ours or not. Words are none: "API key provided", "api-version".
_SECRET = re.compile(
    r"(?i)\b(?:(?:sk|pk)[-_]|(?:sk|pk|api|key|bearer)[-_ ](?=[a-z_.\-]*[0-9*]))[a-z0-9_*.\-]{6,}"
)


class Strings:
    """Short texts by number, bounded in count and length; the last number stands for the rest."""

    def __init__(self, secrets: Iterable[SecretStr] = ()):
        self._redaction = Redaction(secrets)
        self._index: dict[str, int] = {}
        self.names: list[str] = []

    def number(self, text: str | None) -> int:
        """The number of a text, -1 for none."""
        if not text:
            return -1
        if len(text) > _LOOKED_AT:  # before it becomes a key: a server may send megabytes
            text = text[:_LOOKED_AT]
        known = self._index.get(text)
        if known is not None:
            return known
        clean = self.clean(text)
        if clean in self._index:
            return self._index[clean]
        if len(self.names) >= MAX_STRINGS:
            clean = FURTHER_TEXTS
        if clean not in self._index:
            self._index[clean] = len(self.names)
            self.names.append(clean)
        number = self._index[clean]
        if len(self._index) < 2 * MAX_STRINGS:
            self._index[text] = number
        return number

    def clean(self, text: str) -> str:
        """The text as it may be kept: writable, without secrets, of bounded length."""
        # Half a surrogate pair, from a server that cuts text by bytes, cannot be written as UTF-8.
        text = text.encode("utf-8", "replace").decode()[:_LOOKED_AT]
        return _SECRET.sub(REDACTED, self._redaction.clean(text))[:_MAX_STRING]
