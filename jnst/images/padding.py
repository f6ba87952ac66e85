"""Few sizes for many: images are padded to a bucket's size, exactly, so that one compilation serves many sizes.

A bucket depends on the image's own size alone and never on what else is in the job.
"""

import numpy as np


def bucket_side(length: int) -> int:
    """The side that an image's side is padded to: from 128 pixels on at most an eighth longer, 4 % on average.

    Sides up to 256 pixels go to the next multiple of 16, those up to 512 of 32, and so on: eight sizes per doubling.

    >>> [bucket_side(length) for length in (31, 225, 256, 341, 384, 400, 683)]
    [32, 240, 256, 352, 384, 416, 704]
    """
    step = max(16, (1 << (length - 1).bit_length()) // 16)
    return -(-length // step) * step


def bucket_size(height: int, width: int) -> tuple[int, int]:
    """Height and width that an image is padded to."""
    return bucket_side(height), bucket_side(width)


def pad_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image in the top left corner of zeros, float32; what is computed on it never looks at the zeros."""
    padded = np.zeros((*size, image.shape[2]), np.float32)
    padded[: image.shape[0], : image.shape[1]] = image
    return padded
