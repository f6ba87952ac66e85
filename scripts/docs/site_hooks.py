"""MkDocs hooks: pages that lie outside docs/ become pages of the site, and links to and from them follow."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
# Page of the site, and the file of the repository that it is.
PAGES = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "weights.md": "weights/README.md",
    "scripts.md": "scripts/README.md",
}
_LINK = re.compile(r"(\]\()([^)\s#]+)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages from outside docs/."""
    for page, source in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links between files of the repository become links between pages of the site."""
    source = PAGES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    pages = {file: name for name, file in PAGES.items()}

    def follow(match: re.Match[str]) -> str:
        if "://" in match[2]:
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        return match[1] + pages.get(target, target.removeprefix("docs/"))

    return _LINK.sub(follow, markdown)
