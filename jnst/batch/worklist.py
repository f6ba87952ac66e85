"""The list of work of a folder job: which content in which style, with what settings, under which name."""

import dataclasses
import hashlib
import json
import os
import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jnst.batch import folders
from jnst.config import Config
from jnst.config_json import to_dict
from jnst.errors import ConfigError, describe_unknown, quote
from jnst.images.formats import SUFFIXES
from jnst.jobs.region_files import RegionFiles

_FIELDS = ("folder", "parent", "content", "style", "index", "seed", "suffix")
# Tried in this order where two results would have one name.
_CANDIDATES = (
    "{folder}/{content}-{suffix}.png",
    "{folder}/{content}-{style}.png",
    "{parent}/{content}.png",
    "{parent}/{content}-{style}.png",
    "{parent}/{content}-{suffix}-{style}.png",
    "{index:06d}.png",
)
# Of a field, such as 06d or >12; a width of more digits would ask for gigabytes.
_FORMAT_SPEC = re.compile(r"(.?[<>=^])?[+\- ]?0?\d{0,2}[ds]?")
_LONGEST_NAME = 255
_RENAME = "rename the picture, or give names with --name, such as '{index:06d}.png'"


@dataclass(frozen=True)
class Entry:
    """One picture to make.

    name: of the result, relative to the output folder, with slashes; unique in a job.
    content, styles: paths or URLs; several styles are blended, unless `regions` has a mask for each.
    replace: whether an earlier result of this very job, made of files that have changed since, gives way.
    """

    name: str
    content: str
    styles: tuple[str, ...]
    config: Config = field(repr=False)
    seed: int = 0
    style_weights: tuple[float, ...] | None = None
    regions: RegionFiles | None = None
    replace: bool = False

    @property
    def masks(self) -> tuple[str, ...]:
        """The files of the masks, each once."""
        return () if self.regions is None else tuple(self.regions.paths())

    @property
    def inputs(self) -> tuple[str, ...]:
        """All files that the picture is made of."""
        return (self.content, *self.styles, *self.masks)

    def key(self, weights_sha256: str) -> str:
        """Hash of everything that the result depends on, but for the bytes of the pictures (`Comparison`)."""
        parts = [self.content, self.styles, to_dict(self.config), self.seed, self.style_weights, weights_sha256]
        if self.regions is not None:
            parts.append(dataclasses.asdict(self.regions))
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def combine(
    contents: Iterable[tuple[str, str]],
    styles: Sequence[str],
    config: Config,
    *,
    template: str | None = None,
    seed: int = 0,
    refuse: Callable[[str], Any] | None = None,
) -> list[Entry]:
    """Every content in every style.

    Args:
        contents: paths, each with its folder relative to where it was found (`find_pictures`).
        styles: paths of style pictures or prepared styles.
        template: name of a result; knows {folder}, {parent} (the name of the folder that the content lies in),
            {content}, {style}, {suffix} (of the content), {index}, {seed}. By
            default {folder}/{content}.png, and {folder}/{content}-{style}.png where there are several styles.
        seed: of random initial images.
        refuse: called with a sentence for each picture whose result would have a name that no file can have, such as
            one with a line end; that picture alone is left out.

    Raises:
        ConfigError: for a template that is none; where no result can have its name, or one cannot and `refuse` is not
            given; or where two results would be one file.
    """
    template = template or ("{folder}/{content}.png" if len(styles) == 1 else "{folder}/{content}-{style}.png")
    rows = list(enumerate((content, folder, style) for content, folder in contents for style in styles))
    entries: list[Entry] = []
    kept: list[tuple[int, tuple[str, str, str]]] = []
    bad: list[ConfigError] = []

    def name(template: str, index: int, row: tuple[str, str, str]) -> str:
        content, folder, style = row
        return fill_template(template, content, (style,), folder, index, seed)

    for index, row in rows:
        content, _, style = row
        try:
            entries.append(Entry(name(template, index, row), content, (style,), config, seed))
            kept.append((index, row))
        except ConfigError as error:
            bad.append(ConfigError(f"{content}: {error}") if refuse is not None else error)
            if refuse is None or len(bad) == len(rows):
                raise error from None
    if refuse is not None:
        for error in bad:
            refuse(str(error))
    check_names(entries, lambda template: [name(template, *row) for row in kept])
    return entries


def fill_template(
    template: str, content: str, styles: Sequence[str], folder: str = "", index: int = 0, seed: int = 0
) -> str:
    """The result's name.

    >>> fill_template("{folder}/{content}-{index:04d}.png", "in/a/cat.jpg", ["b.png"], "a", 7)
    'a/cat-0007.png'

    Raises:
        ConfigError: for a field that does not exist, or a name outside the output folder.
    """
    _check_template(template)
    stem, suffix = folders.name_parts(content)
    style = "+".join(folders.name_parts(one)[0] for one in styles)
    parent = content.replace("\\", "/").rstrip("/").rpartition("/")[0].rpartition("/")[2]
    fields = {"folder": folder, "parent": parent, "content": stem, "style": style, "suffix": suffix.lstrip(".")}
    try:
        name = template.format(**fields, index=index, seed=seed)
    except (ValueError, KeyError, IndexError) as error:
        raise ConfigError(f"name template {quote(template)}: {error}") from error
    return clean_name(name.lstrip("/"))  # an empty folder leaves its slash


def _check_template(template: str) -> None:
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(f"name template {quote(template)}: {error}; write {{{{ for a brace itself") from error
    for _, name, spec, _ in parts:
        if name is not None and name not in _FIELDS:
            raise ConfigError(describe_unknown("field of the name template", name, _FIELDS))
        if spec and not _FORMAT_SPEC.fullmatch(spec):
            raise ConfigError(f"name template {quote(template)}: {quote(spec)} is no form; expected one such as 06d")
    if template.startswith(("/", "\\")):
        raise ConfigError(f"the result's name {quote(template)} does not lie inside the output folder")


def clean_name(name: str) -> str:
    """The name of a result, with slashes and without empty parts.

    Raises:
        ConfigError: it leaves the output folder, however that is spelt; or no file can have it, or no picture.
    """
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    outside = any(part.strip().rstrip(".") == "" for part in parts) or ":" in plain[:2] or "://" in plain
    if not parts or outside or plain.startswith(("/", "~")):
        # Such as ~photo.png and a:b.png, which lie inside it here.
        elsewhere = f", or not on every system; {_RENAME}" if len(parts) == 1 else ""
        raise ConfigError(f"the result's name {quote(name)} does not lie inside the output folder{elsewhere}")
    if any(unicodedata.category(letter) == "Cc" for letter in name):
        raise ConfigError(f"the result's name {quote(name)} holds a control character; {_RENAME}")
    if max(len(os.fsencode(part)) for part in parts) > _LONGEST_NAME:
        raise ConfigError(
            f"the result's name {quote(name)} is too long: a file's name has {_LONGEST_NAME} bytes at most; give a "
            "shorter one with --name, such as '{index:06d}.png'"
        )
    suffix = folders.name_parts(parts[-1])[1].lower()
    if suffix not in SUFFIXES:
        raise ConfigError(f"cannot tell the format of {quote(name)}: {describe_unknown('suffix', suffix, SUFFIXES)}")
    return "/".join(parts)


def check_names(entries: Sequence[Entry], rename: Callable[[str], list[str]] | None = None) -> None:
    """Raises ConfigError where two entries would write the same file, or one a folder where the other writes a file.

    Args:
        rename: the names by another template, of which one that works is then suggested.
    """
    clash = _find_clash([entry.name for entry in entries])
    if clash is None:
        return
    first, second = (entries[index] for index in clash)
    if _same(first.name) == _same(second.name):
        problem = f"{first.content} and {second.content} would both become {second.name}"
    else:
        problem = f"{first.content} would become {first.name}, and {second.content} {second.name}: one is a folder then"
    template = next((one for one in _CANDIDATES if rename is not None and _works(rename, one)), None)
    advice = f"--name '{template}' tells them apart" if template else "give them names that differ"
    raise ConfigError(f"{problem}; {advice}")


def _works(rename: Callable[[str], list[str]], template: str) -> bool:
    try:
        return _find_clash(rename(template)) is None
    except ConfigError:  # a name that is too long, say
        return False


def _find_clash(names: Sequence[str]) -> tuple[int, int] | None:
    """Positions of two names that cannot both be files, or None."""
    files: dict[str, int] = {}
    for index, name in enumerate(names):
        other = files.setdefault(_same(name), index)
        if other != index:
            return other, index
    for index, name in enumerate(names):
        parts = _same(name).split("/")
        for depth in range(1, len(parts)):
            other = files.get("/".join(parts[:depth]))
            if other is not None:
                return other, index
    return None


def _same(name: str) -> str:
    """Some file systems take Cat.png and cat.png for the same file, and both ways to write é."""
    return unicodedata.normalize("NFC", name).lower()
