"""jnst in the race of `compare.py`: the package's own compiled loop, or its objective alone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from worker import (
    CONTENT_LAYER,
    CONTENT_WEIGHT,
    LEARNING_RATE,
    STYLE_LAYERS,
    STYLE_WEIGHT,
    TV_WEIGHT,
    Case,
    layers_of,
    serve,
)

from jnst.config import Config, LossConfig, NetworkConfig, OptimizerConfig, compile_key
from jnst.loss.objective import evaluate
from jnst.loss.targets import make_targets
from jnst.transfer.loop import advance
from jnst.transfer.state import init_state
from jnst.vgg.convolution import prepare_params


def make(case: Case, job: dict[str, np.ndarray]) -> Any:
    config = Config(
        precision=case.precision,  # pyright: ignore[reportArgumentType]
        network=NetworkConfig(case.network, pooling=case.pooling),  # pyright: ignore[reportArgumentType]
        loss=LossConfig(
            content_weight=CONTENT_WEIGHT,
            style_weight=STYLE_WEIGHT,
            tv_weight=TV_WEIGHT,
            content_layers=((CONTENT_LAYER, 1.0),),
            style_layers=tuple((layer, 1 / len(STYLE_LAYERS)) for layer in STYLE_LAYERS),
            gram_divisor="pixels_channels",
            style_reduction="sum",
        ),
        optimizer=OptimizerConfig(
            method="lbfgs" if case.step == "lbfgs" else "adam", learning_rate=LEARNING_RATE, history=case.history
        ),
    )
    names = [name for name, _ in layers_of(case.network)]
    params = prepare_params({name: {part: job[f"{name}/{part}"] for part in ("kernel", "bias")} for name in names})
    targets = make_targets(params, jnp.asarray(job["content"]), jnp.asarray(job["style"]), config)
    image, key = jnp.asarray(job["image"]), compile_key(config)
    single = jax.jit(lambda params, image, targets: evaluate(params, image, targets, key))

    def many(params: Any, images: jax.Array, targets: Any) -> Any:
        return jax.vmap(lambda image: evaluate(params, image, targets, key))(images)

    batch = jnp.broadcast_to(image, (case.images, *image.shape)) if case.images > 1 else image
    extra = {"version": jax.__version__}
    state = init_state(image, config)

    if case.step == "evaluation":
        compiled = jax.jit(many if case.images > 1 else single).lower(params, batch, targets).compile()
        extra["temporary_megabytes"] = compiled.memory_analysis().temp_size_in_bytes / 2**20

        def run(count: int) -> None:
            for _ in range(count):
                jax.block_until_ready(compiled(params, batch, targets))

    else:

        def run(count: int) -> None:
            nonlocal state
            state, _ = advance(params, targets, state, config, num_steps=count)
            jax.block_until_ready(state)

    def check() -> tuple[float, np.ndarray]:
        (loss, _), gradient = single(params, image, targets)
        return float(loss), np.asarray(gradient)

    return run, check, extra


serve(make)
