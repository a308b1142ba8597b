"""Errors: one sentence, a place, a remedy, an exit code."""

from __future__ import annotations

import pytest

from bench.errors import ExitCode, RunFolderError, TailproofError, TargetUnreachable, UserError


@pytest.mark.parametrize(
    ("where", "remedy", "text"),
    [
        (None, None, "is wrong"),
        ("f.toml: key", None, "f.toml: key: is wrong"),
        (None, "write 1", "is wrong; write 1"),
        ("f.toml", "write 1", "f.toml: is wrong; write 1"),
    ],
)
def test_an_error_is_one_sentence(where: str | None, remedy: str | None, text: str) -> None:
    """Place, fault and remedy stand in that order on one line."""
    assert str(UserError("is wrong", where=where, remedy=remedy)) == text


def test_each_error_knows_its_exit_code() -> None:
    """The user's faults end with 2, a silent target with 5."""
    codes = {
        kind: kind("x").exit_code
        for kind in (UserError, TargetUnreachable, RunFolderError, TailproofError)
    }
    assert codes == {UserError: 2, TargetUnreachable: 5, RunFolderError: 2, TailproofError: 2}


def test_exit_codes_are_the_documented_ones() -> None:
    """0 PASS, 1 FAIL, 2 usage, 3 INCONCLUSIVE, 4 INVALID, 5 unreachable, 130 interrupted."""
    assert {code.name: int(code) for code in ExitCode} == {
        "PASS": 0,
        "FAIL": 1,
        "USAGE": 2,
        "INCONCLUSIVE": 3,
        "INVALID": 4,
        "UNREACHABLE": 5,
        "INTERRUPTED": 130,
    }
