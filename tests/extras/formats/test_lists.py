"""A YAML document that is a list of objects, as the OpenSLO SDK reads and writes them."""

from __future__ import annotations

import pytest

from bench.extras.formats.yamlfile import parse_documents


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("- a: 1\n- b: 2\n", [{"a": 1}, {"b": 2}]),
        ("a: 1\n---\n- b: 2\n---\n---\n", [{"a": 1}, {"b": 2}]),
        ("- a: 1\n-\n", [{"a": 1}]),
        ("[]\n", []),
    ],
)
def test_items_of_a_list_are_documents(text: str, documents: list[object]) -> None:
    assert parse_documents(text, "x.yaml") == documents
