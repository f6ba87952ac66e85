"""Samples of 16 bits, taken piece by piece and in any order, upright and in sRGB."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from jnst.config import ColorProfile
from jnst.images.profiles import make_converter

Pixels: TypeAlias = npt.NDArray[np.uint8 | np.uint16]
Decoded: TypeAlias = tuple[Pixels, Pixels | None, tuple[str, ...]]
Place: TypeAlias = tuple[slice, slice]


class Collector:
    """Takes samples of 16 bits in any order, and has them upright and in sRGB.

    Where a profile changes something, at 8 bits, which is what Pillow's transforms take.

    Args:
        size: height and width in the file's order.
        mode: "L" or "RGB".
        transparent: whether there is alpha.
        profile: ICC, or None.
        color_profile: whether it is applied or ignored.
        orientation: of Exif.
    """

    def __init__(
        self,
        size: tuple[int, int],
        mode: str,
        *,
        transparent: bool,
        profile: bytes | None,
        color_profile: ColorProfile,
        orientation: int = 1,
    ) -> None:
        self._convert, self._notes = make_converter(mode, profile, color_profile)
        self._mode, self._orientation = mode, orientation
        upright = size[::-1] if orientation in (5, 6, 7, 8) else size
        dtype = np.uint16 if self._convert is None else np.uint8
        self._pixels = np.empty((*upright, 3), dtype)
        self._alpha = np.empty(upright, dtype) if transparent else None

    def put(self, place: Place, colour: npt.NDArray[np.uint16], opacity: npt.NDArray[np.uint16] | None = None) -> None:
        """Rows × columns × 1 or 3 of colour, and rows × columns of alpha, at a place in the file's order."""
        deep = self._convert is None
        if self._convert is not None:
            shallow = np.ascontiguousarray(colour >> 8).astype(np.uint8)
            picture = Image.fromarray(shallow if self._mode == "RGB" else shallow[..., 0])
            _as_stored(self._pixels, self._orientation)[place] = np.asarray(self._convert(picture))
        else:
            _as_stored(self._pixels, self._orientation)[place] = colour
        if self._alpha is not None and opacity is not None:
            _as_stored(self._alpha, self._orientation)[place] = opacity if deep else opacity >> 8

    def upright(self) -> Decoded:
        """Pixels, alpha and notes."""
        notes = self._notes if self._convert is None else ("converted to sRGB at 8 bits",)
        return self._pixels, self._alpha, notes

    def stored(self) -> Decoded:
        """The same as views in the file's order, which cost nothing to turn."""
        pixels, alpha, notes = self.upright()
        orientation = self._orientation
        return _as_stored(pixels, orientation), None if alpha is None else _as_stored(alpha, orientation), notes


def _as_stored(upright: Pixels, orientation: int) -> Pixels:
    """A view of an upright picture in the file's order: what `reading` does with an orientation, backwards."""
    if orientation in (2, 3, 6, 7):
        upright = upright[:, ::-1]
    if orientation in (3, 4, 7, 8):
        upright = upright[::-1]
    return upright.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else upright
