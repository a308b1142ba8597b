"""What is filed beside report.html: `--pdf` and `--junit-inconclusive`, of every command that
writes a report.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from bench.app.conclude import Filing

Command = TypeVar("Command", bound=Callable[..., Any])


def filing_flags(command: Command) -> Command:
    """Adds both."""
    pdf = click.option("--pdf", is_flag=True, help="Write report.pdf too (needs tailproof[pdf]).")
    inconclusive = click.option(
        "--junit-inconclusive",
        type=click.Choice(["skip", "fail"]),
        default="skip",
        show_default=True,
        help="What junit.xml calls a clause that was not decided.",
    )
    return pdf(inconclusive(command))


def ready_to_file(*, pdf: bool) -> None:
    """Raises UserError where a PDF is wanted and cannot be made: before a run, not after it."""
    if pdf:
        from bench.show.pdf import pdf_library

        pdf_library()


def filing_of(pdf: bool, junit_inconclusive: str) -> Filing:
    """What the flags ask for."""
    from bench.app.conclude import Filing

    return Filing(pdf, "fail" if junit_inconclusive == "fail" else "skip")
