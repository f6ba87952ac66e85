"""What a network makes of a picture: feature maps and Gram matrices to look at, and their statistics."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jnst.argument_checks import check_config, check_kind, check_names, check_whole
from jnst.array_types import FeatureMap, Gram, Params
from jnst.config import Config
from jnst.errors import ConfigError, ImageError, quote
from jnst.files import check_path_given, describe_missing, making_folder
from jnst.images.inputs import as_style
from jnst.images.masks import Mask, fit_mask
from jnst.images.montage import montage
from jnst.images.resizing import to_unit
from jnst.images.sizing import fit, fit_size
from jnst.images.writing import SUFFIXES, check_writable, write_image
from jnst.loss.distances import gram_matrix
from jnst.loss.features import features
from jnst.loss.guidance import carry_masks, fillings, region_products, to_grams
from jnst.transfer.layer_view import LayerView, describe_statistics
from jnst.transfer.scales import check_given_size, check_size

# Maps on a sheet of all layers, and on a layer's own.
ON_A_SHEET, ON_ITS_OWN = 7, 36
# Of a layer of VGG; and of a map in pixels.
MOST_CHANNELS, _MOST_HEIGHT = 512, 4096


@dataclass(frozen=True, eq=False)
class Inspection:
    """What the layers of a network make of a picture, from `jnst.inspect`.

    picture: at the size that it was seen, float32 RGB in [0, 1].
    layers: by name, in the order asked for.
    """

    picture: np.ndarray
    layers: dict[str, LayerView]

    def statistics(self) -> dict[str, dict[str, Any]]:
        """Plain numbers of every layer.

        Returns:
            For each layer's name what `LayerView.statistics` returns.
        """
        return {name: layer.statistics() for name, layer in self.layers.items()}

    def __repr__(self) -> str:
        return describe_statistics(self.statistics())

    def sheet(self, *, channels: int = ON_A_SHEET, height: int = 128) -> np.ndarray:
        """All layers on one sheet, a row each: the strongest channels, and the Gram matrix.

        Args:
            channels: maps of each layer, strongest first.
            height: of a map on the sheet, in pixels.

        Returns:
            height × width × 3, RGB, uint8.

        Raises:
            ConfigError: for a number of channels below 1 or above 512, or a height above 4096.
        """
        channels, height = _check_sheet(channels, height)
        pictures, labels = [], []
        for layer in self.layers.values():
            maps, names = layer.maps(channels, height)
            blank = [np.ones((height, 1, 3), np.float32)] * (channels - len(maps))  # a row of few channels
            pictures += [*maps, *blank, layer.gram_picture(height)]
            labels += [*names, *[""] * len(blank), f"{layer.name} Gram matrix"]
        return montage(pictures, labels=labels, height=height, columns=channels + 1)

    def save(self, path: str | os.PathLike[str], *, channels: int | None = None, overwrite: bool = False) -> list[Path]:
        """Writes the sheet, or for a folder LAYER-features.png and LAYER-gram.png of every layer; the folder is made.

        Args:
            path: a picture's name by its suffix, else a folder.
            channels: how many of each layer are shown, the strongest; 7 on a sheet of all, 36 on one of a layer.
            overwrite: whether to replace files that are there.

        Returns:
            What was written.

        Raises:
            ConfigError: for a number of channels below 1 or above 512.
            ImageError: for a file that exists without `overwrite`, or a place that is not writable.
        """
        if channels is not None:
            channels, _ = _check_sheet(channels, 1)
        targets = check_place(path, self.layers, overwrite=overwrite)
        if Path(path).suffix.lower() in SUFFIXES:
            write_image(path, self.sheet(channels=channels or ON_A_SHEET), overwrite=overwrite)
            return targets
        try:
            with making_folder(path):
                self._save_each(targets, channels or ON_ITS_OWN, overwrite=overwrite)
        except OSError as error:
            raise ImageError(f"cannot make the folder {path}: {error.strerror or error}") from error
        return targets

    def _save_each(self, targets: Sequence[Path], channels: int, *, overwrite: bool) -> None:
        for layer, features_at, gram_at in zip(self.layers.values(), targets[::2], targets[1::2], strict=True):
            maps, labels = layer.maps(channels, 160)
            write_image(features_at, montage(maps, labels=labels, height=160), overwrite=overwrite)
            label = f"{layer.name}: Gram matrix of {layer.gram.shape[0]} channels"
            write_image(gram_at, montage([layer.gram_picture(512)], labels=[label], height=512), overwrite=overwrite)


def inspect(params: Params, picture: Any, config: Config, *, layers: Sequence[str] = ()) -> Inspection:
    """Feature maps and Gram matrices of a picture, as a run with that config sees them.

    Args:
        params: from `prepare_params` or `load_params`.
        picture: height × width × 3, RGB; uint8, uint16 or floating point in [0, 1]; or another form that `jnst.stylize`
            takes. Resized by `config.size`. What is transparent is left out of the Gram matrices.
        config: whose network, sizes and divisor of Gram matrices are used.
        layers: names from `layer_names`; by default all that the config's loss looks at, from shallow to deep.

    Returns:
        Map, Gram matrix and statistics by layer, to be shown, drawn or written.

    Raises:
        ConfigError: for an unknown layer, or a picture too small for it.
        ImageError: where the picture is not RGB, or holds numbers that are no colours.

    >>> import jnst
    >>> params, config = jnst.load_preset("default", weights="vgg16-small", size=32)
    >>> seen = jnst.inspect(params, np.zeros((32, 48, 3), np.uint8), config, layers=["relu1_1", "pool2"])
    >>> [layer.map.shape[:2] for layer in seen.layers.values()]
    [(21, 32), (5, 8)]
    """
    check_config(config)
    chosen = check_names("layers", (layers,) if isinstance(layers, str) else layers)
    names = tuple(dict.fromkeys(chosen or sorted(config.loss.layers, key=lambda name: (name[4:], name))))
    pixels, mask = as_style(picture, "RGB", color_profile=config.color_profile)
    check_layers(names, np.shape(pixels), config)
    image = to_unit(fit(np.asarray(pixels), config.size))
    maps = features(params, image, names, config)
    grams = _grams(maps, mask, (image.shape[0], image.shape[1]), config)
    views = (LayerView(name, np.asarray(maps[name], np.float32), np.asarray(grams[name])) for name in names)
    return Inspection(image, {view.name: view for view in views})


def _check_sheet(channels: Any, height: Any) -> tuple[int, int]:
    """Both as they are in Python: small integers of NumPy would overflow in sums."""
    for name, value, most in (("channels", channels, MOST_CHANNELS), ("height", height, _MOST_HEIGHT)):
        if isinstance(value, bool) or not 1 <= check_whole(name, value) <= most:
            raise ConfigError(f"{name} is {quote(value)}; expected 1 to {most}")
    return int(channels), int(height)


def _grams(maps: dict[str, FeatureMap], mask: Mask | None, size: tuple[int, int], config: Config) -> dict[str, Gram]:
    """Gram matrices of a picture of that height and width, of the part of it that the mask shows."""
    if mask is None:
        return {name: gram_matrix(map_, divisor=config.loss.gram_divisor) for name, map_ in maps.items()}
    carried = carry_masks(jnp.asarray(fit_mask(mask, size))[..., None], list(maps), config.network)
    products = region_products(maps, list(maps), carried)
    return to_grams(products, fillings(carried, size, config.network), size, config)[0]


def check_layers(names: Sequence[str], shape: tuple[int, ...], config: Config) -> None:
    """Raises ConfigError for an unknown layer, or a picture of that shape, as it was read, too small for one."""
    loss = dataclasses.replace(config.loss, content_layers=tuple((name, 1.0) for name in names), style_layers=())
    config = dataclasses.replace(config, loss=loss)
    check_given_size(shape, config, "inspected")
    check_size(fit_size(shape[0], shape[1], config.size), config, "inspected")


def check_place(path: str | os.PathLike[str], layers: Sequence[str] | dict[str, Any], *, overwrite: bool) -> list[Path]:
    """The files that `Inspection.save` would write for those layers.

    Raises:
        ImageError: for one that exists without `overwrite`, or a place that is not writable.
        ConfigError: where path is no path.
    """
    check_kind("path", path, (str, os.PathLike), "the name of a picture or folder")
    check_path_given(path)
    try:
        return _find_files(Path(path), layers, overwrite=overwrite)
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error.strerror or error}") from error


def _find_files(target: Path, layers: Sequence[str] | dict[str, Any], *, overwrite: bool) -> list[Path]:
    if target.suffix.lower() in SUFFIXES:
        check_writable(target, overwrite=overwrite)
        return [target]
    if target.suffix:
        raise ImageError(
            f"{target} is neither a folder's name nor a picture's; expected a name without a suffix, or one of "
            f"{', '.join(SUFFIXES)}"
        )
    if os.path.lexists(target) and not target.is_dir():
        what = "a file" if target.exists() else describe_missing(target)
        raise ImageError(f"{target} is {what}; expected the name of a folder")
    if not target.exists() and not target.parent.is_dir():
        raise ImageError(f"cannot make {target}: {target.parent} does not exist; make it first")
    files = [target / f"{name}-{kind}.png" for name in layers for kind in ("features", "gram")]
    for file in files if target.exists() else ():
        check_writable(file, overwrite=overwrite)
    return files
