"""Checks a built wheel and source archive: metadata, contents, size.

python scripts/check_distribution.py dist/*.whl dist/*.tar.gz
"""

import argparse
import email
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

LARGEST_WHEEL = 40_000_000  # bytes
REQUIRED_FIELDS = ("Name", "Version", "Summary", "License-Expression", "Requires-Python", "Project-URL", "Author")
REQUIRED_CLASSIFIERS = ("Typing :: Typed", "Programming Language :: Python :: 3")
# Ends of names that must be in the wheel: types, the command, pictures, weights, and the licence.
REQUIRED_FILES = (
    "jnst/py.typed",
    "jnst/__main__.py",
    "jnst/data/pictures/night_road.jpg",
    "jnst/data/weights/README.md",
    "licenses/LICENSE",
)
REQUIRED_SOURCES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "docs/index.md", "mkdocs.yml")


def metadata_problems(metadata: Message) -> Iterator[str]:
    """What is missing from a wheel's METADATA, or wrong in it."""
    for field in REQUIRED_FIELDS:
        if not metadata[field]:
            yield f"the metadata has no {field}"
    classifiers = metadata.get_all("Classifier") or []
    for classifier in REQUIRED_CLASSIFIERS:
        if classifier not in classifiers:
            yield f"the metadata lacks the classifier {classifier}"
    if metadata["Description-Content-Type"] != "text/markdown":
        yield f"the description is {metadata['Description-Content-Type']}; expected text/markdown"
    if not str(metadata.get_payload()).lstrip().startswith("# jnst"):
        yield "the description is not the README"


def wheel_problems(path: Path) -> Iterator[str]:
    """What is wrong with a wheel."""
    size = path.stat().st_size
    if size > LARGEST_WHEEL:
        yield f"{path.name} has {size / 1e6:.1f} MB; expected at most {LARGEST_WHEEL / 1e6:.0f}"
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        about = next(name for name in names if name.endswith(".dist-info/METADATA"))
        yield from metadata_problems(email.message_from_bytes(wheel.read(about)))
    for name in REQUIRED_FILES:
        if not any(found.endswith(name) for found in names):
            yield f"{path.name} lacks {name}"
    if not any(found.startswith("jnst/data/weights/") and found.endswith(".h5") for found in names):
        yield f"{path.name} holds no weights"
    strangers = [name for name in names if not name.startswith(("jnst/", "jnst-")) or "__pycache__" in name]
    if strangers:
        yield f"{path.name} holds what does not belong there: {', '.join(strangers)}"


def source_problems(path: Path) -> Iterator[str]:
    """What is wrong with a source archive."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in REQUIRED_SOURCES:
        if name not in names:
            yield f"{path.name} lacks {name}"


def main() -> int:
    """Prints what is wrong; returns 1 where anything is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a .whl or a .tar.gz")
    problems = []
    for path in parser.parse_args().files:
        problems += wheel_problems(path) if path.suffix == ".whl" else source_problems(path)
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
