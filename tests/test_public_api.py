"""The public list, pinned, and the conventions that every public function keeps."""

import ast
import importlib
import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jnst

PUBLIC = [
    "Animation",
    "ArrayError",
    "BatchSnapshot",
    "Config",
    "ConfigError",
    "ImageError",
    "Inspection",
    "JnstError",
    "LossTerms",
    "LossWeights",
    "NetworkConfig",
    "PRESETS",
    "Progress",
    "Region",
    "Result",
    "Snapshot",
    "StyleTargets",
    "Targets",
    "TargetsError",
    "Term",
    "TransferState",
    "VGG",
    "WeightsError",
    "advance",
    "color_mask",
    "content_loss",
    "decode",
    "encode",
    "extract_features",
    "features",
    "gram_matrix",
    "image_mesh",
    "init_state",
    "inspect",
    "layer_names",
    "load_params",
    "load_preset",
    "loss_terms",
    "make_targets",
    "match_colors",
    "prepare_params",
    "prepare_style",
    "read_image",
    "read_style",
    "reconstruct",
    "row_mesh",
    "style_loss",
    "stylize",
    "stylize_batch",
    "texture",
    "total_variation",
    "weigh",
    "write_image",
    "write_style",
]
FUNCTIONS = [name for name in PUBLIC if inspect.isfunction(getattr(jnst, name, None))]


def function(name: str) -> Callable[..., Any]:
    return getattr(jnst, name)


def test_the_public_list_is_pinned() -> None:
    assert jnst.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(jnst))


def test_a_name_that_does_not_exist_lists_those_that_do() -> None:
    with pytest.raises(AttributeError, match="module 'jnst': unknown name 'stylise'; did you mean 'stylize'"):
        _ = jnst.stylise  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(AttributeError, match=f"known are: {', '.join(PUBLIC)}"):
        _ = jnst.qqq  # pyright: ignore[reportAttributeAccessIssue]


def test_the_version_is_that_of_the_package() -> None:
    assert jnst.__version__ == importlib.metadata.version("jnst")


def test_the_package_says_that_it_is_typed() -> None:
    assert Path(jnst.__file__ or "").with_name("py.typed").is_file()


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_is_the_one_that_its_module_defines(name: str) -> None:
    module = importlib.import_module(jnst._MODULES[name])
    value = getattr(jnst, name)
    assert value is getattr(module, name)
    # Constants and aliases of types do not know their module.
    statements = ast.parse(inspect.getsource(module)).body
    assigned = [ast.unparse(one.target) for one in statements if isinstance(one, ast.AnnAssign)]
    assert name in assigned or value.__module__ == module.__name__


def test_every_error_is_a_jnst_error_and_a_value_error() -> None:
    errors = [getattr(jnst, name) for name in PUBLIC if name.endswith("Error")]
    assert all(issubclass(error, jnst.JnstError) for error in errors)
    assert all(issubclass(error, ValueError) for error in errors if error is not jnst.JnstError)


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_is_documented(name: str) -> None:
    if name != "PRESETS":
        assert (inspect.getdoc(getattr(jnst, name)) or "").strip(), f"{name} has no docstring"


def documented_functions() -> dict[str, Callable[..., Any]]:
    """Every public function, and every public method of a public class."""
    found = {name: function(name) for name in FUNCTIONS}
    for name in PUBLIC:
        kind = getattr(jnst, name)
        if inspect.isclass(kind):
            methods = {key: value for key, value in vars(kind).items() if inspect.isfunction(value) and key[0] != "_"}
            found |= {f"{name}.{key}": value for key, value in methods.items()}
    return found


def section(docstring: str, title: str) -> str:
    """The indented lines below a title such as "Args:"."""
    found = re.search(rf"^{title}:\n((?:    .*\n|\n)*)", f"{docstring}\n", re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.parametrize("name", documented_functions())
def test_every_parameter_and_what_is_returned_are_documented(name: str) -> None:
    one = documented_functions()[name]
    docstring, signature = inspect.getdoc(one) or "", inspect.signature(one)
    told = section(docstring, "Args")
    missing = [key for key in signature.parameters if key != "self" and not re.search(rf"^    {key}:", told, re.M)]
    assert not missing, f"{name}: the docstring says nothing of {', '.join(missing)}"
    if signature.return_annotation not in (None, "None"):
        assert section(docstring, "Returns"), f"{name}: the docstring does not say what is returned"


@pytest.mark.parametrize("name", [name for name in PUBLIC if inspect.isclass(getattr(jnst, name))])
def test_every_field_of_a_public_class_is_documented(name: str) -> None:
    kind = getattr(jnst, name)
    fields = set(getattr(kind, "_fields", getattr(kind, "__dataclass_fields__", {})))
    if name == "VGG":  # two fields are Flax's own
        fields -= {"parent", "name"}
    missing = [field for field in sorted(fields) if not re.search(rf"\b{field}\b", inspect.getdoc(kind) or "")]
    assert not missing, f"{name}: the docstring says nothing of {', '.join(missing)}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_options_are_keyword_only(name: str) -> None:
    # What one reaches for first may stand without its name: which preset, which weights, a file's path.
    free = {
        "load_preset": {"preset"},
        "load_params": {"weights"},
        "image_mesh": {"devices"},
        "row_mesh": {"devices"},
    }
    for parameter in inspect.signature(function(name)).parameters.values():
        if parameter.default is not inspect.Parameter.empty:
            keyword_only = parameter.kind is inspect.Parameter.KEYWORD_ONLY
            assert keyword_only or parameter.name in free.get(name, set()), f"{name}: {parameter.name}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_randomness_is_called_key_or_seed(name: str) -> None:
    assert not {"rng", "generator", "random_state"} & set(inspect.signature(function(name)).parameters)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_params_come_first(name: str) -> None:
    names = list(inspect.signature(function(name)).parameters)
    assert "params" not in names[1:]


def test_importing_jnst_touches_nothing() -> None:
    script = "import sys, jnst; print(sorted({'jax', 'flax', 'PIL', 'h5py', 'numpy'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


@pytest.mark.parametrize(("first", "level"), [("", "3"), ("import jax", "1")])
def test_xla_does_not_talk_of_machine_names_unless_jax_came_first(first: str, level: str) -> None:
    program = f"import os\n{first}\nimport jnst\njnst.Config\nimport jax\nprint(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    shown = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == level
