"""What a file of rows is: its encoding, or the name of what is no table and the way to make it one.

In: a path, its first bytes, its first lines. Out: a text handle, or a UserError with one sentence
that leads on. Must stay true: nothing is read beyond the first bytes here; bytes that are no UTF-8
are read one to one, so that different cells stay different.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
from contextlib import ExitStack
from pathlib import Path
from typing import IO, cast

from bench.errors import UserError

_HEAD = 512
_AS_TABLE = "write it as CSV with a header line or as JSON Lines"
#: First bytes -> what it is, and what to do (`FILE` stands for the path).
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "save the sheet as CSV, or: unzip FILE"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save the sheet as CSV"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd", "unpack it: zstd -d FILE"),
    (b"\x04\x22\x4d\x18", "packed by lz4", "unpack it: lz4 -d FILE"),
    (b"SQLite format 3", "an SQLite database", "sqlite3 -header -csv FILE 'SELECT ...' > log.csv"),
    (b"ARROW1", "an Arrow file", "write it as Parquet or CSV with pyarrow"),
    (b"Obj\x01", "an Avro file", "write it as JSON Lines: avro-tools tojson FILE > log.jsonl"),
    (b"ORC", "an ORC file", "write it as Parquet or CSV with pyarrow"),
    (b"%PDF", "a PDF", _AS_TABLE),
)
_UNPACK = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open))
_PACKED = (
    (b"\x1f\x8b", "gzip", "gunzip"),
    (b"BZh", "bzip2", "bunzip2"),
    (b"\xfd7zXZ", "xz", "xz -d"),
)
PARQUET = b"PAR1"
_UTF_16 = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d|\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
#: First line of a log in text -> what it is, and the command that makes a table of it. The commands
#: let through what they do not match, so that it is counted as unreadable.
_TEXT_LOGS = (
    (
        re.compile(r"(?:https?|h2|grpcs|wss?) \d{4}-\d\d-\d\dT\S+Z \S+ \S+ \S+ -?[\d.]+ "),
        "an access log of an AWS Application Load Balancer in text",
        (
            '(echo ended,duration_s,status; awk \'{d = $6 < 0 || $7 < 0 || $8 < 0 ? "" :'
            ' sprintf("%.6f", $6 + $7 + $8); print $2 "," d "," $9}\' FILE) > log.csv'
        ),
    ),
    (
        re.compile(r"\d{4}-\d\d-\d\dT\S+Z \S+ \S+:\d+ \S+ -?[\d.]+ -?[\d.]+ "),
        "an access log of an AWS Classic Load Balancer in text",
        (
            '(echo ended,duration_s,status; awk \'{d = $5 < 0 || $6 < 0 || $7 < 0 ? "" :'
            ' sprintf("%.6f", $5 + $6 + $7); print $1 "," d "," $8}\' FILE) > log.csv'
        ),
    ),
    (
        re.compile(r"[0-9a-f]{64} \S+ \[\d\d/"),
        "an S3 access log in text",
        _AS_TABLE,
    ),
    (
        re.compile(r'.{1,200}?\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "'),
        "an access log of nginx or Apache in text",
        (
            r"""(echo at,status; sed -E 's/^[^[]*\[([^]]*)\] "([^"\\]|\\.)*" ([0-9]{3}) """
            r""".*/\1,\3/' FILE)"""
            " > log.csv; with durations: log JSON Lines (nginx: log_format with escape=json,"
            " $time_iso8601, $request_time, $status)"
        ),
    ),
    (
        re.compile(r'\[\d{4}-\d\d-\d\dT[^\]]{5,30}\] "'),
        "an access log of Envoy in text",
        "set json_format in its access log, and give the JSON Lines",
    ),
    (
        re.compile(r'(?:[\w.@-]+=(?:"(?:[^"\\]|\\.)*"|\S*) +){2,}[\w.@-]+='),
        "a log of key=value pairs (logfmt)",
        "mlr --ilogfmt --ojsonl cat FILE > log.jsonl",
    ),
    (
        re.compile(
            r"(?:<\d+>)?(?:\d )?"
            r"(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S+) \S+ \S+: "
        ),
        "a syslog in text",
        "write one JSON object a request (JSON Lines)",
    ),
    (re.compile(r"<\??[a-zA-Z!]"), "XML or HTML", _AS_TABLE),
    (re.compile(r"version https://git-lfs"), "a Git LFS pointer", "fetch the file: git lfs pull"),
)


def _one_to_one(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    text = "".join(bytes([each]).decode("cp1252", "ignore") or chr(each) for each in wrong)
    return text, error.end


codecs.register_error("tailproof.latin-1", _one_to_one)


def head_of(path: Path) -> bytes:
    """The first bytes of a file. Raises OSError."""
    with path.open("rb") as handle:
        return handle.read(_HEAD)


def open_text(path: Path, opened: ExitStack) -> io.TextIOBase:
    """The file as text: unpacked, its encoding recognised, line ends as they stand.

    Raises OSError, and UserError for what is no text.
    """
    head = head_of(path)
    raw: IO[bytes] = opened.enter_context(path.open("rb"))
    for magic, unpack in _UNPACK:
        if head.startswith(magic):
            raw = cast("IO[bytes]", opened.enter_context(unpack(raw, "rb")))
            head = raw.read(_HEAD)
            raw.seek(0)
    refuse_binary(head, str(path))
    return opened.enter_context(
        io.TextIOWrapper(raw, encoding_of(head), errors="tailproof.latin-1", newline="")
    )


def encoding_of(head: bytes) -> str:
    """`utf-8-sig` unless a mark or the zero bytes of plain letters say otherwise."""
    for mark, name in _UTF_16:
        if head.startswith(mark):
            return name
    pairs = len(head) // 2
    if pairs and head[1::2].count(0) > 0.4 * pairs:
        return "utf-16-le"
    if pairs and head[::2].count(0) > 0.4 * pairs:
        return "utf-16-be"
    return "utf-8-sig"


def refuse_binary(head: bytes, where: str) -> None:
    """Raises UserError for a file that is known by its first bytes, and is no text."""
    for magic, what, remedy in _FOREIGN:
        if head.startswith(magic):
            raise UserError(
                f"is {what}, not a table in text", where=where, remedy=remedy.replace("FILE", where)
            )
    if head[257:262] == b"ustar":
        raise UserError("is a tar archive", where=where, remedy=f"unpack it: tar -xf {where}")


def unreadable(what: str, error: OSError, name: str) -> UserError:
    """A file that a profile names is not there, or is not to be read."""
    return UserError(
        f"the {what} cannot be read ({error.strerror})",
        where=name,
        remedy="give a path relative to the profile or to this folder",
    )


def refuse_packed(head: bytes, where: str) -> None:
    """Raises UserError for what a trace may not be: packed, or in another encoding than UTF-8."""
    for magic, what, command in _PACKED:
        if head.startswith(magic):
            raise UserError(
                f"is packed by {what}, not UTF-8 text", where=where, remedy=f"{command} {where}"
            )
    if head.startswith(PARQUET):
        raise UserError(
            "is Parquet, not UTF-8 text",
            where=where,
            remedy="write it as CSV or JSON Lines with pyarrow, DuckDB or pandas",
        )
    if (name := encoding_of(head)) != "utf-8-sig":
        raise UserError(
            f"is {name.upper()} text, not UTF-8",
            where=where,
            remedy=f"iconv -f {name.upper()} -t UTF-8 {where} > trace.csv",
        )


def refuse_text_log(first: str, where: str) -> None:
    """Raises UserError for a first line that is a log's own text, not a header line."""
    for form, what, remedy in _TEXT_LOGS:
        if form.match(first):
            raise UserError(
                f"is {what}, not a table with a header line",
                where=where,
                remedy=remedy.replace("FILE", where),
            )


def separator_of(first: str) -> str:
    """The separator that a header line is parted by, outside of its quotes."""
    bare = re.sub(r'"(?:[^"]|"")*"', '""', first)
    return max(",;\t|", key=bare.count)


def refuse_headless(header: list[str], where: str) -> None:
    """Raises UserError where the first line is already a row."""
    words = max((len(name.split()) for name in header), default=0)
    if (len(header) == 1 and words > 1) or (len(header) == 2 and words > 3):
        raise UserError(
            f"is not a table with a header line: line 1 is {header[0][:60]!r}",
            where=where,
            remedy=f"{_AS_TABLE} (one object a request)",
        )
    numbers = sum(_NUMBER.fullmatch(name.strip()) is not None for name in header)
    if any(_MOMENT.match(name.strip()) for name in header) or 2 * numbers > len(header):
        raise UserError(
            "has no header line: line 1 is a row",
            where=where,
            remedy=f"put the columns' names on top: sed -i '1i at,status,...' {where}",
        )


def rows_within(value: object, path: str = "", depth: int = 3) -> str:
    """Where in a JSON object the list of rows lies, as jq writes it; empty where there is none."""
    if not isinstance(value, dict) or not depth:
        return ""
    for key, inner in value.items():
        here = f"{path}.{key}" if re.fullmatch(r"[A-Za-z_]\w*", key) else f'{path}."{key}"'
        if isinstance(inner, list) and inner and isinstance(inner[0], dict):
            return f"{here}[]" + ("._source" if "_source" in inner[0] else "")
        if found := rows_within(inner, here, depth - 1):
            return found
    return ""


def refuse_wrapped(row: dict[str, object], where: str, *, alone: bool) -> None:
    """Raises UserError for JSON that holds its rows within one object."""
    if "resourceSpans" in row or "resource_spans" in row:
        raise UserError(
            "is OTLP (OpenTelemetry spans), not one request a row",
            where=where,
            remedy=(
                "jq -c '.resourceSpans[].scopeSpans[].spans[] | {at: .startTimeUnixNano, ended:"
                " .endTimeUnixNano, status: ([.attributes[]? | select(.key =="
                ' "http.response.status_code") | .value.intValue][0]), outcome: (if'
                ' (.status.code | tostring | test("2|ERROR")) then "error" else "ok" end), id:'
                f" .spanId}}' {where} > log.jsonl"
            ),
        )
    if "resourceLogs" in row or "resourceMetrics" in row:
        raise UserError(
            "is OTLP (OpenTelemetry), not one request a row",
            where=where,
            remedy="export spans, or write one JSON object a request (JSON Lines)",
        )
    if alone and (found := rows_within(row)):
        raise UserError(
            "is one JSON object around a list of rows",
            where=where,
            remedy=f"take the rows out: jq -c '{found}' {where} > log.jsonl",
        )
