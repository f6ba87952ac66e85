"""Where the time goes until the first step of a picture: one scale of a preset, nothing kept from earlier runs.

    python scripts/bench/first_picture.py                     # `default`, bundled VGG16, 400 px
    python scripts/bench/first_picture.py --size 512 --weights vgg16-small --repeat 3

Each repetition is a process of its own; the median of each phase is printed, in seconds. To compare two versions, run
it on both in turn: `PYTHONPATH=OTHER_CHECKOUT python scripts/bench/first_picture.py`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def measure(preset: str, weights: str, size: int) -> dict[str, float]:
    """Seconds of each phase, in this process, which has imported nothing yet."""
    begin = time.perf_counter()
    seconds: dict[str, float] = {}

    def done(phase: str) -> None:
        nonlocal begin
        now = time.perf_counter()
        seconds[phase], begin = now - begin, now

    import jax
    import jax.numpy as jnp
    import numpy as np

    import jnst
    from jnst.config import compile_key
    from jnst.loss.targets import make_targets
    from jnst.transfer.loop import _advance_in_place
    from jnst.transfer.state import init_state

    done("imports")
    params, config = jnst.load_preset(preset, weights=weights, size=size)
    jax.block_until_ready(params)
    done("weights read and prepared")
    rng = np.random.default_rng(0)
    content, style = (rng.random((3 * size // 4, size, 3), np.float32) for _ in range(2))
    targets = jax.block_until_ready(make_targets(params, content, style, config))
    done("targets, compiled and made")
    jax.block_until_ready(make_targets(params, content, style, config))
    done("targets, made again")
    state = init_state(content, config)
    done("first state")
    traced = _advance_in_place.trace(
        params, targets, state, jnp.int32(1), config=compile_key(config), optimizer=None, capacity=32
    )
    done("loop, traced")
    lowered = traced.lower()
    done("loop, lowered")
    compiled = lowered.compile()
    done("loop, compiled")
    jax.block_until_ready(compiled(params, targets, state, jnp.int32(4)))
    done("four steps")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", default="default")
    parser.add_argument("--weights", default="vgg16-caffe")
    parser.add_argument("--size", type=int, default=400, help="longer side, pixels")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(measure(arguments.preset, arguments.weights, arguments.size)))
        return
    runs = []
    for _ in range(arguments.repeat):
        done = subprocess.run([sys.executable, *sys.argv, "--here"], stdout=subprocess.PIPE, text=True, check=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    for phase in runs[0]:
        print(f"{phase:<28}{statistics.median(run[phase] for run in runs):8.2f}")
    print(f"{'in all':<28}{statistics.median(sum(run.values()) for run in runs):8.2f}")


if __name__ == "__main__":
    main()
