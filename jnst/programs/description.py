"""What a program depends on and gives back, in JSON's types: static arguments, and the structures of pytrees."""

import json
import sys
from dataclasses import asdict, is_dataclass
from typing import Any

import jax

# The packages whose types results are made of.
_MAKERS = ("jnst", "optax", "jaxopt")


class NotKept(Exception):
    """The program depends on something that cannot be written down."""


def plain(value: Any) -> Any:
    """A static argument in JSON's types."""
    if is_dataclass(value) and not isinstance(value, type):
        value = [type(value).__qualname__, asdict(value)]
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError) as error:
        raise NotKept(f"{type(value)} is no static argument that can be written down") from error


def describe(tree: Any) -> Any:
    """The structure of a pytree in JSON's types, for `rebuild`."""
    node = tree.node_data()
    if node is None:
        return "*"
    kind, extra = node
    children = [describe(child) for child in jax.tree_util.treedef_children(tree)]
    if kind is type(None):
        return None
    if kind in (tuple, list):
        return [kind.__name__, children]
    if kind is dict:
        return ["dict", list(extra), children]
    name = f"{kind.__module__}:{kind.__qualname__}"
    if issubclass(kind, tuple):
        return ["named", name, children]
    if issubclass(kind, dict):
        return ["mapping", name, list(extra), children]
    if not children and extra == kind():
        return ["empty", name]
    raise NotKept(f"{name} has no description")


def rebuild(described: Any) -> Any:
    """A pytree of that structure."""
    if described in ("*", None):
        return described
    kind, *rest = described
    if kind in ("tuple", "list"):
        return {"tuple": tuple, "list": list}[kind](map(rebuild, rest[0]))
    if kind == "dict":
        return dict(zip(rest[0], map(rebuild, rest[1]), strict=True))
    module, _, name = rest[0].partition(":")
    found = getattr(sys.modules.get(module), name)
    if not isinstance(found, type) or module.partition(".")[0] not in _MAKERS:
        raise ValueError(f"{rest[0]} is no part of a program's results")
    if kind == "named":
        return found(*map(rebuild, rest[1]))
    if kind == "mapping":
        return found(zip(rest[1], map(rebuild, rest[2]), strict=True))
    return found()
