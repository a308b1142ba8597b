"""JSON of a log -> objects: one a line, one array of them, or objects written over several lines.

In: a text handle and its first line. Out: (number, object, its text); the number is the line of
JSON Lines, else the place of the object. Must stay true: an object that cannot be read is listed
and the reading goes on, or the file is refused where the next one cannot be found; never more than
one block and one object are held.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import chain
from typing import Any

from bench.errors import UserError

Row = tuple[int, dict[str, Any], str]
Refuse = Callable[[int, str], None]
_BLOCK = 1 << 20
#: A line or an object beyond this is no request's row.
LONGEST = 1 << 24
_DECODER = json.JSONDecoder(parse_float=Decimal)
_GAP = re.compile(r"[\s,\x1e\ufeff]*")


def read_line(handle: io.TextIOBase) -> tuple[str, bool]:
    """(a line, whether it is whole); the rest of an endless one is passed over."""
    text = handle.readline(LONGEST)
    if len(text) < LONGEST or text.endswith(("\n", "\r")):
        return text, True
    while (more := handle.readline(LONGEST)) and not more.endswith(("\n", "\r")):
        pass
    return text[:100], False


def json_rows(
    handle: io.TextIOBase, begun: tuple[str, int], refuse: Refuse, where: str
) -> Iterator[Row]:
    """All objects; `begun` is the first line and its number.

    Raises UserError for an array that is broken or breaks off.
    """
    first, line = begun
    start = first.lstrip("\ufeff\x1e \t\r\n")
    if start.startswith("["):
        return _values(handle, first, refuse, where)
    try:
        json.loads(start)
    except (ValueError, RecursionError):
        second = handle.readline(LONGEST)
        if start.startswith("{") and not second.lstrip().startswith("{"):
            return _values(handle, first + second, refuse, where)
        return _lines(chain([(first, True), (second, True)], _rest(handle)), line, refuse)
    return _lines(chain([(first, True)], _rest(handle)), line, refuse)


def _rest(handle: io.TextIOBase) -> Iterator[tuple[str, bool]]:
    while (found := read_line(handle))[0]:
        yield found


def _lines(lines: Iterator[tuple[str, bool]], begun: int, refuse: Refuse) -> Iterator[Row]:
    for number, (line, whole) in enumerate(lines, begun):
        text = line.strip("\ufeff\x1e \t\r\n")
        if not whole:
            refuse(number, f"is longer than {LONGEST:,} characters")
        elif text:
            try:
                row = json.loads(text, parse_float=Decimal)
            except (ValueError, RecursionError) as error:
                refuse(number, f"is not JSON ({error})")
            else:
                if isinstance(row, dict):
                    yield number, row, text
                else:
                    refuse(number, "is not a JSON object")


def _values(handle: io.TextIOBase, text: str, refuse: Refuse, where: str) -> Iterator[Row]:
    """Objects one after another, within an array or not."""
    at = number = 0
    inside = False
    while True:
        found = _GAP.match(text, at)
        at = found.end() if found else at
        if at == len(text):
            text = handle.read(_BLOCK)
            at = 0
            if not text:
                break
        elif text[at] == "]" and inside:
            at, inside = at + 1, False
        elif text[at] == "[" and not inside:
            at, inside = at + 1, True
        else:
            try:
                row, end = _DECODER.raw_decode(text, at)
            except (ValueError, RecursionError) as error:
                more = "" if len(text) - at > LONGEST else handle.read(max(_BLOCK, len(text) - at))
                if not more:
                    raise _broken(number + 1, error, where) from None
                text, at = text[at:] + more, 0
                continue
            number += 1
            if isinstance(row, dict):
                yield number, row, text[at:end]
            else:
                refuse(number, "is not a JSON object")
            at = end
    if inside:
        raise _broken(number + 1, "the array has no end", where)


def _broken(number: int, error: object, where: str) -> UserError:
    return UserError(
        f"object {number:,} is not JSON or breaks off ({error}); what follows cannot be told apart",
        where=where,
        remedy=f"get the file whole, or write one object a line: jq -c '.[]' {where} > log.jsonl",
    )
