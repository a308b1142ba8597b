"""Prompts that share their beginnings as a trace recorded it.

In: the `hash_ids` of a Mooncake trace. Out: a text a row. Must stay true: two prompts begin with
the same n blocks of text exactly where their first n ids are equal; blocks are 512 tokens.

Source: Mooncake's description of its traces: an id stands for 512 tokens and all before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.plan.prompts import PromptText
from bench.plan.trace_rows import read_blocks
from bench.units import show_share

BLOCK_TOKENS = 512


class RecordedPrefixes:
    """The blocks of a trace's rows."""

    def __init__(self, file: str):
        """Raises UserError where a row has none."""
        self._blocks = read_blocks(Path(file), file)

    def prompt(self, text: PromptText, row: int, tokens: int) -> bytes:
        """The prompt of one row of the file, so many tokens long."""
        parts = []
        for block in self._blocks[row]:
            if tokens <= 0:
                break
            parts.append(text.prompt(block, min(BLOCK_TOKENS, tokens)))
            tokens -= BLOCK_TOKENS
        if tokens > 0:
            # More than its blocks hold: words that no other row has.
            parts.append(text.prompt(_BEYOND + row, tokens))
        return b" ".join(parts)

    def share(self, rows: Iterable[int], tokens: Sequence[int] | npt.NDArray[np.int32]) -> float:
        """Tokens in leading whole blocks that an earlier one of these rows had, of all tokens."""
        seen = set[int]()
        known = 0
        total = 0
        for row, length in zip(rows, tokens, strict=True):
            blocks = self._blocks[row][: int(length) // BLOCK_TOKENS]
            fresh = next((at for at, each in enumerate(blocks) if each not in seen), len(blocks))
            known += fresh * BLOCK_TOKENS
            total += int(length)
            seen.update(blocks)
        return known / total if total else 0.0


#: Numbers of bodies beyond those of any block.
_BEYOND = 1 << 23


def prefix_note(file: str, rows: npt.NDArray[np.int32], tokens: npt.NDArray[np.int32]) -> str:
    """What a cache that forgets nothing would have of these prompts."""
    share = RecordedPrefixes(file).share(rows.tolist(), tokens)
    return (
        f"prompts share their beginnings as recorded: {show_share(share, 1)} of their tokens stand"
        f" in blocks of {BLOCK_TOKENS} that an earlier one began with"
    )
