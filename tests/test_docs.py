"""The documentation as a reader walks it: links lead somewhere, and no page stands alone."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FOREIGN = ("https:", "http:", "mailto:")


def links_of(page: Path) -> list[tuple[Path, str]]:
    """(file, anchor) of every link of a page that stays in the checkout."""
    found = []
    for link in _LINK.findall(page.read_text("utf-8")):
        if not link.startswith(_FOREIGN):
            path, _, anchor = link.partition("#")
            found.append(((page.parent / path).resolve() if path else page, anchor))
    return found


def anchors_of(page: Path) -> set[str]:
    """Anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text("utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading() -> None:
    """Also after a page has moved or a heading was renamed."""
    broken = []
    for page in PAGES:
        for target, anchor in links_of(page):
            lost = not target.exists() or (
                anchor and target.suffix == ".md" and anchor not in anchors_of(target)
            )
            if lost:
                broken.append(f"{page.relative_to(ROOT)}: {target.name}#{anchor}")
    assert broken == []


def test_the_index_leads_to_every_page() -> None:
    """A page that docs/README.md does not name is found by nobody."""
    index = ROOT / "docs" / "README.md"
    named = set(dict(links_of(index)))
    assert set((ROOT / "docs").rglob("*.md")) - named - {index} == set()
