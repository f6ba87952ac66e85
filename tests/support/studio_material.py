"""A studio on the small network, and pictures as files to hand in."""

import io
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from oracles import paint, random_params
from PIL import Image
from small import WIDTH, shallow

from jnst.presets.resolve import Run
from jnst.studio.session import Studio


def small_run(*, steps: int = 12, **fields: Any) -> Run:
    """Random weights of a network a sixteenth as wide, and its first layers."""
    info = SimpleNamespace(name="small", sha256="0" * 64)
    weights: Any = SimpleNamespace(params=random_params("vgg19", WIDTH, 0), info=info)
    return Run(shallow(steps=steps, **fields), weights, "small", ())


def jpeg(subject: str, height: int = 40, width: int = 48, seed: int = 0) -> bytes:
    """A drawn picture as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(np.rint(paint(subject, height, width, seed) * 255).astype(np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def small_studio(folder: Path, *, styles: int = 1, size: int = 32, **fields: Any) -> Studio:
    """A studio with a photo and that many paintings chosen."""
    studio = Studio(small_run(**fields), folder)
    studio.add_picture(jpeg("shapes"), "photo.jpg", "content")
    for index in range(styles):
        studio.add_picture(jpeg("marble", 40, 40, index + 1), f"style{index}.jpg", "style")
    studio.set_draft({"size": size})
    return studio


def painting(studio: Studio, number: int) -> dict[str, Any]:
    return next(one for one in studio.state()["paintings"] if one["number"] == number)


def wait(condition: Callable[[], Any], what: str, seconds: float = 90.0) -> Any:
    """What the condition returns once it is true."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen in {seconds} s")


def wait_for(studio: Studio, number: int, *statuses: str) -> dict[str, Any]:
    """The painting, once it has one of these statuses."""
    return wait(
        lambda: (one := painting(studio, number))["status"] in statuses and one,
        f"painting {number} {' or '.join(statuses)}, now {painting(studio, number)}",
    )
