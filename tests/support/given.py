"""A value that must be there.

In: a value or None. Out: the value. Must stay true: None fails the test.
"""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def given(value: T | None) -> T:
    """The value, which is not None."""
    assert value is not None
    return value
