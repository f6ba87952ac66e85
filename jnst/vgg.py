"""The VGG networks of Simonyan and Zisserman (2014, arXiv 1409.1556) as frozen feature extractors.

Every function takes one image, height × width × 3; `jax.vmap` over the image gives many. The parameters are constants:
the convolution carries its own input gradient, and asking for a gradient of the parameters is an error.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnst.arrays import FeatureMap, Features, Image, Params
from jnst.config import Architecture, FirstPadding, NetworkConfig, PoolRounding, Precision
from jnst.errors import ConfigError, JnstError, WeightsError, describe_unknown
from jnst.products import convolve_by_products
from jnst.winograd import pays, transform_kernel, winograd_convolution

# Convolutions per block; the channels of a block are the same in both networks.
_BLOCKS: dict[str, tuple[int, ...]] = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_CHANNELS = (64, 128, 256, 512, 512)


class Extent(NamedTuple):
    """Where the true image lies when the array at hand is a padded image or a tile of a larger one.

    `origin` is the row and column of the array's first pixel in the true image (negative inside a border, a multiple
    of 16, of 32 for pool5), `size` the true height and width. Both may be traced. Pixels outside the true image are
    ignored, and activations there are set to zero after every convolution and pool, which is what zero padding at the
    true border means.
    """

    origin: tuple[Any, Any]
    size: tuple[Any, Any]


@functools.cache
def layer_names(architecture: Architecture) -> tuple[str, ...]:
    """All layers in order: conv1_1, relu1_1, …, pool5.

    >>> layer_names("vgg16")[:5]
    ('conv1_1', 'relu1_1', 'conv1_2', 'relu1_2', 'pool1')
    """
    names: list[str] = []
    for block, depth in enumerate(_BLOCKS[architecture], start=1):
        for index in range(1, depth + 1):
            names += [f"conv{block}_{index}", f"relu{block}_{index}"]
        names.append(f"pool{block}")
    return tuple(names)


def convolutions(architecture: Architecture) -> dict[str, int]:
    """Names of the convolutions in order, with the channels each has at width 1."""
    return {name: _CHANNELS[int(name[4]) - 1] for name in layer_names(architecture) if name.startswith("conv")}


def scaled_channels(channels: int, width: float) -> int:
    """Channels of a convolution in a network of that width multiplier; at least one."""
    return max(1, round(channels * width))


def deepest(layers: Sequence[str], architecture: Architecture) -> int:
    """Position of the deepest of `layers` in `layer_names`; -1 when none is asked for.

    Raises:
        ConfigError: for a layer that the network does not have, with the closest name.
    """
    names = layer_names(architecture)
    for layer in layers:
        if layer not in names:
            raise ConfigError(describe_unknown(f"layer of {architecture}", layer, names))
    return max((names.index(layer) for layer in layers), default=-1)


def minimum_size(layers: Sequence[str], network: NetworkConfig) -> int:
    """Smallest height or width of an image for which the deepest of `layers` still has a pixel."""
    if network.pool_rounding == "ceil":
        return 1
    pools = sum(
        name.startswith("pool")
        for name in layer_names(network.architecture)[: deepest(layers, network.architecture) + 1]
    )
    return 2**pools


def layer_shape(layer: str, height: Any, width: Any, network: NetworkConfig) -> tuple[Any, Any]:
    """Height and width of a layer's feature map for an image of that height and width (traced values allowed)."""
    names = layer_names(network.architecture)
    for name in names[: deepest([layer], network.architecture) + 1]:
        if name.startswith("pool"):
            height, width = _halve(height, network.pool_rounding), _halve(width, network.pool_rounding)
    return height, width


def _halve(length: Any, rounding: PoolRounding) -> Any:
    return (length + 1) // 2 if rounding == "ceil" else length // 2


def flip_kernel(kernel: Any) -> Any:
    """The kernel of the input gradient: both spatial axes reversed, input and output channels swapped (HWIO)."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def prepare_params(
    params: Mapping[str, Mapping[str, Any]], *, winograd: bool | None = None
) -> dict[str, dict[str, jax.Array]]:
    """Adds to every convolution the flipped kernel that its input gradient uses; takes NumPy arrays as well.

    Prepared once, outside any loop: XLA on CPU recognises a plain convolution with a ready kernel, but not one whose
    kernel is reversed inside a loop body, which runs many times slower.

    Args:
        params: a kernel (HWIO) and a bias per convolution.
        winograd: whether wide convolutions of blocks 3 and 4 also get kernels for Winograd's form, which float32 then
            uses: twice as fast on CPU, for 330 MB at VGG's full width. By default on CPU alone. Block 5 is too small
            to be worth the memory.
    """
    if winograd is None:
        winograd = jax.default_backend() == "cpu"
    prepared = {}
    for name, layer in params.items():
        kernel = np.asarray(layer["kernel"], np.float32)
        prepared[name] = {
            "kernel": jnp.asarray(kernel),
            "kernel_flipped": jnp.asarray(np.ascontiguousarray(flip_kernel(kernel))),
            "bias": jnp.asarray(layer["bias"], jnp.float32),
        }
        if winograd and name.startswith(("conv3_", "conv4_")) and pays(*kernel.shape[2:]):
            prepared[name]["winograd"] = transform_kernel(kernel)
            prepared[name]["winograd_flipped"] = transform_kernel(prepared[name]["kernel_flipped"])
    return prepared


def plain_params(params: Params) -> Params:
    """The parameters without Winograd's kernels, for where rounding must not depend on a pixel's place in the array."""
    return {
        name: {part: array for part, array in layer.items() if not part.startswith("winograd")}
        for name, layer in params.items()
    }


def _convolve(x: Any, kernel: jax.Array, padding: int, precision: Precision) -> FeatureMap:
    if kernel.ndim == 3:
        return winograd_convolution(x, kernel)
    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    if dtype == jnp.bfloat16 and padding == 1 and jax.default_backend() == "cpu" and pays(*kernel.shape[2:]):
        return convolve_by_products(x.astype(dtype), kernel.astype(dtype))
    return lax.conv_general_dilated(
        x[None].astype(dtype),
        kernel.astype(dtype),
        window_strides=(1, 1),
        padding=((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST if precision == "float32" else lax.Precision.DEFAULT,
    )[0]


@jax.custom_jvp
def _freeze(layer: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The layer's parameters as they are, refusing to be differentiated."""
    return layer


@_freeze.defjvp
def _refuse_gradient(primals: Any, tangents: Any) -> Any:
    # JAX comes here only when a gradient of what was given is being taken.
    raise JnstError(
        "the gradient of VGG's parameters was asked for, but they are frozen; differentiate with respect to the image"
    )


def frozen_convolution(x: FeatureMap, layer: Mapping[str, jax.Array], padding: int, precision: Precision) -> FeatureMap:
    """3×3 convolution with stride one, zero padding and bias, differentiable in `x` alone.

    Its gradient is again a plain convolution, with the flipped kernel (see `prepare_params`).

    Raises:
        JnstError: when the gradient of the kernel or bias is asked for; the networks here are frozen.
    """
    kernel, flipped = "kernel", "kernel_flipped"
    if "winograd" in layer and precision == "float32" and padding == 1:
        kernel, flipped = "winograd", "winograd_flipped"
    frozen = _freeze({"kernel": layer[kernel], "kernel_flipped": layer[flipped], "bias": layer["bias"]})
    return _frozen_convolution(x, frozen["kernel"], frozen["kernel_flipped"], frozen["bias"], padding, precision)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _frozen_convolution(
    x: FeatureMap, kernel: jax.Array, kernel_flipped: jax.Array, bias: jax.Array, padding: int, precision: Precision
) -> FeatureMap:
    del kernel_flipped
    y = _convolve(x, kernel, padding, precision)
    return y + bias.astype(y.dtype)[None, None]


def _convolution_forward(
    x: Any, kernel: Any, kernel_flipped: Any, bias: Any, padding: int, precision: Precision
) -> Any:
    y = _frozen_convolution(x, kernel, kernel_flipped, bias, padding, precision)
    # An empty array carries the input's dtype to the backward pass.
    return y, (kernel_flipped, jnp.zeros((0,), x.dtype))


def _convolution_backward(padding: int, precision: Precision, residuals: Any, gradient: Any) -> Any:
    kernel_flipped, like = residuals
    return _convolve(gradient, kernel_flipped, 2 - padding, precision).astype(like.dtype), None, None, None


_frozen_convolution.defvjp(_convolution_forward, _convolution_backward)


def _windows(x: FeatureMap, rounding: PoolRounding, fill: float) -> jax.Array:
    """The 2×2 windows as axes: rows × 2 × columns × 2 × channels."""
    height, width, channels = x.shape
    rows, columns = _halve(height, rounding), _halve(width, rounding)
    if rounding == "ceil":
        x = jnp.pad(x, ((0, 2 * rows - height), (0, 2 * columns - width), (0, 0)), constant_values=fill)
    return x[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, channels)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_pool(x: FeatureMap, rounding: PoolRounding) -> FeatureMap:
    """Maximum of 2×2 windows with stride 2. The gradient goes to the first maximum in row order, as in PyTorch."""
    windows = _windows(x, rounding, -jnp.inf)
    # Four slices, not a reduction over two axes: XLA on CPU turns the maximum of slices into one vectorised pass.
    top = jnp.maximum(windows[:, 0, :, 0], windows[:, 0, :, 1])
    return jnp.maximum(top, jnp.maximum(windows[:, 1, :, 0], windows[:, 1, :, 1]))


def _max_pool_forward(x: FeatureMap, rounding: PoolRounding) -> Any:
    windows = _windows(x, rounding, -jnp.inf)
    y = max_pool(x, rounding)
    first = jnp.where(windows[:, 1, :, 0] == y, jnp.uint8(2), jnp.uint8(3))
    first = jnp.where(windows[:, 0, :, 1] == y, jnp.uint8(1), first)
    first = jnp.where(windows[:, 0, :, 0] == y, jnp.uint8(0), first)
    # One byte per window says where its maximum lies; an empty array carries the input's shape.
    return y, (first, jnp.zeros((*x.shape[:2], 0)))


def _max_pool_backward(rounding: PoolRounding, residuals: Any, gradient: Any) -> Any:
    first, like = residuals
    rows, columns, channels = gradient.shape
    place = jnp.arange(4, dtype=jnp.uint8).reshape(1, 2, 1, 2, 1)
    spread = jnp.where(first[:, None, :, None] == place, gradient[:, None, :, None], 0)
    return (_fit(spread.reshape(2 * rows, 2 * columns, channels), like.shape[0], like.shape[1]),)


def _fit(x: FeatureMap, height: int, width: int) -> FeatureMap:
    """Cuts off or adds (zero) rows and columns at the end."""
    x = x[:height, :width]
    return jnp.pad(x, ((0, height - x.shape[0]), (0, width - x.shape[1]), (0, 0)))


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def average_pool(x: FeatureMap, rounding: PoolRounding, extent: Extent | None = None) -> FeatureMap:
    """Mean of 2×2 windows with stride 2; a window cut by the border (ceil) averages the pixels that it has."""
    windows = _windows(x, rounding, 0.0)
    total = windows[:, 0, :, 0] + windows[:, 0, :, 1] + windows[:, 1, :, 0] + windows[:, 1, :, 1]
    if rounding == "floor":
        return total * 0.25
    origin, size = extent or Extent((0, 0), (x.shape[0], x.shape[1]))
    rows, columns = (
        jnp.clip(length - start - 2 * jnp.arange(count), 1, 2)
        for length, start, count in zip(size, origin, total.shape[:2], strict=True)
    )
    return (total / (rows[:, None, None] * columns[None, :, None])).astype(x.dtype)


def inside(x: FeatureMap, extent: Extent) -> jax.Array:
    """True where the array holds the true image: height × width × 1."""
    (top, left), (height, width) = extent
    rows = jnp.arange(x.shape[0]) + top
    columns = jnp.arange(x.shape[1]) + left
    return ((rows >= 0) & (rows < height))[:, None, None] & ((columns >= 0) & (columns < width))[None, :, None]


def _border(x: Image, extent: Extent, padding: FirstPadding) -> Image:
    """The image with what the first convolution sees around the true one: zeros, or its border pixels once more."""
    if padding == "zero":
        return jnp.where(inside(x, extent), x, 0)
    for axis, (start, length) in enumerate(zip(*extent, strict=True)):
        position = jnp.expand_dims(jnp.arange(x.shape[axis]) + start, (1 - axis, 2))
        # Shifts and selections, not an indexed copy: the gradient is then the same from run to run on every device.
        before, after = jnp.roll(x, -1, axis), jnp.roll(x, 1, axis)
        x = jnp.where(position == -1, before, jnp.where(position == length, after, x))
    return x


class VGG(nn.Module):
    """VGG's convolutional part, returning the feature maps asked for by name."""

    network: NetworkConfig
    precision: Precision = "float32"

    @nn.compact
    def __call__(self, x: Image, layers: tuple[str, ...], extent: Extent | None = None) -> dict[str, FeatureMap]:
        names = layer_names(self.network.architecture)
        channels = convolutions(self.network.architecture)
        features: dict[str, FeatureMap] = {}
        if extent is not None:
            x = _border(x, extent, self.network.first_padding)
        for name in names[: deepest(layers, self.network.architecture) + 1]:
            if name.startswith("conv"):
                x = self._convolution(x, name, scaled_channels(channels[name], self.network.width))
            elif name.startswith("relu"):
                x = nn.relu(x)
            else:
                x = self._pool(x, extent)
                if extent is not None:
                    (top, left), (height, width) = extent
                    rounding = self.network.pool_rounding
                    extent = Extent((top // 2, left // 2), (_halve(height, rounding), _halve(width, rounding)))
            if extent is not None and not name.startswith("relu"):
                x = jnp.where(inside(x, extent), x, 0)
            if name in layers:
                features[name] = x
        return features

    def _convolution(self, x: FeatureMap, name: str, channels: int) -> FeatureMap:
        shape = (3, 3, x.shape[-1], channels)
        layer = _ConvolutionParams(shape, name=name)()
        padding = 1
        if name == "conv1_1" and self.network.first_padding == "replicate":
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
        kernel = self.param("kernel", nn.initializers.he_normal(), self.shape)
        extra = ("winograd", "winograd_flipped")
        return {
            "kernel": kernel,
            "kernel_flipped": self.param("kernel_flipped", lambda _: flip_kernel(kernel)),
            "bias": self.param("bias", nn.initializers.zeros, self.shape[-1:]),
        } | {name: self.get_variable("params", name) for name in extra if self.has_variable("params", name)}


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

    Args:
        params: as `prepare_params` returns them; one entry per convolution.
        x: the image in the network's input space, height × width × 3.
        layers: names from `layer_names`, such as relu4_2.
        network: layer table, width, pooling and padding.
        precision: float32 exact, tf32 as the accelerator does it, bfloat16 storage and products.
        extent: for a padded image or a tile, where the true image lies.

    Returns:
        For each name a map height × width × channels.

    Raises:
        ConfigError: for an unknown layer or an image too small for the deepest one.
        WeightsError: where the parameters lack a layer or belong to a network of another width.
    """
    wanted = tuple(layers)
    check_params(params, wanted, network)
    smallest = minimum_size(wanted, network)
    if x.ndim != 3 or x.shape[-1] != 3 or min(x.shape[:2]) < smallest:
        raise ConfigError(
            f"image of shape {tuple(x.shape)}; expected height × width × 3 with at least {smallest} pixels a side "
            f"for {', '.join(wanted)}"
        )
    return VGG(network, precision).apply({"params": params}, x, wanted, extent)  # pyright: ignore[reportReturnType]


def check_params(params: Params, layers: Sequence[str], network: NetworkConfig) -> None:
    """Raises WeightsError unless `params` hold every convolution up to the deepest of `layers`, at the right shape."""
    names = layer_names(network.architecture)[: deepest(layers, network.architecture) + 1]
    table = convolutions(network.architecture)
    inputs = 3
    for name in (name for name in names if name in table):
        if name not in params:
            raise WeightsError(
                f"the weights have no {name}, which {', '.join(layers)} need; they hold {', '.join(params)}"
            )
        if "kernel_flipped" not in params[name]:
            raise WeightsError(f"the weights of {name} are not prepared; pass them through jnst.prepare_params once")
        outputs = scaled_channels(table[name], network.width)
        shape = tuple(params[name]["kernel"].shape)
        if shape != (3, 3, inputs, outputs):
            raise WeightsError(
                f"the kernel of {name} has shape {shape}; {network.architecture} at width {network.width} "
                f"expects {(3, 3, inputs, outputs)}"
            )
        inputs = outputs
