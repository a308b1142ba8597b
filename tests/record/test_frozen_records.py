"""Records: JSON in and out, formats and keys of other versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field

from bench.errors import RunFolderError
from bench.record.records.record import FileRecord, Json, Number, Record, read_record


class Part(Record):
    """A part of the record under test."""

    name: str
    length_ms: Number
    written: Json | None = Field(default=None, alias="given")


class Whole(FileRecord):
    """The record under test."""

    FILE: ClassVar[str] = "whole.json"
    FORMAT: ClassVar[int] = 2

    parts: list[Part] = Field(default_factory=list)
    note: str | None = None


def write(folder: Path, value: object) -> Path:
    (folder / Whole.FILE).write_text(json.dumps(value))
    return folder


@pytest.mark.parametrize(
    "value",
    [
        {"format": 2},
        {"format": 1, "note": None},
        {"format": 2, "parts": [{"name": "a", "length_ms": 0}, {"name": "b", "length_ms": 0.0}]},
        {"format": 2, "parts": [{"name": "a", "length_ms": 1, "given": {"p50": 1, "b": [0.0]}}]},
        {"format": 2, "parts": [], "note": "", "new": {"later": [1, None]}},
        {"format": 2, "parts": [{"name": "a", "length_ms": 2.5, "new": False}]},
    ],
)
def test_a_record_is_written_as_it_was_read(tmp_path: Path, value: Json) -> None:
    """Keys that are not there stay away, unknown ones stay, whole numbers stay whole; in order."""
    record = read_record(Whole, write(tmp_path, value))
    assert json.dumps(record.to_json()) == json.dumps(value)
    changed = record.replace(note="changed").to_json()
    assert changed.pop("note") == "changed"
    assert changed == {key: kept for key, kept in value.items() if key != "note"}


def test_a_record_cannot_be_changed_in_place_and_has_no_other_fields() -> None:
    """`replace` makes another one, validates it, and knows its fields."""
    part = Part(name="a", length_ms=1, written={"x": 1})
    with pytest.raises(ValueError, match="frozen"):
        part.name = "b"  # type: ignore[misc]
    with pytest.raises(AssertionError, match="lengthms"):
        part.replace(lengthms=3)
    with pytest.raises(ValueError, match="length_ms"):
        part.replace(length_ms="long")
    assert part.replace(name="b").to_json() == {"name": "b", "length_ms": 1, "given": {"x": 1}}


def test_a_newer_format_is_refused_with_the_version_that_reads_it(tmp_path: Path) -> None:
    """Before anything else is looked at, for nothing else of it is known."""
    folder = write(tmp_path, {"format": 3, "parts": "elsewhere"})
    with pytest.raises(
        RunFolderError,
        match=r"has format 3; .* reads up to 2; open it with tailproof 9\.1 or newer",
    ):
        read_record(Whole, folder, writer="9.1")
    with pytest.raises(RunFolderError, match="open it with a newer tailproof"):
        read_record(Whole, folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"format": 2, "parts": [{"length_ms": 1}]}', r"lacks parts\.0\.name"),
        ('{"format": 2, "parts": [{"name": "a", "length_ms": "x"}]}', r"parts\.0\.length_ms"),
        ("{}", "lacks format"),
        ("[]", "no JSON object"),
        ("{", "not JSON"),
    ],
)
def test_a_damaged_record_is_refused_by_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    """The sentence names the file, and the key where there is one."""
    (tmp_path / Whole.FILE).write_text(text)
    with pytest.raises(RunFolderError, match=rf"whole\.json: .*{said}"):
        read_record(Whole, tmp_path)
