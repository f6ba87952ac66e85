"""Single images on their way into a batch: what is asked for, and the same at working size."""

import dataclasses
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jnst.config import Config, compile_key
from jnst.images.inputs import as_picture, as_pixels, as_styles, visible_pixels
from jnst.images.padding import bucket_size
from jnst.images.transparency import fit_alpha
from jnst.transfer.scales import content_at_scale, first_image, prepare_content
from jnst.transfer.style_targets import StyleTargets, check_style_targets


@dataclass(frozen=True, eq=False)
class Task:
    """One image to paint.

    content: height × width × 3, RGB; uint8, uint16 or floating point in [0, 1]; or another form of a picture that
        `jnst.images.inputs.as_picture` takes.
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

    alpha: the picture's opacity in [0, 1], or None.

    The task's own `content` is gone by then.
    """

    task: Task
    full: np.ndarray
    sizes: tuple[tuple[int, int], ...]
    alpha: np.ndarray | None = None

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
    config, styles, initial = task.config, task.styles, task.initial
    content = as_picture(task.content, "content", color_profile=config.color_profile)
    if not isinstance(styles, StyleTargets):
        styles = tuple(as_styles(styles, color_profile=config.color_profile))
    if initial is not None:
        initial = as_pixels(initial, "initial", color_profile=config.color_profile)
    full, sizes = prepare_content(visible_pixels(content), config)
    if isinstance(styles, StyleTargets):
        check_style_targets(styles, config)
    # The picture as it was read may be large, and is not needed any more.
    task = dataclasses.replace(task, content=None, styles=styles, initial=initial)
    return Item(task, full, sizes, fit_alpha(content.alpha, *sizes[-1]))


def first_picture(item: Item, index: int, before: np.ndarray | None) -> np.ndarray:
    """The image that a scale begins with; `before` is the result of the coarser one, if there is one."""
    task = item.task
    style = task.styles.picture if isinstance(task.styles, StyleTargets) else task.styles[0]
    content = content_at_scale(item.full, item.sizes[index])
    return first_image(task.config, content, style, before=before, initial=task.initial, seed=task.seed)
