"""Which pictures a file, a folder or a pattern stands for, and what was left out of them."""

import collections
import difflib
import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jnst.batch.folders import exists, is_remote, open_filesystem, storage_errors
from jnst.errors import ConfigError, JnstError, quote
from jnst.files import describe_missing
from jnst.images.formats import readable_suffixes

_SHOWN_SUFFIXES = 5
_MAGIC = "*?["


class Found(NamedTuple):
    """Pictures, each with its folder relative to where the search began, and how many files were left out, by why."""

    pictures: list[tuple[str, str]]
    left_out: dict[str, int]

    def note(self, pattern: str) -> str:
        """One line on what was left out; empty where nothing was.

        >>> Found([], {"hidden": 2, "with another suffix (.txt)": 1}).note("in")
        'in: 3 left out: 2 hidden, 1 with another suffix (.txt)'
        """
        if not self.left_out:
            return ""
        parts = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
        return f"{pattern}: {sum(self.left_out.values())} left out: {parts}"


def find_pictures(pattern: str, *, without: str = "") -> Found:
    """The pictures that a file, a folder or a glob stands for, sorted.

    Folders are searched to any depth, for every suffix that can be read; hidden files, and the folder `without`, are
    left out. A plain file is taken as it is, whether it exists or not: a picture that is missing is a failure of its
    own.

    Raises:
        ConfigError: a path that no file can have, a folder without pictures, or a glob that matches nothing.
    """
    check_path(pattern)
    if is_remote(pattern):
        found, root, kind, left_out = _list_remote(pattern)
    else:
        found, root, kind, left_out = _list_local(pattern)
    if kind == "file":
        return Found([(pattern, "")], {})
    if kind == "pattern":
        root = root.rpartition("/")[0]
    excluded = _real(without).rstrip("/") + "/"
    pictures, others, suffixes = [], collections.Counter[str](), readable_suffixes()
    for path, inner in sorted(found):
        suffix = os.path.splitext(path)[1].lower()
        if without and _real(path).startswith(excluded):
            left_out["in the output folder"] += 1
        elif any(part.startswith(".") for part in inner[len(root) :].split("/")):
            left_out["hidden"] += 1
        elif suffix not in suffixes:
            others[suffix or "none"] += 1
        else:
            pictures.append((path, _relative_folder(inner, root)))
    if others:
        shown = ", ".join(quote(suffix)[1:-1] for suffix, _ in others.most_common(_SHOWN_SUFFIXES))
        more = ", …" if len(others) > _SHOWN_SUFFIXES else ""
        left_out[f"with another suffix ({shown}{more})"] += others.total()
    result = Found(pictures, dict(left_out))
    if not pictures:
        verb = "matches" if kind == "pattern" else "holds"
        note = result.note("").removeprefix(": ")
        raise ConfigError(
            f"{pattern} {verb} no pictures ({', '.join(sorted(suffixes))})" + (f"; {note}" if note else "")
        )
    return result


def check_path(path: str) -> None:
    """Raises ConfigError for a path that no file can have, whatever system it is on."""
    if "\0" in path:
        raise ConfigError(f"{quote(path)} holds a NUL character, which no path can")
    longest = max((len(os.fsencode(part)) for part in path.split("/")), default=0)
    if not is_remote(path) and (longest > 255 or len(path) > 4095):
        raise ConfigError(f"{quote(path)} is too long for a path: a name has 255 bytes at most, a path 4095")


def check_there(patterns: list[str]) -> None:
    """Raises ConfigError for the first of these that is neither here nor looks like a picture's name.

    A picture that is missing is a failure of its own, unless there is nothing else.
    """
    missing = [path for path in patterns if not is_remote(path) and not glob.has_magic(path) and not _exists(path)]
    unlike = [path for path in missing if _is_unlike_picture(path)]
    for path in patterns:
        # A question to a store takes time, and an address of the web need not end in any suffix.
        plain = not path.startswith(("http://", "https://")) and not glob.has_magic(path)
        if is_remote(path) and plain and _is_unlike_picture(path) and _is_missing(path):
            raise ConfigError(f"there is no file or folder {path}")
    if unlike or (missing and len(missing) == len(patterns)):
        path = (unlike or missing)[0]
        folder, name = os.path.split(path.rstrip("/"))
        names = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
        close = difflib.get_close_matches(name[:200], names, n=1)
        hint = f"; did you mean {os.path.join(folder, close[0])}?" if close else ""
        if os.path.islink(path):
            raise ConfigError(f"{path} is {describe_missing(path)}")
        raise ConfigError(f"there is no file or folder {path}{hint}")


def _is_missing(path: str) -> bool:
    try:
        return not exists(path)
    except JnstError:
        return False  # whoever reads it says why it cannot be reached


def _is_unlike_picture(path: str) -> bool:
    return os.path.splitext(path)[1].lower() not in readable_suffixes()


def _exists(path: str) -> bool:
    check_path(path)
    return os.path.exists(path)


def _list_remote(pattern: str) -> tuple[list[tuple[str, str]], str, str, collections.Counter[str]]:
    filesystem, inner = open_filesystem(pattern)
    with storage_errors(pattern):
        if any(sign in inner for sign in _MAGIC):
            paths, root, kind = filesystem.glob(inner), _fixed_part(inner), "pattern"
        elif filesystem.isdir(inner):
            paths, root, kind = filesystem.find(inner), inner, "folder"
        else:
            return [], "", "file", collections.Counter()
        return [(filesystem.unstrip_protocol(path), str(path)) for path in paths], root, kind, collections.Counter()


def _list_local(pattern: str) -> tuple[list[tuple[str, str]], str, str, collections.Counter[str]]:
    left_out: collections.Counter[str] = collections.Counter()
    if glob.has_magic(pattern) and not Path(pattern).exists():
        paths, root, kind = _glob(pattern, left_out), _fixed_part(pattern), "pattern"
    elif Path(pattern).is_dir():
        paths, root, kind = list(_walk(pattern, left_out)), pattern, "folder"
    else:
        return [], "", "file", left_out
    files = [path for path in paths if os.path.isfile(path)]
    special = sum(not os.path.isfile(path) and not os.path.isdir(path) for path in paths)
    if special:
        left_out["not plain files"] += special
    return [(path, path) for path in files], root, kind, left_out


def _glob(pattern: str, left_out: collections.Counter[str]) -> list[str]:
    """What matches; ** enters no links to folders, as a search of a folder does not: they may go round in circles."""
    parts = re.split(r"(?<![^/])\*\*(?:/+|$)", pattern, maxsplit=1)
    if len(parts) == 1:
        return glob.glob(pattern)
    before, after = parts
    bases = glob.glob(before) if glob.has_magic(before) else [before]
    found: dict[str, None] = {}
    for base in bases:
        folders = [base]
        for inner, names, _ in os.walk(base or "."):
            names[:] = [name for name in names if not name.startswith(".")]
            linked = [name for name in names if os.path.islink(os.path.join(inner, name))]
            if linked:
                left_out["links to folders"] += len(linked)
            folders += [
                os.path.join(base, os.path.relpath(os.path.join(inner, name), base or "."))
                for name in names
                if name not in linked
            ]
        for folder in folders:
            start = glob.escape(folder if not folder or folder.endswith("/") else f"{folder}/")
            found |= dict.fromkeys(_glob(start + (after or "*"), left_out))
    return list(found)


def _walk(folder: str, left_out: collections.Counter[str]) -> Iterator[str]:
    """Everything in the folder but folders; links to folders are not entered, since they may go round in circles."""

    def unreadable(error: OSError) -> None:
        left_out[f"folders that cannot be read ({error.strerror})"] += 1

    for inner, folders, files in os.walk(folder, onerror=unreadable):
        linked = sum(os.path.islink(os.path.join(inner, name)) for name in folders)
        if linked:
            left_out["links to folders"] += linked
        for name in files:
            yield os.path.join(inner, name)


def _fixed_part(pattern: str) -> str:
    return pattern.split("*")[0].split("?")[0].split("[")[0]


def _real(path: str) -> str:
    """The path without links, or without the ways in which a URL can be written."""
    return open_filesystem(path)[1] if is_remote(path) else os.path.realpath(path)


def _relative_folder(path: str, root: str) -> str:
    if not root:
        return path.replace("\\", "/").strip("/").rpartition("/")[0]
    if "\\" in path:
        path, root = path.replace("\\", "/"), root.replace("\\", "/")
    inside = path[len(root) :] if path.startswith(root) else os.path.relpath(path, root)
    return inside.strip("/").rpartition("/")[0]
