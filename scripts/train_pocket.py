"""Trains the bundled network on painted pictures and writes `weights/pocket.h5`. One command, CPU or GPU:

    python scripts/train_pocket.py --output weights/pocket.h5

A VGG19 of reduced width learns, from the pictures of `painted_pictures.py` alone, which of many painting styles a
crop was painted in. Every block is asked (deep supervision): a small head looks at channel means and at a Gram
matrix of the block's features, as style transfer will, and must name the style. Colours are disturbed, so that
texture has to answer; so that colours are not lost on style transfer, six of the first layer's filters are held at
local means of colours. At the end three of the others give way to filters for what single pixels add to those means:
without them fine coloured noise goes unseen. Batch normalisation is folded into the convolutions, with statistics of
pictures that were not trained on, and layers are scaled so that their mean activation on those is one.

The run writes a checkpoint as it goes and resumes from it; each step's batch depends on the seed and the step only.
"""

import argparse
import dataclasses
import functools
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
from painted_pictures import paint_pictures

VERSION = 3
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # base channels, convolutions: VGG19
AXES = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]], np.float32)  # lightness, red − green, yellow − blue
CALIBRATION = 64  # pictures, of styles not trained on, that fix the written network's biases and scales
TAPS = ("relu1_2", "relu2_2", "relu3_2", "relu3_4", "relu4_2", "relu4_4", "relu5_1", "relu5_4")
Tree = Any


@dataclasses.dataclass(frozen=True)
class Training:
    """Everything that the written bytes depend on, besides machine and versions."""

    seed: int = 0
    width: float = 0.375
    blocks: int = 5
    styles: int = 1200
    each: int = 3  # training pictures per style; one more is kept for validation
    picture: int = 128
    crop: int = 64
    batch: int = 48
    steps: int = 400
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    objective: str = "both"  # 'style' | 'picture' (tell pictures apart) | 'contrast' | 'both' (style and contrast)
    pooling: str = "average"
    recolour: float = 0.5  # share of crops with exchanged colour channels
    colours: int = 6  # filters of conv1_1 that are held, not learned: local means of lightness and two colour axes
    details: int = 3  # others that are put in place of those learned that conv1_2 heeds least: single pixels

    @property
    def classes(self) -> int:
        return self.styles * (self.each if self.objective == "picture" else 1)

    @property
    def taps(self) -> tuple[str, ...]:
        return tuple(tap for tap in TAPS if int(tap[4]) <= self.blocks)


class TrainState(NamedTuple):
    step: jax.Array
    params: Tree
    statistics: Tree
    optimizer: Tree


def colour_filters(count: int) -> np.ndarray:
    """3 × 3 × RGB × count: means over the window along the three axes, each with either sign.

    Learned from crops with disturbed colours, filters look past colours; these keep them in sight of every layer.
    """
    signed = np.stack([AXES, -AXES], 1).reshape(6, 3)
    return np.broadcast_to(signed[:count].T / 9, (3, 3, 3, count)).astype(np.float32)


def detail_filters(count: int) -> np.ndarray:
    """3 × 3 × RGB × count: the middle less the mean of its neighbours, along the three axes.

    Their Gram matrix knows how much single pixels differ in a painting, above all in colour, which no filter learns.
    """
    middle = np.full((3, 3), -1 / 8, np.float32)
    middle[1, 1] = 1
    return middle[:, :, None, None] * AXES[:count].T


# ---- network --------------------------------------------------------------------------------------------------------


class Trunk(nn.Module):
    """VGG19's convolutions at reduced width, each followed by batch normalisation; returns every relu."""

    width: float
    blocks: int
    pooling: str
    colours: int

    @nn.compact
    def __call__(self, pictures: jax.Array, *, train: bool) -> dict[str, jax.Array]:
        features, x = {}, (pictures - jnp.asarray(MEAN)) / jnp.asarray(STD)
        for block, (channels, count) in enumerate(BLOCKS[: self.blocks], start=1):
            if block > 1:
                pool = nn.avg_pool if self.pooling == "average" else nn.max_pool
                x = pool(x, (2, 2), (2, 2))
            for index in range(1, count + 1):
                name = f"{block}_{index}"
                outputs, held = max(1, round(channels * self.width)), None
                if name == "1_1" and self.colours:
                    held = jax.lax.conv_general_dilated(
                        x, colour_filters(self.colours), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
                    )
                    outputs -= self.colours
                x = nn.Conv(outputs, (3, 3), use_bias=False, name=f"conv{name}")(x)
                if held is not None:
                    x = jnp.concatenate([held, x], -1)
                # No learned scale or bias: every channel keeps zero mean and unit variance before its ReLU, so that all
                # of them count in a Gram matrix and none is always on. With learned ones the matrices ask for less.
                norm = nn.BatchNorm(
                    use_running_average=not train, momentum=0.97, use_scale=False, use_bias=False, name=f"norm{name}"
                )
                x = norm(x)
                x = features[f"relu{name}"] = nn.relu(x)
        return features


class Head(nn.Module):
    """What style transfer sees of a layer, a Gram matrix and channel means, put to a question."""

    outputs: int
    directions: int = 24

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool) -> jax.Array:
        pixels = features.shape[1] * features.shape[2]
        mean = features.mean((1, 2))
        projected = nn.Dense(self.directions, use_bias=False)(features)
        gram = jnp.einsum("bijc,bijd->bcd", projected, projected) / pixels
        gram = gram[:, *np.triu_indices(self.directions)]
        gram = jnp.sign(gram) * jnp.sqrt(jnp.abs(gram) + 1e-4)
        described = jnp.concatenate([mean, gram], -1)
        described = nn.BatchNorm(use_running_average=not train, momentum=0.97)(described)
        return nn.Dense(self.outputs)(described)


class Examinee(nn.Module):
    """The trunk with its heads: logits per tap for the style, embeddings per tap for the contrast."""

    training: Training

    @nn.compact
    def __call__(self, pictures: jax.Array, *, train: bool) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        config = self.training
        features = Trunk(config.width, config.blocks, config.pooling, config.colours, name="trunk")(
            pictures, train=train
        )
        logits, embeddings = {}, {}
        for tap in config.taps:
            if config.objective != "contrast":
                logits[tap] = Head(config.classes, name=f"style_{tap}")(features[tap], train=train)
            if config.objective in ("contrast", "both"):
                embedding = Head(64, name=f"contrast_{tap}")(features[tap], train=train)
                embeddings[tap] = embedding / jnp.linalg.norm(embedding + 1e-6, axis=-1, keepdims=True)
        return logits, embeddings


# ---- data -----------------------------------------------------------------------------------------------------------


def training_pictures(config: Training, cache: Path | None = None) -> np.ndarray:
    """styles × (each + 1) × size × size × 3, uint8; painted once and kept in `cache`."""
    if cache is not None and cache.exists():
        pictures = np.load(cache, mmap_mode="r")
        expected = (config.styles, config.each + 1, config.picture, config.picture, 3)
        if pictures.shape[0] < config.styles or pictures.shape[1:] != expected[1:]:
            raise SystemExit(f"{cache} holds pictures of shape {pictures.shape}; expected {expected}: delete it")
        return pictures[: config.styles]
    pictures = paint_pictures(config.seed, range(config.styles), config.each + 1, config.picture)
    if cache is not None:
        np.save(cache, pictures)
    return pictures


def draw_batch(config: Training, pictures: np.ndarray, step: int, *, held_out: bool = False):
    """uint8 crops, batch × crop × crop × 3, and their labels. Crops 2k and 2k + 1 share a style; where pictures are to
    be told apart, a picture."""
    rng = np.random.default_rng([config.seed, step, int(held_out)])
    pairs = config.batch // 2
    styles = rng.choice(config.styles, pairs, replace=pairs > config.styles)
    columns = rng.integers(config.each, size=(pairs, 2))
    if held_out:
        columns[:] = config.each
    if config.objective == "picture":
        columns[:, 1] = columns[:, 0]
    crops = np.empty((pairs, 2, config.crop, config.crop, 3), np.uint8)
    corners = rng.integers(config.picture - config.crop + 1, size=(pairs, 2, 2))
    for pair in range(pairs):
        for twin in range(2):
            top, left = corners[pair, twin]
            area = np.s_[top : top + config.crop, left : left + config.crop]
            crops[pair, twin] = pictures[styles[pair], columns[pair, twin]][area]
    labels = styles * config.each + columns[:, 0] if config.objective == "picture" else styles
    return crops.reshape(-1, config.crop, config.crop, 3), np.repeat(labels, 2)


def disturb_colours(key: jax.Array, crops: jax.Array, share: float) -> jax.Array:
    """Gains, offsets and, for some crops, exchanged or mixed channels, so that colour alone does not give it away."""
    count = len(crops)
    keys = jax.random.split(key, 4)
    gain = jnp.exp(0.25 * jax.random.normal(keys[0], (count, 1, 1, 3)))
    offset = 0.1 * jax.random.normal(keys[1], (count, 1, 1, 3))
    mixing = jax.random.dirichlet(keys[2], jnp.full(3, 0.3), (count, 3))
    mixing = jnp.where(jax.random.uniform(keys[3], (count, 1, 1)) < share, mixing, jnp.eye(3))
    mixed = jnp.einsum("bijc,bdc->bijd", crops, mixing)
    middle = mixed.mean((1, 2), keepdims=True)
    return jnp.clip((mixed - middle) * gain + middle + offset, 0, 1)


# ---- training -------------------------------------------------------------------------------------------------------


def contrast_loss(embeddings: jax.Array, temperature: float = 0.1) -> jax.Array:
    """Each crop must find its twin among all the batch's crops (SimCLR; Chen et al. 2020, arXiv 2002.05709, eq. 1)."""
    count = len(embeddings)
    similarity = embeddings @ embeddings.T / temperature - 1e9 * jnp.eye(count)
    return optax.softmax_cross_entropy_with_integer_labels(similarity, jnp.arange(count) ^ 1).mean()


def make_optimizer(config: Training) -> optax.GradientTransformation:
    """Adam at a constant rate that falls to zero over the last fifth: a run that is stopped at step k may be resumed
    with `--steps` k / 0.8 and then equals one that was begun with as many."""
    warmup, fall = min(100, config.steps // 10 + 1), config.steps - config.steps // 5
    rate = optax.join_schedules(
        [
            optax.linear_schedule(0.0, config.learning_rate, warmup),
            optax.constant_schedule(config.learning_rate),
            optax.linear_schedule(config.learning_rate, 0.0, config.steps - fall + 1),
        ],
        [warmup, fall],
    )
    return optax.chain(optax.clip_by_global_norm(5.0), optax.adamw(rate, weight_decay=config.weight_decay))


@functools.cache
def make_init(config: Training):
    return jax.jit(functools.partial(Examinee(config).init, train=True))


def init_training(config: Training) -> TrainState:
    crops = jnp.zeros((2, config.crop, config.crop, 3))
    variables = make_init(config)(jax.random.key(config.seed), crops)
    optimizer = make_optimizer(config).init(variables["params"])
    return TrainState(jnp.zeros((), jnp.int32), variables["params"], variables["batch_stats"], optimizer)


@functools.cache
def make_step(config: Training):
    """(state, crops, labels) -> (state, loss, accuracy of the mean of all heads), compiled."""
    model, optimizer = Examinee(config), make_optimizer(config)

    def loss_of(params, statistics, crops, labels):
        variables = {"params": params, "batch_stats": statistics}
        (logits, embeddings), changed = model.apply(variables, crops, train=True, mutable=["batch_stats"])
        losses = [
            optax.softmax_cross_entropy_with_integer_labels(value, labels).mean() for value in logits.values()
        ] + [contrast_loss(value) for value in embeddings.values()]
        return sum(losses) / len(losses), (changed["batch_stats"], accuracy_of(logits, embeddings, labels))

    @jax.jit
    def step(state: TrainState, crops: jax.Array, labels: jax.Array):
        key = jax.random.fold_in(jax.random.key(config.seed + 1), state.step)
        crops = disturb_colours(key, crops.astype(jnp.float32) / 255, config.recolour)
        grad = jax.value_and_grad(loss_of, has_aux=True)
        (loss, (statistics, accuracy)), gradient = grad(state.params, state.statistics, crops, labels)
        updates, inner = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, statistics, inner), loss, accuracy

    return step


def accuracy_of(logits: dict[str, jax.Array], embeddings: dict[str, jax.Array], labels: jax.Array) -> jax.Array:
    if logits:
        return (sum(nn.log_softmax(value) for value in logits.values()).argmax(-1) == labels).mean()
    similarity = sum(value @ value.T for value in embeddings.values())
    count = len(similarity)
    return ((similarity - 1e9 * jnp.eye(count)).argmax(-1) == jnp.arange(count) ^ 1).mean()


def measure_accuracy(config: Training, state: TrainState, pictures: np.ndarray, batches: int = 10) -> float:
    """Share of crops of pictures kept for validation that are answered rightly (undisturbed colours)."""
    if config.objective == "picture":
        return float("nan")  # a picture that was not trained on has no class
    model = Examinee(config)

    @jax.jit
    def score(params, statistics, crops, labels):
        variables = {"params": params, "batch_stats": statistics}
        logits, embeddings = model.apply(variables, crops.astype(jnp.float32) / 255, train=False)
        return accuracy_of(logits, embeddings, labels)

    scores = [
        score(state.params, state.statistics, *draw_batch(config, pictures, index, held_out=True))
        for index in range(batches)
    ]
    return float(np.mean(scores))


def train(
    config: Training,
    pictures: np.ndarray,
    *,
    until: int | None = None,
    checkpoint: Path | None = None,
    log: Path | None = None,
    every: int = 50,
) -> TrainState:
    """The state after `until` steps (all, if not given), beginning from the checkpoint where there is one."""
    until = config.steps if until is None else min(until, config.steps)
    state, step = init_training(config), make_step(config)
    if checkpoint is not None and checkpoint.exists():
        state = flax.serialization.from_bytes(state, checkpoint.read_bytes())
        print(f"resuming at step {int(state.step)}", flush=True)
    started, begun, losses, scores = time.perf_counter(), int(state.step), [], []
    for index in range(begun, until):
        state, loss, accuracy = step(state, *draw_batch(config, pictures, index))
        losses.append(loss)
        scores.append(accuracy)
        if (index + 1) % every == 0 or index + 1 == until:
            pace = (time.perf_counter() - started) / (index + 1 - begun)
            record = {
                "step": index + 1,
                "loss": round(float(np.mean(losses)), 4),
                "accuracy": round(float(np.mean(scores)), 4),
                "seconds_per_step": round(pace, 3),
            }
            losses, scores = [], []
            print(json.dumps(record), flush=True)
            if log is not None:
                with log.open("a") as file:
                    file.write(json.dumps(record) + "\n")
            if checkpoint is not None:
                partial = checkpoint.with_suffix(".partial")
                partial.write_bytes(flax.serialization.to_bytes(state))
                partial.replace(checkpoint)
    return state


# ---- what is written ------------------------------------------------------------------------------------------------


def fold_normalization(kernels: dict[str, np.ndarray], pictures: np.ndarray, pooling: str) -> dict[str, dict]:
    """Kernels and biases, float32, with batch normalisation multiplied in and every layer's mean activation one.

    The statistics are taken anew, layer by layer, on uint8 `pictures` (n × height × width × 3): running averages lag
    behind the kernels and come from crops with disturbed colours. The factor that brings a layer's mean activation
    to one changes nothing further on, since the next layer's normalisation divides it out.
    """
    x = (jnp.asarray(pictures, jnp.float32) / 255 - jnp.asarray(MEAN)) / jnp.asarray(STD)
    folded = {}
    for name, kernel in kernels.items():
        if name.endswith("_1") and name != "conv1_1":
            x = (nn.avg_pool if pooling == "average" else nn.max_pool)(x, (2, 2), (2, 2))
        y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        mean, deviation = y.mean((0, 1, 2)), jnp.sqrt(y.var((0, 1, 2)) + 1e-5)
        x = nn.relu((y - mean) / deviation)
        level = x.mean()
        factor = 1 / (deviation * level)
        x = x / level
        folded[name] = {"kernel": np.asarray(kernel * factor), "bias": np.asarray(-mean * factor)}
    return folded


def first_kernels(config: Training, learned: jax.Array, second: jax.Array) -> dict[str, jax.Array]:
    """The first two convolutions as written. conv1_1 has the filters for colours, then those for details, which conv1_2
    does not look at, then those of the learned ones that conv1_2 heeds most, in their order."""
    heeded = jnp.square(second[:, :, config.colours :]).sum((0, 1, 3))
    kept = jnp.sort(jnp.argsort(-heeded)[: len(heeded) - config.details])
    first = jnp.concatenate([colour_filters(config.colours), detail_filters(config.details), learned[..., kept]], -1)
    unheeded = jnp.zeros((3, 3, config.details, second.shape[-1]))
    second = jnp.concatenate([second[:, :, : config.colours], unheeded, second[:, :, config.colours + kept]], 2)
    return {"conv1_1": first, "conv1_2": second}


def finish(config: Training, state: TrainState) -> dict[str, dict]:
    """The weights to be written."""
    trunk = state.params["trunk"]
    depths = [count for _, count in BLOCKS[: config.blocks]]
    names = [f"conv{block}_{index}" for block, count in enumerate(depths, 1) for index in range(1, count + 1)]
    kernels = {name: trunk[name]["kernel"] for name in names}
    kernels |= first_kernels(config, kernels["conv1_1"], kernels["conv1_2"])
    unseen = paint_pictures(config.seed + 1, range(CALIBRATION), 1, config.picture)[:, 0]
    return fold_normalization(kernels, unseen, config.pooling)


def write(path: Path, config: Training, params: dict, accuracy: float) -> None:
    from jnst.weights.store import WeightsInfo, write_weights

    info = WeightsInfo(
        name="pocket",
        architecture="vgg19",
        width=config.width,
        lineage="jnst",
        order="rgb",
        scale=1.0,
        mean=MEAN,
        std=STD,
        source="scripts/train_pocket.py: trained on pictures painted by scripts/painted_pictures.py",
        source_sha256="",
        licence="Apache-2.0",
        notes={"script_version": VERSION, "accuracy": accuracy, **dataclasses.asdict(config)},
    )
    write_weights(path, params, info, dtype="float16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for field in dataclasses.fields(Training):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    parser.add_argument("--output", type=Path, default=Path("weights/pocket.h5"))
    parser.add_argument("--work", type=Path, default=Path("out/pocket"), help="pictures, checkpoint and log")
    arguments = vars(parser.parse_args())
    output, work = arguments.pop("output"), arguments.pop("work")
    config = Training(**arguments)
    work.mkdir(parents=True, exist_ok=True)
    pictures = training_pictures(config, work / "pictures.npy")
    state = train(config, pictures, checkpoint=work / "checkpoint.msgpack", log=work / "log.jsonl")
    accuracy = measure_accuracy(config, state, pictures)
    print(f"accuracy on pictures kept for validation: {accuracy:.3f}")
    write(output, config, finish(config, state), accuracy)


if __name__ == "__main__":
    main()
