"""Style transfer of one image, from its inputs to its result: `jnst.stylize`."""

import os
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import optax
from jax.sharding import Mesh

from jnst.argument_checks import check_callback, check_config, check_kind, check_mapping, check_seed, check_series
from jnst.array_types import Params
from jnst.config import Config
from jnst.devices import ROWS, check_mesh, check_platform
from jnst.errors import ConfigError, JnstError, quote
from jnst.images.inputs import as_picture, as_pixels, as_styles, visible_pixels
from jnst.images.transparency import fit_alpha
from jnst.loss.term import Term, as_extra_terms
from jnst.progress.callbacks import Silent
from jnst.progress.indicator import make_indicator
from jnst.runtime import cache_compiled
from jnst.transfer.animation import Animation, make_animation
from jnst.transfer.checkpoint import Checkpoint
from jnst.transfer.color_mode import canvas_of, prepare_styles
from jnst.transfer.image_run import Callback, ImageRun, run_scales
from jnst.transfer.regions import Region, choose_styles, mask_styles, prepare_regions
from jnst.transfer.regions_at_scale import check_regions
from jnst.transfer.result import Result
from jnst.transfer.row_sharding import replicate_params
from jnst.transfer.scales import prepare_content


def stylize(
    params: Params,
    content: Any,
    style: Any,
    config: Config,
    *,
    seed: int = 0,
    callback: Callback | None = None,
    style_weights: Sequence[float] | None = None,
    initial: Any = None,
    optimizer: optax.GradientTransformation | None = None,
    checkpoint: Checkpoint | None = None,
    mesh: Mesh | None = None,
    extra_terms: Sequence[Term] = (),
    progress: bool | Silent | None = None,
    animate: str | os.PathLike[str] | Animation | None = None,
    regions: Iterable[Region] | None = None,
    keep: Any = None,
) -> Result:
    """The content image repainted in the style of the style image (Gatys, Ecker, Bethge 2016).

    Args:
        params: from `prepare_params` or `load_params`.
        content: height × width × 3, RGB; uint8, uint16, or floating point in [0, 1]. Resized by `config.size`. Or a
            path, Pillow's image, or what `read_image` returned; of these `config.color_profile` says whether the colour
            profile is applied, and hidden pixels are replaced by what is visible around them.
        style: the same, of any size; or a list of several, whose Gram matrices are averaged; None where there are
            regions, which bring their own. What is hidden in one is left out of its Gram matrices.
        config: a preset or a variant of one.
        seed: of the random initial image.
        callback: called with a `Snapshot` about once a second; the run stops when it returns something true.
        style_weights: one per style image where there are several.
        initial: an image to begin with, instead of what `config.init` says; brought to working size.
        optimizer: an optax gradient transformation in place of the config's optimiser.
        checkpoint: where the state is kept from time to time, and whether to go on from it.
        mesh: devices to divide the image's rows among (`jnst.row_mesh`), for one image larger
            than a device; without an optimiser of one's own.
        extra_terms: terms of the loss beside the package's own (`jnst.Term`); they appear in the trace and the
            progress under their names.
        progress: whether to show a bar, and in a notebook the picture as it grows; by default in notebooks and
            terminals. Or a printer of records of one's own.
        animate: a film of the run: a path that ends in .mp4, .gif or .webp, written at the end; or a
            `jnst.Animation`, which is then there to be written. The callback is called more often then.
        regions: parts of the content image, each with a style of its own (`jnst.Region`); what none of them covers is
            moved by the content term alone.
        keep: mask of what stays the content image, height × width, white where it does.

    Ctrl-C, or a notebook's stop button, ends the run with the best picture so far; a second one raises
    KeyboardInterrupt at once. Compiled programs are kept on disk from run to run, unless JAX has been given another
    place for them (`jax_compilation_cache_dir`) or was told to keep none (`jax_enable_compilation_cache`).

    Returns:
        The picture, the trace of the losses, and why the run ended.

    Raises:
        ConfigError: where an image is too small for the deepest layer, or weights and styles do not match.
            Regions and a style, or a region that covers nothing at a layer. A mesh over anything but rows.
        ImageError: where an image is not RGB, holds numbers that are no colours, or cannot be read, or a mask is none,
            or a film cannot be written.
        JnstError: for a film in MP4 where imageio-ffmpeg is not installed.

    >>> import jnst, numpy as np
    >>> params, config = jnst.load_preset("default", steps=2, size=32)
    >>> rng = np.random.default_rng(0)
    >>> content, style = rng.random((32, 48, 3)), rng.random((40, 40, 3))
    >>> jnst.stylize(params, content, style, config).image.shape
    (21, 32, 3)
    """
    check_platform()
    check_mapping(params)
    check_config(config)
    check_callback(callback)
    if checkpoint is not None:
        check_kind("checkpoint", checkpoint, Checkpoint, "a Checkpoint of jnst.transfer.checkpoint")
    cache_compiled()
    regions = None if regions is None else check_series("regions", regions, "a list of jnst.Region")
    styles, seed = choose_styles(style, regions, style_weights), check_seed(seed)
    if optimizer is not None and not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise ConfigError(f"optimizer is {quote(optimizer)}; expected an optax gradient transformation")
    extra_terms = as_extra_terms(extra_terms)
    with make_indicator(progress) as indicator:
        indicator.doing("preparing the pictures")
        if mesh is not None:
            if optimizer is not None:
                raise ConfigError("an image divided among devices cannot be given an optimiser of its own")
            if config.network.padding == "circular":
                raise ConfigError(
                    "an image divided among devices cannot tile; use one device, and tiles to save memory"
                )
            mesh = check_mesh(mesh, ROWS)
            params = replicate_params(params, mesh)
        picture = as_picture(content, "content", color_profile=config.color_profile)
        pixels, styles = visible_pixels(picture), as_styles(styles, color_profile=config.color_profile)
        if initial is not None:
            initial = as_pixels(initial, "initial", color_profile=config.color_profile)
        masks = prepare_regions(pixels, styles, regions, keep)
        full, sizes = prepare_content(pixels, config)
        check_regions(masks, sizes, config, extra_terms)
        for text in () if masks is None else masks.notes:
            indicator.note(text)
        styles = prepare_styles(mask_styles(styles, masks), full, config.run.colors, masks)
        canvas = canvas_of(full, config.run.colors)
        animation = make_animation(animate, (full.shape[0], full.shape[1]))
        shared = (optimizer, extra_terms, mesh, callback, checkpoint, indicator, animation)
        one = ImageRun(params, config, full, canvas, styles, masks, style_weights, initial, seed, *shared)
        result = run_scales(one, sizes)
        if animation is not None:
            animation.add(result.image)
            if animation is not animate:
                _write_film(animation)
    height, width = result.image.shape[:2]
    return result._replace(alpha=fit_alpha(picture.alpha, height, width))


def _write_film(animation: Animation) -> None:
    """Writes the film; one that cannot be written after all does not cost the result."""
    try:
        animation.write()
    except JnstError as error:
        warnings.warn(f"the film was not written: {error}", stacklevel=3)
