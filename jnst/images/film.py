"""Films: frames of one size into MP4, GIF or WebP. MP4 needs imageio-ffmpeg, which enters here; the others Pillow."""

import contextlib
import importlib.util
import io
import itertools
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from jnst.errors import ImageError, JnstError, describe_unknown
from jnst.files import check_path_given, check_writable_file, write_atomically
from jnst.images.writing import quantize

Frame = npt.NDArray[np.uint8]


class FilmFormat(NamedTuple):
    """What a film of a format is like: frames a second, and its longer side in pixels where nothing else is asked for.

    A GIF counts in hundredths of a second and keeps every frame almost whole, so it is smaller and slower.
    """

    rate: int
    longest: int


FORMATS = {".mp4": FilmFormat(25, 1080), ".gif": FilmFormat(20, 480), ".webp": FilmFormat(25, 720)}


def film_format(path: str | os.PathLike[str]) -> FilmFormat:
    """The format that a path's suffix names.

    Raises:
        ImageError: it names none, or the path is empty.
    """
    check_path_given(path)
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ImageError(describe_unknown("film format", suffix or str(path), FORMATS))
    return FORMATS[suffix]


def check_film(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Finds out before any work whether a film can be written.

    Raises:
        ImageError: for a suffix that names no format of films, or a place that is not writable.
        JnstError: what writes MP4 is not installed.
    """
    film_format(path)
    if Path(path).suffix.lower() == ".mp4":
        _ffmpeg()
    check_writable_file(path, overwrite=overwrite)


def _ffmpeg() -> str:
    """The program that writes MP4, which imageio-ffmpeg brings or finds."""
    reason = "is not installed"
    if importlib.util.find_spec("imageio_ffmpeg") is not None:
        import imageio_ffmpeg  # pyright: ignore[reportMissingImports]

        try:
            return imageio_ffmpeg.get_ffmpeg_exe()
        except RuntimeError as error:
            reason = f"finds no ffmpeg ({str(error).partition(chr(10))[0]})"
    raise JnstError(
        f'a film in MP4 needs imageio-ffmpeg, which {reason}; `pip install "jnst[video]"` brings it, or choose .webp '
        "or .gif, which need nothing"
    )


def write_film(
    path: str | os.PathLike[str],
    frames: Iterable[Frame],
    *,
    rate: int | None = None,
    hold: float = 1.0,
    overwrite: bool = False,
) -> None:
    """Writes frames as MP4 (H.264), GIF or WebP by the path's suffix, atomically; GIF and WebP play again and again.

    Args:
        frames: height × width × 3, uint8, all of one size; taken one at a time (WebP: all at once).
        rate: frames a second; the format's own by default.
        hold: seconds for which the last frame stays.

    Raises:
        ImageError: everything that `check_film` finds, no frame, frames of several sizes, or a disk that is full.
        JnstError: what writes MP4 is not installed.
    """
    check_film(path, overwrite=overwrite)
    rate = rate or film_format(path).rate
    each = _checked(frames)
    try:
        data = _encode_mp4(each, rate, hold) if Path(path).suffix.lower() == ".mp4" else _encode(path, each, rate, hold)
        write_atomically(path, data)
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error


def _checked(frames: Iterable[Frame]) -> Iterator[Frame]:
    shape = None
    for frame in frames:
        shape = shape or frame.shape
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape != shape or shape[2] != 3:
            raise ImageError(
                f"frame is {frame.dtype} of shape {frame.shape}; expected uint8 and the first one's {shape}"
            )
        yield frame
    if shape is None:
        raise ImageError("a film needs at least one frame")


def _encode(path: str | os.PathLike[str], frames: Iterator[Frame], rate: int, hold: float) -> bytes:
    """GIF or WebP; the last frame is shown for longer."""
    form = Path(path).suffix[1:].upper()
    pictures = [_as_picture(frame, form) for frame in frames]
    durations = [round(1000 / rate)] * (len(pictures) - 1) + [max(round(1000 * hold), round(1000 / rate))]
    buffer = io.BytesIO()
    options = {"quality": 80, "method": 4} if form == "WEBP" else {"optimize": False}
    pictures[0].save(buffer, form, save_all=True, append_images=pictures[1:], duration=durations, loop=0, **options)
    return buffer.getvalue()


def _as_picture(frame: Frame, form: str) -> Image.Image:
    """A frame for Pillow; for GIF with 256 colours of its own, a third of the memory."""
    picture = Image.fromarray(frame)
    return picture.quantize(256, method=Image.Quantize.MEDIANCUT) if form == "GIF" else picture


def _encode_mp4(frames: Iterator[Frame], rate: int, hold: float) -> bytes:
    """H.264 of 8 bits with half the resolution in colour, which every player knows; its sides are even.

    The program is started directly: by way of imageio-ffmpeg Python would fork, which JAX's threads do not survive.
    """
    first = _even(next(frames))
    size = f"{first.shape[1]}x{first.shape[0]}"
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(rate), "-i", "-"]
    coded = ["-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    with tempfile.TemporaryDirectory(prefix="jnst-film-") as folder:
        target, complaints = Path(folder, "film.mp4"), Path(folder, "errors")
        command = [_ffmpeg(), "-y", "-loglevel", "error", *given, "-an", *coded, str(target)]
        with (
            complaints.open("wb") as errors,
            # In a session of its own, where a Ctrl-C does not reach it.
            subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors, start_new_session=True) as process,
        ):
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # its complaint says more
                last = first
                for last in itertools.chain([first], map(_even, frames)):
                    process.stdin.write(np.ascontiguousarray(last).data)
                for _ in range(round(hold * rate) - 1):
                    process.stdin.write(np.ascontiguousarray(last).data)
                process.stdin.close()
        if process.returncode:
            lines = complaints.read_text(errors="replace").strip().splitlines() or ["no reason given"]
            raise OSError(f"ffmpeg: {lines[-1]}")
        return target.read_bytes()


def _even(frame: Frame) -> Frame:
    """The frame with its last row or column once more where their number is odd."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def as_frame(picture: npt.ArrayLike, size: tuple[int, int]) -> Frame:
    """A picture of any size as a frame of height × width: uint8."""
    deep = quantize(picture)
    pixels = (deep >> 8).astype(np.uint8) if deep.dtype != np.uint8 else deep.astype(np.uint8, copy=False)
    if pixels.shape[:2] == size:
        return pixels
    resized = Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(resized)


def store_frame(path: Path, frame: Frame) -> None:
    """Puts a frame aside, losslessly and quickly."""
    Image.fromarray(frame).save(path, "PNG", compress_level=1)


def load_frame(path: Path) -> Frame:
    """A frame that was put aside."""
    with Image.open(path) as image:
        return np.asarray(image)
