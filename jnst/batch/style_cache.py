"""Gram matrices of the styles of a batch, made once for all images that share a style."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import numpy as np

from jnst.array_types import Params
from jnst.batch.requests import Item
from jnst.config import compile_key
from jnst.images.sizing import halvings
from jnst.loss.region_targets import region_grams
from jnst.loss.targets import compiled_terms
from jnst.loss.term import Term
from jnst.transfer.regions_at_scale import guide
from jnst.transfer.scales import styles_at_scale
from jnst.transfer.style_targets import StyleTargets, check_style_targets, pick_grams, picture_grams

# Blends of Gram matrices that are kept, each for one scale.
_REMEMBERED_STYLES = 256


class StyleCache:
    """Makes the Gram matrices that an item is compared with, and keeps those of the latest styles.

    Args:
        params: from `prepare_params`, on the devices.
        weights_sha256: to recognise prepared styles that were made with other weights.
        extra_terms: terms of the loss beside the package's own.
    """

    def __init__(self, params: Params, weights_sha256: str, extra_terms: Sequence[Term]) -> None:
        self._params, self._weights_sha256 = params, weights_sha256
        self._extra_terms, self._compiled_terms = tuple(extra_terms), compiled_terms(extra_terms)
        self._styles: OrderedDict[Hashable, Any] = OrderedDict()

    def grams(self, item: Item, index: int) -> Any:
        """Gram matrices of the item's style at one scale, for each region where there are some; remembered where the
        task says under which name."""
        task, config = item.task, item.task.config
        if isinstance(task.styles, StyleTargets):
            check_style_targets(task.styles, config, weights_sha256=self._weights_sha256)
            prepared = pick_grams(task.styles, config, len(item.sizes) - 1 - index, extra_terms=self._compiled_terms)
            return prepared if item.masks is None else (prepared,)
        full, size = item.sizes[-1], item.sizes[index]
        # The content's size matters only to a style that is stretched to it.
        scaling = (full, size) if config.size.style == "content" else halvings(full, size)
        name = (task.style_key, task.style_weights, compile_key(config), config.size, scaling, item.masks is None)
        if task.style_key is not None and name in self._styles:
            self._styles.move_to_end(name)
            return self._styles[name]
        pictures = styles_at_scale(task.styles, config, full, size)
        guidance = guide(item.masks, size, pictures, config, self._extra_terms)
        parts = [
            picture_grams(self._params, pixels, config, extra_terms=self._compiled_terms, mask=mask)
            for pixels, mask in pictures
        ]
        grams = jax.tree.map(np.asarray, region_grams(parts, task.style_weights, guidance))
        if task.style_key is not None:
            self._styles[name] = grams
            if len(self._styles) > _REMEMBERED_STYLES:
                self._styles.popitem(last=False)
        return grams
