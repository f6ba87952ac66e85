"""The house: a room imports only from floors below its own, and a guest enters by its door."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "jnst"
README = PACKAGE.parent / "README.md"

FLOORS: tuple[tuple[str, str], ...] = (
    ("cellar", "errors"),
    ("words", "arrays config"),
    (
        "ground",
        "buckets columns contact decoding disk extents files frequencies layers pairs pickles png16 products progress "
        "sharding winograd",
    ),
    (
        "pieces",
        "bands bigtiff catalogue checkpoints downloads entries flags frozen hdf5 losses manifest pools "
        "preprocessing presets resizing snapshots",
    ),
    ("engines", "edges imageio initial optimizers recipes vgg"),
    ("meaning", "grids memory objective plots remote weights"),
    ("targets", "conversion runs styles tiles"),
    ("descent", "descent planning"),
    ("around the descent", "lanes resume spatial"),
    ("transfer", "transfer"),
    ("work", "jobs tasks"),
    ("batches: a scale", "stages"),
    ("batches: a group", "painter"),
    ("batches: all", "batch workshop"),
    ("folders", "fleet folders"),
    ("commands", "cli_batch cli_plan cli_presets cli_targets cli_weights"),
    ("the main command", "cli_stylize"),
    ("roof", "__init__ cli"),
    ("entrance", "__main__"),
)
FLOOR = {room: number for number, (_, rooms) in enumerate(FLOORS) for room in rooms.split()}
# jax, numpy and jaxtyping are the language of the house; every other guest has its door.
DOORS = {
    "flax": {"vgg"},
    "h5py": {"hdf5"},
    "jaxopt": {"optimizers"},
    "matplotlib": {"plots"},
    "PIL": {"decoding", "imageio"},
    "tifffile": {"bigtiff", "imageio"},
    "fsspec": {"remote"},
    "ray": {"fleet"},
    # Three rooms only name the type of a transformation that the caller hands in.
    "optax": {"optimizers", "descent", "lanes", "transfer"},
}
ROOMS = sorted(path.stem for path in PACKAGE.glob("*.py"))


def imports(room: str) -> tuple[set[str], set[str]]:
    """Names of the rooms and of the guests that a room imports, wherever in its file; imports for types alone aside."""
    tree = ast.parse((PACKAGE / f"{room}.py").read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    modules: list[str] = []
    for node in set(ast.walk(tree)) - for_types:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{room} imports relatively"
            modules.append(node.module or "")
        elif isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
    rooms = {module.split(".")[1] for module in modules if module.startswith("jnst.")}
    guests = {module.split(".")[0] for module in modules} - {"jnst"} - set(sys.stdlib_module_names)
    return rooms, guests


def test_every_room_stands_on_one_floor() -> None:
    assert sorted(FLOOR) == ROOMS
    assert sum(len(rooms.split()) for _, rooms in FLOORS) == len(FLOOR)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_below(room: str) -> None:
    above = {other for other in imports(room)[0] if FLOOR[other] >= FLOOR[room]}
    assert not above, f"{room} (floor {FLOOR[room]}) imports {above}, which stand no lower"


@pytest.mark.parametrize("room", ROOMS)
def test_a_guest_enters_by_its_door(room: str) -> None:
    guests = imports(room)[1] - {"jax", "numpy", "jaxtyping"}
    assert guests <= set(DOORS), f"{room} lets in {guests - set(DOORS)}; give it a door"
    for guest in guests:
        assert room in DOORS[guest], f"{guest} enters by {DOORS[guest]}, not by {room}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_and_what_it_offers_are_documented(room: str) -> None:
    tree = ast.parse((PACKAGE / f"{room}.py").read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{room} does not say what it is"
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, definitions) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{room}.{node.name} does not say what it is"


@pytest.mark.parametrize("room", ROOMS)
def test_randomness_is_called_key_or_seed(room: str) -> None:
    """Inside JAX it is `key`, at the outermost functions `seed`, in every room and not in the public ones alone."""
    for node in ast.walk(ast.parse((PACKAGE / f"{room}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.arg):
            assert node.arg not in ("rng", "random_state", "prng"), f"{room} takes {node.arg}; call it key or seed"


def test_the_readme_shows_the_same_floors() -> None:
    text = README.read_text(encoding="utf-8")
    for floor, rooms in FLOORS:
        shown = ", ".join(f"`{room}`" for room in rooms.split())
        assert f"| {floor} | {shown} |" in text, f"the README's map lacks | {floor} | {shown} |"
