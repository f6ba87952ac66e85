"""Puts an "Open in Colab" badge into every notebook of docs/notebooks, for the repository that pyproject.toml names.

    python scripts/docs/make_badges.py            rewrites the notebooks whose badge is another
    python scripts/docs/make_badges.py --check    changes nothing; exits 1 where one is out of date

The address is `Repository` in `[project.urls]`, such as https://github.com/somebody/jnst, and stands nowhere else.
Colab opens public repositories alone: without an address there is no badge, rather than one that leads nowhere.
"""

import argparse
import json
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "docs" / "notebooks"
_GITHUB = "https://github.com/"
_IMAGE = "https://colab.research.google.com/assets/colab-badge.svg"


def repository(pyproject: str) -> str:
    """Owner and name of the GitHub repository in a pyproject.toml's text; empty where there is none.

    >>> repository('[project.urls]\\nRepository = "https://github.com/somebody/jnst"')
    'somebody/jnst'
    """
    address = tomllib.loads(pyproject).get("project", {}).get("urls", {}).get("Repository", "")
    return address.removeprefix(_GITHUB).removesuffix(".git").strip("/") if address.startswith(_GITHUB) else ""


def badge(name: str, repository: str) -> str:
    """The badge of a notebook in Markdown."""
    if not repository:
        return ""
    link = f"https://colab.research.google.com/github/{repository}/blob/main/docs/notebooks/{name}.ipynb"
    return f"[![Open in Colab]({_IMAGE})]({link})"


def render(text: str, name: str, repository: str) -> str:
    """A notebook's text with the badge below the title in its first cell, or without one."""
    notebook = json.loads(text)
    first = notebook["cells"][0]
    lines = [line for line in "".join(first["source"]).splitlines() if "colab-badge" not in line]
    title = "\n".join(lines).strip()
    wanted = "\n\n".join(filter(None, [title, badge(name, repository)]))
    first["source"] = wanted.splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Rewrites what is out of date, or names it with --check."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where one is out of date")
    check = parser.parse_args().check
    address = repository((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    changed = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        text = path.read_text(encoding="utf-8")
        wanted = render(text, path.stem, address)
        if wanted != text:
            changed.append(path.name)
            if not check:
                path.write_text(wanted, encoding="utf-8")
    for name in changed:
        print(f"{name} {'is out of date' if check else 'rewritten'}")
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
