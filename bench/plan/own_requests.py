"""The user's own requests: a file of bodies, prompts or conversations, read for sending.

In: a path and the APIs that it will be sent to. Out: `OwnRequests`: sizes by request and turn, and
each body when it is due. Must stay true: every line is looked at before anything is sent, and the
first that cannot be sent is an error with its number; of a JSON Lines file only places are kept in
memory; no text of it reaches a result.
"""

from __future__ import annotations

import csv
import io
import json
import mmap
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, DecimalException
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from bench.api.conversation import Body, api_of, converted, length_of
from bench.errors import UserError
from bench.plan.expectation import Expectation
from bench.plan.file_kinds import refuse_binary, refuse_packed, unreadable
from bench.plan.trace_values import UNIT_NS, is_stamp, number_parser, parse_stamp, unit_of_size

Tokens = npt.NDArray[np.int32]
#: Where nothing counts a text's tokens: UTF-8 bytes a token.
BYTES_A_TOKEN = 4
#: A JSON array or a CSV is held in memory, so it may be this large.
MOST_IN_MEMORY = 512 << 20
#: Columns of a CSV that may hold the prompt, the first that there is.
_COLUMNS = ("prompt", "text", "text_input", "input", "question")
_LENGTH_KEYS = ("output_length", "output_tokens", "output_tokens_count")
_SIZE_KEYS = ("prompt_tokens", "input_length", "prompt_tokens_count")
#: Keys of a line that are about the request, and no part of its body.
_ABOUT = {"expect", "custom_id", "id", "method", "url", "timestamp", *_LENGTH_KEYS, *_SIZE_KEYS}
_USERS, _ASSISTANTS = ("human", "user"), ("gpt", "assistant", "chatgpt", "bot", "model")
_OF_URL = re.compile(r"/(chat/completions|completions|responses|embeddings|messages)$")
#: What looks like a key: OpenAI's and Anthropic's, AWS', Google's, a bearer token.
_KEY = re.compile(
    rb"\bsk-[A-Za-z0-9_-]{20,}|\bAKIA[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{35}"
    rb"|Bearer [A-Za-z0-9._-]{20,}"
)


#: What each of them begins with: to look for a few bytes costs a tenth of a regular expression.
_KEY_BEGINS = (b"sk-", b"AKIA", b"AIza", b"Bearer ")


class Asked(NamedTuple):
    """One line: the bodies of its turns, all but a conversation having one."""

    bodies: tuple[Body, ...]
    #: tokens of the answers, -1 where the line does not say
    lengths: tuple[int, ...]
    #: tokens of the prompts, -1 where the line does not say
    sizes: tuple[int, ...]
    api: str | None
    #: when it was asked, in ns; -1 where the line does not say
    at_ns: int = -1
    #: what its answer has to be, where the line says it
    expect: Expectation | None = None


class OwnRequests:
    """The requests of one file, in its order."""

    def __init__(
        self,
        lines: Lines,
        times: npt.NDArray[np.int64],
        turns: Tokens,
        prompt_tokens: Tokens,
        output_tokens: Tokens,
        expected: Mapping[int, Expectation],
    ):
        self._lines = lines
        #: what answers have to be, of the lines that say it
        self.expected = expected
        #: when each line was asked (ns), -1 where it does not say
        self.times = times
        #: how many turns each line has; sizes stand line by line, turn by turn
        self.turns = turns
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.starts = np.cumsum(turns, dtype=np.int64) - turns

    def __len__(self) -> int:
        return len(self.turns)

    @property
    def talks(self) -> bool:
        """Whether a line has several turns; else a row's turn is a closed loop's count."""
        return len(self.prompt_tokens) > len(self.turns)

    def refuse_without_times(self) -> None:
        """Raises UserError naming the first line without a time."""
        missing = np.flatnonzero(self.times < 0)
        if len(missing):
            number = self._lines.numbers[int(missing[0])]
            raise UserError(
                f"{self._lines.unit} {number}: has no timestamp",
                where=self._lines.name,
                remedy="add it (ms, Unix time or RFC 3339), or give the profile a rate",
            )

    def body(self, item: int, turn: int, api: str) -> Body:
        """What is asked, in the API's shape, with keys that a target has still to force."""
        asked = _asked(json.loads(self._lines[item]))
        return _for_api(asked, turn, api)


class Lines(Sequence[bytes]):
    """The objects of a file: by their places in it, or held as they are."""

    def __init__(self, path: Path, name: str):
        self.name = name
        self._held: list[bytes] = []
        self._places: array[int] = array("q")
        #: the number of each object's line
        self.numbers: array[int] = array("l")
        self.unit = "line"
        with path.open("rb") as file:
            head = file.read(512)
            refuse_packed(head, name)
            refuse_binary(head, name)
            if not head.strip():
                raise UserError("holds no request", where=name, remedy="write one a line")
            first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
            if first == b"{":
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                self._find()
            else:
                self._read(path, first == b"[")

    def _find(self) -> None:
        at, number, view = 0, 0, self._map
        while at < len(view):
            end = view.find(b"\n", at)
            end = len(view) if end < 0 else end
            number += 1
            if view[at:end].strip():
                self._places.extend((at, end))
                self.numbers.append(number)
            at = end + 1

    def _read(self, path: Path, is_json: bool) -> None:
        if path.stat().st_size > MOST_IN_MEMORY:
            raise UserError(
                f"is larger than {MOST_IN_MEMORY >> 20} MB, and not one object a line",
                where=self.name,
                remedy=f"write it as JSON Lines: jq -c '.[]' {self.name} > requests.jsonl",
            )
        try:
            text = path.read_text("utf-8-sig")
            found = json.loads(text) if is_json else _csv_rows(text, self.name)
        except ValueError as error:
            raise UserError(
                f"is not {'JSON' if is_json else 'UTF-8 text'} ({error})",
                where=self.name,
                remedy="correct the file, or write one JSON object a line",
            ) from None
        self.unit = "entry"
        self._held = [json.dumps(each).encode() for each in found]
        self.numbers.extend(range(1, len(self._held) + 1))

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, item: Any) -> Any:
        if self._held:
            return self._held[item]
        return self._map[self._places[2 * item] : self._places[2 * item + 1]]


def _csv_rows(text: str, name: str) -> Iterator[Mapping[str, Any]]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    columns = rows.fieldnames or []
    column = next((each for each in _COLUMNS if each in columns), None)
    if column is None:
        raise UserError(
            f"has no column of prompts (columns: {', '.join(columns)[:200]})",
            where=name,
            remedy=f"name one of its columns {' or '.join(_COLUMNS)}",
        )
    for row in rows:
        numbers = {
            key: int(row[key])
            for key in (*_LENGTH_KEYS, *_SIZE_KEYS)
            if (row.get(key) or "").isdigit()
        }
        yield {"prompt": row[column] or "", **numbers}


def own_requests(file: str | None, apis: Sequence[str]) -> OwnRequests | None:
    """Read a file for targets of these APIs; None without one. Raises UserError naming file, line
    and remedy.
    """
    if file is None:
        return None
    path = Path(file)
    try:
        state = path.stat()
    except OSError as error:
        raise unreadable("requests", error, file) from None
    return _read(file, tuple(dict.fromkeys(apis)), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _read(file: str, apis: tuple[str, ...], _mtime_ns: int, _size: int) -> OwnRequests:
    lines = Lines(Path(file), file)
    turns, prompts, outputs, times = array("i"), array("i"), array("i"), array("q")
    expected: dict[int, Expectation] = {}
    for place, number in enumerate(lines.numbers):
        line = lines[place]
        try:
            begins = any(begin in line for begin in _KEY_BEGINS)
            if begins and (found := _KEY.search(line)):
                shown = found[0][:6].decode()
                raise ValueError(f"holds what looks like a key ({shown}…): take it out")
            asked = _asked(json.loads(line))
            for api in apis:
                _for_api(asked, 0, api)
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            RecursionError,
            DecimalException,
        ) as error:
            raise _wrong(error, file, f"{lines.unit} {number}") from None
        times.append(asked.at_ns)
        if asked.expect is not None:
            expected[place] = asked.expect
        turns.append(len(asked.bodies))
        outputs.extend(asked.lengths)
        prompts.extend(
            size if size >= 0 else _estimated(body)
            for size, body in zip(asked.sizes, asked.bodies, strict=True)
        )
    if not turns:
        raise UserError("holds no request", where=file, remedy="write one a line")
    each_turn, sizes, lengths = (np.array(of, np.int32) for of in (turns, prompts, outputs))
    return OwnRequests(lines, np.array(times, np.int64), each_turn, sizes, lengths, expected)


def _wrong(error: Exception, file: str, place: str) -> UserError:
    if isinstance(error, json.JSONDecodeError):
        return UserError(
            f"{place}: is not JSON ({error.msg}, column {error.colno})",
            where=file,
            remedy="correct or remove it; nothing was sent",
        )
    what = str(error) if type(error) is ValueError else "has not the shape of a request"
    return UserError(
        f"{place}: {what}", where=file, remedy="correct or remove it; nothing was sent"
    )


def _asked(row: Any) -> Asked:
    """What a line asks, and when. Raises ValueError."""
    if not isinstance(row, dict):
        raise ValueError("is not a JSON object")
    asked = _shaped(row)
    if "expect" in row:
        asked = asked._replace(expect=_expectation(json.dumps(row["expect"])))
    return asked if "timestamp" not in row else asked._replace(at_ns=_moment(row["timestamp"]))


@lru_cache(maxsize=1024)
def _expectation(written: str) -> Expectation:
    """Many lines expect the same. Raises ValueError."""
    try:
        return Expectation.model_validate_json(written)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, ("expect", *first["loc"])))
        raise ValueError(f"{key}: {first['msg'].removeprefix('Value error, ')}") from None


def _moment(value: Any) -> int:
    """ns of a date, of a Unix time, whose size tells its unit, or of ms from any beginning."""
    if is_stamp(value):
        return parse_stamp(value)
    unit = unit_of_size([value]) or "ms"
    at_ns = number_parser(UNIT_NS[unit])(Decimal(str(value)))
    if at_ns < 0:
        raise ValueError("its timestamp lies before 0")
    return at_ns


def _shaped(row: dict[str, Any]) -> Asked:
    """What a line asks, by the keys that it has. Raises ValueError."""
    for wrapper, api in (("body", None), ("params", "messages")):
        if isinstance(row.get(wrapper), dict):
            of_url = _OF_URL.search(str(row.get("url", "")))
            named = of_url[1].replace("chat/completions", "chat") if of_url else api
            return _single(row[wrapper], row, named)
    for key in ("conversations", "conversation"):
        if isinstance(row.get(key), list):
            return _turns(row[key])
    body = {key: value for key, value in row.items() if key not in _ABOUT}
    for key in ("text_input", "text"):
        if isinstance(row.get(key), str) and "prompt" not in body:
            body = {"prompt": row[key]}
    return _single(body, row, None)


def _single(body: Body, row: Mapping[str, Any], api: str | None) -> Asked:
    for key in ("n", "best_of"):
        if isinstance(body.get(key), int) and body[key] > 1:
            raise ValueError(f"asks for {body[key]} answers ({key}); one request has one answer")
    length = _number(row, _LENGTH_KEYS)
    if length < 0:
        length = length_of(body) or -1
    return Asked((body,), (length,), (_number(row, _SIZE_KEYS),), api)


def _number(row: Mapping[str, Any], names: Sequence[str]) -> int:
    for name in names:
        value = row.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 10_000_000:
            return value
    return -1


def _turns(said: list[Any]) -> Asked:
    """A ShareGPT conversation: a request for each of the user's turns, with all before it."""
    messages: list[dict[str, str]] = []
    bodies: list[Body] = []
    lengths: list[int] = []
    for each in said:
        who, text = each.get("from", each.get("role")), each.get("value", each.get("content"))
        if not isinstance(text, str):
            raise ValueError("a turn of the conversation has no text")
        if who in _USERS:
            messages.append({"role": "user", "content": text})
            bodies.append({"messages": list(messages)})
            lengths.append(-1)
        elif who in _ASSISTANTS:
            messages.append({"role": "assistant", "content": text})
            if lengths and lengths[-1] < 0:
                lengths[-1] = max(1, -(-len(text.encode()) // BYTES_A_TOKEN))
        elif who == "system" and not messages:
            messages.append({"role": "system", "content": text})
        else:
            raise ValueError(f"the role {str(who)[:40]!r} of a turn is not known")
    if not bodies:
        raise ValueError("the conversation has no turn of the user's")
    return Asked(tuple(bodies), tuple(lengths), (-1,) * len(bodies), None)


def _for_api(asked: Asked, turn: int, api: str) -> Body:
    body = asked.bodies[turn]
    found = asked.api if asked.api is not None else api_of(body, api)
    try:
        return converted(body, found, api)
    except ValueError as error:
        raise ValueError(f"is a request of {found!r} that {api!r} cannot take: {error}") from None


def _estimated(body: Body) -> int:
    """Tokens of all texts in what is asked."""
    return max(1, -(-_length(body) // BYTES_A_TOKEN))


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    if isinstance(value, dict):
        return sum(_length(inner) for key, inner in value.items() if key not in ("role", "type"))
    if isinstance(value, list):
        return sum(map(_length, value))
    return 0
