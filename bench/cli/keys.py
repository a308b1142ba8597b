"""Every key of the files that users write, as Markdown tables: `tailproof schema KIND --format md`.

Must stay true: the tables come from the models that read the files, so a key that a file may hold
is listed, with the meaning that stands above its field.
"""

from __future__ import annotations

import functools
import inspect
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from bench.userfile import (
    DurationNs,
    PerSecond,
    Share,
    Times,
    Usd,
)

#: What a value of each type looks like in a file.
_SCALARS: tuple[tuple[Any, str], ...] = (
    (DurationNs, "duration"),
    (PerSecond, "rate"),
    (Share, "share"),
    (Times, "multiple"),
    (Usd, "USD"),
)
_PLAIN = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    date: "date",
    datetime: "date and time",
}
_LEGEND = """\
A value is written as its kind says:

| kind | as in |
|---|---|
| duration | `"800ms"`, `"1.5s"`, `"10min"`, `"2h 30min"` |
| rate | `"10/s"`, `"600/min"` |
| share | `"99.9%"`, `0.999` |
| multiple | `"2x"`, `2` |
| USD | `0.25`, `"0.25"` |
| date; date and time | `2026-11-23`; `2026-11-23T18:00:00Z` |
| table; tables | `[key]` or `key = { ... }`; `[[key]]`, once for each |

An unknown key, a bare number where a unit is missing, or keys that do not go together are refused
before anything is sent, with the file, the key and the remedy.
"""


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """The `#:` comment above each field of a model, as one line, by the field's name."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel:
            found |= _own_meanings(each)
    return found


@functools.cache
def _own_meanings(model: type[BaseModel]) -> dict[str, str]:
    """Those in the class itself. Python parses the module anew for each class that is looked up."""
    try:
        source = inspect.getsource(model)
    except OSError:  # made from the table of metrics: its keys are metrics
        return {}
    return {
        name: " ".join(line.strip().removeprefix("#: ") for line in comment.splitlines())
        for comment, name in re.findall(r"((?:^ +#: .*\n)+) +(\w+):", source, re.MULTILINE)
    }


def undescribed(models: Sequence[type[BaseModel]]) -> list[str]:
    """`Class.key` of every key, of these models and of those inside them, without a meaning."""
    found = []
    for model in _with_inner(models):
        known = meanings(model)
        found += [f"{model.__name__}.{key}" for key, name, _ in _keys(model) if name not in known]
    return found


def keys_of(model: type[BaseModel], title: str) -> str:
    """The tables of one kind of file: its own keys first, then each table inside it."""
    parts = []
    at = dict(_tables(model))
    for inner, path in at.items():
        heading = f"## {title}" if not path else f"### `{path}`"
        intro = " ".join((inspect.getdoc(inner) or "").split())
        parts.append("\n".join([heading, "", intro, "", *_table(inner, path, at)]))
    return "\n\n".join(parts) + "\n"


def files_page() -> str:
    """docs/files.md: the keys of every kind of file that a user writes."""
    from bench.plan.contract import Contract
    from bench.plan.profile import Profile
    from bench.plan.suite import SuiteFile
    from bench.plan.target import Target

    kinds: dict[str, type[BaseModel]] = {
        "Suite": SuiteFile,
        "Target": Target,
        "Load profile": Profile,
        "Contract": Contract,
    }
    contents = " · ".join(f"[{title}](#{title.lower().replace(' ', '-')})" for title in kinds)
    head = (
        "# The files you write\n\n"
        "Made by `make docs/files.md` from the models that read the files; `tailproof schema KIND`"
        " prints the same as JSON Schema, for editors.\n\n"
        f"{contents}\n\n{_LEGEND}"
    )
    return "\n".join([head, *(keys_of(model, title) for title, model in kinds.items())])


def _table(model: type[BaseModel], path: str, at: Mapping[type[BaseModel], str]) -> Iterator[str]:
    known = meanings(model)
    own = f"{path.strip('[]')}." if path else ""
    yield "| key | value | without it | meaning |"
    yield "|---|---|---|---|"
    for key, name, field in _keys(model):
        value = _value(field)
        inner = next(_models_in(field.annotation), None)
        if inner is not None and at[inner].strip("[]") != f"{own}{key}":
            value += f" as `{at[inner]}`"
        meaning = _cell(known.get(name, ""))
        yield f"| `{key}` | {_cell(value)} | {_cell(_default(field))} | {meaning} |"


def _keys(model: type[BaseModel]) -> Iterator[tuple[str, str, FieldInfo]]:
    """(key in the file, field's name, field); what the loader fills in by itself is no key."""
    for name, field in model.model_fields.items():
        if not meanings(model).get(name, "").endswith("not for files"):
            yield field.alias or name, name, field


def _tables(model: type[BaseModel], path: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    """The model and every model inside it, with the key path at which it stands in a file."""
    seen: set[type[BaseModel]] = set()

    def walk(current: type[BaseModel], at: str) -> Iterator[tuple[type[BaseModel], str]]:
        if current in seen:
            return
        seen.add(current)
        yield current, at
        for key, _, field in _keys(current):
            for inner in _models_in(field.annotation):
                inside = f"{at.strip('[]')}.{key}" if at else key
                several = _is_list(field.annotation)
                yield from walk(inner, f"[[{inside}]]" if several else f"[{inside}]")

    yield from walk(model, path)


def _with_inner(models: Sequence[type[BaseModel]]) -> list[type[BaseModel]]:
    found = [inner for model in models for inner, _ in _tables(model)]
    return list(dict.fromkeys(found))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _is_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (list, tuple):
        return True
    return any(_is_list(inner) for inner in get_args(annotation)) and origin is not dict


def _value(field: FieldInfo) -> str:
    # pydantic takes the outermost Annotated apart: its parts are the field's metadata
    annotation = field.annotation
    for known, text in _SCALARS:
        base, *extra = get_args(known)
        if annotation is base and any(part in field.metadata for part in extra):
            return text
    listed = field.json_schema_extra
    if isinstance(listed, dict) and isinstance(values := listed.get("enum"), list):
        return _one_of(values)
    return _type(annotation)


def _one_of(values: Iterable[Any]) -> str:
    return ", ".join(f'`"{each}"`' for each in values)


def _type(annotation: Any) -> str:
    for known, text in _SCALARS:
        if annotation == known:
            return text
    origin = get_origin(annotation)
    if origin is Annotated:
        return _annotated(annotation)
    if origin is Literal:
        return _one_of(get_args(annotation))
    if origin in (Union, types.UnionType):
        kinds = [each for each in get_args(annotation) if each is not types.NoneType]
        return " or ".join(dict.fromkeys(_type(each) for each in kinds))
    if origin in (list, tuple):
        first = get_args(annotation)[0]
        several = [*_models_in(first)]
        return "tables" if several else f"list of: {_type(first)}"
    if origin in (dict, Mapping):
        key, value = get_args(annotation)
        return "table" if value is Any else f"table of: {_type(key)} = {_type(value)}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    return _PLAIN.get(annotation, "text")


def _annotated(annotation: Any) -> str:
    base, *extra = get_args(annotation)
    for known, text in _SCALARS:
        known_base, *known_extra = get_args(known)
        if base is known_base and any(part in extra for part in known_extra):
            return text
    return _type(base)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None or value is PydanticUndefined or value in ("", [], {}, ()):
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, list):
        return "as below"
    if isinstance(value, BaseModel):
        return "–"
    return _scalar(field, value)


def _scalar(field: FieldInfo, value: Any) -> str:
    from bench.units import show_duration, show_exact

    kind = _value(field)
    if kind.startswith("duration"):
        return f"`{show_duration(value)}`"
    if kind.startswith("share"):
        return f"`{show_exact(value * 100)}%`"
    if kind.startswith("multiple"):
        return f"`{show_exact(value)}x`"
    return f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(files_page(), end="")
