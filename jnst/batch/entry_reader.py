"""The files of an entry, read and brought to working size: content, styles, masks."""

import functools
from pathlib import Path
from typing import Any, NamedTuple

from jnst.batch import folders
from jnst.batch.input_changes import FileVersion, describe_inputs, hash_bytes, stamp
from jnst.batch.options import Options
from jnst.batch.requests import Item, Task, prepare
from jnst.batch.worklist import Entry
from jnst.config import ColorProfile
from jnst.errors import ImageError
from jnst.images.inputs import StylePicture, as_style
from jnst.images.reading import Picture
from jnst.jobs.region_files import read_regions
from jnst.transfer.style_file import is_style_file, read_style
from jnst.transfer.style_targets import StyleTargets

_REMEMBERED_STYLES = 64


class _Style(NamedTuple):
    """A style as read, notes on its file, and what is known of that."""

    image: StylePicture | StyleTargets
    notes: tuple[str, ...]
    version: FileVersion


class ReadyEntry(NamedTuple):
    """An entry with its prepared item, notes for its record, and what is known of its inputs."""

    entry: Entry
    item: Item
    notes: tuple[str, ...]
    inputs: dict[str, Any]


class EntryReader:
    """Reads entries, and keeps the styles that several of them share.

    Args:
        options: of the job.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._style = functools.lru_cache(_REMEMBERED_STYLES)(self._read_style)

    def read(self, entry: Entry) -> ReadyEntry:
        """From the files to an item at working size; may be called by several threads.

        Raises:
            ImageError: for a picture that cannot be read, or a prepared style that cannot be used like this.
        """
        profile = entry.config.color_profile
        styles = [self._style(path, profile) for path in entry.styles]
        versions = {path: style.version for path, style in zip(entry.styles, styles, strict=True)}
        picture, versions[entry.content] = self._read_picture(entry.content, profile)
        chosen = tuple(style.image for style in styles if isinstance(style.image, StylePicture))
        prepared = [style.image for style in styles if isinstance(style.image, StyleTargets)]
        if prepared and len(styles) > 1:
            raise ImageError("a prepared style cannot be blended with others; prepare the blend with `jnst targets`")
        if prepared and entry.regions is not None and (entry.regions.masks or entry.regions.style_masks):
            raise ImageError("a prepared style cannot be given a mask; give the style picture instead")

        def read_mask(path: str) -> Picture:
            before = stamp(path)
            mask, sha256 = folders.read_picture(path, allow_large=self._options.allow_large)
            if versions.setdefault(path, FileVersion(sha256, before)).sha256 != sha256:
                raise ImageError(f"{path} was replaced while it was being read; try again")
            return mask

        regions, keep = read_regions(entry.regions, chosen, read_mask)
        inputs = describe_inputs(entry.content, entry.styles, versions, entry.masks)
        task = Task(
            picture,
            prepared[0] if prepared else chosen,
            entry.config,
            entry.seed,
            entry.style_weights,
            # By what is in the files, and how it is read: a file that is read again later may be another.
            style_key=(profile, *(style.version.sha256 for style in styles)) if regions is None else None,
            regions=None if regions is None else tuple(regions),
            keep=keep,
        )
        item = prepare(task)
        notes = [note for style in styles for note in style.notes]
        notes += [] if item.masks is None else item.masks.notes
        return ReadyEntry(entry, item, (*picture.notes, *notes), inputs)

    def _read_style(self, path: str, color_profile: ColorProfile) -> _Style:
        """What a picture hides is filled here once, and not for every content."""
        if is_style_file(path):
            before = stamp(path)
            version = FileVersion(hash_bytes(Path(path).read_bytes()), before)
            style = read_style(path)
            if hash_bytes(Path(path).read_bytes()) != version.sha256:
                raise ImageError(f"style: {path} was replaced while it was being read; try again")
            return _Style(style, (), version)
        try:
            picture, version = self._read_picture(path, color_profile)
            return _Style(as_style(picture), picture.notes, version)
        except ImageError as error:
            raise ImageError(f"style: {error}") from error

    def _read_picture(self, path: str, color_profile: ColorProfile) -> tuple[Picture, FileVersion]:
        before = stamp(path)
        picture, sha256 = folders.read_picture(
            path,
            allow_large=self._options.allow_large,
            allow_damaged=self._options.allow_damaged,
            color_profile=color_profile,
        )
        return picture, FileVersion(sha256, before)
