"""The pictures that the studio works with: bundled ones, and those that were handed in, kept in a temporary folder."""

import hashlib
import importlib.resources
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jnst.config import ColorProfile
from jnst.errors import ImageError, quote
from jnst.files import NamedFile as NamedFile
from jnst.images.display import jpeg_bytes
from jnst.images.reading import Picture, decoding, open_picture, read_bytes, read_picture_bytes
from jnst.images.resizing import resize
from jnst.images.transparency import lay_on_white

# What one picture may have, and how many the studio holds.
MAX_BYTES, MAX_PIXELS, MAX_PICTURES = 64 * 2**20, 50_000_000, 100
THUMBNAIL = 320
_BUNDLED = ("night_road.jpg", "woodcut_hills.jpg")


@dataclass(frozen=True)
class Entry:
    """One picture: `id` is its name in addresses, `name` the user's, height and width those of its pixels.

    sha256: of the file as it was taken in.
    """

    id: str
    name: str
    path: Path
    height: int
    width: int
    bundled: bool
    notes: tuple[str, ...]
    thumbnail: bytes
    sha256: str

    def read(self, color_profile: ColorProfile = "apply") -> Picture:
        """The picture decoded from its file, again each time: large pictures do not stay in memory.

        Raises:
            ImageError: the file is not there any more, or is another one.
        """
        file = NamedFile(self.path, self.name)
        data = read_bytes(file)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ImageError(f"{file} has changed since the studio took it in; open it again")
        return read_picture_bytes(file, data, color_profile=color_profile)


class Library:
    """Pictures by their id. One at a time is decoded, whoever asks.

    Args:
        bundled: whether the bundled pictures are at hand.
    """

    def __init__(self, *, bundled: bool = True) -> None:
        self._entries: dict[str, Entry] = {}
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="jnst-studio-")
        folder = Path(str(importlib.resources.files("jnst"))) / "data" / "pictures"
        for name in _BUNDLED:
            if bundled and (folder / name).exists():
                self._enter(folder / name, name, bundled=True)

    def __getitem__(self, id: str) -> Entry:
        """Raises ImageError where there is no such picture."""
        with self._lock:
            if id not in self._entries:
                raise ImageError(f"there is no picture {quote(id)} in the studio; drop it again")
            return self._entries[id]

    def entries(self) -> list[Entry]:
        """All pictures, in the order in which they came."""
        with self._lock:
            return list(self._entries.values())

    def add(self, data: bytes, name: str) -> Entry:
        """Takes a picture in, decoded in full, so that whatever is wrong with it is said now.

        Raises:
            ImageError: too many bytes or pixels, not a picture, damaged, or the studio is full.
        """
        if len(data) > MAX_BYTES:
            raise ImageError(too_large(name))
        with self._lock:
            if len(self._entries) >= MAX_PICTURES:
                raise ImageError(f"the studio holds {MAX_PICTURES} pictures already; start it anew to empty it")
            path = Path(self._folder.name) / f"{len(self._entries):04d}"
            path.write_bytes(data)
            try:
                return self._enter(path, tidy_name(name), bundled=False)
            except ImageError:
                path.unlink()
                raise

    def refer(self, path: Path | NamedFile) -> Entry:
        """Takes in a file that stays where it is.

        Raises:
            ImageError: as `add`.
        """
        with self._lock:
            return self._enter(Path(path), tidy_name(Path(str(path)).name), bundled=False)

    def _enter(self, path: Path, name: str, *, bundled: bool) -> Entry:
        file = NamedFile(path, name)
        data = read_bytes(file)
        check_pixels(file, data)
        picture = read_picture_bytes(file, data)
        height, width = picture.pixels.shape[:2]
        shown = lay_on_white(picture.pixels, picture.alpha)
        id, sha256 = f"p{len(self._entries)}", hashlib.sha256(data).hexdigest()
        entry = Entry(id, name, path, height, width, bundled, picture.notes, jpeg_bytes(shrink(shown)), sha256)
        self._entries[id] = entry
        return entry

    def close(self) -> None:
        """Removes the temporary folder."""
        self._folder.cleanup()


def too_large(name: str) -> str:
    """What to say of a file above the limit."""
    return f"{tidy_name(name)} is above the studio's limit of {MAX_BYTES // 2**20} MB a picture; make it smaller first"


def tidy_name(name: str) -> str:
    """The last part of a file's name, printable and short, to be shown and never to be opened."""
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(letter for letter in last if letter.isprintable())[:80]
    return kept or "picture"


def check_pixels(file: NamedFile, data: bytes) -> None:
    """Raises ImageError where the header promises more pixels than the studio takes; nothing is decoded."""
    with decoding(file, data), open_picture(data) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(
                f"{file} is {image.width} × {image.height} pixels, above the studio's limit of "
                f"{MAX_PIXELS // 10**6} million; make it smaller first"
            )


def shrink(picture: np.ndarray, longest: int = THUMBNAIL) -> np.ndarray:
    """The picture with no side above `longest`."""
    height, width = picture.shape[:2]
    factor = min(1.0, longest / max(height, width))
    if factor == 1:
        return picture
    return resize(picture, max(1, round(height * factor)), max(1, round(width * factor)), "pillow-bilinear")
