"""What holds for every file of the package."""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "jnst"
PYPROJECT = ROOT / "pyproject.toml"
# Libraries whose arrays and types every package speaks.
EVERYWHERE = {"jax", "jaxtyping", "numpy"}

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


def _lint_imports(config: Path, where: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the package in a folder; in a process of its own, whose output it may take over."""
    program = "import sys; from importlinter.cli import lint_imports_command as run; sys.exit(run())"
    return subprocess.run(
        [sys.executable, "-c", program, "--config", str(config), "--no-cache"],
        capture_output=True,
        text=True,
        cwd=where,
        env=os.environ | {"PYTHONPATH": str(where)},
    )


def test_imports_keep_the_order_of_the_packages() -> None:
    """The contracts of pyproject.toml: no import climbs, and each outside library enters by its own package."""
    done = _lint_imports(PYPROJECT, ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def _outside_imports() -> dict[str, list[str]]:
    """Outside libraries by name, each with the modules that import it."""
    found: dict[str, list[str]] = {}
    for module in MODULES:
        for node in ast.walk(ast.parse((PACKAGE / module).read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                names.append(node.module)
            for name in names:
                library = name.partition(".")[0]
                if library != "jnst" and library not in sys.stdlib_module_names:
                    found.setdefault(library, []).append(module)
    return found


def test_every_outside_library_has_a_contract() -> None:
    contracts = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    held = {library for contract in contracts for library in contract.get("forbidden_modules", ())}
    outside = _outside_imports()
    free = set(outside) - held - EVERYWHERE
    assert not free, "no contract in pyproject.toml says which package may import " + "; ".join(
        f"{library} (used by {', '.join(outside[library])})" for library in sorted(free)
    )
    assert {"flax", "PIL"} <= set(outside)  # the search finds something


def test_an_import_that_climbs_is_found(tmp_path: Path) -> None:
    """The check itself: a package of two layers whose lower one imports the upper one is refused."""
    package = tmp_path / "climber"
    package.mkdir()
    for module, text in (("__init__", ""), ("upper", ""), ("lower", "import climber.upper\n")):
        (package / f"{module}.py").write_text(text, encoding="utf-8")
    config = tmp_path / "pyproject.toml"
    lines = ("[[tool.importlinter.contracts]]", 'name = "order"', 'type = "layers"')
    layers = "\n".join((*lines, 'layers = ["climber.upper", "climber.lower"]'))
    config.write_text(f'[tool.importlinter]\nroot_package = "climber"\n{layers}\n', encoding="utf-8")
    done = _lint_imports(config, tmp_path)
    assert done.returncode == 1
    assert "climber.lower is not allowed to import climber.upper" in done.stdout
