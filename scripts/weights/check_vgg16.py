"""Checks that the official float32 file, once fetched, rounds to the numbers of the bundled `weights/vgg16.h5`.

    jnst weights fetch vgg16-caffe                        (59 MB from Keras's address, verified by its md5)
    python scripts/weights/check_vgg16.py [KERAS.h5|JNST.h5]

Without a file it takes what was fetched into the cache. It prints one line for each convolution that differs, then
whether all thirteen agree, and exits with 1 where they do not.
"""

import sys
from pathlib import Path

import numpy as np

from jnst.weights.convert import read_foreign
from jnst.weights.registry import CATALOGUE, cached_path
from jnst.weights.store import read_weights

BUNDLED = Path(__file__).resolve().parents[2] / "weights" / "vgg16.h5"


def main() -> int:
    official = Path(sys.argv[1]) if len(sys.argv) > 1 else cached_path(CATALOGUE["vgg16-caffe"])
    if not official.exists():
        print(f"{official} is not there; `jnst weights fetch vgg16-caffe` brings it", file=sys.stderr)
        return 2
    full, half = read_foreign(official).params, read_weights(BUNDLED).params
    different = 0
    for name, layer in half.items():
        for part, values in layer.items():
            rounded = full[name][part].astype(np.float16).astype(np.float32)
            wrong = int((rounded != values).sum())
            if wrong:
                different += 1
                print(f"{name} {part}: {wrong} of {values.size} numbers differ")
    count = sum(values.size for layer in half.values() for values in layer.values())
    print(f"{official}: {'differs from' if different else f'all {count:,} numbers round to those of'} {BUNDLED.name}")
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
