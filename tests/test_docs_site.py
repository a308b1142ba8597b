"""The documentation as a site: built strictly, searched without a network, indexed for machines."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from benchmarks import docs_site
from tests.test_docs import ROOT

pytest.importorskip("zensical", reason="the extra docs is not installed")
pytestmark = pytest.mark.slow("the generator renders every page once, for 3 s")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site, in three seconds."""
    out = tmp_path_factory.mktemp("site")
    assert docs_site.main(ROOT, out) == 0
    return out / "site"


def test_every_page_is_on_the_site_and_can_be_searched(site: Path) -> None:
    """As a page and as Markdown, each with its words in the index of the search."""
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    for page in pages:
        name = Path("index.md") if page == Path("README.md") else page
        assert (site / name).exists()
        assert (site / name.with_suffix(".html")).exists()
    words = json.loads((site / "search.json").read_text("utf-8"))
    found = {item["location"].partition("#")[0] for item in words["items"]}
    assert found >= {str(page.with_suffix(".html")) for page in pages if page.name != "README.md"}


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    """No font, script, style or picture: only links that a reader follows."""
    foreign = re.compile(r"""<(?:script|img|link|iframe)\b[^>]*(?:src|href)=["']?https?:""")
    assert [page.name for page in site.rglob("*.html") if foreign.search(page.read_text())] == []
    styles = [path.read_text("utf-8") for path in site.rglob("*.css")]
    assert not any("url(http" in style or "@import" in style for style in styles)


def test_llms_txt_follows_its_convention(site: Path) -> None:
    """A title, a quoted summary, sections of links that lead to Markdown on the site; all pages."""
    first, _, summary, *rest = (site / "llms.txt").read_text("utf-8").splitlines()
    assert first == "# tailproof"
    assert summary.startswith("> tailproof decides whether an LLM API keeps")
    links = [
        found for line in rest if (found := re.match(r"- \[[^\]]+\]\(([^)]+)\)(: \S.*)?$", line))
    ]
    assert all(not line or line.startswith(("## ", "- [")) for line in rest)
    assert {str(path.relative_to(site)) for path in site.rglob("*.md")} - {"index.md"} == {
        found[1] for found in links
    }


@pytest.mark.parametrize(
    ("link", "says"),
    [("nowhere.md", "links nowhere.md"), ("../bench/cli/run.py", "is no page of the site")],
)
def test_a_link_that_leads_nowhere_ends_the_build(
    link: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is rendered."""
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT / "docs", copy / "docs")
    for page in ROOT.glob("*.md"):
        shutil.copy(page, copy)
    page = copy / "docs" / "ramp.md"
    page.write_text(page.read_text("utf-8") + f"\n[a page]({link})\n", "utf-8")
    assert docs_site.main(copy, tmp_path / "out") == 1
    assert says in capsys.readouterr().err


def test_an_anchor_that_leads_nowhere_ends_the_build(tmp_path: Path) -> None:
    """The generator's own strict mode, on two pages."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "README.md").write_text("# Index\n\n## A\n\n| [x](x.md#nowhere) | y |\n")
    (tmp_path / "docs" / "x.md").write_text("# X\n")
    for name in docs_site.FROM_ROOT:
        if "/" not in name:
            (tmp_path / name).write_text("# T\n\nS.\n")
    assert docs_site.main(tmp_path, tmp_path / "out") != 0
