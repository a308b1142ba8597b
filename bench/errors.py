"""Errors with the place at fault, the remedy and the exit code.

In: a sentence and a remedy. Out: an exception that the command line prints in one line.
Must stay true: a contract that is broken is a verdict, never an exception; a request that
fails is an outcome in its row, never an exception that leaves the generator.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process returns. Where several hold, the first of 130, 5, 4, 1, 3, 0 wins."""

    PASS = 0
    FAIL = 1
    USAGE = 2
    INCONCLUSIVE = 3
    INVALID = 4
    UNREACHABLE = 5
    INTERRUPTED = 130


class TailproofError(Exception):
    """Anything that ends a command with one clear sentence instead of a traceback."""

    exit_code: ExitCode = ExitCode.USAGE

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        remedy: str | None = None,
    ):
        """`where` is the file and key at fault, `remedy` what to do or to write instead."""
        self.message = message
        self.where = where
        self.remedy = remedy
        super().__init__(message)

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head}; {self.remedy}" if self.remedy else head


class UserError(TailproofError):
    """The user's file, flag or environment is at fault: exit 2, nothing half-written."""


class TargetUnreachable(TailproofError):
    """The target never answered: exit 5 and what to check."""

    exit_code = ExitCode.UNREACHABLE


class RunFolderError(TailproofError):
    """A results folder is missing, in use, damaged or of a newer format: exit 2."""
