"""What holds for every file of the package."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "jnst"

MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_a_module_and_what_it_offers_are_documented(module: str) -> None:
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{module} does not say what it is"
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, definitions) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{module}.{node.name} does not say what it is"


@pytest.mark.parametrize("module", MODULES)
def test_randomness_is_called_key_or_seed(module: str) -> None:
    """Inside JAX it is `key`, at the outermost functions `seed`, in every module and not in the public ones alone."""
    for node in ast.walk(ast.parse((PACKAGE / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.arg):
            assert node.arg not in ("rng", "random_state", "prng"), f"{module} takes {node.arg}; call it key or seed"
