"""Keys and tokens that came while a run was under way, so that no text is kept with one in it.

In: each key that a source of credentials renewed. Out: all of them, in order. Must stay true: it
only grows, in this process; nothing here is printed.
"""

from __future__ import annotations

#: For `Redaction`, which knows how many it has taken in.
SEEN: list[str] = []


def note(*secrets: str) -> None:
    """Remember what has to stay out of texts from now on."""
    SEEN.extend(text for text in secrets if text and text not in SEEN)
