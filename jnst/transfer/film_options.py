"""What is asked of a film; a module without imports that take time, as the command line reads it first."""

from dataclasses import dataclass
from pathlib import Path

from jnst.config_fields import require


@dataclass(frozen=True)
class Film:
    """A film to write beside a picture.

    path: where, by its suffix .mp4, .gif or .webp.
    seconds: how long, without the second for which its last frame stays.
    size: longer side in pixels; None for the usual one.

    Raises:
        ConfigError: for a length or a size that no film has.
    """

    path: Path
    seconds: float = 6.0
    size: int | None = None

    def __post_init__(self) -> None:
        require(0 < self.seconds <= 600, f"film length is {self.seconds} seconds; expected above 0 and at most 600")
        require(self.size is None or 16 <= self.size <= 4096, f"film size is {self.size} pixels; expected 16 to 4096")
