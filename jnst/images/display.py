"""Pictures to look at: PNG bytes for a notebook, Pillow's images, and a window where there is no notebook."""

import base64
import io
import sys

import numpy as np
import numpy.typing as npt
from PIL import Image

from jnst.images.writing import quantize

# A page of a notebook is about so wide; the picture itself is kept whole.
SHOWN_WIDTH = 640


def to_pil(image: npt.ArrayLike) -> Image.Image:
    """A picture as Pillow's image of 8 bits: height × width × 3, uint8, uint16, or floating point in [0, 1].

    >>> to_pil(np.zeros((2, 3, 3))).size
    (3, 2)
    """
    pixels = quantize(image)
    return Image.fromarray(pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8))


def png_bytes(image: npt.ArrayLike) -> bytes:
    """A picture as a PNG file."""
    buffer = io.BytesIO()
    to_pil(image).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg_bytes(image: npt.ArrayLike, quality: int = 85) -> bytes:
    """A picture to look at as a JPEG file, without any metadata."""
    buffer = io.BytesIO()
    to_pil(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def image_tag(image: npt.ArrayLike) -> str:
    """A picture as an HTML element that needs no file."""
    width = min(np.shape(image)[1], SHOWN_WIDTH)
    return f'<img width="{width}" src="data:image/png;base64,{base64.b64encode(png_bytes(image)).decode()}">'


def in_notebook() -> bool:
    """Whether a notebook is what shows our output."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def show(image: npt.ArrayLike) -> None:
    """Shows a picture: below the cell of a notebook, else in the system's viewer."""
    if in_notebook():
        from IPython.display import display  # pyright: ignore[reportMissingImports]

        display(to_pil(image))
    else:
        to_pil(image).show()
