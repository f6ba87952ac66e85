"""Large pictures as BigTIFF, written strip by strip: only one strip of the file exists in memory at a time.

Classic TIFF ends at 4 GB. tifffile enters here for files above that, or above `LARGE` pixels.
"""

import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from jnst.errors import ImageError
from jnst.files import replacing

# Pixels from which a TIFF is written this way: below, one buffer is quicker and every program reads classic TIFF.
LARGE = 50_000_000
_STRIP_BYTES = 8 << 20


def write_bigtiff(
    path: str | os.PathLike[str],
    image: npt.NDArray[Any],
    quantize: Callable[[npt.NDArray[Any]], npt.NDArray[Any]],
    *,
    alpha: npt.NDArray[Any] | None,
    text: str | None,
    profile: bytes,
) -> None:
    """Writes the picture atomically, compressed, declared with that colour profile.

    Args:
        image: height × width × 3, as `write_image` takes it.
        quantize: makes uint8 or uint16 of some rows, of the picture or of alpha.
        alpha: height × width, or None.
        text: what `read_metadata` gives back.
        profile: ICC.

    Raises:
        ImageError: where tifffile is not installed.
        OSError: as the system says it.
    """
    try:
        import tifffile
    except ImportError as error:
        raise ImageError("a TIFF this large needs tifffile: pip install 'jnst[tiff]'") from error
    height, width = image.shape[:2]
    channels, dtype = 3 + (alpha is not None), quantize(image[:1, :1]).dtype
    rows = max(1, _STRIP_BYTES // (width * channels * dtype.itemsize))

    def strips() -> Iterator[bytes]:
        for top in range(0, height, rows):
            strip = quantize(image[top : top + rows])
            if alpha is not None:
                strip = np.concatenate([strip, quantize(alpha[top : top + rows])[..., None]], axis=2)
            yield zlib.compress(np.ascontiguousarray(strip).tobytes(), 6)

    with replacing(path) as file, tifffile.TiffWriter(file, bigtiff=True) as writer:
        writer.write(
            strips(),
            shape=(height, width, channels),
            dtype=dtype,
            photometric="rgb",
            planarconfig="contig",
            extrasamples=None if alpha is None else ["unassalpha"],
            compression="zlib",
            rowsperstrip=rows,
            description=text,
            metadata=None,
            software=False,
            iccprofile=profile,
        )
