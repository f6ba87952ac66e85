"""One picture to make: which files, with what, and what to write beside the result."""

from dataclasses import dataclass, field
from pathlib import Path

from jnst.config import Config
from jnst.files import NamedFile
from jnst.images.writing import Bits
from jnst.jobs.region_files import RegionFiles
from jnst.transfer.film_options import Film


@dataclass(frozen=True)
class Job:
    """One picture to make: which files, with what, and what to write beside the result."""

    content: Path | NamedFile
    styles: tuple[Path | NamedFile, ...]
    output: Path
    config: Config
    seed: int = 0
    style_weights: tuple[float, ...] | None = None
    weights_source: str = ""
    initial: Path | NamedFile | None = None
    overwrite: bool = False
    plot: bool = False
    sheet: bool = False
    bits: Bits = 8
    quality: int = 95
    allow_large: bool = False
    allow_damaged: bool = False
    notices: tuple[str, ...] = field(default=(), compare=False)
    choose_tile: bool = False
    memory: int | None = None
    checkpoint_every: float = 0.0
    resume: bool = False
    split_rows: bool = False
    # A texture's height and width: it is painted on a blank picture in place of the content.
    canvas: tuple[int, int] | None = None
    film: Film | None = None
    regions: RegionFiles | None = None
