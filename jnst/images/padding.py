"""Few sizes for many: images are padded, exactly, so that one compilation serves many sizes.

A padded size depends on the image's own size alone. Where images of a job share one says `jnst.batch.padded_sizes`.
"""

import numpy as np


def padded_side(length: int, per_doubling: int = 8) -> int:
    """The side that an image's side is padded to: from 128 pixels on at most an eighth longer, 4 % on average.

    Sides up to 256 pixels go to the next multiple of 16, those up to 512 of 32, and so on: eight sizes per doubling,
    or as many as asked for.

    >>> [padded_side(length) for length in (31, 225, 256, 341, 384, 400, 683)]
    [32, 240, 256, 352, 384, 416, 704]
    >>> [padded_side(length, 2) for length in (31, 225, 256, 341, 384, 400, 683)]
    [32, 256, 256, 384, 384, 512, 768]
    """
    step = max(16, (1 << (length - 1).bit_length()) // (2 * per_doubling))
    return -(-length // step) * step


def padded_size(height: int, width: int, per_doubling: int = 8) -> tuple[int, int]:
    """Height and width that an image is padded to."""
    return padded_side(height, per_doubling), padded_side(width, per_doubling)


def pad_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image in the top left corner of zeros, float32; what is computed on it never looks at the zeros."""
    padded = np.zeros((*size, image.shape[2]), np.float32)
    padded[: image.shape[0], : image.shape[1]] = image
    return padded
