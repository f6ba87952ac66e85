"""The network's parameters as they are used: a dictionary that shows itself in a line, and is a pytree as any other."""

import html
from typing import Any

import jax

_BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


class NetworkParams(dict[str, dict[str, jax.Array]]):
    """Arrays by convolution and part: "kernel", "bias", and whatever else `prepare_params` added.

    A dictionary in every respect but how it is shown, and a node of pytrees: `jit`, `vmap` and `tree.map` take it, and
    give back one of the same kind.

    >>> NetworkParams({"conv1_1": {"kernel": jax.numpy.ones((3, 3, 3, 64)), "bias": jax.numpy.ones(64)}})
    NetworkParams(conv1_1, 7.17 kB)
    """

    def __repr__(self) -> str:
        if not self:
            return "NetworkParams()"
        first, *others = self
        named = f"{len(self)} convolutions, {first} to {others[-1]}" if others else first
        return f"NetworkParams({named}, {_size(self)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """IPython would otherwise show a dictionary's contents, whatever its own `repr` says."""
        printer.text(repr(self))

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{_shape(layer.get('kernel'))}</td>"
            f"<td>{html.escape(', '.join(layer))}</td><td>{_size(layer)}</td></tr>"
            for name, layer in self.items()
        )
        head = "<tr><th>convolution</th><th>kernel</th><th>parts</th><th>memory</th></tr>"
        return f"<div>{html.escape(repr(self))}</div><table>{head}{rows}</table>"


def _shape(array: Any) -> str:
    return " × ".join(map(str, getattr(array, "shape", ())))


def _size(tree: Any) -> str:
    """Bytes of all arrays, short."""
    total = sum(getattr(leaf, "nbytes", 0) for leaf in jax.tree.leaves(dict(tree)))
    unit, name = next(((unit, name) for unit, name in _BYTES if total >= unit), (1.0, "bytes"))
    return f"{total / unit:.3g} {name}"


def _flatten(params: NetworkParams) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    names = tuple(sorted(params))
    return tuple(params[name] for name in names), names


def _flatten_with_keys(params: NetworkParams) -> tuple[tuple[tuple[Any, Any], ...], tuple[str, ...]]:
    names = tuple(sorted(params))
    return tuple((jax.tree_util.DictKey(name), params[name]) for name in names), names


def _unflatten(names: tuple[str, ...], layers: Any) -> NetworkParams:
    return NetworkParams(zip(names, layers, strict=True))


jax.tree_util.register_pytree_with_keys(NetworkParams, _flatten_with_keys, _unflatten, _flatten)
