"""Convolutions of a frozen network: kernels prepared once, an input gradient of their own, none for the parameters."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnst.array_types import FeatureMap, Params
from jnst.config import Precision
from jnst.devices import by_platform, check_platform, default_platform, row_parts
from jnst.errors import MASKED, JnstError, WeightsError, quote
from jnst.vgg.linear_map import linear_map
from jnst.vgg.packed_columns import columns_at_once, convolve_columns, pack_kernel
from jnst.vgg.params import NetworkParams
from jnst.vgg.row_batch import convolve_rows
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


def prepare_params(
    params: Mapping[str, Mapping[str, Any]], *, winograd: bool | None = None, platform: str | None = None
) -> NetworkParams:
    """Adds to every convolution the flipped kernel that its input gradient uses; takes NumPy arrays as well.

    Prepared once, outside any loop: XLA on CPU recognises a plain convolution with a ready kernel, but not one whose
    kernel is reversed inside a loop body, which runs many times slower.

    Args:
        params: a kernel (HWIO) and a bias per convolution.
        winograd: whether wide convolutions of blocks 2 to 4 also get kernels for Winograd's form, which float32 then
            uses: twice as fast on CPU, for 340 MB at VGG's full width. By default on CPU alone.
        platform: of the devices that programs will be compiled for: "cpu", "gpu" or "tpu"; by default that on which
            JAX puts arrays.

    Returns:
        The parameters on the device, by convolution. On CPU, narrow convolutions also have kernels for several columns
        at once (`jnst.vgg.packed_columns`).

    Raises:
        JnstError: where JAX cannot start the platform that JAX_PLATFORMS names, or these are no parameters.
        WeightsError: for a kernel or a bias of another shape or type.
    """
    check_platform()
    if not isinstance(params, Mapping) or not all(
        isinstance(name, str) and isinstance(layer, Mapping) and {"kernel", "bias"} <= layer.keys()
        for name, layer in params.items()
    ):
        raise JnstError(
            f"params is {type(params).__name__}; expected convolutions by name, each with its kernel and bias, such as "
            "those of jnst.load_params()"
        )
    on_cpu = (platform or default_platform()) == "cpu"
    if winograd is None:
        winograd = on_cpu
    prepared = NetworkParams()
    for name, layer in params.items():
        kernel, bias = _checked_layer(name, layer)
        prepared[name] = {
            "kernel": _on_device(kernel),
            "kernel_flipped": _on_device(flip_kernel(kernel)),
            "bias": _on_device(bias),
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


def _checked_layer(name: str, layer: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a convolution, float32; raises WeightsError where they cannot be those of one."""
    kernel, bias = (_real(f"the {part} of {quote(name)[1:-1]}", layer[part]) for part in ("kernel", "bias"))
    if kernel.ndim != 4 or kernel.shape[:2] != (3, 3):
        torch = kernel.ndim == 4 and kernel.shape[2:] == (3, 3)
        raise WeightsError(
            f"the kernel of {quote(name)[1:-1]} has shape {kernel.shape}; expected 3 × 3 × input × output channels"
            + ("; PyTorch has output channels first: kernel.transpose(2, 3, 1, 0)" if torch else "")
        )
    if bias.shape != kernel.shape[3:]:
        raise WeightsError(
            f"the bias of {quote(name)[1:-1]} has shape {bias.shape}; expected {kernel.shape[3:]}, one number for each "
            "output channel of the kernel"
        )
    return kernel, bias


def _real(what: str, array: Any) -> np.ndarray:
    """The array in float32; raises WeightsError for what is none, or holds anything but finite real numbers."""
    if isinstance(array, np.ma.MaskedArray):
        raise WeightsError(f"{what} {MASKED}")
    try:
        given = np.asarray(array)
    except Exception as error:  # arrays of other libraries raise what they like
        raise WeightsError(f"{what} is no array ({str(error).partition(chr(10))[0]})") from error
    if not (jnp.issubdtype(given.dtype, np.floating) or jnp.issubdtype(given.dtype, np.integer)):
        raise WeightsError(f"{what} holds {given.dtype}; expected real numbers")
    with np.errstate(over="ignore"):
        numbers = given.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise WeightsError(f"{what} holds numbers that are not finite in float32")
    return numbers


def plain_params(params: Params) -> Params:
    """The parameters without Winograd's kernels, for where rounding must not depend on a pixel's place in the array."""
    return NetworkParams(
        (name, {part: array for part, array in layer.items() if not part.startswith("winograd")})
        for name, layer in params.items()
    )


def cast_kernels(params: Params, precision: Precision) -> Params:
    """The parameters with kernels in the type that they are multiplied in, for a loop to read at every step.

    Cast inside the loop, they would be read as float32 and cast again at each step.
    """
    if precision != "bfloat16":
        return params
    return NetworkParams(
        (
            name,
            {part: layer[part].astype(jnp.bfloat16) for part in ("kernel", "kernel_flipped")} | {"bias": layer["bias"]},
        )
        for name, layer in params.items()
    )


def _convolve(x: Any, kernel: jax.Array, fast: jax.Array, padding: int, precision: Precision, parts: int) -> FeatureMap:
    """The convolution in the form that is fastest on the device that it is compiled for.

    Args:
        x: height × width × inputs.
        kernel: 3 × 3 × inputs × outputs.
        fast: the same kernel in a CPU's form, where there is one; else the kernel again.
        padding: zeros on all four sides.
        precision: of the products.
        parts: among how many devices the rows are divided.
    """
    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    product_precision = lax.Precision.HIGHEST if precision == "float32" else lax.Precision.DEFAULT

    def plain(x: Any, kernel: jax.Array, fast: jax.Array) -> FeatureMap:
        del fast
        return lax.conv_general_dilated(
            x[None].astype(dtype),
            kernel.astype(dtype),
            window_strides=(1, 1),
            padding=((padding, padding), (padding, padding)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=product_precision,
        )[0]

    def products(x: Any, kernel: jax.Array, fast: jax.Array) -> FeatureMap:
        del fast
        return convolve_by_products(x.astype(dtype), kernel.astype(dtype), padding)

    def blocks(x: Any, kernel: jax.Array, fast: jax.Array) -> FeatureMap:
        del kernel
        return (winograd_convolution if fast.ndim == 3 else convolve_columns)(x, fast, padding)

    def row_batch(x: Any, kernel: jax.Array, fast: jax.Array) -> FeatureMap:
        del fast
        return convolve_rows(x.astype(dtype), kernel.astype(dtype), padding, product_precision)

    forms: dict[str, Callable[[Any, jax.Array, jax.Array], FeatureMap]] = {}
    if fast.ndim == 3 or fast.shape[1] > 3:
        forms["cpu"] = blocks
    elif dtype == jnp.bfloat16 and parts == 1 and products_pay(*kernel.shape[2:]):
        forms["cpu"] = products
    if parts == 1:  # elsewhere the compiler divides the rows of a plain convolution among devices
        forms["tpu"] = row_batch
    return by_platform(x, kernel, fast, other=plain, **forms) if forms else plain(x, kernel, fast)


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
    kernels = frozen["kernel"], frozen["kernel_flipped"]
    fast = kernels
    if precision == "float32":
        form = next((form for form in ("winograd", "columns") if form in frozen), "kernel")
        fast = frozen[form], frozen.get(f"{form}_flipped", frozen["kernel_flipped"])
    dtype, parts = jnp.bfloat16 if precision == "bfloat16" else jnp.float32, row_parts()
    size = (side + 2 * padding - 2 for side in x.shape[:2])
    y = jax.ShapeDtypeStruct((*size, kernels[0].shape[3]), dtype)
    forward = _Convolution(padding, precision, y.dtype, parts)
    transpose = _InputGradient(padding, precision, x.dtype, parts)
    # The parameters have no tangents (`_freeze`), so that of the input is all there is.
    return linear_map(forward, transpose, x, *kernels, *fast, like=y) + frozen["bias"].astype(dtype)[None, None]


@dataclasses.dataclass(frozen=True)
class _Convolution:
    """The convolution as a linear function of its input, with a result of the given type."""

    padding: int
    precision: Precision
    dtype: Any
    parts: int

    def __call__(self, x: Any, kernel: Any, flipped: Any, fast: Any, fast_flipped: Any) -> jax.Array:
        del flipped, fast_flipped
        return _convolve(x, kernel, fast, self.padding, self.precision, self.parts).astype(self.dtype)


@dataclasses.dataclass(frozen=True)
class _InputGradient(_Convolution):
    """The transpose of `_Convolution`: the convolution with the flipped kernel."""

    def __call__(self, x: Any, kernel: Any, flipped: Any, fast: Any, fast_flipped: Any) -> jax.Array:
        del kernel, fast
        return _convolve(x, flipped, fast_flipped, 2 - self.padding, self.precision, self.parts).astype(self.dtype)
