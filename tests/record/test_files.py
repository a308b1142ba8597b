"""JSON as it is written for people to look at."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from bench.record.files import json_text


@given(st.dictionaries(st.text(st.characters()), st.text(st.characters())))
def test_the_value_is_the_same_and_nothing_steers_a_terminal(value: dict[str, str]) -> None:
    """Whatever the texts, half surrogate pairs among them: they come back as they were, and all
    that is written is printable.
    """
    text = json_text(value)
    assert json.loads(text) == value
    assert text.replace("\n", "").isprintable()
    assert text.encode("utf-8")


def test_letters_of_any_script_can_be_read() -> None:
    """Only what cannot be seen is written as an escape, above U+FFFF as JSON does it."""
    assert (
        json_text("≤ 漢字 é \u202e\x9b\x7f\U000e0041", indent=None)
        == '"≤ 漢字 é \\u202e\\u009b\\u007f\\udb40\\udc41"'
    )
