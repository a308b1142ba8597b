"""The watch over pages, watched: what it is there to catch, it catches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from tests.browser.conftest import OpenPage, Violations


@pytest.mark.parametrize(
    ("body", "caught"),
    [
        ("<script>console.error('oh')</script>", "console: oh"),
        ("<script>throw new Error('oh')</script>", "thrown: oh"),
        ("<script>alert('oh')</script>", "dialog: oh"),
        ("<img src=http://192.0.2.1/x.png>", "asked http://192.0.2.1/x.png"),
    ],
)
def test_what_a_page_must_not_do_is_noted(
    body: str, caught: str, open_page: OpenPage, faults: list[str]
) -> None:
    """An error that is logged or thrown, a dialog, a request to another machine (192.0.2.0/24 is
    nobody's).
    """
    page = open_page(f"data:text/html,{body}<p>here")
    expect(page.get_by_text("here")).to_be_visible()
    assert caught in faults
    faults.clear()


def test_axe_is_at_work(open_page: OpenPage, violations: Violations) -> None:
    """A picture without words and grey on white are found."""
    found = " ".join(
        violations(
            open_page(
                "data:text/html,<img src='data:,'><p style='color:%23aaa;background:white'>pale"
            )
        )
    )
    assert "image-alt" in found
    assert "serious color-contrast" in found
