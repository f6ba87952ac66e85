"""The race's PyTorch program, a worker of `compare.py`: eager, channels-last or compiled (BENCH_FORM)."""

import os
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from worker import (
    CONTENT_LAYER,
    CONTENT_WEIGHT,
    LEARNING_RATE,
    STYLE_LAYERS,
    STYLE_WEIGHT,
    TV_WEIGHT,
    Case,
    layers_of,
    serve,
)

FORM = os.environ.get("BENCH_FORM", "eager")


def make(case: Case, job: dict[str, np.ndarray]) -> Any:
    device = torch.device("cuda" if case.device == "gpu" else "cpu")
    # On by default for convolutions, off for products.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = case.precision == "tf32"
    layout = torch.contiguous_format if FORM == "eager" else torch.channels_last

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array)[None].permute(0, 3, 1, 2).to(device).contiguous(memory_format=layout)

    weights = {}
    for name, _ in layers_of(case.network):
        kernel = torch.from_numpy(job[f"{name}/kernel"]).permute(3, 2, 0, 1)
        weights[name] = (
            kernel.to(device).contiguous(memory_format=layout),
            torch.from_numpy(job[f"{name}/bias"]).to(device),
        )

    def autocast() -> Any:
        return torch.autocast(device.type, torch.bfloat16) if case.precision == "bfloat16" else nullcontext()

    def features(x: torch.Tensor) -> dict[str, torch.Tensor]:
        maps = {}
        pool = F.max_pool2d if case.pooling == "max" else F.avg_pool2d
        for name, _ in layers_of(case.network):
            if name.endswith("_1") and name != "conv1_1":
                x = pool(x, 2)
            x = F.relu_(F.conv2d(x, *weights[name], padding=1))
            maps[name.replace("conv", "relu")] = x
        return maps

    def gram(map_: torch.Tensor) -> torch.Tensor:
        flat = map_.float().flatten(2)
        return flat @ flat.mT / (flat.shape[1] * flat.shape[2])

    with torch.no_grad(), autocast():
        content = features(tensor(job["content"]))[CONTENT_LAYER].float()
        maps = features(tensor(job["style"]))
    with torch.no_grad():
        grams = [gram(maps[layer]) for layer in STYLE_LAYERS]
    del maps

    def objective(x: torch.Tensor) -> torch.Tensor:
        with autocast():
            maps = features(x.contiguous(memory_format=layout))
        # The sum over the images of each one's loss.
        loss = CONTENT_WEIGHT * (maps[CONTENT_LAYER].float() - content).square().mean((1, 2, 3)).sum()
        for layer, target in zip(STYLE_LAYERS, grams, strict=True):
            loss = loss + STYLE_WEIGHT / len(STYLE_LAYERS) * (gram(maps[layer]) - target).square().sum()
        down, across = x[:, :, 1:] - x[:, :, :-1], x[:, :, :, 1:] - x[:, :, :, :-1]
        return loss + TV_WEIGHT * (down.abs().sum() + across.abs().sum())

    compiled = torch.compile(objective) if FORM == "compile" else objective
    # torch.optim.LBFGS wants its variable channels-first.
    image = tensor(job["image"]).repeat(case.images, 1, 1, 1).contiguous().requires_grad_()
    if case.step == "adam":
        optimizer = torch.optim.Adam([image], lr=LEARNING_RATE)
    elif case.step == "lbfgs":
        # One iteration, hence one evaluation, per call of step; the history stays.
        optimizer = torch.optim.LBFGS(
            [image], max_iter=1, history_size=case.history, tolerance_grad=-1, tolerance_change=-1
        )
    else:
        optimizer = None

    def closure() -> torch.Tensor:
        image.grad = None
        loss = compiled(image)
        loss.backward()
        return loss

    def run(count: int) -> None:
        for _ in range(count):
            if optimizer is None:
                closure()
            else:
                optimizer.step(closure)
        if device.type == "cuda":
            torch.cuda.synchronize()

    def check() -> tuple[float, np.ndarray]:
        x = tensor(job["image"]).contiguous().requires_grad_()
        loss = compiled(x)
        loss.backward()
        return loss.item(), x.grad[0].permute(1, 2, 0).cpu().numpy()

    return run, check, {"version": torch.__version__, "threads": torch.get_num_threads()}


serve(make)
