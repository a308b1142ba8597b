"""What all records share: frozen, written as JSON, read back, described by a JSON Schema.

In: values, or the JSON of a file. Out: a record, or its JSON. Must stay true: a key is written
only where it was given, so a record that was read and written again is the same JSON; keys that
this version does not know are kept; a file of a newer format is refused with the version that can
read it.

How to use it. A record is a class below `Record`; a file of its own, or a document that a command
prints, is one below `FileRecord`, with the newest format that this version reads and the name of
the file. A field's name is the key on disk, with its unit (`_ns`, `_ms`, `_usd`); where the key is
no good name, or raw JSON lies behind a typed property, the field has the key as `alias`. Fields
stand in the order in which they are written. A field without a default must be given; one with a
default may be missing on disk: files of older versions lack it, or it does not apply. The `#:`
comment above a field is its description in the schema; `Annotated[int, Shown("rows", "count")]`
makes the field a column of the record's table as well, where that table asks for such. Read
attributes (`lane.requests`), build with the constructor, change with `replace`, and write
`to_json()`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, WithJsonSchema
from pydantic_core import from_json

from bench import __version__
from bench.errors import RunFolderError

#: A number that stays what it was, whole or not: 0 is not written as 0.0.
Number = Annotated[int | float, WithJsonSchema({"type": "number"})]
#: How a recorded number is written: whole, with a fraction, as per cent.
Form = Literal["count", "number", "share"]
#: Raw JSON of another author: of a user's file, of an engine, of a later version.
Json = dict[str, Any]


@dataclass(frozen=True)
class Shown:
    """Beside a field's type: the number is a column of its record's table, under this heading."""

    heading: str
    form: Form


class Record(BaseModel):
    """A frozen record. Lists and dicts in it are not to be changed either."""

    model_config = ConfigDict(
        # built when first used: a command uses few of them, and each costs milliseconds
        defer_build=True,
        frozen=True,
        extra="allow",
        populate_by_name=True,
        protected_namespaces=(),
    )

    def to_json(self) -> Json:
        """The JSON of the record: the keys that were given, in the order of its fields."""
        found: Json = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return found

    def replace(self, **changes: Any) -> Self:
        """The record with other values of some fields, which are validated."""
        unknown = changes.keys() - type(self).model_fields.keys()
        assert not unknown, f"{type(self).__name__} has no {', '.join(sorted(unknown))}"
        return type(self)(**{**self._given(), **changes})

    def without(self, *names: str) -> Self:
        """The record without the values of these fields."""
        return type(self)(
            **{name: value for name, value in self._given().items() if name not in names}
        )

    def _given(self) -> Json:
        fields = type(self).model_fields
        given = {name: getattr(self, name) for name in fields if name in self.model_fields_set}
        return {**given, **(self.model_extra or {})}

    @classmethod
    def shown(cls) -> list[tuple[str, Shown]]:
        """The fields that are columns of the record's table as they are, in their order."""
        return [
            (name, said)
            for name, field in cls.model_fields.items()
            for said in field.metadata
            if isinstance(said, Shown)
        ]


class FileRecord(Record):
    """A record with a format number: a file of its own, or a document that a command prints."""

    #: what the file is called; empty for what is printed alone
    FILE: ClassVar[str] = ""
    #: the newest format that this version reads, and the one that it writes
    FORMAT: ClassVar[int]

    format: int


F = TypeVar("F", bound=FileRecord)


def read_json(path: Path) -> Json:
    """The JSON object in a file. Raises RunFolderError."""
    try:
        # pydantic's parser takes half the time of json's, which a list of runs feels.
        found = from_json(path.read_bytes())
    except FileNotFoundError:
        raise RunFolderError("is missing", where=str(path)) from None
    except OSError as error:
        raise RunFolderError(f"cannot be read ({error.strerror})", where=str(path)) from None
    except ValueError:
        raise RunFolderError("cannot be read (it is not JSON)", where=str(path)) from None
    if not isinstance(found, dict):
        raise RunFolderError("cannot be read (it is no JSON object)", where=str(path))
    return found


def parse_record(kind: type[F], found: Json, path: Path, writer: str | None = None) -> F:
    """The record that a file's JSON holds.

    `writer` is the version of tailproof that wrote it, where that is known. Raises RunFolderError
    for a newer format and for values that do not fit.
    """
    number = found.get("format")
    if "format" in found and not isinstance(number, int):
        raise RunFolderError("cannot be read (its format is no number)", where=str(path))
    refuse_newer(kind, number, path, writer)
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        raise RunFolderError(_first_error(error), where=str(path)) from None


def refuse_newer(kind: type[FileRecord], number: Any, path: Path, writer: str | None) -> None:
    """Raises RunFolderError for a format that this version cannot read, naming one that can."""
    if not isinstance(number, int) or number <= kind.FORMAT:
        return
    named = writer is not None and writer != __version__
    raise RunFolderError(
        f"has format {number}; this tailproof reads up to {kind.FORMAT}",
        where=str(path),
        remedy=f"open it with tailproof {writer} or newer"
        if named
        else "open it with a newer tailproof",
    )


def read_record(kind: type[F], folder: Path, writer: str | None = None) -> F:
    """The record in a run's folder. Raises RunFolderError."""
    path = folder / kind.FILE
    return parse_record(kind, read_json(path), path, writer)


def _first_error(error: ValidationError) -> str:
    errors = error.errors()
    missing = [each["loc"] for each in errors if each["type"] == "missing"]
    if missing:
        return f"lacks {', '.join('.'.join(str(step) for step in loc) for loc in missing[:5])}"
    first = errors[0]
    key = ".".join(str(step) for step in first["loc"])
    return f"cannot be read ({key}: {first['msg'][0].lower()}{first['msg'][1:]})"
