"""Every Python block and every command line of the README and the docs runs.

Blocks run in order, each page in a folder of its own with small pictures. Every command is read by its own parser as it
stands. Then it runs with what takes long made small and nothing else: networks are a sixteenth as wide with random
weights, losses look at `LAYERS` unless the example names its own, pictures are 32 pixels long, runs take one step at
one or two sizes. A command that needs another machine, a download or a server is not run; `PARSED_ONLY` says which and
why.
"""

import argparse
import contextlib
import functools
import importlib
import itertools
import os
import re
import runpy
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from markdown_blocks import PAGES, ROOT, Block, fenced_blocks, name_of
from oracles import paint
from PIL import Image

import jnst
import jnst.cli.main
from jnst.cli.flags import parse_layers
from jnst.presets.presets import PRESETS
from jnst.presets.resolve import resolve_run
from jnst.weights.network import describe_weights, random_weights
from jnst.weights.store import write_weights

SIDE = 32
# What the runs compute: enough for both terms and a pool, and compiled quickly.
LAYERS = {"--content-layers": "relu2_1", "--style-layers": "relu1_1,relu2_1"}
# Commands that make one picture, and all that are made small.
SINGLE = ("stylize", "texture", "reconstruct")
PAINTING = (*SINGLE, "batch", "plan", "targets", "inspect")
PARSED_ONLY = {
    r"\b(s3|gs)://": "other storage",
    r"--engine ray": "a Ray cluster; scripts/test_ray runs one",
    r"--shard auto": "other processes to find",
    r"^jnst weights fetch": "a download",
    r"^jnst studio": "a server that does not end",
    r"\b(FILE|NAME)\b": "a placeholder for a name of the reader's",
}
LANGUAGES = {"sh", "python", "csv", "json", "yaml", "text"}


def _blocks(page: Path, language: str) -> list[Block]:
    return [block for block in fenced_blocks(page.read_text(encoding="utf-8")) if block.language == language]


def _pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if _blocks(page, language)]


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights files of a sixteenth of the width, by architecture."""
    folder = tmp_path_factory.mktemp("weights")
    files = {}
    for architecture in ("vgg16", "vgg19"):
        files[architecture] = folder / f"tiny-{architecture}.h5"
        info = describe_weights(f"tiny-{architecture}", architecture, 1 / 16, "caffe")
        write_weights(files[architecture], random_weights(architecture, 1 / 16, 0), info)
    return files


@pytest.fixture
def example_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with what the examples read: pictures, folders of them, lists, a foreign weights file."""
    for name, subject in (("photo", "hills"), ("painting", "weave"), ("other", "marble")):
        Image.fromarray((paint(subject, 32, 40) * 255).astype(np.uint8)).save(tmp_path / f"{name}.jpg")
    for name, rows in (("sky", slice(0, 12)), ("face", slice(8, 20)), ("swirl", slice(16, 32)), ("map", slice(0, 20))):
        mask = np.zeros((32, 40, 3), np.uint8)
        mask[rows] = (255, 0, 0) if name == "map" else 255
        mask[20:, :, 2] |= np.uint8(255 * (name == "map"))
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
    for folder, names in (("photos", ("photo.jpg", "other.jpg")), ("styles", ("painting.jpg",))):
        (tmp_path / folder).mkdir()
        for name in names:
            shutil.copy(tmp_path / name, tmp_path / folder / name)
    shutil.copy(ROOT / "tests" / "golden" / "vgg19-zip.pth", tmp_path / "vgg19.pth")
    for page in PAGES:
        for block in fenced_blocks(page.read_text(encoding="utf-8")):
            if block.title:
                (tmp_path / block.title).write_text(block.body, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _commands(block: Block) -> Iterator[list[str]]:
    """The words of each command of a block; a trailing backslash or an indented line continues one."""
    for line in re.sub(r"\\\n", " ", block.body).splitlines():
        for command in line.split("&&"):
            words = shlex.split(command, comments=True)
            if words and words[0] == "time":
                words = words[1:]
            if words:
                yield words


def _value(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1] if flag in words else ""


def _made_small(words: list[str], tiny_weights: dict[str, Path]) -> list[str]:
    """The same command on a tiny network of few layers, a small picture and one step."""
    command, *rest = words
    # Writing MP4 needs a program that may not be installed; tests/images/test_film.py has it.
    rest = [re.sub(r"\.mp4$", ".webp", word) for word in rest]
    if "--animate" in rest and "--animate-seconds" not in rest:
        rest += ["--animate-seconds", "0.2"]
    network = _value(rest, "--network").partition("-")[0]
    architecture = network or PRESETS[_value(rest, "--preset") or "default"].network.architecture
    kept: list[str] = []
    skip = False
    for word in rest:
        # A run of one step leaves no state to resume from.
        if not skip and word not in ("--size", "--height", "--full-size", *(("--resume",) * (command in SINGLE))):
            kept.append(word)
        skip = word in ("--size", "--height")
    small = ["--size", str(SIDE)]
    if "--config" not in rest:
        small += ["--weights", str(tiny_weights[architecture])]
        for flag, layers in LAYERS.items():
            without = {"texture": "--content-layers", "reconstruct": "--", "inspect": "--"}.get(command, " ")
            small += [] if flag in rest or flag.startswith(without) else [flag, layers]
    if command in (*SINGLE, "batch"):
        small += ["--iterations", "1", "--scales", "2" if "--scales" in rest else "1"]
    if command in (*SINGLE, "batch", "targets", "inspect"):
        small += ["--overwrite", "--quiet"]
    return [command, *kept, *small]


def _parse(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Reads a command with its own parser and goes no further."""
    with monkeypatch.context() as patch:
        if words[0] in jnst.cli.main.COMMANDS:
            module = importlib.import_module(jnst.cli.main.COMMANDS[words[0]][0])
            patch.setattr(module, "run", lambda arguments: 0)
        return jnst.cli.main.main(words)


@functools.cache
def _resolves(preset: str, network: str | None, weights: str) -> None:
    """Preset and weights go together on a fresh machine, with nothing fetched."""
    resolve_run(preset, network=network, weights=weights)


def _run_jnst(words: list[str], tiny_weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a command with its `< FILE` and `> FILE`, run small or only parsed."""
    with contextlib.ExitStack() as opened, monkeypatch.context() as patch:
        for sign, stream, mode in (("<", "stdin", "r"), (">", "stdout", "w")):
            if sign in words:
                place = words.index(sign)
                patch.setattr(sys, stream, opened.enter_context(open(words[place + 1], mode)))
                words = [*words[:place], *words[place + 2 :]]
        return _run_words(words, tiny_weights, monkeypatch)


def _run_words(words: list[str], tiny_weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> int:
    if words[0] in PAINTING and _value(words, "--weights") != "FILE":
        preset, network = _value(words, "--preset") or "default", _value(words, "--network") or None
        _resolves(preset, network, _value(words, "--weights") or "auto")
    line = shlex.join(["jnst", *words])
    if (status := _parse(words, monkeypatch)) or any(re.search(pattern, line) for pattern in PARSED_ONLY):
        return status
    if words[0] in PAINTING and "--help" not in words:
        words = _made_small(words, tiny_weights)
    return jnst.cli.main.main(words)


class _ParsedError(Exception):
    """The script's arguments have been read."""


def _parse_script(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a Python script until its parser has accepted the arguments."""
    script = ROOT / words[0]
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self: argparse.ArgumentParser, *given: Any) -> None:
        parse(self, *given)
        raise _ParsedError

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        patch.setattr(os, "execve", lambda *command: None)  # a script that starts itself again with large pages
        patch.setattr(sys, "argv", [str(script), *words[1:]])
        patch.setattr(sys, "path", [str(script.parent), *sys.path])
        # PyTorch is no dependency of ours; the flags of a script that runs in its environment are checked all the same.
        for name in ("torch", "torch.nn"):
            patch.setitem(sys.modules, name, mock.MagicMock())
        with pytest.raises(_ParsedError):
            runpy.run_path(str(script), run_name="__main__")


def _check_install(words: list[str]) -> None:
    """The extras that an installation asks for exist."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for word in words:
        for extra in re.findall(r"^(?:\.|jnst)\[(.*)\]$", word):
            assert set(extra.split(",")) <= set(project["optional-dependencies"]), f"there is no extra {extra}"


@pytest.mark.parametrize("page", _pages_with("sh"), ids=name_of)
def test_every_command_line_runs(
    page: Path,
    example_folder: Path,
    tiny_weights: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failed = []
    for block in _blocks(page, "sh"):
        for command in _commands(block):
            # NAME=VALUE before the program sets a variable of its environment.
            program, *words = itertools.dropwhile(lambda word: re.match(r"[A-Z_]+=", word), command)
            line = shlex.join([program, *words])
            if program == "jnst":
                if status := _run_jnst(words, tiny_weights, monkeypatch):
                    failed.append(f"{line}: exit code {status}: {capsys.readouterr().err.strip()[-300:]}")
            elif program.startswith("./scripts/"):
                assert os.access(ROOT / program, os.X_OK), f"{program} cannot be run"
            elif program == "python":
                _parse_script(words, monkeypatch)
            elif program == "pip":
                _check_install(words)
            else:
                pytest.fail(f"{name_of(page)}, line {block.line}: no rule says how to check {program}")
            capsys.readouterr()
    assert not failed, "\n".join([name_of(page), *failed])


@pytest.mark.parametrize("page", _pages_with("python"), ids=name_of)
def test_every_python_block_runs(
    page: Path,
    example_folder: Path,
    tiny_weights: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    load_preset = jnst.load_preset

    def small_preset(preset: str = "default", **settings: Any) -> Any:
        weights = tiny_weights[PRESETS[preset].network.architecture]
        few = {flag[2:].replace("-", "_"): parse_layers(layers) for flag, layers in LAYERS.items()}
        return load_preset(preset, **(few | settings | {"weights": weights, "size": SIDE, "steps": 1, "scales": 1}))

    monkeypatch.setattr(jnst, "load_preset", small_preset)
    names: dict[str, Any] = {"__name__": "example"}
    for block in _blocks(page, "python"):
        # Lines are numbered as in the page, so that a traceback shows where it went wrong.
        code = compile("\n" * block.line + block.body, str(page), "exec")
        exec(code, names)
    assert all(np.isfinite(result.image).all() for result in names.values() if isinstance(result, jnst.Result))
    capsys.readouterr()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_its_language(page: Path) -> None:
    for block in fenced_blocks(page.read_text(encoding="utf-8")):
        assert block.language in LANGUAGES, f"{name_of(page)}, line {block.line}: {block.language or 'no language'}"
