"""A linear function with a transpose of one's own, in every mode of differentiation.

`jax.custom_vjp` names the transpose too, but refuses forward mode (`jax.jvp`, and with it Hessian-vector products), and
`jax.custom_derivatives.linear_call` refuses `jax.vmap`. This primitive has all the rules.

What it computes is traced once, when a program is lowered, and then in the form for the platform that it is lowered for
(`jnst.devices.by_platform`): tracing every form of every convolution in each of the program's transformations took a
third of the time that tracing took.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jnst.devices import lowering_for

# From (x, *fixed) to an array; hashable, such as a function of a module or a frozen dataclass.
Linear = Callable[..., jax.Array]


def linear_map(forward: Linear, transpose: Linear, x: jax.Array, *fixed: jax.Array, like: Any) -> jax.Array:
    """forward(x, *fixed), whose input gradient for an output gradient g is transpose(g, *fixed).

    Args:
        forward: linear in its first argument; the result has as many axes as `x`.
        transpose: the transpose of `forward` in that argument, with a result of the shape and dtype of `x`.
        x: what is mapped.
        fixed: what else the functions depend on; differentiated by JAX's own rules for `forward`.
        like: something of the shape and dtype of the result.
    """
    return _linear_map.bind(
        x, *fixed, forward=forward, transpose=transpose, shape=tuple(like.shape), dtype=jnp.dtype(like.dtype)
    )


@dataclass(frozen=True)
class _Mapped:
    """The function over a leading axis of some of its arguments; equal to another one of the same parts."""

    function: Linear
    axes: tuple[int | None, ...]

    def __call__(self, *arguments: jax.Array) -> jax.Array:
        return jax.vmap(self.function, self.axes)(*arguments)


def _apply(x: jax.Array, *fixed: jax.Array, forward: Linear, **_: Any) -> jax.Array:
    return forward(x, *fixed)


def _abstract(x: Any, *fixed: Any, shape: tuple[int, ...], dtype: Any, **_: Any) -> Any:
    del fixed
    return x.update(shape=shape, dtype=dtype, weak_type=False)


def _jvp(primals: Any, tangents: Any, **functions: Any) -> Any:
    x, *fixed = primals
    tangent, *others = tangents
    y = _linear_map.bind(x, *fixed, **functions)
    parts = [] if type(tangent) is ad.Zero else [_linear_map.bind(tangent, *fixed, **functions)]
    moving = [index for index, other in enumerate(others) if type(other) is not ad.Zero]
    if moving:

        def of_moving(*moved: jax.Array) -> jax.Array:
            arguments = dict(enumerate(fixed)) | dict(zip(moving, moved, strict=True))
            return functions["forward"](x, *arguments.values())

        moved, changes = ([values[index] for index in moving] for values in (fixed, others))
        parts.append(jax.jvp(of_moving, moved, changes)[1])
    return y, sum(parts[1:], parts[0])


def _transpose(gradient: Any, x: Any, *fixed: Any, forward: Linear, transpose: Linear, **_: Any) -> Any:
    none = type(gradient) is ad.Zero
    pulled = ad.Zero(x.aval) if none else linear_map(transpose, forward, gradient, *fixed, like=x.aval)
    return [pulled, *(None for _ in fixed)]


def _batch(arguments: Any, axes: Any, *, forward: Linear, transpose: Linear, shape: tuple[int, ...], dtype: Any) -> Any:
    count = next(array.shape[axis] for array, axis in zip(arguments, axes, strict=True) if axis is not None)
    x, *fixed = (
        array if axis is None else jnp.moveaxis(array, axis, 0) for array, axis in zip(arguments, axes, strict=True)
    )
    if axes[0] is None:
        x = jnp.broadcast_to(x[None], (count, *x.shape))
    mapped = (0, *(None if axis is None else 0 for axis in axes[1:]))
    functions = {"forward": _Mapped(forward, mapped), "transpose": _Mapped(transpose, mapped)}
    return _linear_map.bind(x, *fixed, **functions, shape=(count, *shape), dtype=dtype), 0


def _lower(context: Any, *arguments: Any, **parts: Any) -> Any:
    platforms = context.module_context.platforms
    with lowering_for(platforms[0] if len(platforms) == 1 else None):
        return mlir.lower_fun(_apply, multiple_results=False)(context, *arguments, **parts)


_linear_map = Primitive("linear_map")
_linear_map.def_impl(_apply)
_linear_map.def_abstract_eval(_abstract)
ad.primitive_jvps[_linear_map] = _jvp
ad.primitive_transposes[_linear_map] = _transpose
batching.primitive_batchers[_linear_map] = _batch
mlir.register_lowering(_linear_map, _lower)
