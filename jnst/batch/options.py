"""What is the same for all entries of a job."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """What is the same for all entries of a job.

    `output` is a folder or its URL; with `batch_size` None a batch has as many images as fit.
    """

    output: str
    overwrite: bool = False
    keep_going: bool = False
    bits: int = 8
    quality: int = 95
    allow_large: bool = False
    allow_damaged: bool = False
    batch_size: int | None = None
    threads: int = 2
