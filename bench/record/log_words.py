"""How a request of a log ended: HTTP statuses, words, error texts.

In: cells as written. Out: statuses and outcome numbers a row. Must stay true: a word that is not
known is *unknown*, which counts both ways, and is named; a sign of failure is never outvoted by a
sign of success beside it.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np

from bench.record.log_numbers import Bad, by_distinct, is_empty, read_whole, shown
from bench.record.samples import Bool, Int, Outcome

_SAID: dict[Outcome, str] = {
    Outcome.ok: (
        "success succeeded successful true 1 completed complete yes served passed delivered"
    ),
    Outcome.http_5xx: (
        "server_error internal internal_server unavailable service_unavailable bad_gateway"
        " overloaded upstream upstream_failure data_loss api"
    ),
    Outcome.timeout_total: (
        "timeout timed_out deadline_exceeded time_out api_timeout gateway_timeout request_timeout"
        " read_timeout upstream_timeout"
    ),
    Outcome.rate_limited: (
        "rate_limit throttled quota_exceeded rate_limit_exceeded throttling resource_exhausted"
        " too_many_requests insufficient_quota"
    ),
    Outcome.censored: "cancelled canceled aborted cancel",
    Outcome.http_4xx: (
        "client client_error bad_request invalid_request invalid_argument unauthenticated"
        " permission_denied permission authentication not_found unprocessable_entity"
        " context_window_exceeded content_policy_violation failed_precondition out_of_range"
        " unauthorized forbidden already_exists"
    ),
    Outcome.refused: "connection_refused econnrefused",
    Outcome.reset: "connection_reset econnreset api_connection connection broken_pipe",
    Outcome.truncated: "incomplete disconnected interrupted",
}
_WORDS = {outcome.name: outcome for outcome in Outcome} | {
    word: outcome for outcome, words in _SAID.items() for word in words.split()
}


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


#: Words for a failed request that do not say how it failed.
VAGUE = _set_of("failure failed fail error errored false 0 no err exception ko")
#: What stands in a column of errors where there was none.
_NO_ERROR = _set_of("0 200 false no ok none success succeeded no_error noerror {} [] 0.0 n/a")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SUFFIX = re.compile(r"_(?:error|exception)$")
_PREFIX = re.compile(r"^(?:status_code|statuscode|grpc|code|litellm|openai|api)[_.:]+")
_LEADING = re.compile(r"(?:http(?:/[\d.]+)?[ _:-]*)?([1-5])(\d\d|xx)\b", re.IGNORECASE)
#: More different unknown words than this are counted together.
_MOST_WORDS = 1_000


def outcome_of(cell: object) -> Outcome | None:
    """The outcome that a word or a class of statuses names; `http_5xx` for a failure that does not
    say how; None for a word that is not known.
    """
    text = str(cell).strip()
    plain = text.lower().replace(" ", "_").replace("-", "_")
    if plain in VAGUE:
        return Outcome.http_5xx
    if plain in _WORDS:
        return _WORDS[plain]
    if found := _LEADING.match(text):
        number = int(found[1]) * 100 + (0 if found[2].lower() == "xx" else int(found[2]))
        return of_status(number) if number >= 200 else None
    word = _HUMP.sub("_", text).lower().replace(" ", "_").replace("-", "_")
    for _ in range(2):
        word = _PREFIX.sub("", word)
        word = _SUFFIX.sub("", word) if word not in _WORDS else word
    if word in VAGUE:
        return Outcome.http_5xx
    return _WORDS.get(word)


def of_status(status: int) -> Outcome:
    """The outcome of an HTTP status; `censored` where there is none."""
    if status == 429:
        return Outcome.rate_limited
    if status < 100:
        return Outcome.censored
    if status < 400:
        return Outcome.ok
    return Outcome.http_4xx if status < 500 else Outcome.http_5xx


_OF_STATUS = np.array([of_status(each) for each in range(600)], np.int64)


def outcomes_of_status(status: Int) -> Int:
    """Outcome numbers of HTTP statuses below 600."""
    return _OF_STATUS[np.maximum(status, 0)]


def is_vague(cell: object) -> bool:
    """Whether a word says that a request failed, and not how."""
    word = str(cell).strip().lower()
    return word in VAGUE or _SUFFIX.sub("", word) in VAGUE or _PREFIX.sub("", word) in VAGUE


class Ends:
    """Statuses and words of one column: each cell is read by what it is."""

    def __init__(self, cells: list[Any], name: str, bad: Bad, odd: Counter[str], *, words: bool):
        """`words`: 0 and 1 are words here, and not statuses. Unknown words are counted in `odd`."""
        kinds = list[tuple[int, int, int]]()

        def kind_of(cell: Any) -> int:
            kinds.append(self._read(cell, words=words))
            return len(kinds) - 1

        place = by_distinct(cells, kind_of)
        table = np.array(kinds, np.int64).reshape(-1, 3)[place]
        self.status: Int = table[:, 0].copy()
        self.outcome: Int = table[:, 1].copy()
        self.vague: Bool = table[:, 2] == 1
        for row in np.flatnonzero(table[:, 2] < 0).tolist():
            bad.setdefault(row, f"column {name!r}: {shown(cells[row])} is no HTTP status")
        for row in np.flatnonzero(table[:, 2] == 2).tolist():
            word = str(cells[row]).strip()[:60]
            odd[word if word in odd or len(odd) < _MOST_WORDS else "(further words)"] += 1

    @staticmethod
    def _read(cell: Any, *, words: bool) -> tuple[int, int, int]:
        """(status, outcome, 1 vague, 2 unknown word, -1 no status)."""
        if is_empty(cell):
            return -1, -1, 0
        plain = str(cell).strip().lower()
        if words and plain in ("0", "1", "0.0", "1.0"):
            cell = plain[0]
        elif (number := read_whole(cell)) is not None:
            if number in (0, -1):
                return -1, -1, 0
            return (number, -1, 0) if 100 <= number <= 599 else (-1, -1, -1)
        found = outcome_of(cell)
        if found is None:
            return -1, int(Outcome.censored), 2
        return -1, int(found), int(is_vague(cell))


def told_error(cells: list[Any]) -> list[Any]:
    """The cells of an error column; None where it says that there was none."""
    try:
        said = {cell: None if _is_no_error(cell) else cell for cell in set(cells)}
        return [said[cell] for cell in cells]
    except TypeError:  # an object or a list
        return [None if _is_no_error(cell) else cell for cell in cells]


def _is_no_error(cell: Any) -> bool:
    if isinstance(cell, str):
        return is_empty(cell) or cell.strip().lower() in _NO_ERROR
    return not cell or cell == 200 or is_empty(cell)


def outcomes_of_codes(cells: list[Any]) -> Int:
    """Of error codes: the failure that a status from 400 or a known word names, -1 else."""

    def read(cell: Any) -> int:
        if is_empty(cell):
            return -1
        number = read_whole(cell)
        if number is not None:
            return int(of_status(number)) if 400 <= number <= 599 else -1
        found = outcome_of(cell)
        return -1 if found in (None, Outcome.ok, Outcome.censored) else int(found or 0)

    return by_distinct(cells, read)
