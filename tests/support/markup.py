"""A page as a browser reads it, and the characters that may stand in no file."""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser

UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def unseen(text: str) -> set[str]:
    """What may not stand in it: control, format, surrogate and private characters and separators of
    lines.
    """
    return {char for char in text if unicodedata.category(char) in UNSEEN} - {"\n"}


class Seen(HTMLParser):
    """What a browser would make of a page: its elements with their attributes, and its words."""

    def __init__(self, page: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Words, those of scripts and styles among them."""
        self.words += data
