"""A client program that names everything public passes mypy and pyright, both strict."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import jnst

CLIENT = Path(__file__).with_name("client.py")
ROOT = Path(__file__).parents[2]
# The checkout, wherever the installed package is.
PATHS = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])


def test_the_client_names_everything_public() -> None:
    tree = ast.parse(CLIENT.read_text(encoding="utf-8"))
    named = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "jnst"
    }
    assert set(jnst.__all__) <= named, f"client.py does not name {', '.join(sorted(set(jnst.__all__) - named))}"


def test_mypy_strict_finds_nothing(tmp_path: Path) -> None:
    # What is checked is the client; jnst's own files are followed for their types alone, and so are its libraries'.
    settings = tmp_path / "mypy.ini"
    quiet = "[mypy-jnst.*]\nfollow_imports = silent\n"
    settings.write_text(f"[mypy]\nstrict = true\nignore_missing_imports = true\n{quiet}", encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", str(settings), "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [*command, str(CLIENT)], capture_output=True, text=True, env=os.environ | {"MYPYPATH": str(ROOT)}, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_pyright_strict_finds_nothing(tmp_path: Path) -> None:
    project = {"include": [str(CLIENT)], "extraPaths": [str(ROOT)], "typeCheckingMode": "strict"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(project), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--project", str(tmp_path), "--pythonpath", sys.executable],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": PATHS},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_name_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    """The lazy names do not hide misspelt ones from a type checker."""
    program = tmp_path / "program.py"
    program.write_text("import jnst\n\njnst.stylise\n", encoding="utf-8")
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, str(program)]
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT)]}), encoding="utf-8")
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert '"stylise" is not a known attribute of module "jnst"' in done.stdout
