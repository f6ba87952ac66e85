"""Standard input, standard output and URLs: a run reads and writes files of a temporary folder in their place."""

import functools
import hashlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from jnst.batch import folders
from jnst.batch.discovery import check_path
from jnst.errors import ConfigError, ImageError, JnstError
from jnst.files import NamedFile
from jnst.images.formats import SUFFIXES

STREAM = "-"
# What messages and records call it.
_STANDARD_INPUT = "standard input"
# What `--format` may be: the suffixes without their dot.
FORMATS = tuple(suffix[1:] for suffix in SUFFIXES)
_KEPT = ".state"  # of no use once the run is over


def is_elsewhere(name: str) -> bool:
    """Whether a name is that of a stream or of a URL, and not of a file here."""
    return name == STREAM or folders.is_remote(name)


def stem_of(name: str) -> str:
    """What a result is called after: a file's or a URL's name without its suffix.

    >>> stem_of("https://example.org/a/photo.one.jpg?size=3"), stem_of("-"), stem_of("in/photo.png")
    ('photo.one', 'stdin', 'photo')
    """
    if name in (STREAM, _STANDARD_INPUT):
        return "stdin"
    return folders.name_parts(re.split("[?#]", name)[0])[0] if folders.is_remote(name) else Path(name).stem


class Streams:
    """The temporary folder of one run, to be used as a context.

    Args:
        output: what the user gave as the result, if anything.
        form: what the user gave as its format.

    Raises:
        ConfigError: the two do not go together, or standard output cannot take a picture.
    """

    def __init__(self, output: str | None, form: str | None) -> None:
        self._given, self.form = output, form or "png"
        self._inputs: dict[str, NamedFile] = {}
        if form is not None and output != STREAM:
            raise ConfigError("--format is for `-o -` alone; the suffix of OUT is its format")
        if output == STREAM and sys.stdout.isatty():
            raise ConfigError("standard output is a terminal; expected `-o - > OUT.png`, a pipe, or `-o OUT.png`")
        if output == STREAM and getattr(sys.stdout, "name", "") == os.devnull:
            raise ConfigError("standard output is closed; expected `-o - > OUT.png`, a pipe, or `-o OUT.png`")

    def __enter__(self) -> "Streams":
        return self

    def __exit__(self, *_: object) -> None:
        if "_folder" in self.__dict__:
            self._folder.cleanup()

    @functools.cached_property
    def _folder(self) -> "tempfile.TemporaryDirectory[str]":
        """Made when it is needed: what is read and written here does without."""
        return tempfile.TemporaryDirectory(prefix="jnst-", ignore_cleanup_errors=True)

    @property
    def elsewhere(self) -> bool:
        """Whether the result goes to a stream or a URL."""
        return self._given is not None and is_elsewhere(self._given)

    @property
    def standard_output(self) -> bool:
        """Whether the picture goes to standard output, which then takes nothing else."""
        return self._given == STREAM

    def fetch(self, name: str) -> Path | NamedFile:
        """A file here with the content of a stream or URL; any other name as a path.

        Raises:
            ConfigError: a path that no file can have, or a URL that nothing here can open.
            ImageError: the URL cannot be read, or there is nothing on standard input.
        """
        if not is_elsewhere(name):
            check_path(name)
            return Path(name)
        if name not in self._inputs:
            data = _read_stream() if name == STREAM else folders.read_bytes(name)
            path = Path(self._folder.name) / f"input{len(self._inputs)}"
            path.write_bytes(data)
            self._inputs[name] = NamedFile(path, _STANDARD_INPUT if name == STREAM else name)
        return self._inputs[name]

    def fetch_again(self, name: str, sha256: str | None) -> tuple[NamedFile, str]:
        """`fetch` of what the record of an earlier run names, and a notice where it has changed since."""
        file = self.fetch(name)
        assert isinstance(file, NamedFile)
        changed = sha256 not in (None, hashlib.sha256(Path(file).read_bytes()).hexdigest())
        return file, f"{name} has changed since that run; the result will differ" if changed else ""

    def place(self, default: str, *, overwrite: bool) -> Path:
        """Where the run writes its result: the file that was asked for, or one in the temporary folder.

        Args:
            default: what the result is called where the user gave no name.
            overwrite: whether what is at a URL may be replaced.

        Raises:
            ImageError: the URL cannot be written, or there is something.
        """
        given = self._given or default
        if not self.elsewhere:
            return Path(given)
        folder = Path(self._folder.name) / "output"
        folder.mkdir()
        if self.standard_output:
            return folder / f"standard-output.{self.form}"
        folders.check_writable_url(given, overwrite=overwrite)
        stem, suffix = folders.name_parts(given)
        return folder / (stem + suffix)

    def deliver(self, path: Path) -> None:
        """Sends what the run has written to where it was asked for.

        Raises:
            ImageError: it could not be sent; the picture is then kept here, and the message says where.
            BrokenPipeError: whoever read standard output has gone; the picture is kept too.
        """
        if not self.elsewhere:
            return
        try:
            if self.standard_output:
                sys.stdout.flush()
                sys.stdout.buffer.write(path.read_bytes())
                sys.stdout.buffer.flush()
                return
            for file in sorted(path.parent.iterdir()):
                if file.suffix != _KEPT:
                    # Not `join`: of memory://a.png, what is before the last slash is no URL.
                    folders.write_bytes(f"{str(self._given).rpartition('/')[0]}/{file.name}", file.read_bytes())
        except (OSError, ValueError, ImageError, KeyboardInterrupt) as error:
            kept = Path(tempfile.mkdtemp(prefix="jnst-rescued-")) / path.name
            shutil.copyfile(path, kept)
            what = "standard output" if self.standard_output else str(self._given)
            reason = getattr(error, "strerror", None) or (
                "interrupted" if isinstance(error, KeyboardInterrupt) else error
            )
            raise ImageError(f"{what} cannot be written: {reason}; the picture was saved as {kept} instead") from error


def check_elsewhere(streams: Streams, settings: dict[str, Any], *, resume: bool, beside: dict[str, bool]) -> None:
    """Raises ConfigError for flags that need a folder which the result does not lie in.

    Args:
        streams: of the run.
        settings: those of the command line, by path.
        resume: whether `--resume` is given.
        beside: flags that write files beside the result, and whether each is given.
    """
    if not streams.elsewhere:
        return
    where = "standard output" if streams.standard_output else "a URL"
    if resume:
        raise ConfigError(f"--resume needs the state that a run leaves beside OUT, and the result goes to {where}")
    flags = [flag for flag, given in beside.items() if given] + ["--save-every"] * bool(settings.get("run.save_every"))
    if streams.standard_output and flags:
        raise ConfigError(f"{flags[0]} writes files beside OUT, and the result goes to standard output; give `-o OUT`")


def _read_stream() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise JnstError("standard input is no picture; expected `jnst stylize - STYLE < PHOTO.jpg`, or a pipe")
    data = sys.stdin.buffer.read()
    if not data:
        raise ImageError("standard input is empty (0 bytes); expected a picture")
    return data
