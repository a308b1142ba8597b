"""The user's TOML files: found by name or path, read strictly, turned into frozen models.

In: a name or path and a pydantic model. Out: the model. Must stay true: an unknown key is an
error that names file, key path and the nearest known key; every message ends with a remedy;
nothing of pydantic's own wording or of a traceback reaches the user.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)

from bench.errors import UserError
from bench.units import (
    parse_duration_ns,
    parse_rate_per_s,
    parse_share,
    parse_times,
    parse_usd,
    show_exact,
    show_rate,
)


class UserModel(BaseModel):
    """A frozen record that refuses keys it does not know."""

    model_config = ConfigDict(
        # built when first used, as records are: no process reads every kind of file
        defer_build=True,
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        allow_inf_nan=False,
    )


def _already(kind: type | tuple[type, ...], parse: Any) -> BeforeValidator:
    """Parse text from a file; let a value that is already of the inner type through."""
    return BeforeValidator(lambda value: value if isinstance(value, kind) else parse(value))


def _written(pattern: str, example: str, **number: int) -> WithJsonSchema:
    """JSON Schema of a scalar as a file may write it: text of this form, or a number within bounds.

    An editor's hint: whatever the parser takes fits it, not the other way round ("101%" has the
    form of a share).
    """
    text: dict[str, Any] = {"type": "string", "pattern": rf"^\s*{pattern}\s*$"}
    form: dict[str, Any] = text
    if number:
        form = {"anyOf": [text, {"type": "number", **number}]}
    return WithJsonSchema({**form, "examples": [example]}, mode="validation")


_DIGITS = r"\d+(_\d+)*(\.\d+)?"
_as_text = PlainSerializer(str, return_type=str)
#: Inner value integer ns. A bare integer is refused in files: it has no unit.
DurationNs = Annotated[
    int,
    BeforeValidator(parse_duration_ns),
    PlainSerializer(lambda ns: f"{ns}ns", return_type=str),
    _written(rf"({_DIGITS}\s*(ns|us|µs|ms|s|min|m|h|d)\s*)+", "800ms"),
]
PerSecond = Annotated[
    Fraction,
    _already(Fraction, parse_rate_per_s),
    PlainSerializer(show_rate, return_type=str),
    _written(rf"{_DIGITS}\s*(/|per)\s*(s|sec|min|m|h)", "10/s", exclusiveMinimum=0),
]
Share = Annotated[
    Fraction,
    _already(Fraction, parse_share),
    PlainSerializer(lambda s: f"{show_exact(s * 100)}%", return_type=str),
    _written(rf"{_DIGITS}\s*%", "99.9%", minimum=0, maximum=1),
]
Times = Annotated[
    Fraction,
    _already(Fraction, parse_times),
    PlainSerializer(float),
    _written(rf"{_DIGITS}[x×]?", "10x", minimum=0),
]
Usd = Annotated[
    Decimal, _already(Decimal, parse_usd), _as_text, _written(r"\S+", "0.25", minimum=0)
]

M = TypeVar("M", bound=BaseModel)


def builtin_root() -> Path:
    """The folder of built-in profiles: inside the wheel, or the checkout's `profiles/`."""
    package = Path(__file__).parent
    inside = package / "builtin"
    if inside.is_dir():
        return inside
    return package.parent / "profiles"


def builtin_names(kind: str) -> list[str]:
    """Names of the built-in files of a kind (`load`, `targets`, `contracts`, ...), sorted."""
    return sorted(path.stem for path in (builtin_root() / kind).glob("*.toml"))


#: Languages that others write their settings in, by the ends of their files' names.
_OTHER_LANGUAGES = {".yaml": "YAML", ".yml": "YAML", ".json": "JSON"}
#: `---`, `%YAML`, `key:`, `key: value`, `- item`: none of them begins a line of TOML.
_YAML_LINE = re.compile(r"(---$|%YAML|- |[\w.\"'-]+:(\s|$))")
#: Built-in files that have another name now, by kind: what was written long ago still finds them.
_RENAMED = {"contracts": {"openai-priority": "openai-fast-mode"}}
_KINDS = {
    "load": "load profile",
    "targets": "target",
    "contracts": "contract",
    "suites": "suite",
    "scenarios": "scenario",
    "costs": "cost table",
}


def find_file(
    kind: str,
    name: str,
    beside: Path | None = None,
    *more_kinds: str,
) -> Path:
    """The file that `name` means: a path (relative to `beside` or here), else a built-in.

    Raises UserError with the nearest built-in names when there is none.
    """
    if name.endswith((".toml", *_OTHER_LANGUAGES)) or "/" in name or os.sep in name:
        for base in (beside, Path()):
            if base is not None and (base / name).is_file():
                return base / name
        if Path(name).is_dir():
            what = "is a folder, not a file"
        else:
            what = "no such file"
        raise UserError(f"{name}: {what}", remedy="give a path that exists, or a built-in name")
    known: list[str] = []
    for each in (kind, *more_kinds):
        path = builtin_root() / each / f"{_RENAMED.get(each, {}).get(name, name)}.toml"
        if path.is_file():
            return path
        known += builtin_names(each)
    near = difflib.get_close_matches(name, known, 3, 0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"built in: {', '.join(known)}"
    raise UserError(
        f"no {' or '.join(_KINDS[each] for each in (kind, *more_kinds))} named {name!r}",
        remedy=f"{hint} (a path to a .toml file works too)",
    )


@contextmanager
def naming(where: str) -> Iterator[None]:
    """An error that names no file is about a name that stands here, in the file and key `where`."""
    try:
        yield
    except UserError as error:
        if error.where:
            raise
        raise UserError(error.message, where=where, remedy=error.remedy) from None


#: The time that Python's parser takes grows with the square of such a key's depth.
_DEEP_KEY = re.compile(r"^(?:[^.=#\n]*\.){500}", re.MULTILINE)


def read_toml(path: Path) -> dict[str, Any]:
    """Parse one TOML file. Raises UserError that names the file and, for syntax, the line."""
    try:
        text = path.read_bytes().decode()
        if _DEEP_KEY.search(text):
            raise UserError("is nested too deeply", where=str(path))
        return tomllib.loads(text)
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path)) from None
    except UnicodeDecodeError:
        raise UserError("is not UTF-8 text", where=str(path), remedy="save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        if (other := _other_language(path, text)) is not None:
            raise UserError(
                f"is {other}, and a TOML file is wanted here",
                where=str(path),
                remedy="write it as TOML (docs/files.md has every key)",
            ) from None
        raise UserError(f"is not valid TOML: {error}", where=str(path)) from None
    except ValueError:  # Python's own limit on the digits of a whole number
        raise UserError("holds a number of thousands of digits", where=str(path)) from None
    except RecursionError:  # Python's own parser goes down a level of Python for each bracket
        raise UserError("is nested too deeply", where=str(path)) from None


def _other_language(path: Path, text: str) -> str | None:
    """What a file that is no TOML is written in, by its name or else by its first line."""
    named = _OTHER_LANGUAGES.get(path.suffix.lower())
    if named is not None:
        return named
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    if first.startswith("{"):
        return "JSON"
    return "YAML" if _YAML_LINE.match(first) else None


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def parse_model(
    model: type[M],
    data: Any,
    where: str,
    flags: Mapping[str, str] | None = None,
) -> M:
    """Validate `data` as `model`. Raises UserError naming `where`, the key path and a remedy.

    Keys that `flags` maps are named by their flag instead.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # A misspelt key often makes its namesake missing as well: the spelling is the cause.
        errors = error.errors()
        first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
        location = _key_path(first["loc"])
        if flags and first["loc"] and first["loc"][0] in flags:
            where = flags[str(first["loc"][0])]
            location = ""
        sep = ": " if location else ""
        raise UserError(_sentence(model, first), where=f"{where}{sep}{location}") from None


def load_model(model: type[M], path: Path) -> M:
    """Read and validate one user file."""
    return parse_model(model, read_toml(path), str(path))


_ENV = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expand_env(text: str, where: str) -> str:
    """Replace each `${NAME}` by the environment's value. Raises UserError when one is not set."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in os.environ:
            raise UserError(
                f"environment variable {name} is not set",
                where=where,
                remedy=f"export {name}=... first",
            )
        return os.environ[name]

    return _ENV.sub(value, text)


def _key_path(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not part.startswith(("function-", "tagged-union")):
            text += f".{part}" if text else part
    return text


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Keys that the model at `location` (the parent of the offending key) accepts."""
    current: Any = model
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        fields = {field.alias or name: field for name, field in current.model_fields.items()}
        if part not in fields:
            return []
        found = _model_inside(fields[part].annotation)
        if found is None:
            return []
        current = found
    return [field.alias or name for name, field in current.model_fields.items()]


def _model_inside(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        if (found := _model_inside(inner)) is not None:
            return found
    return None


def _sentence(model: type[BaseModel], error: Any) -> str:
    kind = error["type"]
    location = error["loc"]
    if kind == "extra_forbidden":
        known = _known_keys(model, location)
        near = difflib.get_close_matches(str(location[-1]), known, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return f"unknown key; {hint}"
    if kind == "missing":
        return "is required; add it"
    message = str(error["msg"]).removeprefix("Value error, ")
    if kind == "value_error":
        return message
    if kind == "literal_error":
        return f"{error['input']!r} is not known here; write {error['ctx']['expected']}"
    if location:
        field = model.model_fields.get(str(location[0]))
    else:
        field = None
    # a field that a record never prints (`repr=False`) is not repeated here either
    if field is not None and not field.repr:
        given = "the value"
    else:
        given = repr(error["input"])
    return f"{given} does not fit; {message[0].lower()}{message[1:]}"
