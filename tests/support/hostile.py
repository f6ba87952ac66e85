"""Values that people, programs and attackers write where something else belongs, for the small seeded fuzzers."""

import copy
import json
import random
import sys
from collections.abc import Callable
from typing import Any

from jnst.errors import JnstError


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    2**64 + 1,
    10**5000,
    -(10**400),
    0.5,
    float("inf"),
    float("nan"),
    "",
    "1e400",
    "\0",
    "a\x1b[31mb\n",
    "x" * 131_073,
    "../../etc",
    "\udc80.png",
    [],
    [[]],
    [None] * 3,
    {},
    {"": {}},
    nested(300),
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a tree of JSON types."""
    found = [path] if path else []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        found += places(value, (*path, key))
    return found


def mutate(tree: Any, generator: random.Random) -> Any:
    """A copy of the tree with one to three values replaced, removed, or added under another name."""
    tree = copy.deepcopy(tree)
    for _ in range(generator.randint(1, 3)):
        *parents, last = generator.choice(places(tree) or [("new",)])
        inner = tree
        for key in parents:
            inner = inner[key]
        action = generator.random()
        if action < 0.15 and isinstance(inner, dict):
            del inner[last]
        elif action < 0.25 and isinstance(inner, dict):
            inner[f"{last}s"] = inner[last]
        else:
            inner[last] = generator.choice(VALUES)
    return tree


def dumps(value: Any) -> str:
    """JSON of a value with whole numbers of any length, which Python's own module refuses to write."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(value)
    finally:
        sys.set_int_max_str_digits(limit)


def refusal(action: Callable[[], Any]) -> str | None:
    """The one sentence that the action is refused with, or None where it is not; any other error passes through."""
    try:
        action()
    except JnstError as error:
        return str(error)
    return None
