"""Runs that are shown, for the extras that show them too."""

from tests.show.conftest import make_run

__all__ = ["make_run"]
