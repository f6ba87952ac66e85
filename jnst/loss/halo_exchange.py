"""Bands of rows, one on each device: what a device needs of its neighbours, and what it owes them.

Only the few rows at a border travel, and sums. The same functions serve an image that is not divided.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from jnst.array_types import Image
from jnst.devices import ROWS, row_parts


class Band(NamedTuple):
    """A device's part of an image's rows, one of `count` of equal height; the whole image where there is one."""

    count: int = 1

    def first_row(self, rows: int) -> Any:
        """Where in the image the band begins, each being `rows` high."""
        return 0 if self.count == 1 else lax.axis_index(ROWS) * rows

    def total(self, tree: Any) -> Any:
        """Each number summed over the bands."""
        return tree if self.count == 1 else lax.psum(tree, ROWS)

    def extend(self, image: Image, halo: int) -> Image:
        """The band with `halo` rows of the bands above and below it, zero where there is none; for two or more."""
        return jnp.concatenate([self._shift(image[-halo:], 1), image, self._shift(image[:halo], -1)])

    def collect(self, extended: Image, halo: int) -> Image:
        """The adjoint of `extend`: the band, and added to its ends what its neighbours' margins hold of them."""
        rows = extended.shape[0] - 2 * halo
        image = extended[halo : halo + rows]
        if self.count == 1:
            return image
        image = image.at[:halo].add(self._shift(extended[halo + rows :], 1))
        return image.at[-halo:].add(self._shift(extended[:halo], -1))

    def _shift(self, rows: Image, by: int) -> Image:
        pairs = [(index, index + by) for index in range(self.count) if 0 <= index + by < self.count]
        return lax.ppermute(rows, ROWS, pairs)


def on_bands(function: Callable[..., Any], shared: Any, *divided: Any) -> Any:
    """`function(band, shared, *divided)` on each device's band where rows are divided, on the whole image elsewhere.

    Args:
        function: returns two trees: what has rows, and what is the same on every device.
        shared: a tree that every device has whole, such as the network.
        divided: trees whose arrays of three axes are divided by rows; all others are the same everywhere.
    """
    count = row_parts()
    if count == 1:
        return function(Band(), shared, *divided)
    rows, whole = PartitionSpec(ROWS), PartitionSpec()
    specs = jax.tree.map(lambda array: rows if jnp.ndim(array) == 3 else whole, divided)
    return jax.shard_map(
        lambda shared, *divided: function(Band(count), shared, *divided),
        mesh=jax.sharding.get_abstract_mesh(),
        in_specs=(whole, *specs),
        out_specs=(rows, whole),
        check_vma=False,
    )(shared, *divided)
