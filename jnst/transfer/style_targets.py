"""A style prepared once for many runs: its Gram matrices.

A file holds the Gram matrices of each style layer, once per scale of a coarse-to-fine run, the style picture itself at
working size (some initial pictures take its colours), and what the numbers depend on: network, weights, input space.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from jnst.argument_checks import check_config, check_mapping
from jnst.array_types import Moment, Params
from jnst.config import Config, compile_key
from jnst.config_json import to_dict
from jnst.devices import check_platform
from jnst.errors import ConfigError, TargetsError
from jnst.images.inputs import StylePicture, as_list, as_styles
from jnst.images.masks import Mask, fit_mask
from jnst.images.padding import pad_image, padded_size
from jnst.images.resizing import to_unit
from jnst.images.sizing import fit_style, scale_count
from jnst.loss.guidance import layer_of, layers_with_means, mean_of
from jnst.loss.region_targets import blend_grams, check_style_weights
from jnst.loss.registry import TERMS
from jnst.loss.targets import style_grams
from jnst.loss.term import Term, layers_seen
from jnst.transfer.color_mode import PREPARED
from jnst.transfer.notebook_card import card
from jnst.transfer.scales import halve_style, leading_style
from jnst.vgg.extent import Extent

Grams = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class StyleTargets:
    """Gram matrices of a style.

    grams: by layer, and the means of its channels where they are compared; for the full size first, then for each
        halving of a coarse-to-fine run.
    picture: the style picture at working size, uint8; of several the one with the largest weight.
    settings: what the numbers depend on, as plain JSON types (see `style_settings`).
    weights_sha256: hash of the network's weights, empty where unknown.
    mask: opacity of the picture, height × width, uint8; None where all of it is visible.
    """

    grams: tuple[Grams, ...]
    picture: np.ndarray
    settings: Mapping[str, Any]
    weights_sha256: str = ""
    mask: np.ndarray | None = None

    @property
    def shown(self) -> StylePicture:
        """The picture, and which part of it is looked at."""
        return StylePicture(self.picture, None if self.mask is None else to_unit(self.mask))

    def __repr__(self) -> str:
        height, width = self.picture.shape[:2]
        layers = ", ".join(dict.fromkeys(map(layer_of, self.grams[0])))
        return f"StyleTargets({width} × {height}, scales: {len(self.grams)}, layers: {layers})"

    def _repr_html_(self) -> str:
        return card(self.picture, [repr(self)])


def style_settings(config: Config) -> dict[str, Any]:
    """The settings that Gram matrices depend on, apart from the size of the style picture."""
    data = to_dict(config)
    return {
        # As files from before there was a choice of padding have it.
        "network": {name: value for name, value in data["network"].items() if (name, value) != ("padding", "zero")},
        "network_input": data["network_input"],
        "precision": data["precision"],
        "gram_divisor": data["loss"]["gram_divisor"],
    }


def check_style_targets(targets: StyleTargets, config: Config, *, weights_sha256: str = "") -> None:
    """Raises TargetsError unless the prepared style fits a run with that config and those weights."""
    if config.run.colors in PREPARED:
        raise TargetsError(
            f"a saved style keeps its colours, and colors {config.run.colors} changes them for each content image; "
            "give the style picture instead, or set colors to style or content"
        )
    wanted = style_settings(config)
    for name, value in targets.settings.items():
        if wanted.get(name) != value:
            raise TargetsError(
                f"the saved style was prepared with {name.replace('_', ' ')} {json.dumps(value)}, this run has "
                f"{json.dumps(wanted.get(name))}; prepare it again with `jnst targets`"
            )
    if weights_sha256 and targets.weights_sha256 and weights_sha256 != targets.weights_sha256:
        raise TargetsError(
            f"the saved style was prepared with weights {targets.weights_sha256[:12]}…, this run has "
            f"{weights_sha256[:12]}…; prepare it again with `jnst targets`"
        )
    missing = [layer for layer, _ in config.loss.style_layers if layer not in targets.grams[0]]
    if missing:
        raise TargetsError(
            f"the saved style has no Gram matrix of {', '.join(missing)}; it holds {', '.join(targets.grams[0])}"
        )
    if any(mean_of(layer) not in targets.grams[0] for layer in layers_with_means(config.loss)):
        raise TargetsError(
            "the saved style has no means of channels, which style statistics covariance compare; prepare it again "
            "with `jnst targets --set loss.style_statistics=covariance`"
        )


def pick_grams(targets: StyleTargets, config: Config, halvings: int, *, extra_terms: tuple[Term, ...] = ()) -> Grams:
    """The Gram matrices that a run's terms compare, for a scale so many halvings below full size.

    Args:
        targets: the prepared style.
        config: of the run.
        halvings: 0 for the full size.
        extra_terms: from `jnst.loss.targets.compiled_terms`.

    Raises:
        TargetsError: where the style was prepared for fewer scales, or not for a layer that an extra term sees.
    """
    if halvings >= len(targets.grams):
        raise TargetsError(
            f"the saved style was prepared for {len(targets.grams)} scales, this run needs {halvings + 1}; prepare it "
            f"again with `jnst targets --scales {halvings + 1}`"
        )
    layers, held = layers_seen((*TERMS, *extra_terms), config, "grams"), targets.grams[halvings]
    missing = [layer for layer in layers if layer not in held]
    if missing:
        raise TargetsError(f"the saved style has no Gram matrix of {', '.join(missing)}; it holds {', '.join(held)}")
    return {name: held[name] for name in (*layers, *map(mean_of, layers_with_means(config.loss)))}


def picture_grams(
    params: Params,
    picture: np.ndarray,
    config: Config,
    *,
    extra_terms: tuple[Term, ...] = (),
    mask: np.ndarray | None = None,
) -> dict[str, Moment]:
    """`jnst.loss.targets.style_grams` of one style picture at the size that it has: float RGB in [0, 1].

    `mask`, height × width, is the part of it that is looked at.

    Computed whole, on a picture padded to one of few sizes, which gives the same numbers and few compilations.
    """
    size = (picture.shape[0], picture.shape[1])
    padded_to = padded_size(*size)
    extent = None if padded_to == size else Extent((0, 0), size)
    padded = jnp.asarray(pad_image(picture, padded_to))
    key = dataclasses.replace(compile_key(config), tile=0)
    seen = None if mask is None else jnp.asarray(pad_image(mask[..., None], padded_to))
    return style_grams(params, padded, extent, seen, config=key, extra_terms=extra_terms)


def prepare_style(
    params: Params,
    styles: Any,
    config: Config,
    *,
    style_weights: Sequence[float] | None = None,
    weights_sha256: str = "",
) -> StyleTargets:
    """The Gram matrices of one style picture, or of a blend of several, for every scale of the config.

    Args:
        params: from `prepare_params`.
        styles: height × width × 3, RGB, uint8, uint16 or floating point in [0, 1]; or another form of a picture that
            `jnst.stylize` takes; or a list of them.
        config: network, layers, sizes and scales. The style must not depend on the content's size.
        style_weights: one per style where there are several.
        weights_sha256: remembered, to recognise a run with other weights.

    Returns:
        The prepared style, for `stylize_batch` and `write_style`.

    Raises:
        ConfigError: where the config stretches the style to each content's size.
        ImageError: where a style is not RGB, or holds numbers that are no colours.
    """
    check_platform()
    check_mapping(params)
    check_config(config)
    if config.size.style == "content":
        raise ConfigError(
            f"preset {config.preset} stretches the style to each content image's size, so it cannot be prepared "
            "beforehand; set size.style to own"
        )
    if config.run.colors in PREPARED:
        raise ConfigError(
            f"colors {config.run.colors} prepares the style for each content image, so it cannot be prepared "
            "beforehand; set colors to style or content"
        )
    check_style_weights(style_weights, len(as_list(styles)))
    several = as_styles(styles, color_profile=config.color_profile)
    pictures = [to_unit(fit_style(np.asarray(style.pixels), (0, 0), config.size)) for style in several]
    by_scale = []
    for power in range(_scales_to_prepare(pictures, config)):
        shrunk = [halve_style(picture, power, config) for picture in pictures]
        masks = [_fit(style.mask, picture) for style, picture in zip(several, shrunk, strict=True)]
        each = [picture_grams(params, one, config, mask=mask) for one, mask in zip(shrunk, masks, strict=True)]
        grams = blend_grams(each, style_weights)
        by_scale.append({layer: np.asarray(gram) for layer, gram in grams.items()})
    leading = leading_style(style_weights)
    picture, mask = _to_bytes(pictures[leading]), _fit(several[leading].mask, pictures[leading])
    seen = None if mask is None else _to_bytes(mask)
    return StyleTargets(tuple(by_scale), picture, style_settings(config), weights_sha256, seen)


def _to_bytes(array: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)


def _scales_to_prepare(pictures: Sequence[np.ndarray], config: Config) -> int:
    """As many as a content picture needs that the size rule brings to the same size, or that is as large."""
    sides = [max(picture.shape[:2]) for picture in pictures]
    known = 0 if config.size.rule == "keep" else config.size.pixels
    return scale_count(max(known, *sides), config.run.scales)


def _fit(mask: Mask | None, picture: np.ndarray) -> Mask | None:
    return None if mask is None else fit_mask(mask, (picture.shape[0], picture.shape[1]))
