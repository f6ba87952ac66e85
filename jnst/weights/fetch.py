"""Named weights into the user's cache: downloaded, verified, converted."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from jnst.errors import WeightsError
from jnst.files import disk_errors, exclusive
from jnst.weights.convert import convert_weights
from jnst.weights.download import Download, Patience, Progress, fetch, received
from jnst.weights.registry import CATALOGUE, Entry, cached_path, find_entry, locate_weights
from jnst.weights.store import read_weights


def fetch_weights(
    name: str,
    *,
    progress: Progress | None = None,
    cache_dir: Path | None = None,
    catalogue: Mapping[str, Entry] = CATALOGUE,
    patience: Patience = Patience(),  # noqa: B008 (immutable)
) -> Path:
    """Brings named weights into the cache unless they are there, and returns the weights file.

    The official file is downloaded and verified, its convolutions are converted, and the download is removed.

    Args:
        name: of the catalogue.
        progress: called with the bytes so far and their number, None where that is unknown.
        cache_dir: in place of the user's cache.
        catalogue: in place of ours, for mirrors: `dataclasses.replace(CATALOGUE["vgg19"], url=…)`.
        patience: with a slow or failing server.

    Raises:
        WeightsError: for an unknown name, or as `jnst.weights.download.fetch` and `convert_weights` do.
    """
    entry = find_entry(name, catalogue)
    if not entry.url:
        return locate_weights(entry, cache_dir)
    target = cached_path(entry, cache_dir)
    raw = target.parent.parent / "downloads" / entry.url.rsplit("/", 1)[-1]

    def wait() -> None:
        if progress is not None:
            progress(received(raw), entry.size or None)

    with exclusive(target, waiting=wait):
        if _is_sound(target):
            _clear(raw.parent, entry)
            return target
        download = Download(entry.url, entry.size, entry.checksum)
        # The converted file is smaller than the download, whichever it is.
        fetch(download, raw, progress=progress, reserve=min(entry.size, 100_000_000), patience=patience)
        convert_weights(raw, target, name=entry.name, lineage=entry.lineage, origin=entry.url, licence=entry.licence)
        _clear(raw.parent, entry)
    return target


def _clear(folder: Path, entry: Entry) -> None:
    """Removes the download, and what earlier attempts left of it, from here or from the official address."""
    official = CATALOGUE.get(entry.name, entry)
    for url in {entry.url, official.url}:
        name = url.rsplit("/", 1)[-1]
        for path in (folder / name, folder / f"{name}.part", folder / f"{name}.lock"):
            with disk_errors(path):
                path.unlink(missing_ok=True)
    with suppress(OSError):  # other downloads are in it, or there were none
        folder.rmdir()


def _is_sound(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        read_weights(path)
    except WeightsError:
        return False
    return True
