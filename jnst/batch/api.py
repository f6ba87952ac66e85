"""Many images in one call.

An image's result does not depend on who shares its batch. With a fixed batch size that holds to the bit; batches
of different sizes are different programs, whose sums are rounded differently, so there it holds to float precision.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from jnst.argument_checks import check_callback, check_config, check_mapping, check_seed, check_series
from jnst.array_types import Params
from jnst.batch.requests import Task, prepare
from jnst.batch.scheduler import BatchScheduler, Callback
from jnst.config import ColorProfile, Config
from jnst.devices import check_platform
from jnst.errors import ConfigError
from jnst.images.inputs import as_list, as_styles
from jnst.loss.term import Term, as_extra_terms
from jnst.transfer.regions import Region, choose_styles
from jnst.transfer.result import Result
from jnst.transfer.style_targets import StyleTargets


def stylize_batch(
    params: Params,
    contents: Any,
    styles: Any,
    config: Config | Sequence[Config],
    *,
    seeds: int | Sequence[int] = 0,
    initials: Sequence[Any] | None = None,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
    callback: Callback | None = None,
    extra_terms: Sequence[Term] = (),
    regions: Iterable[Any] | None = None,
    keeps: Sequence[Any] | None = None,
) -> list[Result]:
    """Every content image repainted in its style; what is given once is used for all.

    Pairs, many styles for one content, and sweeps over weights or seeds are all lists of equal length.

    Args:
        params: from `prepare_params` or `load_params`.
        contents: one image or a list: height × width × 3, RGB; uint8, uint16, or floating point in [0, 1]; or paths,
            Pillow's images, what `read_image` returned, as in `jnst.stylize`.
        styles: one style or a list; each an image, a prepared style (`prepare_style`), or a tuple of images to blend.
        config: one config or a list of them. Those that differ only in loss weights share a batch.
        seeds: of the random initial images.
        initials: images to begin with.
        batch_size: images per batch; by default what fits in memory. Given, results do not depend to the bit on what
            else is in the list.
        mesh: devices; see `jnst.image_mesh`.
        callback: called with a `BatchSnapshot` about once a second; the batch at hand stops when it returns something
            true, with the best so far.
        extra_terms: terms of the loss beside the package's own (`jnst.Term`), for all images.
        regions: for each image a tuple of `jnst.Region`, or None where it has none; or one tuple for all. An image with
            regions takes its styles from them, and not from `styles`, which may then be None.
        keeps: for each image the mask of what stays the content image, or None.

    Returns:
        A `Result` per image, in order. An image whose loss is never finite has `stopped` "stuck"; its neighbours do not
        notice.

    Raises:
        ConfigError: for lists of different lengths, an image too small for the deepest layer, or a mesh over anything
            but images.
        ImageError: where an image is not RGB, or holds numbers that are no colours, in the words of `jnst.stylize`.

    >>> import jnst, numpy as np
    >>> params, config = jnst.load_preset("default", steps=1, size=32, style_layers=[["relu1_1", 1.0]])
    >>> contents = np.random.default_rng(0).random((2, 32, 32, 3))
    >>> [result.image.shape for result in stylize_batch(params, contents, contents[0], config)]
    [(32, 32, 3), (32, 32, 3)]
    """
    check_platform()
    check_mapping(params)
    check_callback(callback)
    extra_terms = as_extra_terms(extra_terms)
    configs = list(config) if isinstance(config, list | tuple) else [config]
    for one in configs:
        check_config(one)
    lists = {
        "contents": as_list(contents) if isinstance(contents, tuple) else _as_list(contents),
        "styles": _as_list(styles),
        "configs": configs,
        "seeds": check_series("seeds", seeds, "a whole number or a list") if isinstance(seeds, Iterable) else [seeds],
        "initials": [None] if initials is None else check_series("initials", initials, "a list of pictures"),
        "regions": _region_list(regions),
        "keeps": [None] if keeps is None else check_series("keeps", keeps, "a list of masks"),
    }
    count = max(map(len, lists.values()))
    for name, values in lists.items():
        if len(values) not in (1, count):
            raise ConfigError(f"there are {len(values)} {name} for {count} images; expected one, or one each")
    rows = zip(*(values * count if len(values) == 1 else values for values in lists.values()), strict=True)
    items, read = [], _style_reader()
    for content, style, one, seed, initial, own, keep in rows:
        if own is not None:
            style = choose_styles(None, own)
        several = style if isinstance(style, StyleTargets) else read(style, one.color_profile)
        # The arrays themselves stay alive in the task, so their identities are good names for as long as this runs.
        key = None if isinstance(several, StyleTargets) or own is not None else tuple(map(id, several))
        task = Task(content, several, one, check_seed(seed), None, initial, key, own, keep)
        items.append(prepare(task, extra_terms=extra_terms))
    scheduler = BatchScheduler(params, mesh=mesh, batch_size=batch_size, extra_terms=extra_terms)
    for item in items:
        scheduler.padded_sizes.see(item)
    return scheduler.run(list(map(scheduler.padded_sizes.choose, items)), callback=callback)


def _style_reader() -> Callable[[Any, ColorProfile], tuple[Any, ...]]:
    """What turns a style, or a blend of several, into arrays: the same ones when the same style is asked for again."""
    known: dict[Any, tuple[Any, Any]] = {}

    def read(style: Any, color_profile: ColorProfile) -> tuple[Any, ...]:
        key = (style if isinstance(style, str) else id(style), color_profile)
        if key not in known:  # the style is kept as well: its identity must not go to another one
            known[key] = style, tuple(as_styles(style, color_profile=color_profile))
        return known[key][1]

    return read


def _region_list(regions: Iterable[Any] | None) -> list[Any]:
    """The regions of each image, from those of all or a list with one entry for each image."""
    if regions is None:
        return [None]
    expected = "jnst.Region, or a list of them for each image"
    several = check_series("regions", regions, expected)
    if any(isinstance(one, Region) for one in several):
        return [tuple(several)]
    return [None if one is None else tuple(check_series("regions", one, expected)) for one in several]


def _as_list(images: Any) -> list[Any]:
    """One image (or one blend, a tuple), or each of a list or of an array with four axes."""
    if isinstance(images, list):
        return images
    if isinstance(images, tuple | StyleTargets):
        return [images]
    # Anything else is refused as one image, in the words that `jnst.stylize` has for it.
    return list(images) if np.ndim(images) == 4 else [images]
