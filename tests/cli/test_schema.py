"""The schemas that editors check files by: they take what the loader takes and refuse what nobody
knows.
"""

from __future__ import annotations

import copy
import functools
import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from bench.cli import main
from bench.cli.export import schema_of
from bench.userfile import DurationNs, PerSecond, Share, Times, Usd, builtin_root

#: kind of schema -> folder of the built-in files
FOLDERS = {
    "contract": "contracts",
    "profile": "load",
    "target": "targets",
    "suite": "suites",
    "scenario": "scenarios",
}
FILES = [
    (kind, path)
    for kind, folder in FOLDERS.items()
    for path in sorted((builtin_root() / folder).glob("*.toml"))
]


@functools.cache
def validator(kind: str) -> Draft202012Validator:
    """Made by the first test that asks."""
    return Draft202012Validator(schema_of(kind))


def as_json(path: Path) -> Any:
    """A TOML file as an editor hands it to the schema: dates are text."""
    return json.loads(json.dumps(tomllib.loads(path.read_text("utf-8")), default=date.isoformat))


@pytest.mark.parametrize("kind", FOLDERS)
def test_the_command_prints_a_schema_of_draft_2020_12(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Valid by its own meta-schema, which it names."""
    assert main(["schema", kind]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(printed)


@pytest.mark.parametrize(
    ("kind", "path"), FILES, ids=[f"{kind}-{path.stem}" for kind, path in FILES]
)
def test_every_shipped_file_follows_its_schema(kind: str, path: Path) -> None:
    """An editor shows no error in any built-in file."""
    assert [error.message for error in validator(kind).iter_errors(as_json(path))] == []


def tables(held: Any) -> list[dict[str, Any]]:
    """Every table inside, the outermost first."""
    inner = held.values() if isinstance(held, dict) else held if isinstance(held, list) else ()
    return [held] * isinstance(held, dict) + [table for value in inner for table in tables(value)]


@pytest.mark.parametrize(
    ("kind", "path"), [next(file for file in FILES if file[0] == kind) for kind in FOLDERS]
)
def test_a_misspelt_key_fails_at_every_depth(kind: str, path: Path) -> None:
    """In each table of the file; only tables whose keys are the user's own (headers, sources,
    buckets) take any key.
    """
    data = as_json(path)
    refused = []
    for place in range(len(tables(data))):
        spoiled = copy.deepcopy(data)
        tables(spoiled)[place]["metrc"] = "e2e"
        refused.append(not validator(kind).is_valid(spoiled))
    assert refused[0]
    assert sum(refused) >= len(refused) - 1


def test_comments_above_fields_are_what_an_editor_shows() -> None:
    """The text that explains a key in the code is the key's description."""
    clause = schema_of("contract")["$defs"]["Clause"]["properties"]
    described = clause["of_window"]["description"]
    assert described == "the statistic of a window that the limit applies to"
    assert "e2el" in clause["metric"]["enum"]
    assert clause["limit"]["anyOf"][0]["examples"] == ["800ms"]


SCALARS: dict[str, Any] = {
    "duration": DurationNs,
    "rate": PerSecond,
    "share": Share,
    "times": Times,
    "usd": Usd,
}
WRITTEN = st.one_of(
    st.builds(
        lambda number, gap, unit: f"{number}{gap}{unit}",
        st.one_of(st.integers(0, 10**6), st.decimals(0, 1000, places=2)),
        st.sampled_from(["", " "]),
        st.sampled_from(
            [
                "",
                "ms",
                "s",
                "min",
                "h",
                "1m30s",
                "%",
                "/s",
                "/min",
                " per s",
                "x",
                "×",
                "mss",
                "/ms",
            ]
        ),
    ),
    st.integers(-1, 3),
    st.floats(-1, 2, allow_nan=False),
    st.text(max_size=5),
)


@pytest.mark.parametrize("name", SCALARS)
@given(written=WRITTEN)
def test_the_schema_of_a_scalar_takes_whatever_its_parser_takes(name: str, written: Any) -> None:
    """No editor marks a value that the loader would accept."""
    adapter: TypeAdapter[Any] = TypeAdapter(SCALARS[name])
    try:
        adapter.validate_python(written)
    except ValidationError:
        return
    assert Draft202012Validator(adapter.json_schema()).is_valid(written)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("duration", 800),
        ("duration", "800"),
        ("duration", "8 parsecs"),
        ("share", 99.9),
        ("share", "99,9%"),
        ("rate", 0),
        ("rate", "5/ms"),
        ("times", "ten"),
        ("usd", -1),
    ],
)
def test_the_schema_of_a_scalar_shows_slips_of_the_pen(name: str, written: Any) -> None:
    """A number without its unit, a share above one, an unknown unit: marked while one types."""
    assert not Draft202012Validator(TypeAdapter(SCALARS[name]).json_schema()).is_valid(written)


def test_every_key_of_every_file_has_a_meaning() -> None:
    """Also in the tables inside: a key without a comment above it would be an empty cell."""
    from bench.cli.export import models
    from bench.cli.keys import undescribed

    assert (
        undescribed([models()[kind] for kind in ("suite", "target", "profile", "contract")]) == []
    )


def test_the_page_of_files_is_the_one_that_the_models_make() -> None:
    """docs/files.md stands as `make docs/files.md` would write it, and lists keys by hand."""
    from bench.cli.keys import files_page

    page = files_page()
    stands = Path(__file__).parents[2] / "docs" / "files.md"
    assert stands.read_text("utf-8") == page, "run `make docs/files.md`"
    lines = page.splitlines()
    assert any(line.startswith('| `think_law` | `"fixed"`, `"exponential"` |') for line in lines)
    assert any(line.startswith("| `settle` | duration | `1 s` |") for line in lines)
    assert "### `[[stage.drill]]`" in lines
    assert not any(line.startswith("| `legs` | tables") for line in lines)


def test_a_kind_of_file_is_printed_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """`--format md`: the same rows as the page's."""
    assert main(["schema", "profile", "--format", "md"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("## Profile\n")
    assert "| `ramp_to` | multiple |" in printed
