"""Milliseconds of one step of the compiled loop: the evaluation, the cosine transforms and L-BFGS's history.

    python scripts/bench/step_time.py [--size 512] [--history 20 40 100] [--rounds 5]

The recipe is `gordic`, on a random square picture. The rows take turns; each figure is the median (minimum) over the
rounds, each of ten steps.
"""

import argparse
import dataclasses
import itertools
import time
from statistics import median

import jax
import numpy as np

from jnst.config import Config, OptimizerConfig
from jnst.loss.targets import make_targets
from jnst.presets.resolve import resolve_run
from jnst.transfer.loop import advance
from jnst.transfer.state import TransferState, init_state
from jnst.vgg.convolution import prepare_params

TURNS = 10


def settings(histories: list[int]) -> dict[str, OptimizerConfig]:
    """L-BFGS on pixels, with one pair and with many, and on frequencies with the pairs in half the memory."""
    rows = {"pixels, history 1": OptimizerConfig(history=1)}
    rows["frequencies 0.65, history 1"] = OptimizerConfig(history=1, frequency_exponent=0.65)
    for history, precision in itertools.product(histories, ("float32", "bfloat16")):
        rows[f"frequencies 0.65, history {history} in {precision}"] = OptimizerConfig(
            history=history,
            history_precision=precision,  # pyright: ignore[reportArgumentType]
            frequency_exponent=0.65,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="height and width in pixels")
    parser.add_argument("--weights", default="auto", help="name or file")
    parser.add_argument("--history", type=int, nargs="+", default=[20, 40, 100])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    run = resolve_run("gordic", weights=arguments.weights)
    params = prepare_params(run.weights.params)
    content, style = np.random.default_rng(0).random((2, arguments.size, arguments.size, 3), np.float32)
    targets = make_targets(params, content, style, run.config)
    states: dict[str, tuple[Config, TransferState]] = {}
    for name, optimizer in settings(arguments.history).items():
        config = dataclasses.replace(run.config, optimizer=optimizer)
        # The first steps compile the loop and fill the history with something.
        state = init_state(content, config)
        states[name] = config, advance(params, targets, state, config, num_steps=3, in_place=True)[0]
    spent: dict[str, list[float]] = {name: [] for name in states}
    for _ in range(arguments.rounds):
        for name, (config, state) in states.items():
            begin = time.perf_counter()
            state, _ = jax.block_until_ready(advance(params, targets, state, config, num_steps=TURNS, in_place=True))
            states[name] = config, state
            spent[name].append(1e3 * (time.perf_counter() - begin) / TURNS)
    print("| L-BFGS | ms a step |\n| --- | --- |")
    for name, values in spent.items():
        print(f"| {name} | {median(values):.0f} ({min(values):.0f}) |")
    print(f"\n{arguments.size} px, {jax.devices()[0].device_kind}")


if __name__ == "__main__":
    main()
