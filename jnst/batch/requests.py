"""Single images on their way into a batch: what is asked for, and the same at working size."""

import dataclasses
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jnst.config import Config, compile_key
from jnst.images.padding import bucket_size
from jnst.images.validate import validate_images
from jnst.transfer.scales import content_at_scale, first_image, prepare_content
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
        buckets = tuple((padded_size(size, config), padded_size(size, config) == size) for size in self.sizes)
        return compile_key(config), config.run, buckets


def padded_size(size: tuple[int, int], config: Config) -> tuple[int, int]:
    """The size that an image is padded to in a batch; its own where its opposite sides are to meet."""
    return size if config.network.padding == "circular" else bucket_size(*size)


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
    full, sizes = prepare_content(task.content, config)
    if isinstance(task.styles, StyleTargets):
        check_style_targets(task.styles, config)
    # The picture as it was read may be large, and is not needed any more.
    return Item(dataclasses.replace(task, content=None), full, sizes)


def first_picture(item: Item, index: int, before: np.ndarray | None) -> np.ndarray:
    """The image that a scale begins with; `before` is the result of the coarser one, if there is one."""
    task = item.task
    style = task.styles.picture if isinstance(task.styles, StyleTargets) else task.styles[0]
    content = content_at_scale(item.full, item.sizes[index])
    return first_image(task.config, content, style, before=before, initial=task.initial, seed=task.seed)
