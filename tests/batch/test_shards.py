"""Many devices and many processes, simulated: nobody waits for anybody, and the pictures are the same."""

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import pytest

from jnst.batch.shards import Share, parse_share
from jnst.devices import count_devices, image_mesh
from jnst.errors import ConfigError

ROOT = Path(__file__).parents[2]
COLLECTIVES = ("all-reduce", "all-gather", "collective-permute", "all-to-all", "reduce-scatter", "collective-broadcast")

PRELUDE = """
import json, sys
import jax, numpy as np
from material import paint, random_params
from jnst.batch.api import stylize_batch
from jnst.config import Config, LossConfig, NetworkConfig, RunConfig, SizeConfig
from jnst.batch.shards import join_fleet
from jnst.vgg.convolution import prepare_params

# Processes find each other before anything else uses JAX.
share = join_fleet(sys.argv[1], 2, int(sys.argv[2])) if len(sys.argv) > 1 else None
params = prepare_params(random_params("vgg19", 1 / 16, 0))
config = Config(
    network=NetworkConfig(width=1 / 16), size=SizeConfig(rule="keep"), run=RunConfig(steps=3),
    loss=LossConfig(style_weight=100.0, content_layers=(("relu2_1", 1.0),), style_layers=(("relu1_1", 1.0),)),
)
style = paint("weave", 32, 32)
contents = [paint(subject, 32, 32, seed) for seed in (0, 1) for subject in ("hills", "shapes", "marble")]
"""

ON_FOUR_DEVICES = """
from jnst.batch.loop import advance_batch, begin_batch
from jnst.devices import image_mesh, place
from jnst.batch.batch_scale import BatchScale
from jnst.transfer.style_targets import picture_grams
from jnst.batch.requests import Task, prepare

mesh = image_mesh()
results = stylize_batch(params, contents, style, config, batch_size=8, mesh=mesh)
alone = stylize_batch(params, contents, style, config, batch_size=2, mesh=image_mesh(jax.devices()[:1]))
items = [prepare(Task(content, (style,), config)) for content in contents[:4]]
scale = BatchScale(items, 0, [0, 1, 2, 3], {"start": 0.0, "compile": 0.0})
grams = picture_grams(params, style, config)
problems = place(scale.problems([item.full for item in items], [grams] * 4, 4), mesh)
shared = place(params, mesh, shared=True)
targets, elements = begin_batch(shared, problems, config=scale.key, mesh=mesh)
arguments = (shared, scale.rule, np.int32(0), targets, elements)
compiled = advance_batch.lower(*arguments, config=scale.key, mesh=mesh).compile()
print(json.dumps({
    "devices": len(jax.devices()),
    "spread": len(elements.state.point.sharding.device_set),
    "difference": max(float(np.abs(a.image - b.image).max()) for a, b in zip(results, alone)),
    "stopped": [result.stopped for result in results],
    "hlo": compiled.as_text(),
}))
"""

ONE_OF_TWO_PROCESSES = """
assert len(jax.devices()) == 4 and len(jax.local_devices()) == 2
names = [f"picture-{number}.png" for number in range(len(contents))]
mine = [number for number, name in enumerate(names) if share.owns(name)]
results = stylize_batch(params, [contents[number] for number in mine], style, config, batch_size=2)
print(json.dumps({
    "share": str(share), "mine": mine, "sums": [float(result.image.sum(dtype=np.float64)) for result in results],
}))
"""


def start(program: str, *arguments: str, devices: int) -> subprocess.Popen:
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")]),
    }
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + program, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes: subprocess.Popen) -> list[dict]:
    """What each process reports; all have ended before anything is asserted."""
    ended = [process.communicate(timeout=300) for process in processes]
    for process, (_, errors) in zip(processes, ended, strict=True):
        assert process.returncode == 0, errors
    return [json.loads(output.splitlines()[-1]) for output, _ in ended]


def test_four_devices_paint_the_same_pictures_without_a_collective():
    (report,) = finish(start(ON_FOUR_DEVICES, devices=4))
    assert report["devices"] == report["spread"] == 4
    assert report["difference"] < 1e-6
    assert report["stopped"] == ["steps"] * 6
    assert "while" in report["hlo"]
    assert not [name for name in COLLECTIVES if name in report["hlo"]]


def test_two_processes_share_the_work_and_do_nothing_twice():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    both = [start(ONE_OF_TWO_PROCESSES, address, str(index), devices=2) for index in range(2)]
    reports = finish(*both)
    assert [report["share"] for report in reports] == ["1/2", "2/2"]
    assert sorted(reports[0]["mine"] + reports[1]["mine"]) == list(range(6))
    assert all(report["mine"] for report in reports)
    assert all(np.isfinite(report["sums"]).all() for report in reports)


def test_shares_are_disjoint_complete_and_about_equal():
    names = [f"folder/photo-{number}.jpg" for number in range(4000)]
    shares = [Share(index, 4) for index in range(4)]
    owners = [[share.index for share in shares if share.owns(name)] for name in names]
    assert all(len(found) == 1 for found in owners)
    counts = Counter(found[0] for found in owners)
    assert all(900 < counts[index] < 1100 for index in range(4))
    assert Share().owns("anything")


def test_shards_count_from_one():
    assert parse_share("1/1") == Share(0, 1)
    assert parse_share("8/8") == Share(7, 8)
    assert str(parse_share("3/8")) == "3/8"


@pytest.mark.parametrize("text", ["0/4", "5/4", "2", "a/b", "1/0", "-1/4"])
def test_impossible_shards_are_refused(text):
    with pytest.raises(ConfigError, match="expected I/N with I from 1 to N"):
        parse_share(text)


def test_one_device_needs_no_mesh():
    assert image_mesh(jax.devices()[:1]) is None
    assert count_devices(None) == 1
