"""Programs kept on disk: the same results, found again by what they depend on, made anew where a file is damaged."""

import dataclasses
import functools
import os
import types
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from small import shallow, small_params

from jnst.config import compile_key
from jnst.errors import WeightsError
from jnst.loss.targets import make_targets
from jnst.programs import description
from jnst.programs import program as programs
from jnst.programs.program import Program, forget, kept_program
from jnst.runtime import cache_compiled, configure_jax
from jnst.transfer.loop import _advance, _advance_in_place
from jnst.transfer.state import init_state

traced: list[str] = []


class Pair(NamedTuple):
    """Two results by name."""

    first: jax.Array
    second: dict[str, jax.Array | None]


def _double(x: jax.Array, more: dict[str, jax.Array], *, factor: float = 2.0, extra: object = ()) -> Pair:
    traced.append("double")
    if x.shape == (3,):
        raise ValueError("three is too many")
    return Pair(factor * x, {"b": x + more["a"], "none": None})


double = Program(_double, static=("factor", "extra"), donate=("x",))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Iterator[Path]:
    """A cache of its own; JAX keeps its compilations elsewhere afterwards, as before."""
    before = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setenv("JNST_CACHE", str(tmp_path))
    monkeypatch.setattr(description, "_MAKERS", (*description._MAKERS, Pair.__module__.partition(".")[0]))
    monkeypatch.setattr(programs, "_code", None)
    configure_jax()
    forget()
    traced.clear()
    yield tmp_path / "compiled" / "programs"
    jax.config.update("jax_compilation_cache_dir", before)
    forget()


def files(cache: Path) -> list[Path]:
    return sorted(cache.glob("*")) if cache.exists() else []


def numbers(*values: float) -> jax.Array:
    return jnp.array(values, jnp.float32)


def test_a_program_is_traced_once_and_read_by_the_next_process(cache):
    for _ in range(2):
        forget()  # what another process begins with
        for _ in range(2):
            result = double(numbers(1, 2), {"a": numbers(5, 5)})
            assert isinstance(result, Pair)
            assert result.second["none"] is None
            np.testing.assert_array_equal(result.first, [2, 4])
            np.testing.assert_array_equal(result.second["b"], [6, 7])
    assert traced == ["double"]
    assert len(files(cache)) == 1


def test_memory_is_taken_over_as_by_the_jitted_function():
    given, kept = numbers(1, 2), {"a": numbers(5, 5)}
    double(given, kept)
    assert given.is_deleted()
    assert not kept["a"].is_deleted()


def test_all_that_a_program_depends_on_makes_another(cache, monkeypatch):
    def made() -> int:
        forget()
        return len(files(cache))

    double(numbers(1, 2), {"a": numbers(5, 5)})
    assert made() == 1
    changes = [
        lambda: double(numbers(1, 2), {"a": numbers(5, 5)}, factor=3.0),
        lambda: double(numbers(1, 2, 3, 4), {"a": numbers(5, 5, 5, 5)}),
        lambda: double(numbers(1, 2).astype(jnp.bfloat16), {"a": numbers(5, 5)}),
        lambda: double(numbers(1, 2), {"a": np.arange(2)}),
        lambda: double(numbers(1, 2), {"a": numbers(5, 5), "unused": numbers(1)}),
    ]
    for count, change in enumerate(changes, 2):
        change()
        assert made() == count
    with jax.default_matmul_precision("highest"):
        double(numbers(1, 2), {"a": numbers(5, 5)})
    assert made() == 7
    monkeypatch.setattr(programs, "_code", "edited")
    monkeypatch.setattr(programs, "_installed_code", lambda: "edited")
    double(numbers(1, 2), {"a": numbers(5, 5)})
    assert made() == 8
    np.testing.assert_array_equal(double(numbers(1, 2), {"a": numbers(5, 5)}, factor=3.0).first, [3, 6])


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "a folder", "a pipe", "a link"])
def test_a_damaged_file_is_made_again(cache, damage, tmp_path):
    double(numbers(1, 2), {"a": numbers(5, 5)})
    (file,) = files(cache)
    whole = file.read_bytes()
    if damage == "a folder":
        file.unlink()
        file.mkdir()
    elif damage in ("a pipe", "a link"):
        file.unlink()
        (tmp_path / "other").write_bytes(b"of the user")
        os.mkfifo(file) if damage == "a pipe" else file.symlink_to(tmp_path / "other")
    else:
        changed = whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]
        file.write_bytes({"cut": whole[:-9], "changed": changed, "empty": b""}[damage])
    forget()
    np.testing.assert_array_equal(double(numbers(1, 2), {"a": numbers(5, 5)}).first, [2, 4])
    assert len(traced) == 2
    if damage == "a link":
        assert file.read_bytes() == b"of the user"
    elif damage in ("cut", "changed", "empty"):
        assert file.read_bytes() != b""
        forget()
        double(numbers(1, 2), {"a": numbers(5, 5)})
        assert len(traced) == 2


def test_the_jitted_function_runs_where_no_program_can_be_kept(cache):
    x, more = numbers(1, 2), {"a": numbers(5, 5)}
    plain = Program(_double, static=("factor", "extra"))
    np.testing.assert_array_equal(jax.vmap(lambda one: plain(one, more).first)(x[None]), [[2, 4]])
    np.testing.assert_array_equal(jax.jit(lambda one: plain(one, more).first)(x), [2, 4])
    np.testing.assert_array_equal(jax.grad(lambda one: plain(one, more).first.sum())(x), [2, 2])
    np.testing.assert_array_equal(plain(x, more, extra=len).first, [2, 4])
    with jax.debug_nans(True):
        np.testing.assert_array_equal(plain(x, more).first, [2, 4])
        with pytest.raises(FloatingPointError):
            plain(x, more, factor=float("nan"))
    assert files(cache) == []
    jax.config.update("jax_compilation_cache_dir", None)
    np.testing.assert_array_equal(plain(x, more).first, [2, 4])
    assert files(cache) == []


def test_only_a_single_processor_keeps_programs(cache, monkeypatch):
    x, more = numbers(1, 2), {"a": numbers(5, 5)}
    plain = Program(_double, static=("factor", "extra"))
    device = jax.devices()[0]
    with jax.default_device(device):
        np.testing.assert_array_equal(plain(x, more).first, [2, 4])
    with jax.set_mesh(jax.make_mesh((1,), ("rows",), devices=[device])):
        np.testing.assert_array_equal(plain(x, more).first, [2, 4])
    for platforms in (["gpu"], ["cpu", "cpu"]):
        there = [types.SimpleNamespace(platform=platform) for platform in platforms]
        monkeypatch.setattr(programs.jax, "devices", lambda there=there: there)
        assert not programs._is_on_one_processor()
    monkeypatch.undo()
    assert files(cache) == []
    assert programs._is_on_one_processor()


def test_a_program_that_cannot_be_lowered_or_hashed_is_the_jitted_functions(cache, monkeypatch):
    make = export.export
    monkeypatch.setattr(export, "export", lambda function, platforms: make(function, platforms=["tpu"]))
    np.testing.assert_array_equal(double(numbers(1, 2), {"a": numbers(5, 5)}).first, [2, 4])
    with pytest.raises(ValueError, match="Non-hashable"):
        double(numbers(1, 2), {"a": numbers(5, 5)}, extra=[])


def test_code_that_was_installed_later_gets_no_program_of_this_process(cache, monkeypatch):
    assert programs._code is not None
    monkeypatch.setattr(programs, "_installed_code", lambda: "upgraded")
    np.testing.assert_array_equal(double(numbers(1, 2), {"a": numbers(5, 5)}).first, [2, 4])
    assert files(cache) == []
    monkeypatch.setattr(programs, "_code", None)
    np.testing.assert_array_equal(double(numbers(1, 2), {"a": numbers(5, 5)}, factor=3.0).first, [3, 6])
    assert files(cache) == []


def test_programs_may_be_forgotten_by_another_thread(monkeypatch):
    class Forgetting(dict):
        def __contains__(self, key: object) -> bool:
            found = super().__contains__(key)
            self.clear()
            return found

        def get(self, key: object, default: object = None) -> object:
            found = super().get(key, default)
            self.clear()
            return found

    monkeypatch.setattr(programs, "_known", Forgetting())
    for _ in range(3):
        np.testing.assert_array_equal(double(numbers(1, 2), {"a": numbers(5, 5)}).first, [2, 4])


def test_no_home_directory_is_no_matter_where_jax_has_another_cache(tmp_path, monkeypatch):
    def nowhere() -> Path:
        raise WeightsError("there is no home directory")

    monkeypatch.setattr(programs, "cache_directory", nowhere)
    np.testing.assert_array_equal(double(numbers(1, 2), {"a": numbers(5, 5)}).first, [2, 4])


def test_a_program_of_ones_own_keeps_none(cache, monkeypatch):
    """It may have exchanged functions of the package, which no hash of files tells."""
    monkeypatch.setattr(programs, "_code", None)
    jax.config.update("jax_compilation_cache_dir", None)
    cache_compiled()
    np.testing.assert_array_equal(double(numbers(1, 2), {"a": numbers(5, 5)}).first, [2, 4])
    assert files(cache) == []


def test_a_function_that_refuses_its_arguments_says_so(cache):
    for _ in range(2):
        with pytest.raises(ValueError, match="three is too many"):
            double(numbers(1, 2, 3), {"a": numbers(1, 2, 3)})
    assert files(cache) == []


def test_a_cache_that_cannot_be_written_keeps_nothing(cache, monkeypatch):
    def full(path: object, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(programs, "write_atomically", full)
    np.testing.assert_array_equal(double(numbers(1, 2), {"a": numbers(5, 5)}).first, [2, 4])
    assert files(cache) == []


def test_only_types_of_the_packages_that_make_results_are_rebuilt():
    @kept_program(static=())
    def give(x: jax.Array) -> Pair:
        return Pair(x, {})

    structure = jax.tree.structure(give(numbers(1)))
    described = description.describe(structure)
    assert jax.tree.structure(Pair(0, {})) == structure  # pyright: ignore[reportArgumentType]
    for name in ("subprocess:Popen", "os:system", "jnst.files:write_file", "jnst.nowhere:Thing"):
        with pytest.raises((ValueError, AttributeError)):
            description.rebuild(["named", name, described[2]])


@pytest.mark.parametrize("method", ["lbfgs", "adam"])
def test_the_loop_gives_the_same_bits_and_memory_as_the_jitted_function(cache, method):
    config = dataclasses.replace(shallow(), optimizer=dataclasses.replace(shallow().optimizer, method=method))
    rng = np.random.default_rng(0)
    content, style = rng.random((20, 28, 3), np.float32), rng.random((24, 24, 3), np.float32)
    static = {"config": compile_key(config), "optimizer": None, "capacity": 8}

    def begin() -> tuple:
        targets = make_targets(small_params(), content, style, config)
        return small_params(), targets, init_state(content, config), jnp.int32(5)

    kept = _advance(*begin(), **static)
    needs = _advance_in_place.compile(*begin(), **static).memory_analysis()
    assert len(files(cache)) == 5  # two targets, the state, two loops
    forget()
    again = _advance(*begin(), **static)
    jax.config.update("jax_compilation_cache_dir", None)
    plain = _advance(*begin(), **static)
    jax.tree.map(functools.partial(np.testing.assert_array_equal, strict=True), kept, plain)
    jax.tree.map(np.testing.assert_array_equal, again, plain)
    without = _advance_in_place.compile(*begin(), **static).memory_analysis()
    assert (needs.temp_size_in_bytes, needs.alias_size_in_bytes) == (
        without.temp_size_in_bytes,
        without.alias_size_in_bytes,
    )
