"""The parts of a Markdown page that can be checked: fenced blocks and links."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "scripts" / "README.md", ROOT / "weights" / "README.md")
)
_FENCE = re.compile(r"^(?P<fence>```+)(?P<info>[^\n]*)\n(?P<body>.*?)^(?P=fence)[ ]*$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block. `title` is the name of the file that it shows, if it says so."""

    language: str
    title: str
    body: str
    line: int


def name_of(page: Path) -> str:
    """The page's path from the root, for the names of tests."""
    return page.relative_to(ROOT).as_posix()


def fenced_blocks(text: str) -> list[Block]:
    """Every fenced block, in order.

    >>> fenced_blocks('```csv title="a.csv"\\nx,y\\n```\\n')
    [Block(language='csv', title='a.csv', body='x,y\\n', line=1)]
    """
    blocks = []
    for match in _FENCE.finditer(text):
        language, _, rest = match["info"].strip().partition(" ")
        title = re.search(r'title="([^"]*)"', rest)
        line = text.count("\n", 0, match.start()) + 1
        blocks.append(Block(language, title[1] if title else "", match["body"], line))
    return blocks


def links(text: str) -> list[str]:
    """Targets of all links and pictures outside fenced blocks and code spans.

    >>> links("[a](b.md#c) `[no](x.md)` ![p](q.jpg)")
    ['b.md#c', 'q.jpg']
    """
    prose = re.sub(r"`[^`\n]*`", lambda code: "" if "](" in code[0] else code[0], _FENCE.sub("", text))
    return [match["target"] for match in _LINK.finditer(prose)]


def anchors(text: str) -> set[str]:
    """Fragments that a page's headings can be reached by, as GitHub and MkDocs make them.

    >>> sorted(anchors("# A page\\n## jnst `batch`, twice"))
    ['a-page', 'jnst-batch-twice']
    """
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
