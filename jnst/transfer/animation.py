"""A run as a film: frames of one size through all scales, evenly spaced by how much the picture changes."""

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jnst.errors import JnstError
from jnst.files import NamedFile, check_path_given
from jnst.images.film import Frame, as_frame, check_film, film_format, load_frame, store_frame, write_film
from jnst.transfer.film_options import Film

# Frames put aside: enough to choose from, and a limit to the disk that a long run takes.
CAPACITY = 512
# Change between two looks at the picture, in grey levels, below which the next look may come later.
_VISIBLE = 0.5
_MOST_STEPS = 64


class _Kept(NamedTuple):
    """A frame put aside, and how far the picture had changed by then, in grey levels."""

    place: float
    path: Path


class Animation:
    """Records a run for a film (`jnst.stylize(…, animate=…)`).

    The length of the picture's way is the sum of its changes from look to look, each the root mean square over pixels
    and channels. The film's frames stand at equal distances along it, those between two looks blended from both: the
    first steps, which change most, take as much of the film as the many last ones, which change little.

    Frames are put aside on disk, in a folder for temporary files that goes with this object: at most 512, however long
    the run. Where there would be more, every other one is dropped. Where that disk is full, the run goes on, and there
    is no film: `write` says why.

    Args:
        path: film to be written at the end of the run, .mp4, .gif or .webp; None to call `write` oneself. One without a
            folder is in the folder at hand when the animation is made.
        seconds: length of the film, without the second for which its last frame stays.
        size: longer side of the film in pixels; by default the result's, but at most the format's usual one (.mp4
            1080, .webp 720, .gif 480). No larger than the result.
        overwrite: whether to replace a file that is there.

    Raises:
        ConfigError: for a length or a size that no film has.
        ImageError: for a suffix that names no format of films, or a place that is not writable.
        JnstError: for .mp4 where imageio-ffmpeg is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        seconds: float = 6.0,
        size: int | None = None,
        overwrite: bool = False,
    ) -> None:
        if path is not None:
            check_path_given(path)
        Film(Path() if path is None else Path(path), seconds, size)  # checks them
        if path is not None:
            check_film(path, overwrite=overwrite)
        self.path = None if path is None else Path(path)
        self._place = None if path is None else NamedFile(Path(os.path.abspath(path)), str(path))
        self.seconds, self.overwrite, self._longest = seconds, overwrite, size
        self._folder: Path | None = None
        self.begin((1, 1))

    def begin(self, size: tuple[int, int]) -> None:
        """Forgets what was recorded.

        Args:
            size: height and width of the result in pixels, to which the film's frames are fitted.
        """
        usual = 1080 if self.path is None else film_format(self.path).longest
        scale = min(1.0, (self._longest or usual) / max(size))
        self._size = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        for kept in getattr(self, "_kept", ()):
            kept.path.unlink(missing_ok=True)
        self._kept: list[_Kept] = []
        self._last: Frame | None = None
        self._problem = ""
        self._way, self._spacing, self._number = 0.0, 0.0, 0
        self.steps_ahead = 1

    def add(self, picture: np.ndarray) -> None:
        """Records the picture where it differs enough from the frame before.

        Afterwards `steps_ahead` says after how many steps the next picture is wanted. A frame that cannot be put aside
        does not end the run: `write` says why there is no film.

        Args:
            picture: RGB in [0, 1], height × width × 3, of any size.
        """
        if self._problem:
            return
        frame = as_frame(picture, self._size)
        if self._last is not None:
            change = float(np.sqrt(np.mean(np.square(np.subtract(frame, self._last, dtype=np.float32)))))
            self._way += change
            wanted = max(self._spacing, _VISIBLE)
            if change < wanted / 2:
                self.steps_ahead = min(2 * self.steps_ahead, _MOST_STEPS)
            elif change > wanted:
                self.steps_ahead = max(1, self.steps_ahead // 2)
        self._last = frame
        if not self._kept or self._way > self._kept[-1].place + self._spacing:
            try:
                self._keep(frame)
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """What was recorded goes: a full disk is better left to the picture itself."""
        folder = self._folder or "the folder for temporary files"
        self._problem = (
            f"frames of the film cannot be put aside in {folder}: {error.strerror or error}; set TMPDIR to a folder "
            "with more room"
        )
        for kept in self._kept:
            kept.path.unlink(missing_ok=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._kept, self._folder, self.steps_ahead = [], None, _MOST_STEPS

    def _keep(self, frame: Frame) -> None:
        path = self._make_folder() / f"{self._number}.png"
        self._number += 1
        store_frame(path, frame)
        self._kept.append(_Kept(self._way, path))
        while len(self._kept) > CAPACITY:
            self._spacing = max(2 * self._spacing, 2 * self._way / CAPACITY)
            self._thin_out()

    def _thin_out(self) -> None:
        """Drops frames that are too close to the one before; the first always stays."""
        near, self._kept = self._kept, []
        for kept in near:
            if not self._kept or kept.place > self._kept[-1].place + self._spacing:
                self._kept.append(kept)
            else:
                kept.path.unlink(missing_ok=True)

    def _make_folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="jnst-film-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def frames(self, count: int) -> Iterator[Frame]:
        """So many frames at equal distances along the picture's way, the first and the last one included.

        Args:
            count: two or more. A picture that never changed gives one frame.

        Returns:
            Frames of uint8, height × width × 3, made one at a time.

        Raises:
            JnstError: nothing was recorded, or could not be.
        """
        if self._problem:
            raise JnstError(self._problem)
        if self._last is None:
            raise JnstError("there is no frame for a film; pass the animation to a run first")
        looks = [*self._kept, _Kept(self._way, Path())]  # the last look may not have been put aside
        places = [look.place for look in looks]
        if self._way == 0:
            yield self._last
            return
        before, index = self._load(looks[0]), 0
        after = self._load(looks[1])
        for place in np.linspace(0, self._way, max(2, count)):
            while place > places[index + 1] and index + 2 < len(looks):
                index += 1
                before, after = after, self._load(looks[index + 1])
            distance = places[index + 1] - places[index]
            share = min(1.0, (place - places[index]) / distance) if distance > 0 else 1.0
            yield np.rint(before + share * (after - before)).astype(np.uint8)

    def _load(self, kept: _Kept) -> np.ndarray:
        try:
            frame: Any = self._last if kept.path == Path() else load_frame(kept.path)
        except OSError as error:
            raise JnstError(
                f"a frame of the film that was put aside in {self._folder} cannot be read: {error.strerror or error}"
            ) from error
        return frame.astype(np.float32)

    def write(self, path: str | os.PathLike[str] | None = None, *, overwrite: bool | None = None) -> None:
        """Writes the film.

        Args:
            path: .mp4, .gif or .webp; by default the one that the animation was made with.
            overwrite: whether to replace a file that is there; by default as the animation was made with.

        Raises:
            ImageError: for a suffix that names no format of films, or a place that is not writable.
            JnstError: nothing was recorded or could not be, there is no path, or what writes MP4 is not installed.
        """
        target = self._place if path is None else path
        if target is None:
            raise JnstError("the animation has no path; expected animation.write(PATH)")
        count = round(self.seconds * film_format(target).rate)
        write_film(target, self.frames(count), overwrite=self.overwrite if overwrite is None else overwrite)


def make_animation(animate: "str | os.PathLike[str] | Animation | None", size: tuple[int, int]) -> Animation | None:
    """What `stylize(animate=…)` records with, begun for a result of that height and width."""
    if animate is None:
        return None
    animation = animate if isinstance(animate, Animation) else Animation(animate)
    animation.begin(size)
    return animation
