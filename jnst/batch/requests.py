"""Single images on their way into a batch: what is asked for, and the same at working size."""

import dataclasses
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnst.config import Config, compile_key
from jnst.images.padding import bucket_size
from jnst.images.resizing import fit, resize, scale_sizes, to_unit
from jnst.images.validate import validate_images
from jnst.transfer.initial import initial_image
from jnst.transfer.scales import check_size, smallest_scale
from jnst.transfer.style_targets import StyleTargets, check_style_targets


@dataclass(frozen=True, eq=False)
class Task:
    """One image to paint.

    content: height × width × 3, RGB; uint8, uint16 or floating point in [0, 1].
    styles: the same, several of them blended; or a prepared style.
    config, seed, style_weights, initial: as in `jnst.stylize`.
    style_key: what the styles are remembered under from batch to batch, such as their path; None to forget them.
    """

    content: Any
    styles: tuple[Any, ...] | StyleTargets
    config: Config
    seed: int = 0
    style_weights: tuple[float, ...] | None = None
    initial: Any = None
    style_key: Hashable = None


@dataclass(frozen=True, eq=False)
class Item:
    """A task at working size, ready to be painted: `full` is its picture, `sizes` those of a coarse-to-fine run.

    The task's own `content` is gone by then.
    """

    task: Task
    full: np.ndarray
    sizes: tuple[tuple[int, int], ...]

    @property
    def group(self) -> Hashable:
        """What is the same for all images of a batch: the compiled program's settings, the steps, the buckets."""
        config = self.task.config
        buckets = tuple((bucket_size(*size), bucket_size(*size) == size) for size in self.sizes)
        return compile_key(config), config.run, buckets


def prepare(task: Task) -> Item:
    """Brings a task to working size. Touches no device and may run in any thread.

    Raises:
        ConfigError: where an image is too small for the deepest layer, or settings contradict each other.
        ImageError: where an image is not RGB, or holds numbers that are no colours, in the words of `jnst.stylize`.
        TargetsError: where a prepared style does not fit the config.
    """
    config = task.config
    styles = (task.styles.picture,) if isinstance(task.styles, StyleTargets) else task.styles
    validate_images(task.content, styles, task.initial)
    full = np.asarray(to_unit(fit(np.asarray(task.content), config.size)))
    sizes = scale_sizes(full.shape[0], full.shape[1], config.run.scales, minimum=smallest_scale(config))
    for size in sizes:
        check_size(size, config, "content")
    if isinstance(task.styles, StyleTargets):
        check_style_targets(task.styles, config)
    # The picture as it was read may be large, and is not needed any more.
    return Item(dataclasses.replace(task, content=None), full, tuple(sizes))


def first_picture(item: Item, index: int, before: np.ndarray | None) -> np.ndarray:
    """The picture that a scale begins with, as `jnst.stylize` chooses it."""
    task, config, size = item.task, item.task.config, item.sizes[index]
    if before is not None:
        return to_unit(resize(before, *size, "pillow-bicubic"))
    if task.initial is not None:
        return to_unit(resize(np.asarray(task.initial), *size, config.size.kernel))
    content = content_at_scale(item, index)
    if config.init == "content":
        return content
    style = task.styles.picture if isinstance(task.styles, StyleTargets) else task.styles[0]
    stretched = to_unit(resize(np.asarray(style), *size, config.size.kernel))
    picture = initial_image(
        jax.random.key(task.seed),
        jnp.asarray(content),
        jnp.asarray(stretched),
        config.init,
        noise=config.noise,
        variable=config.variable,
        network_input=config.network_input,
    )
    return np.asarray(picture)


def content_at_scale(item: Item, index: int) -> np.ndarray:
    """The content image of one scale, [0, 1]."""
    size = item.sizes[index]
    return item.full if size == item.full.shape[:2] else to_unit(resize(item.full, *size, "pillow-lanczos"))
