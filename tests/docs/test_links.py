"""Links between the pages, and to files of the repository, lead somewhere."""

from pathlib import Path

import pytest
from markdown_blocks import PAGES, ROOT, anchors, links, name_of


def _leads_somewhere(page: Path, target: str, root: Path) -> bool:
    path, _, fragment = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.is_relative_to(root) or not file.exists():
        return False
    return not fragment or fragment in anchors(file.read_text(encoding="utf-8"))


def _broken(page: Path, root: Path = ROOT) -> list[str]:
    targets = [target for target in links(page.read_text(encoding="utf-8")) if "://" not in target]
    return [target for target in targets if not _leads_somewhere(page, target, root)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    assert not _broken(page), f"{name_of(page)} links to what is not there: {', '.join(_broken(page))}"


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Here\n[self](#here) [gone](gone.md) [fragment](#there) [out](../x.md)", encoding="utf-8")
    (tmp_path.parent / "x.md").touch()
    assert _broken(page, tmp_path) == ["gone.md", "#there", "../x.md"]


def test_every_page_is_reached_from_the_index() -> None:
    index = {target.partition("#")[0] for target in links((ROOT / "docs" / "index.md").read_text(encoding="utf-8"))}
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages <= index, f"docs/index.md does not link to {', '.join(sorted(pages - index))}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200
