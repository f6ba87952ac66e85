"""The VGG networks of Simonyan and Zisserman (2014, arXiv 1409.1556) as frozen feature extractors.

Every function takes one image, height × width × 3; `jax.vmap` over the image gives many. The parameters are constants:
the convolution carries its own input gradient, and asking for a gradient of the parameters is an error.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import get_args

import flax.linen as nn
import jax
import jax.numpy as jnp

from jnst.argument_checks import check_mapping, check_names
from jnst.array_types import FeatureMap, Features, Image, Params, check_array
from jnst.config import NetworkConfig, Precision
from jnst.devices import check_platform, row_parts
from jnst.errors import ConfigError, WeightsError, check_choice, quote
from jnst.vgg.convolution import flip_kernel, frozen_convolution
from jnst.vgg.extent import Extent, beyond_the_border, border, inside
from jnst.vgg.layers import deepest, describe_width, halve, layer_names, minimum_size, network_channels
from jnst.vgg.pooling import average_pool, max_pool


class VGG(nn.Module):
    """VGG's convolutional part (Simonyan and Zisserman 2014, arXiv 1409.1556) as a Flax module.

    network: layer table, width, pooling and padding.
    precision: float32 exact, tf32 as the accelerator does it, bfloat16 storage and products.
    """

    network: NetworkConfig
    precision: Precision = "float32"

    @nn.compact
    def __call__(self, x: Image, layers: tuple[str, ...], extent: Extent | None = None) -> dict[str, FeatureMap]:
        names = layer_names(self.network.architecture)
        channels = network_channels(self.network)
        features: dict[str, FeatureMap] = {}
        if extent is not None:
            x = border(x, extent, self.network.first_padding)
        for name in names[: deepest(layers, self.network.architecture) + 1]:
            if name.startswith("conv"):
                x = self._convolution(x, name, channels[name])
            elif name.startswith("relu"):
                x = nn.relu(x)
            else:
                x = self._pool(x, extent)
                if extent is not None:
                    (top, left), (height, width) = extent
                    rounding = self.network.pool_rounding
                    extent = Extent((top // 2, left // 2), (halve(height, rounding), halve(width, rounding)))
            if extent is not None and not name.startswith("relu"):
                x = jnp.where(inside(x, extent), x, 0)
            if name in layers:
                features[name] = x
        return features

    def _convolution(self, x: FeatureMap, name: str, channels: int) -> FeatureMap:
        shape = (3, 3, x.shape[-1], channels)
        layer = _ConvolutionParams(shape, name=name)()
        padding = 1
        if self.network.padding == "circular":
            x, padding = jnp.pad(x, ((1, 1), (1, 1), (0, 0)), mode="wrap"), 0
        elif name == "conv1_1" and self.network.first_padding == "replicate":
            if row_parts() > 1:
                y = frozen_convolution(x, layer, padding, self.precision)
                return y + beyond_the_border(x, layer["kernel"]).astype(y.dtype)
            x, padding = jnp.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge"), 0
        return frozen_convolution(x, layer, padding, self.precision)

    def _pool(self, x: FeatureMap, extent: Extent | None) -> FeatureMap:
        if self.network.pooling == "max":
            return max_pool(x, self.network.pool_rounding)
        return average_pool(x, self.network.pool_rounding, extent)


class _ConvolutionParams(nn.Module):
    """The parameters of one convolution, the flipped kernel among them."""

    shape: tuple[int, int, int, int]

    @nn.compact
    def __call__(self) -> Mapping[str, jax.Array]:
        height, width, inputs, outputs = self.shape
        flipped = (height, width, outputs, inputs)
        kernel = self._param("kernel", nn.initializers.he_normal(), self.shape)
        extra = ("winograd", "winograd_flipped", "columns", "columns_flipped")
        return {
            "kernel": kernel,
            "kernel_flipped": self._param("kernel_flipped", lambda _, shape: flip_kernel(kernel), flipped),
            "bias": self._param("bias", nn.initializers.zeros, self.shape[-1:]),
        } | {name: self.get_variable("params", name) for name in extra if self.has_variable("params", name)}

    def _param(self, name: str, initialize: Callable[..., jax.Array], shape: tuple[int, ...]) -> jax.Array:
        """The parameter as it was given, or a new one.

        Flax traces `initialize` at every use to compare shapes: half of the time of tracing the feature maps.
        """
        given = self.get_variable("params", name)
        if given is not None and jnp.shape(given) == shape:
            return given
        return self.param(name, initialize, shape)  # Flax's own error where the shape is another


def extract_features(
    params: Params,
    x: Image,
    layers: Sequence[str],
    network: NetworkConfig,
    *,
    precision: Precision = "float32",
    extent: Extent | None = None,
) -> Features:
    """Feature maps of one image at the named layers; nothing deeper than the deepest is computed.

    This is the network alone. It wants its own pixel space, `config.network_input`, and nothing in an array tells one
    space from another: `extract_features(params, jnst.encode(rgb, config.variable), …)` gives wrong maps without a
    word in every preset whose two spaces differ. From an RGB picture to its feature maps leads `jnst.features`.

    Args:
        params: as `prepare_params` returns them; one entry per convolution.
        x: the image in the network's input space, `jnst.encode(rgb, config.network_input)`: height × width × 3,
            floating point. For several images use `jax.vmap` over it.
        layers: names from `layer_names`, such as relu4_2.
        network: `config.network`: layer table, width, pooling and padding.
        precision: float32 exact, tf32 as the accelerator does it, bfloat16 storage and products.
        extent: for a padded image or a tile, where the true image lies.

    Returns:
        For each name a map height × width × channels, float32, or bfloat16 where that is the precision.

    Raises:
        ConfigError: for an unknown layer or precision, an image too small for the deepest layer, or an extent where
            padding is circular.
        ArrayError: for an image of another rank, or of whole numbers.
        WeightsError: where the parameters lack a layer or belong to a network of another width.
    """
    if isinstance(layers, str):
        raise ConfigError(f"layers is the text {quote(layers)}; expected a list of names, such as [{quote(layers)}]")
    if not isinstance(network, NetworkConfig):
        raise ConfigError(f"network is {type(network).__name__}; expected a NetworkConfig, such as config.network")
    check_choice("precision", precision, get_args(Precision))
    if extent is not None and network.padding == "circular":
        raise ConfigError(
            "an image of which a part is padding has no opposite side; with network padding circular give the whole "
            "image, alone and on one device"
        )
    wanted = check_names("layers", layers)
    check_platform()
    x = check_array("the image", x, axes="height × width × 3").astype(jnp.float32)
    check_params(params, wanted, network)
    smallest = minimum_size(wanted, network)
    if x.shape[2] != 3 or min(x.shape[:2]) < smallest:
        raise ConfigError(
            f"image of shape {tuple(x.shape)}; expected height × width × 3 with at least {smallest} pixels a side "
            f"for {', '.join(wanted)}"
        )
    return VGG(network, precision).apply({"params": params}, x, wanted, extent)  # pyright: ignore[reportReturnType]


def check_params(params: Params, layers: Sequence[str], network: NetworkConfig) -> None:
    """Raises WeightsError unless `params` hold every convolution up to the deepest of `layers`, at the right shape."""
    check_mapping(params)
    names = layer_names(network.architecture)[: deepest(layers, network.architecture) + 1]
    table = network_channels(network)
    inputs = 3
    for name in (name for name in names if name in table):
        if name not in params:
            raise WeightsError(
                f"the weights have no {name}, which {', '.join(layers)} need; they hold {', '.join(params)}"
            )
        if "kernel_flipped" not in params[name]:
            raise WeightsError(f"the weights of {name} are not prepared; pass them through jnst.prepare_params once")
        outputs = table[name]
        shape = tuple(params[name]["kernel"].shape)
        if shape != (3, 3, inputs, outputs):
            raise WeightsError(
                f"the kernel of {name} has shape {shape}; {describe_width(network)} expects {(3, 3, inputs, outputs)}"
            )
        inputs = outputs
