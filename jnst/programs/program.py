"""Traced programs kept on disk, beside the compilations that JAX keeps.

JAX keeps what it compiled, but a new process has to trace and lower a program again to find it, which takes several
times as long as reading it. So a `Program` keeps what was lowered as well, as StableHLO (`jax.export`), under the hash
of everything that it depends on. Only a single processor keeps it: nothing else was at hand to try it on, and its
results are bound to their device, which matters where there are several.
"""

import functools
import hashlib
import importlib.metadata
import inspect
import json
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar

import jax
import numpy as np
from jax.core import Tracer

from jnst.errors import JnstError
from jnst.files import cache_directory, check_length, check_regular, write_atomically
from jnst.programs.description import describe, plain, rebuild

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# Where JAX looks into a call itself, it has to be the jitted function's.
_WATCHED = ("jax_debug_nans", "jax_debug_infs", "jax_disable_jit", "jax_check_tracer_leaks", "jax_log_compiles")
_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "jaxopt", "numpy")


class _Kept(NamedTuple):
    """A compiled program that takes and gives leaves, and the structure of what it gives."""

    compiled: Any
    structure: Any


# The kept programs of this process, and those that cannot be kept, by what `Program._find` asks for.
_known: dict[Any, _Kept | None] = {}


# Hash of the code that this process runs, where it is a command of jnst: a program of one's own may have exchanged
# functions of the package, which the hash of its files does not tell.
_code: str | None = None


def keep_programs() -> None:
    """Has this process keep programs, and use those that were kept: at the start of a command, when the files are those
    that it runs."""
    global _code
    _code = _code or _installed_code()


def forget() -> None:
    """Drops the kept programs of this process, as `jax.clear_caches` does its own."""
    _known.clear()


class Program(Generic[Arguments, Result]):
    """A function under `jax.jit` whose lowered program is kept on disk where jnst has JAX keep its compilations.

    It is called as the jitted function is, and has its other methods (`lower`, `trace`). The jitted function itself
    runs outside the commands of jnst, and where no program can be kept: inside another trace, on several devices or not
    on a CPU, with functions or terms of a caller among what it depends on, or while JAX looks for NaN.

    Args:
        function: of arrays and pytrees of arrays by position, and of static arguments by name.
        static: names of the static arguments.
        donate: names of the arguments whose memory the result takes over.
    """

    def __init__(
        self, function: Callable[Arguments, Result], *, static: Sequence[str], donate: Sequence[str] = ()
    ) -> None:
        functools.update_wrapper(self, function)
        self._function, self._donate = function, tuple(donate)
        self._jitted = jax.jit(function, static_argnames=tuple(static), donate_argnames=self._donate)
        self._names = tuple(inspect.signature(function).parameters)

    def __call__(self, *arguments: Arguments.args, **static: Arguments.kwargs) -> Result:
        kept = self._find(arguments, static)
        if kept is None:
            return self._jitted(*arguments, **static)
        return jax.tree.unflatten(kept.structure, kept.compiled(*jax.tree.leaves(arguments)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._jitted, name)

    def compile(self, *arguments: Arguments.args, **static: Arguments.kwargs) -> Any:
        """The compiled program that a call with such arguments runs; its figures, not to be called."""
        kept = self._find(arguments, static)
        return self._jitted.lower(*arguments, **static).compile() if kept is None else kept.compiled

    def _find(self, arguments: tuple[Any, ...], static: dict[str, Any]) -> _Kept | None:
        """The program, of this process or of the disk or made now; None where none can be kept."""
        folder = _folder()
        leaves, tree = jax.tree.flatten(arguments)
        if folder is None or not all(map(_is_here, leaves)) or not _is_on_one_processor():
            return None
        configuration = _configuration()
        if not configuration or any(configuration.get(name, "False") != "False" for name in _WATCHED):
            return None
        kinds = tuple(map(jax.typeof, leaves))
        key = (self, tree, kinds, tuple(static.items()), tuple(configuration.values()))
        try:
            kept: Any = _known.get(key, self)  # once: another thread may `forget`
        except TypeError:  # what cannot be hashed is the jitted function's to refuse
            return None
        if kept is self:
            try:
                exported, structure = self._read_or_make(folder, arguments, kinds, static, configuration)
                program = jax.jit(exported.call, donate_argnums=self._donated(arguments))
                kept = _Kept(program.lower(*map(_abstract, kinds)).compile(), structure)
            except Exception:  # no fault of this file, and no version of JAX in which it does not work, ends a run
                kept = None
            _known[key] = kept
        return kept

    def _donated(self, arguments: tuple[Any, ...]) -> list[int]:
        """Which leaves of the arguments the result takes over."""
        sizes = [len(jax.tree.leaves(argument)) for argument in arguments]
        spans = zip(self._names, np.cumsum(sizes) - sizes, sizes, strict=False)
        return [int(first + place) for name, first, size in spans if name in self._donate for place in range(size)]

    def _read_or_make(
        self,
        folder: Path,
        arguments: tuple[Any, ...],
        kinds: tuple[Any, ...],
        static: dict[str, Any],
        configuration: dict[str, str],
    ) -> tuple[Any, Any]:
        """The program as `jax.export` has it, and the structure of its results."""
        depends = {
            "program": f"{self._function.__module__}.{self._function.__qualname__}",
            "donated": self._donate,
            "code": _code,
            "configuration": configuration,
            "arguments": describe(jax.tree.structure(arguments)),
            "arrays": [(kind.shape, str(kind.dtype), bool(kind.weak_type)) for kind in kinds],
            "static": {name: plain(value) for name, value in sorted(static.items())},
        }
        path = folder / hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
        found = _read(path)
        if found is None:
            found = self._make(arguments, kinds, static)
            if _installed_code() == _code:  # not where other code has been installed since this process began
                _write(path, *found)
        return found

    def _make(self, arguments: tuple[Any, ...], kinds: tuple[Any, ...], static: dict[str, Any]) -> tuple[Any, Any]:
        from jax import export

        tree, structures = jax.tree.structure(arguments), []

        def flat(*leaves: Any) -> list[Any]:
            results, structure = jax.tree.flatten(self._function(*jax.tree.unflatten(tree, leaves), **static))
            structures.append(structure)
            return results

        exported = export.export(jax.jit(flat), platforms=["cpu"])(*map(_abstract, kinds))
        return exported, structures[-1]


def kept_program(
    *, static: Sequence[str], donate: Sequence[str] = ()
) -> Callable[[Callable[Arguments, Result]], Program[Arguments, Result]]:
    """Makes a `Program` of the function below it."""

    def make(function: Callable[Arguments, Result]) -> Program[Arguments, Result]:
        return Program(function, static=static, donate=donate)

    return make


def _folder() -> Path | None:
    """Where a command keeps programs: nowhere unless JAX keeps its compilations in our cache."""
    compilations = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    try:
        if not _code or not compilations or compilations != os.path.abspath(cache_directory() / "compiled"):
            return None
    except (JnstError, OSError):  # there is no home directory, or no working directory
        return None
    return Path(compilations, "programs")


def _configuration() -> dict[str, str]:
    """JAX's settings as they hold here; any of them may change what is traced. None where JAX does not list them."""
    return {name: repr(getattr(jax.config, name, None)) for name in getattr(jax.config, "values", ())}


def _is_here(leaf: Any) -> bool:
    """Whether that is an array with numbers, and where it has a place, that is the first device alone."""
    if isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer):
        return isinstance(leaf.sharding, jax.sharding.SingleDeviceSharding) and leaf.devices() == {jax.devices()[0]}
    return isinstance(leaf, np.ndarray | np.generic)


def _is_on_one_processor() -> bool:
    """Whether JAX's only device is a processor, and nothing around the call asks for another or for a mesh."""
    return (
        [device.platform for device in jax.devices()] == ["cpu"]
        and jax.config.jax_default_device is None  # pyright: ignore[reportAttributeAccessIssue]
        and jax.sharding.get_abstract_mesh().empty
    )


def _abstract(kind: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(kind.shape, kind.dtype, weak_type=kind.weak_type)


def _installed_code() -> str | None:
    """Hash of the package's source and of its libraries' versions, as they are on disk; None where they are not."""
    try:
        digest = hashlib.sha256()
        for name in _LIBRARIES:
            digest.update(f"{name} {importlib.metadata.version(name)}\n".encode())
        files = sorted(Path(__file__).parents[1].rglob("*.py"))
        for file in files:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    except Exception:  # metadata that is missing or damaged raises what it likes
        return None
    return digest.hexdigest() if files else None


def _read(path: Path) -> tuple[Any, Any] | None:
    """The program of a file; None where there is none that is whole."""
    from jax import export

    try:
        check_regular(path)
        check_length(path, "a program")
        content = path.read_bytes()
        head, _, body = content[32:].partition(b"\n")
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            return None
        return export.deserialize(bytearray(body)), jax.tree.structure(rebuild(json.loads(head)))
    except Exception:  # whatever is wrong with the file, the program is made again
        return None


def _write(path: Path, exported: Any, structure: Any) -> None:
    """Keeps the program; where the disk does not take it, it is made again the next time."""
    content = json.dumps(describe(structure)).encode() + b"\n" + bytes(exported.serialize())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            return  # through a link another file would be replaced
        write_atomically(path, hashlib.sha256(content).digest() + content)
    except OSError:
        pass
