"""The documentation as a site: `make docs`.

In: docs/, README.md and the other pages of the root; docs/README.md says which pages there are and
in which order. Out: build/site/, pages with a search of their own that need no network, each page's
Markdown beside it, and llms.txt. Must stay true: a link that leads nowhere ends the build; a page
that the index does not name is not left out of it.

    python -m benchmarks.docs_site
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Pages of the root -> their names on the site; docs/README.md is its first page.
FROM_ROOT = {
    "README.md": "readme.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "docs/README.md": "index.md",
}
_LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_FOREIGN = ("https:", "http:", "mailto:", "#")


@dataclass(frozen=True)
class Entry:
    """A page as the index has it."""

    section: str
    page: str
    title: str
    #: what somebody wants who reads it
    says: str


class BrokenLinkError(Exception):
    """A page links what is not there."""


def main(root: Path = ROOT, out: Path | None = None) -> int:
    """Build; returns the generator's exit code."""
    built = out or root / "build"
    staged = built / "pages"
    for folder in (staged, built / "site"):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        stage(root, staged)
        entries = list(index_of(staged / "index.md"))
    except BrokenLinkError as broken:
        sys.stderr.write(f"docs: {broken}\n")
        return 1
    (built / "zensical.toml").write_text(settings(entries), "utf-8")
    code = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean"],
        cwd=built,
        env=os.environ | {"NO_COLOR": "1"},
        check=False,
    ).returncode
    if code:
        return code
    for page in staged.rglob("*.md"):
        copy = built / "site" / page.relative_to(staged)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, copy)
    (built / "site" / "llms.txt").write_text(llms(root, entries), "utf-8")
    print(f"{built / 'site'}; to search it: python -m http.server -d {built / 'site'}")
    return 0


def stage(root: Path, staged: Path) -> None:
    """The pages and what they show, under the site's names, with links that fit there."""
    names = {root / page: Path(name) for page, name in FROM_ROOT.items()}
    for path in sorted((root / "docs").rglob("*")):
        if path.is_file():
            names.setdefault(path, path.relative_to(root / "docs"))
    for path, name in names.items():
        copy = staged / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            copy.write_text(_relinked(path, name, names), "utf-8")
        else:
            shutil.copyfile(path, copy)


def _relinked(path: Path, name: Path, names: dict[Path, Path]) -> str:
    def led(found: re.Match[str]) -> str:
        link = found[2]
        if link.startswith(_FOREIGN):
            return found[0]
        file, hash_sign, anchor = link.partition("#")
        target = names.get((path.parent / file).resolve())
        if target is None:
            raise BrokenLinkError(f"{path.name} links {link}, which is no page of the site")
        return f"{found[1]}{os.path.relpath(target, name.parent)}{hash_sign}{anchor}{found[3]}"

    # what stands in a block of code is no link
    parts = re.split(r"(^```.*?^```$)", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _LINK.sub(led, part) for part in parts)


def index_of(index: Path) -> Iterator[Entry]:
    """Each page once, where the index names it first; then those that it does not name."""
    seen = {"index.md"}
    section = ""
    for line in index.read_text("utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for cell in cells if section and line.startswith("|") else []:
            for page in re.findall(r"\]\(([\w./-]+\.md)\)", cell):
                if page not in seen:
                    seen.add(page)
                    others = [each for each in cells if page not in each]
                    says = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(others)).strip()
                    yield Entry(section, page, _title(index.parent / page), says)
    for path in sorted(index.parent.rglob("*.md")):
        page = str(path.relative_to(index.parent))
        if page not in seen:
            yield Entry("About", page, _title(path), "")


def _title(page: Path) -> str:
    for line in page.read_text("utf-8").splitlines():
        if line.startswith("# "):
            return line.removeprefix("# ").replace("`", "")
    return page.stem


def settings(entries: list[Entry]) -> str:
    """The generator's file: no fonts and no scripts from elsewhere, own search."""
    sections: dict[str, list[str]] = {}
    for entry in entries:
        line = f"    {{ {_toml(entry.title)} = {_toml(entry.page)} }},"
        sections.setdefault(entry.section, []).append(line)
    nav = ['  { "By task" = "index.md" },']
    for section, lines in sections.items():
        nav += [f"  {{ {_toml(section)} = [", *lines, "  ] },"]
    return "\n".join([*_PROJECT, "nav = [", *nav, "]", *_TABLES, ""])


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


_PROJECT = (
    "[project]",
    'site_name = "tailproof"',
    'site_description = "Whether an LLM API keeps its contract in the tail"',
    'docs_dir = "pages"',
    'site_dir = "site"',
    "use_directory_urls = false",
)
_TABLES = (
    "[project.theme]",
    "font = false",
    'features = ["navigation.sections", "navigation.top", "content.code.copy", "search.highlight"]',
    "[[project.theme.palette]]",
    'media = "(prefers-color-scheme: light)"',
    'scheme = "default"',
    'toggle = { icon = "lucide/sun", name = "Dark" }',
    "[[project.theme.palette]]",
    'media = "(prefers-color-scheme: dark)"',
    'scheme = "slate"',
    'toggle = { icon = "lucide/moon", name = "Light" }',
    "[project.plugins.search]",
    "[project.markdown_extensions.tables]",
    "[project.markdown_extensions.toc]",
    "permalink = true",
    "[project.markdown_extensions.toc.slugify]",
    'object = "pymdownx.slugs.slugify"',
    'kwds = { case = "lower" }',
    "[project.markdown_extensions.pymdownx.superfences]",
    "[project.markdown_extensions.pymdownx.highlight]",
)


def llms(root: Path, entries: list[Entry]) -> str:
    """llms.txt as its convention has it: a title, a summary, lists of links to Markdown."""
    lines = ["# tailproof", "", f"> {_summary(root)}", ""]
    section = ""
    for entry in entries:
        if entry.section != section:
            section = entry.section
            lines += [*([""] if lines[-1] else []), f"## {section}", ""]
        lines.append(f"- [{entry.title}]({entry.page})" + (f": {entry.says}" if entry.says else ""))
    return "\n".join(lines) + "\n"


def _summary(root: Path) -> str:
    """The first paragraph of README.md."""
    paragraphs = (root / "README.md").read_text("utf-8").split("\n\n")
    return " ".join(paragraphs[1].replace("**", "").split())


if __name__ == "__main__":
    raise SystemExit(main())
