"""Golden values for resizing, made by the originals; the tests read them and need neither.

Usage, each in an environment that has the library:

    python scripts/golden/make_resizing.py opencv       (opencv-python-headless, numpy)
    python scripts/golden/make_resizing.py tensorflow   (tensorflow-cpu)
"""

import sys
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"
SIZES = [(64, 90), (17, 23), (31, 20), (100, 11), (62, 90), (1, 1)]


def make_source() -> np.ndarray:
    """A picture of 31 × 45 pixels that has both noise and edges from black to white, where cubic kernels overshoot."""
    picture = np.random.default_rng(0).integers(0, 256, (31, 45, 3), dtype=np.uint8)
    picture[8:20, 10:20] = 0
    picture[8:20, 20:34] = 255
    return picture


def make_opencv() -> dict[str, np.ndarray]:
    import cv2

    source = make_source()
    arrays = {"source": source, "version": np.array(cv2.__version__)}
    for height, width in SIZES:
        for ipp in (True, False):  # Intel's library, which the x86 wheels use, and OpenCV's own fixed-point code
            cv2.ipp.setUseIPP(ipp)
            name = f"{'ipp' if ipp else 'own'}_{height}_{width}"
            arrays[name] = cv2.resize(source, (width, height), interpolation=cv2.INTER_CUBIC)
    unit = source.astype(np.float32) / 255
    arrays["float_64_90"] = cv2.resize(unit, (90, 64), interpolation=cv2.INTER_CUBIC)
    return arrays


def make_tensorflow() -> dict[str, np.ndarray]:
    import tensorflow as tf

    source = make_source()
    arrays = {"source": source, "version": np.array(tf.__version__)}
    unit = tf.image.convert_image_dtype(source, tf.float32)
    for height, width in SIZES:
        arrays[f"resized_{height}_{width}"] = tf.image.resize(unit, (height, width)).numpy()
    sizes = np.random.default_rng(1).integers(1, 6000, (400, 2))
    fitted = []
    for size in sizes:  # the tutorial's load_img
        shape = tf.cast(tf.constant(size), tf.float32)
        fitted.append(tf.cast(shape * (512 / tf.reduce_max(shape)), tf.int32).numpy())
    return arrays | {"sizes": sizes.astype(np.int32), "fitted": np.stack(fitted)}


if __name__ == "__main__":
    library = sys.argv[1]
    made = {"opencv": make_opencv, "tensorflow": make_tensorflow}[library]()
    np.savez_compressed(GOLDEN / f"resizing_{library}.npz", **made)
