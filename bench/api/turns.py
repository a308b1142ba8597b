"""Texts of a conversation as a JSON list of turns.

In: JSON-escaped texts, the user's and the assistant's in turn. Out: the items of the list. Must
stay true: one text, the common case, costs no more than two concatenations.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def in_turns(
    texts: Sequence[bytes],
    user: bytes,
    assistant: bytes,
    end: bytes,
) -> bytes:
    """The items: each text between what opens a turn of its side and `end`."""
    if len(texts) == 1:
        return user + texts[0] + end
    sides = itertools.cycle((user, assistant))
    return b",".join(side + text + end for side, text in zip(sides, texts, strict=False))
