"""Run by test_region_rows.py in a process of its own, where the CPU poses as four devices: prints figures as JSON."""

import dataclasses
import json
import sys
from typing import Any

import jax
import material
import numpy as np
from small import SHALLOW, shallow, small_params

from jnst import Region
from jnst.config import Config, LossConfig
from jnst.images.reading import Picture
from jnst.transfer.driver import stylize
from jnst.transfer.row_sharding import row_mesh

LOSS = dataclasses.replace(SHALLOW, style_layers=(("relu1_1", 0.5), ("relu3_1", 0.5)))


def paint(config: Config) -> dict[str, Any]:
    """An image of odd height with two regions and a part that is kept, on four devices and on one."""
    content = material.paint("shapes", 77, 42)
    mask, keep = np.zeros((77, 42)), np.zeros((77, 42), bool)
    mask[:30] = 1
    mask[30:50] = np.linspace(1, 0, 20)[:, None]
    keep[60:, :12] = True
    marble, hills = material.paint("marble", 50, 64), material.paint("hills", 41, 39)
    opacity = np.full((41, 39), 255, np.uint8)
    opacity[:, 20:] = np.linspace(255, 0, 19)
    painting = Picture(np.rint(255 * hills).astype(np.uint8), opacity, "PNG", ())
    regions = [Region(mask, marble, np.tri(50, 64)), Region("rest", painting, weight=2.0)]
    alone, divided = (
        stylize(small_params(), content, None, one, regions=regions, keep=keep, mesh=mesh)
        for one, mesh in ((dataclasses.replace(config, tile=0), None), (config, row_mesh()))
    )
    return {
        "losses": float(np.abs(np.divide(divided.trace["total"], alone.trace["total"]) - 1).max()),
        "picture": float(np.abs(divided.image - alone.image).max()),
        "kept": bool((divided.image[keep] == content[keep]).all()),
    }


def with_loss(loss: LossConfig, **fields: Any) -> Config:
    return shallow(steps=3, loss=loss, **fields)


def main() -> None:
    """Whole and in tiles."""
    assert len(jax.devices()) == 4
    json.dump({"whole": paint(with_loss(LOSS)), "tiles": paint(with_loss(LOSS, tile=16))}, sys.stdout)


if __name__ == "__main__":
    main()
