"""Single images on their way into a batch: what is asked for, and the same at working size."""

import dataclasses
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jnst.config import Config, compile_key
from jnst.images.inputs import as_picture, as_pixels, as_styles, visible_pixels
from jnst.images.padding import padded_size
from jnst.images.transparency import fit_alpha
from jnst.loss.term import Term
from jnst.transfer.color_mode import PREPARED, canvas_of, prepare_styles
from jnst.transfer.regions import Region, RegionMasks, mask_styles, prepare_regions
from jnst.transfer.regions_at_scale import check_regions
from jnst.transfer.scales import content_at_scale, first_image, prepare_content
from jnst.transfer.style_targets import StyleTargets, check_style_targets


@dataclass(frozen=True, eq=False)
class Task:
    """One image to paint.

    content: height × width × 3, RGB; uint8, uint16 or floating point in [0, 1]; or another form of a picture that
        `jnst.images.inputs.as_picture` takes.
    styles: the same, several of them blended; or a prepared style.
    config, seed, style_weights, initial: as in `jnst.stylize`.
    style_key: what the styles are remembered under from batch to batch, such as the hash of their files; None to
        forget them.
    regions, keep: as in `jnst.stylize`; the styles are those of the regions.
    """

    content: Any
    styles: tuple[Any, ...] | StyleTargets
    config: Config
    seed: int = 0
    style_weights: tuple[float, ...] | None = None
    initial: Any = None
    style_key: Hashable = None
    regions: tuple[Region, ...] | None = None
    keep: Any = None


class PaddedScale(NamedTuple):
    """What the images of a batch are padded to at a scale: height and width, and whether every image fills it."""

    size: tuple[int, int]
    exact: bool


@dataclass(frozen=True, eq=False)
class Item:
    """A task at working size, ready to be painted: `full` is its picture, `sizes` those of a coarse-to-fine run.

    `padding` is what it is padded to at each scale: first its own, then what `jnst.batch.padded_sizes` chose.
    `canvas` is the picture in the colours that the run works in, and so are the task's styles; `masks` are those of its
    regions; `alpha` is the picture's opacity in [0, 1], or None.

    The task's own `content` is gone by then.
    """

    task: Task
    full: np.ndarray
    sizes: tuple[tuple[int, int], ...]
    canvas: np.ndarray
    padding: tuple[PaddedScale, ...]
    masks: RegionMasks | None = None
    alpha: np.ndarray | None = None

    @property
    def regions(self) -> int:
        """How many there are."""
        return 0 if self.masks is None else len(self.masks.masks)

    @property
    def program(self) -> Hashable:
        """What is the same for all images that could share a compiled program if they were of one size."""
        config = self.task.config
        return (
            compile_key(config),
            config.run,
            len(self.sizes),
            self.regions,
            self.masks is not None and self.masks.keep is not None,
        )

    @property
    def group(self) -> Hashable:
        """What is the same for all images of a batch: the compiled program's settings, the steps, the padded sizes."""
        return self.program, self.padding


def own_padding(sizes: Sequence[tuple[int, int]], config: Config) -> tuple[PaddedScale, ...]:
    """What an image is padded to by its own size alone; nothing where its opposite sides are to meet."""
    if config.network.padding == "circular":
        return tuple(PaddedScale(size, True) for size in sizes)
    padded = [padded_size(*size) for size in sizes]
    return tuple(PaddedScale(full, full == size) for full, size in zip(padded, sizes, strict=True))


def prepare(task: Task, *, extra_terms: Sequence[Term] = ()) -> Item:
    """Brings a task to working size. Touches no device and may run in any thread.

    Args:
        task: what is asked for.
        extra_terms: of the job.

    Raises:
        ConfigError: where an image is too small for the deepest layer, or settings contradict each other.
        ImageError: where an image is not RGB, or holds numbers that are no colours, in the words of `jnst.stylize`.
        TargetsError: where a prepared style does not fit the config.
    """
    config, initial = task.config, task.initial
    content = as_picture(task.content, "content", color_profile=config.color_profile)
    stored = task.styles if isinstance(task.styles, StyleTargets) else None
    several = task.styles if stored is None else [stored.picture]
    styles = tuple(as_styles(several, color_profile=config.color_profile))
    if initial is not None:
        initial = as_pixels(initial, "initial", color_profile=config.color_profile)
    pixels, colors = visible_pixels(content), config.run.colors
    full, sizes = prepare_content(pixels, config)
    masks = prepare_regions(pixels, styles, task.regions, task.keep)
    check_regions(masks, sizes, config, extra_terms)
    styles = tuple(mask_styles(styles, masks))
    changes: dict[str, Any] = {}
    if stored is not None:
        check_style_targets(stored, config)
    elif colors in PREPARED:  # they depend on the content then
        changes = {"styles": tuple(prepare_styles(styles, full, colors, masks)), "style_key": None}
    else:
        changes = {"styles": styles}
    # The picture as it was read may be large, and is not needed any more.
    task = dataclasses.replace(task, content=None, initial=initial, **changes)
    alpha = fit_alpha(content.alpha, *sizes[-1])
    return Item(task, full, sizes, canvas_of(full, colors), own_padding(sizes, config), masks, alpha)


def first_picture(item: Item, index: int, before: np.ndarray | None) -> np.ndarray:
    """The image that a scale begins with; `before` is the result of the coarser one, if there is one."""
    task = item.task
    stored = isinstance(task.styles, StyleTargets)
    return first_image(
        task.config,
        content_at_scale(item.canvas, item.sizes[index]),
        [task.styles.shown] if isinstance(task.styles, StyleTargets) else task.styles,
        before=before,
        initial=task.initial,
        seed=task.seed,
        style_weights=None if stored else task.style_weights,
        masks=item.masks,
    )
