"""`jnst plan`: what a run would need, before any of it is done."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jnst.cli.file_flags import add_reading_flags
from jnst.cli.flags import add_config_flags, read_settings, take_keep_mask
from jnst.cli.preset_flags import add_preset_flags
from jnst.cli.regions import add_region_flags
from jnst.cli.terminal import open_printer
from jnst.config import Config
from jnst.errors import ConfigError, WeightsError, quote
from jnst.progress.callbacks import Silent

if TYPE_CHECKING:  # reading flags must not wait for NumPy
    from jnst.images.reading import Picture
    from jnst.transfer.regions import RegionMasks


def add_memory_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say how a run is fitted into memory; `stylize` has them too."""
    group = parser.add_argument_group("memory")
    group.add_argument(
        "--tile", metavar="auto|N", help="side of the tiles in pixels, 0 for the whole image; auto: what fits (auto)"
    )
    group.add_argument(
        "--memory", type=float, metavar="GB", help="memory that may be used, on each device (most of what is free)"
    )
    group.add_argument("--split-rows", action="store_true", help="divide the picture's rows among all devices")


def read_tile(text: str | None) -> int | None:
    """The tile's side, or None for auto.

    >>> read_tile("512"), read_tile("auto")
    (512, None)
    """
    if text is None or text == "auto":
        return None
    if not text.isdecimal() or len(text) > 9 or int(text) % 16:
        raise ConfigError(f"tile is {quote(text)}; expected auto, 0, or a multiple of 16 pixels")
    return int(text)


def read_memory(gigabytes: float | None) -> int | None:
    """Bytes, or None for what is free."""
    if gigabytes is not None and not 0 < gigabytes < 1e6:
        raise ConfigError(f"memory is {gigabytes} GB; expected a number above zero, below a million")
    return None if gigabytes is None else round(gigabytes * 1e9)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument("content", metavar="CONTENT", help="picture to repaint")
    add_preset_flags(parser, defaults=False, absent=True)
    add_reading_flags(parser)
    parser.add_argument("--chip", metavar="NAME", help="plan for a TPU that is not here: v4, v5p, v5e or v6e")
    parser.add_argument("--no-probe", action="store_true", help="leave out the measurement of speed")
    add_region_flags(parser)
    add_memory_flags(parser)
    add_config_flags(parser, keeps_masks=True)


def run(arguments: argparse.Namespace) -> int:
    """Prints the plan; returns 0 where the run fits and 1 where it does not."""
    with open_printer() as printer:
        fits, lines = _plan(arguments, printer)
    print("\n".join(lines))
    return 0 if fits else 1


def _plan(arguments: argparse.Namespace, printer: Silent) -> tuple[bool, list[str]]:
    arguments.keep_mask = take_keep_mask(arguments)
    settings, tile, available = read_settings(arguments), read_tile(arguments.tile), read_memory(arguments.memory)
    if arguments.chip is not None and arguments.split_rows:
        raise ConfigError("--split-rows divides rows among the devices that are here; leave it or --chip out")
    import jax

    from jnst.batch.folders import read_picture
    from jnst.cli.plain_files import check_files
    from jnst.images.sizing import fit_size, scale_sizes
    from jnst.runtime import configure_jax
    from jnst.transfer.chip_plan import describe_estimate, estimate_on_chip
    from jnst.transfer.chips import find_chip
    from jnst.transfer.planning import describe_plan, expected_seconds, measure_pace, plan_run
    from jnst.transfer.scales import check_given_size, check_size, smallest_scale

    chip = None if arguments.chip is None else find_chip(arguments.chip)
    check_files([arguments.content], urls=True)
    cache = configure_jax()
    printer.doing("reading the weights")
    params, config, notice = _recipe(arguments, settings)
    picture, _ = read_picture(
        arguments.content, allow_large=arguments.allow_large, allow_damaged=arguments.allow_damaged
    )
    height, width = picture.pixels.shape[:2]
    check_given_size((height, width), config, "content")
    size = fit_size(height, width, config.size)
    check_size(size, config, "content")
    sizes = scale_sizes(*size, config.run.scales, minimum=smallest_scale(config))
    masks = _read_masks(arguments, picture, sizes, config)
    devices = jax.local_device_count() if arguments.split_rows else 1
    regions = 0 if masks is None else len(masks.masks)
    plan = plan_run(size, config, tile=tile, available=available, devices=devices, regions=regions, chip=chip)
    lines = [*filter(None, [cache]), *notice, *(() if masks is None else masks.notes), *describe_plan(plan)]
    if len(sizes) > 1:
        lines.append(f"scales: {', '.join(f'{width} × {height}' for height, width in sizes)}")
    if chip is not None:
        if plan.grid is None:
            lines += describe_estimate(estimate_on_chip(size, config, chip, available=available), config, sizes)
    elif not arguments.no_probe:
        printer.doing("measuring the speed of this machine")
        seconds = expected_seconds(plan, sizes, measure_pace(params, config))
        scales = f" at each of {len(sizes)} scales" if len(sizes) > 1 else ""
        lines.append(f"time: about {_duration(seconds)} for {config.run.steps} steps{scales}, by a probe at 256 × 256")
    return plan.fits, lines


def _read_masks(
    arguments: argparse.Namespace, picture: "Picture", sizes: Sequence[tuple[int, int]], config: Config
) -> "RegionMasks | None":
    """The masks on the content picture, checked as the run checks them; there is a style for each."""
    from jnst.batch.discovery import check_path
    from jnst.batch.folders import read_picture
    from jnst.cli.inputs import choose_regions
    from jnst.jobs.region_files import RegionFiles, check_region_files, read_regions
    from jnst.transfer.regions import prepare_regions
    from jnst.transfer.regions_at_scale import check_regions

    files = choose_regions(arguments, RegionFiles())
    styles = [None] * max(1, len(files.masks), len(files.style_masks))
    if (files := check_region_files(files, styles, blend=False)) is None:
        return None
    for path in files.paths():
        check_path(path)
    # Style masks show parts of pictures that a plan does not read.
    masks = files.masks or ("all",) * bool(files.style_masks)
    files = dataclasses.replace(files, style_masks=(), masks=masks)
    regions, keep = read_regions(files, styles, lambda path: read_picture(path)[0])
    found = prepare_regions(picture.pixels, [], regions, keep)
    check_regions(found, sizes, config)
    return found


def _recipe(arguments: argparse.Namespace, settings: dict[str, Any]) -> tuple[Any, Config, list[str]]:
    """Parameters, config and notices; random parameters of the right shapes where the weights are not there."""
    from jnst.presets.resolve import resolve_run
    from jnst.presets.select import find_preset
    from jnst.vgg.convolution import prepare_params
    from jnst.weights.network import random_weights

    try:
        resolved = resolve_run(
            arguments.preset or "default",
            weights=arguments.weights or "auto",
            network=arguments.network,
            optimizer=arguments.optimizer,
            settings=settings,
        )
    except WeightsError:
        if not _may_come(arguments.weights or "auto"):
            raise
        config = find_preset(
            arguments.preset or "default",
            network=arguments.network,
            optimizer=arguments.optimizer,
            settings={**settings, "lineage": "any"},
        )
        notice = f"the weights are not there yet; planned for {config.network.architecture} with random ones"
        network = config.network
        params = random_weights(network.architecture, network.width, 0, network.channels)
        return prepare_params(params), config, [notice]
    return prepare_params(resolved.weights.params), resolved.config, list(resolved.notices)


def _may_come(weights: str) -> bool:
    """Whether weights that cannot be read may be there later: a name that is known, or a file that is to be made."""
    from jnst.weights.registry import CATALOGUE

    path = Path(weights)
    return weights in ("auto", *CATALOGUE) or ((path.suffix != "" or len(path.parts) > 1) and not path.exists())


def _duration(seconds: float) -> str:
    """A time that nobody reads more into than is there.

    >>> _duration(42), _duration(5000)
    ('42 s', '1 h 23 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
