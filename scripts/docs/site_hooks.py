"""MkDocs hooks: notebooks, and pages that lie outside docs/, become pages of the site, and links follow."""

import json
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
NOTEBOOKS = {f"notebooks/{path.stem}.md": path for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))}
_LINK = re.compile(r"(\]\()([^)\s#]+)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages from outside docs/, and those made of notebooks."""
    for page, source in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for page, path in NOTEBOOKS.items():
        files.append(File.generated(config, page, content=notebook_page(path.read_text(encoding="utf-8"), path.name)))
    return files


def notebook_page(text: str, name: str) -> str:
    """A notebook as Markdown: its text as it is, its code in fences, and a link to the file below the title."""
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"]).strip()
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    # A page is a folder of its own on the site, and the notebook lies beside it.
    parts.insert(
        1, f'<a href="../{name}" download>Download this notebook</a>; nothing in it needs a download of weights.'
    )
    return "\n\n".join(parts) + "\n"


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links between files of the repository become links between pages of the site."""
    source = PAGES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    pages = {file: name for name, file in PAGES.items()}
    pages |= {f"docs/notebooks/{path.name}": name for name, path in NOTEBOOKS.items()}

    def follow(match: re.Match[str]) -> str:
        if "://" in match[2]:
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        return match[1] + pages.get(target, target.removeprefix("docs/"))

    return _LINK.sub(follow, markdown)
