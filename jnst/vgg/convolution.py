"""Convolutions of a frozen network: kernels prepared once, an input gradient of their own, none for the parameters."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnst.arrays import FeatureMap, Params
from jnst.config import Precision
from jnst.devices import check_platform, row_parts
from jnst.errors import JnstError
from jnst.vgg.linear_map import linear_map
from jnst.vgg.packed_columns import columns_at_once, convolve_columns, pack_kernel
from jnst.vgg.params import NetworkParams
from jnst.vgg.row_matmul import convolve_by_products, products_pay
from jnst.vgg.winograd import transform_kernels, winograd_convolution, winograd_pays


def flip_kernel(kernel: Any) -> Any:
    """The kernel of the input gradient: both spatial axes reversed, input and output channels swapped (HWIO)."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def _on_device(array: Any) -> jax.Array:
    """The numbers on the device, without the small program per shape that `jnp.asarray` compiles at every start.

    Of a copy that nobody else holds, since the transfer may still be under way when this returns.
    """
    return jax.device_put(np.array(array, np.float32, order="C"))


def prepare_params(params: Mapping[str, Mapping[str, Any]], *, winograd: bool | None = None) -> NetworkParams:
    """Adds to every convolution the flipped kernel that its input gradient uses; takes NumPy arrays as well.

    Prepared once, outside any loop: XLA on CPU recognises a plain convolution with a ready kernel, but not one whose
    kernel is reversed inside a loop body, which runs many times slower.

    Args:
        params: a kernel (HWIO) and a bias per convolution.
        winograd: whether wide convolutions of blocks 2 to 4 also get kernels for Winograd's form, which float32 then
            uses: twice as fast on CPU, for 340 MB at VGG's full width. By default on CPU alone.

    Returns:
        The parameters on the device, by convolution. On CPU, narrow convolutions also have kernels for several columns
        at once (`jnst.vgg.packed_columns`).

    Raises:
        JnstError: where JAX cannot start the platform that JAX_PLATFORMS names.
    """
    check_platform()
    on_cpu = jax.default_backend() == "cpu"
    if winograd is None:
        winograd = on_cpu
    prepared = NetworkParams()
    for name, layer in params.items():
        kernel = np.asarray(layer["kernel"], np.float32)
        prepared[name] = {
            "kernel": _on_device(kernel),
            "kernel_flipped": _on_device(flip_kernel(kernel)),
            "bias": _on_device(layer["bias"]),
        }
        for part, plain in (("columns", kernel), ("columns_flipped", flip_kernel(kernel))):
            if on_cpu and (columns := columns_at_once(*plain.shape[2:])) > 1:
                prepared[name][part] = _on_device(pack_kernel(plain, columns))
    chosen = [name for name, layer in prepared.items() if winograd and winograd_pays(name, *layer["kernel"].shape[2:])]
    if chosen:
        both = [(prepared[name]["kernel"], prepared[name]["kernel_flipped"]) for name in chosen]
        for name, (forth, back) in zip(chosen, transform_kernels(both), strict=True):
            prepared[name] |= {"winograd": forth, "winograd_flipped": back}
    return prepared


def plain_params(params: Params) -> Params:
    """The parameters without Winograd's kernels, for where rounding must not depend on a pixel's place in the array."""
    return NetworkParams(
        (name, {part: array for part, array in layer.items() if not part.startswith("winograd")})
        for name, layer in params.items()
    )


def _convolve(x: Any, kernel: jax.Array, padding: int, precision: Precision) -> FeatureMap:
    if kernel.ndim == 3:
        return winograd_convolution(x, kernel, padding)
    if kernel.shape[1] > 3:
        return convolve_columns(x, kernel, padding)
    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    on_one_cpu = jax.default_backend() == "cpu" and row_parts() == 1
    if dtype == jnp.bfloat16 and on_one_cpu and products_pay(*kernel.shape[2:]):
        return convolve_by_products(x.astype(dtype), kernel.astype(dtype), padding)
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

    Its gradient is again a plain convolution, with the flipped kernel (see `prepare_params`). Forward mode works too.

    Raises:
        JnstError: when the gradient of the kernel or bias is asked for; the networks here are frozen.
    """
    frozen = _freeze(dict(layer))
    kernel, flipped = frozen["kernel"], frozen["kernel_flipped"]
    if precision == "float32":
        kernel, flipped = frozen.get("columns", kernel), frozen.get("columns_flipped", flipped)
        if "winograd" in frozen:
            kernel, flipped = frozen["winograd"], frozen["winograd_flipped"]
    return _frozen_convolution(x, kernel, flipped, frozen["bias"], padding, precision)


@functools.partial(jax.custom_jvp, nondiff_argnums=(4, 5))
def _frozen_convolution(
    x: FeatureMap, kernel: jax.Array, kernel_flipped: jax.Array, bias: jax.Array, padding: int, precision: Precision
) -> FeatureMap:
    del kernel_flipped
    y = _convolve(x, kernel, padding, precision)
    return y + bias.astype(y.dtype)[None, None]


@dataclasses.dataclass(frozen=True)
class _Convolution:
    """The convolution as a linear function of its input, with a result of the given type."""

    padding: int
    precision: Precision
    dtype: Any

    def __call__(self, x: Any, kernel: jax.Array, kernel_flipped: jax.Array) -> jax.Array:
        del kernel_flipped
        return _convolve(x, kernel, self.padding, self.precision).astype(self.dtype)


@dataclasses.dataclass(frozen=True)
class _InputGradient(_Convolution):
    """The transpose of `_Convolution`: the convolution with the flipped kernel."""

    def __call__(self, x: Any, kernel: jax.Array, kernel_flipped: jax.Array) -> jax.Array:
        del kernel
        return _convolve(x, kernel_flipped, 2 - self.padding, self.precision).astype(self.dtype)


@functools.partial(_frozen_convolution.defjvp, symbolic_zeros=True)
def _convolution_tangent(padding: int, precision: Precision, primals: Any, tangents: Any) -> Any:
    x, kernel, kernel_flipped, bias = primals
    y = _frozen_convolution(x, kernel, kernel_flipped, bias, padding, precision)
    # The parameters have no tangents (`_freeze`), so that of the input is all there is.
    forward, transpose = _Convolution(padding, precision, y.dtype), _InputGradient(padding, precision, x.dtype)
    return y, linear_map(forward, transpose, tangents[0], kernel, kernel_flipped)
