"""The rows of a run for other programs: CSV, JSON Lines, Parquet.

In: a run, and which of its rows. Out: bytes, written a chunk of rows at a time. Must stay true:
one line for every scheduled row, whatever became of it; a column's name says its unit; what never
came is empty, never 0; no text of a server or a user's file begins a formula, steers a terminal
or is longer than `wording.CUT`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from pydantic_core import to_json

from bench.errors import RunFolderError, UserError
from bench.metrics import METRICS, Metric, in_summary
from bench.record.facts import Places, places_of
from bench.record.files import unwritable
from bench.record.pieces import STRING_KINDS
from bench.record.run_folder import Run
from bench.record.samples import CAUSES, Columns, Flag, Int, Outcome
from bench.show.wording import visible
from bench.units import MS

#: Rows held as Python values at a time.
_CHUNK = 10_000
#: A cell that begins with one of these, be it behind spaces, is a formula to a spreadsheet.
_FORMULA = tuple("=+-@＝＋－＠")
#: What parts cells where a comma does not: our quotes do not stand at the beginning of such a cell.
_PARTING = re.compile(r"([;|\t\r\n])")


def _metric_ns(metric: Metric, view: str, rows: Columns) -> Int:
    return metric.ns(rows.samples, view)


#: column -> ns, -1 where it never came; written in ms.
_LENGTHS: dict[str, Callable[[Columns], Int]] = {
    "due_ms": lambda rows: rows.samples["due_ns"],
    **{
        f"{metric.name}_ms": partial(_metric_ns, metric, "response")
        for metric in METRICS.values()
        if metric.end_ns or metric.length_ns
    },
    **{
        f"service_{name}_ms": partial(_metric_ns, METRICS[name], "service")
        for name in in_summary("service_ms")
    },
    "connect_ms": lambda rows: rows.samples["connect_ns"],
    "tls_ms": lambda rows: rows.samples["tls_ns"],
    "server_ms": lambda rows: rows.samples["server_ns"],
}
#: column -> whole numbers, negative where there is none.
_COUNTS: dict[str, Callable[[Columns], Any]] = {
    **{
        name: partial(lambda rows, name: rows.schedule[name], name=name)
        for name in ("session", "turn")
    },
    "planned_prompt_tokens": lambda rows: rows.schedule["prompt_tokens"],
    "planned_output_tokens": lambda rows: rows.schedule["output_tokens"],
    "status": lambda rows: np.where(
        rows.samples["status"] > 0, rows.samples["status"].astype(np.int64), -1
    ),
    **{
        name: partial(lambda rows, name: rows.samples[name], name=name)
        for name in (
            "attempts",
            "retry_after_ms",
            "chunks",
            "prompt_tokens",
            "output_tokens",
            "reasoning_tokens",
            "cached_tokens",
            "worker",
        )
    },
}
_FLAGS = {
    "streamed": Flag.STREAMED,
    "new_connection": Flag.NEW_CONNECTION,
    "reconnected": Flag.RECONNECTED,
    "option_dropped": Flag.OPTION_DROPPED,
    "ttft_upper_bound": Flag.TTFT_UPPER_BOUND,
    "user_stamp": Flag.USER_STAMP,
    "counted_tokens": Flag.COUNTED_TOKENS,
    "held_up": Flag.HELD_UP,
}
#: column -> its kind, in the order of the file.
COLUMNS = {
    "row": "count",
    **dict.fromkeys(("target", "stage", "phase", "bucket"), "text"),
    "warmup": "flag",
    "at": "moment",
    **dict.fromkeys(("requested_model", "tier", "outcome"), "text"),
    **dict.fromkeys(_LENGTHS, "length"),
    **dict.fromkeys(_COUNTS, "count"),
    **dict.fromkeys(_FLAGS, "flag"),
    **dict.fromkeys((*STRING_KINDS, "cause"), "text"),
    **dict.fromkeys(("sending_node", "sending_region"), "text"),
}

Cells = dict[str, list[Any]]


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, there under its name only once it is whole.

    Raises RunFolderError: disk full, no right to.
    """
    place = path if path.exists() and not path.is_file() else path.with_name(f".{path.name}.part")
    try:
        with place.open("wb") as handle:
            yield handle
            handle.flush()
            if place != path:
                os.fsync(handle.fileno())
                place.replace(path)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        if place != path:
            place.unlink(missing_ok=True)


def rows_of(run: Run, lane: str | None = None) -> Iterator[Cells]:
    """The rows of a run, or of one of its lanes, column by column, `_CHUNK` rows at a time; None
    where a cell is empty.
    """
    strings = {kind: _texts(run.strings(kind)) for kind in STRING_KINDS}
    causes = _texts([cause.value for cause in CAUSES])
    columns, began = run.columns, np.datetime64(run.manifest.started_wall_ns, "ns")
    places = places_of(run.manifest)
    names = [each.name for each in run.lanes]
    chosen = (
        np.arange(len(columns))
        if lane is None
        else np.flatnonzero(columns.schedule["lane"] == names.index(lane))
    )
    for begin in range(0, len(chosen), _CHUNK):
        numbers = chosen[begin : begin + _CHUNK]
        rows = columns.where(numbers)
        cells: Cells = {
            "row": numbers.tolist(),
            **_places(run, rows),
            "warmup": rows.schedule["warmup"].tolist(),
        }
        due = rows.samples["due_ns"]
        at = np.datetime_as_string((began + due.astype("m8[ns]")).astype("M8[us]"), timezone="UTC")
        cells["at"] = _with_gaps(at, due < 0)
        cells["outcome"] = [Outcome(code).name for code in rows.samples["outcome"].tolist()]
        for name, length in _LENGTHS.items():
            ns = length(rows)
            cells[name] = _with_gaps(ns / MS, ns < 0)
        for name, count in _COUNTS.items():
            value = count(rows)
            cells[name] = _with_gaps(value, value < 0)
        for name, flag in _FLAGS.items():
            cells[name] = ((rows.samples["flags"] & flag) != 0).tolist()
        for kind, texts in strings.items():
            cells[kind] = texts[rows.samples[kind]].tolist()
        cells["cause"] = causes[rows.samples["cause"]].tolist()
        for name, known, index in _vantages(places, rows):
            cells[name] = _texts(known)[index].tolist()
        yield {name: cells[name] for name in COLUMNS}


def _vantages(places: Places | None, rows: Columns) -> list[tuple[str, list[str], Int]]:
    """Where each row was sent from.

    Not called `region`: to a reader of logs that is where the answer came from.
    """
    none = np.full(len(rows), -1)
    return [
        (
            "sending_node",
            places.names if places else [],
            places.node_of(rows.schedule) if places else none,
        ),
        (
            "sending_region",
            places.regions if places else [],
            places.region_of(rows.schedule) if places else none,
        ),
    ]


def _places(run: Run, rows: Columns) -> Cells:
    """What a row's lane says of it, and the names of its phase and bucket."""
    lane = rows.schedule["lane"]
    cells = {
        name: _texts([getattr(record, key) for record in run.lanes])[lane].tolist()
        for name, key in (
            ("target", "name"),
            ("stage", "stage"),
            ("requested_model", "model"),
            ("tier", "tier"),
        )
    }
    for column, plural in (("phase", "phases"), ("bucket", "buckets")):
        names = [_texts(getattr(record, plural)) for record in run.lanes]
        cells[column] = [
            names[here][part]
            for here, part in zip(lane.tolist(), rows.schedule[column].tolist(), strict=True)
        ]
    return cells


def _texts(names: list[str]) -> Any:
    """Texts by their number, made harmless; -1 is the last, None."""
    return np.array([*(visible(name) or None for name in names), None], object)


def _with_gaps(values: Any, missing: Any) -> list[Any]:
    cells = values.astype(object)
    cells[missing] = None
    listed: list[Any] = cells.tolist()
    return listed


def write_csv(chunks: Iterator[Cells], out: IO[bytes]) -> None:
    """RFC 4180 with a header, UTF-8.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    out.write(f"{','.join(COLUMNS)}\r\n".encode())
    _write_lines(
        chunks,
        out,
        f"{','.join(['%s'] * len(COLUMNS))}\r\n",
        _csv_text,
        lambda column: column.replace("null", "").replace('"', ""),
    )


def _csv_text(text: str | None) -> str:
    """No formula, also to a spreadsheet that parts cells at another sign than ours (Excel where a
    comma is for decimals).
    """
    parts = _PARTING.split(text or "")
    risky = [part.lstrip(" \"'").startswith(_FORMULA) for part in parts]
    cell = "".join("'" * formula + part for formula, part in zip(risky, parts, strict=True))
    return '"' + cell.replace('"', '""') + '"' if {*cell} & {*",;|\t\r\n\"'"} else cell


def write_jsonl(chunks: Iterator[Cells], out: IO[bytes]) -> None:
    """One JSON object a row, UTF-8; what is missing is null."""
    keys = ",".join(f'"{name}":%s' for name in COLUMNS)
    _write_lines(
        chunks, out, f"{{{keys}}}\n", partial(json.dumps, ensure_ascii=False), lambda column: column
    )


def _write_lines(
    chunks: Iterator[Cells],
    out: IO[bytes],
    line: str,
    of_text: Callable[[str | None], str],
    of_column: Callable[[str], str],
) -> None:
    """Write cell by cell, but each text once and each other column in one go: by row it takes three
    times as long.
    """
    known: dict[str | None, str] = {}
    for cells in chunks:
        written = []
        for name, column in cells.items():
            if COLUMNS[name] == "text":
                known |= {text: of_text(text) for text in {*column} - known.keys()}
                written.append([known[text] for text in column])
            else:
                written.append(of_column(to_json(column).decode()[1:-1]).split(","))
        out.write("".join([line % row for row in zip(*written, strict=True)]).encode())


def write_parquet(chunks: Iterator[Cells], out: IO[bytes]) -> None:
    """Parquet, zstd, texts as dictionaries; what is missing is null.

    Raises UserError without pyarrow.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError(
            "writing Parquet needs pyarrow",
            where="--format parquet",
            remedy="pip install 'tailproof[parquet]', or take csv or jsonl",
        ) from None
    types = {
        "text": pa.string(),
        "moment": pa.string(),
        "length": pa.float64(),
        "count": pa.int64(),
        "flag": pa.bool_(),
    }
    schema = pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for cells in chunks:
            writer.write_batch(
                pa.RecordBatch.from_arrays(
                    [pa.array(cells[field.name], field.type) for field in schema], schema=schema
                )
            )


def read_hlog_bytes(run: Run) -> bytes:
    """histograms.hlog as it is. Raises RunFolderError where the run ended before it had one."""
    path = run.folder / "histograms.hlog"
    if not path.is_file():
        raise RunFolderError(
            "is missing: the run was cut off before its histograms were written",
            where=str(path),
            remedy="export its rows instead",
        )
    return path.read_bytes()
