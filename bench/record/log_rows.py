"""One chunk of a log -> one integer a field and row, and why rows cannot be read.

In: a chunk of cells, field -> column. Out: arrays, bad rows. Must stay true: a sign of failure in
any column that is known counts; what columns imply is derived, never guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

import numpy as np

from bench.record import log_numbers as numbers
from bench.record.log_columns import FIELDS, Column
from bench.record.log_files import Chunk
from bench.record.log_moments import Moments
from bench.record.log_words import (
    Ends,
    outcomes_of_codes,
    outcomes_of_status,
    told_error,
)
from bench.record.samples import Bool, Int, Outcome

_YES = ("true", "1", "yes")


class Texts(dict[str, numbers.Numbers]):
    """The numbering of texts, field by field."""

    def __missing__(self, name: str) -> numbers.Numbers:
        return self.setdefault(name, numbers.numbering())


@dataclass
class Converter:
    """Reads the chunks of one log."""

    zone: tzinfo | None
    texts: Texts = field(default_factory=Texts)
    #: words for an end that are not known, and how many rows have them
    odd_words: Counter[str] = field(default_factory=Counter)
    #: rows that say that they failed, and not how
    vague: int = 0

    def rows(
        self,
        chunk: Chunk,
        mapping: Mapping[str, Column],
        where: str,
        *,
        comma: bool,
    ) -> tuple[dict[str, Int], numbers.Bad]:
        """field -> one integer a row, and the rows that cannot be read.

        Raises UserError for times without a zone.
        """
        bad: numbers.Bad = {}
        found: dict[str, Int] = {"line": np.array(chunk.lines, np.int64)}
        if "id" not in mapping:
            found["digest"] = np.fromiter(chunk.digests(), np.int64, len(chunk.rows))
        ends: list[Ends] = []
        twice = dict[str, Int]()
        for name, column in mapping.items():
            cells = _cells(chunk, column, name)
            kind = FIELDS[name][0]
            if kind == "moment":
                needed = name == "at" or (name == "ended" and "at" not in mapping)
                moments = Moments(column.name, column.unit, self.zone, where)
                found[name] = moments.read(cells, bad, needed=needed).ns
                twice[name] = moments.twice
            elif kind in ("length", "count"):
                number = numbers.number_reader(cells, comma=comma)
                if kind == "length":
                    found[name] = numbers.lengths(cells, column.name, column.unit, bad, number)
                else:
                    found[name] = numbers.counts(cells, column.name, bad, number)
            elif name == "id":
                found[name] = numbers.hashed(cells)
            elif kind == "text":
                found[name] = numbers.numbered(cells, self.texts[name])
                if name == "code":
                    found["of_code"] = outcomes_of_codes(cells)
            elif kind == "flag":
                found[name] = np.array([_word(cell) in _YES for cell in cells], np.int64)
            else:
                for each in (column.name, *column.others):
                    said = chunk.cells(each)
                    words = kind == "outcome"
                    ends.append(Ends(said, each, bad, self.odd_words, words=words))
        self._join_ends(found, ends)
        _complete(found, twice)
        return found, bad

    def _join_ends(self, found: dict[str, Int], ends: list[Ends]) -> None:
        """One status and one outcome a row of all columns that say how it ended."""
        if not ends:
            return
        status, outcome = ends[0].status, ends[0].outcome
        vague: Bool = ends[0].vague
        for each in ends[1:]:
            status = np.maximum(status, each.status)
            # what is said in so many words, and of two words the failure
            better = (outcome < 0) | vague | (outcome == Outcome.ok)
            take = (each.outcome >= 0) & better & ~(each.vague & (outcome >= 0) & vague)
            outcome = np.where(take, each.outcome, outcome)
            vague = np.where(take, each.vague, vague)
        of_status = np.where(status >= 0, outcomes_of_status(status), -1)
        # A status from 400 outvotes `success`, and says how where a word does not.
        says_how = (status >= 400) & (vague | (outcome == Outcome.ok))
        outcome = np.where((outcome < 0) | says_how, of_status, outcome)
        vague &= ~says_how
        if "of_code" in found:
            of_code = found["of_code"]
            take = vague & (of_code >= 0)
            outcome, vague = np.where(take, of_code, outcome), vague & ~take
        self.vague += int(vague.sum())
        found["status"], found["outcome"] = status, outcome


def _cells(chunk: Chunk, column: Column, name: str) -> list[Any]:
    cells = chunk.cells(column.name)
    if column.date:
        return [
            None if numbers.is_empty(time) else f"{date}T{time}".replace(" ", "")
            for date, time in zip(chunk.cells(column.date), cells, strict=True)
        ]
    if name == "error":
        cells = told_error(cells)
        for other in column.others:
            further = told_error(chunk.cells(other))
            cells = [
                mine if mine is not None else its for mine, its in zip(cells, further, strict=True)
            ]
    return cells


def _word(cell: object) -> str:
    return str(cell).strip().lower()


def _complete(found: dict[str, Int], twice: Mapping[str, Int]) -> None:
    """Derive what other columns imply: start, length, time to the first token, outcome."""
    nothing = np.full(len(found["line"]), -1)
    main = "at" if "at" in found else "ended"
    found["twice"] = twice[main]
    found["written"] = found[main]
    if "at" not in found:
        before = np.maximum(found["latency"], 0)
        found["at"] = np.where(found["ended"] >= 0, found["ended"] - before, -1)
    for length, end in (("latency", "ended"), ("ttft", "first_token_at")):
        if length not in found and end in found:
            took = found[end] - found["at"]
            same_hour = (twice[end] > 0) == (found["twice"] > 0)
            known = (found["at"] >= 0) & (found[end] >= 0) & (took >= 0) & same_hour
            found[length] = np.where(known, took, -1)
    outcome = found.get("outcome", nothing)
    if "error" in found:
        # An error beside a success came inside the answer; beside nothing, instead of one.
        open_ = (outcome == Outcome.ok) | (outcome < 0)
        outcome = np.where(open_ & (found["error"] >= 0), Outcome.stream_error, outcome)
    found["outcome"] = np.where(outcome >= 0, outcome, Outcome.censored)
