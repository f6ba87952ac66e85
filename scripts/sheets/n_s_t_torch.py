"""N_S_T's program with its VGG16 settings, on a weights file of ours: PyTorch and OpenCV, no code of jnst.

    python scripts/sheets/n_s_t_torch.py CONTENT STYLE OUTPUT.png [--weights weights/vgg16.h5] [--height 400]

The peer of `n_s_t_sheet.py`, for an interpreter with torch, opencv-python-headless and h5py. As the notebook does, it
reads pictures by OpenCV (colour profiles ignored), brings them to a height by the cubic kernel, begins with the content
picture and minimises 1e5 · content (relu2_2) + 3e4 · style (relu1_2, relu2_2, relu3_3, relu4_3) + total variation by
L-BFGS with strong Wolfe conditions. The notebook's weights are torchvision's; those of this file were trained on BGR
minus Oxford's mean, so the network is fed that instead.
"""

import argparse
import contextlib
import json
import time
from pathlib import Path

import cv2
import h5py
import numpy as np
import torch
from torch.nn import functional as F

MEAN = torch.tensor((123.675, 116.28, 103.53)).view(1, 3, 1, 1)
CAFFE_MEAN = torch.tensor((123.68, 116.779, 103.939)).view(1, 3, 1, 1)
LAYERS = [f"conv{block}_{i}" for block, depth in enumerate((2, 2, 3, 3), 1) for i in range(1, depth + 1)]
STYLE = ("conv1_2", "conv2_2", "conv3_3", "conv4_3")
CONTENT = "conv2_2"


class Enough(Exception):
    """The evaluations are spent."""


def read(path: str, height: int) -> torch.Tensor:
    """The picture minus the notebook's mean, 1 × 3 × height × width, RGB."""
    picture = cv2.imread(path)
    if picture is None:
        raise SystemExit(f"{path}: OpenCV cannot read it")
    picture = picture[:, :, ::-1]
    width = int(picture.shape[1] * (height / picture.shape[0]))
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
    unit = picture.astype(np.float32) / 255
    return 255 * torch.from_numpy(unit.transpose(2, 0, 1).copy())[None] - MEAN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", default="weights/vgg16.h5")
    parser.add_argument("--height", type=int, default=400)
    parser.add_argument("--evaluations", type=int, default=1000)
    arguments = parser.parse_args()
    with h5py.File(arguments.weights) as file:
        kernels = {n: torch.from_numpy(file[n]["kernel"][()].astype(np.float32)).permute(3, 2, 0, 1) for n in LAYERS}
        biases = {n: torch.from_numpy(file[n]["bias"][()].astype(np.float32)) for n in LAYERS}

    def features(image: torch.Tensor) -> dict[str, torch.Tensor]:
        maps, x = {}, (image + MEAN - CAFFE_MEAN).flip(1)
        for name in LAYERS:
            if name.endswith("_1") and name != "conv1_1":
                x = F.max_pool2d(x, 2)
            x = maps[name] = F.relu(F.conv2d(x, kernels[name], biases[name], padding=1))
        return maps

    def gram(maps: torch.Tensor) -> torch.Tensor:
        flat = maps.flatten(2)[0]
        return flat @ flat.T / flat.numel()

    content = read(arguments.content, arguments.height)
    with torch.no_grad():
        style = features(read(arguments.style, arguments.height))
        grams, target = [gram(style[name]) for name in STYLE], features(content)[CONTENT]
    image = content.clone().requires_grad_()
    losses: list[float] = []
    optimizer = torch.optim.LBFGS([image], max_iter=arguments.evaluations, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        maps = features(image)
        across, down = image[..., 1:] - image[..., :-1], image[..., 1:, :] - image[..., :-1, :]
        parts = [F.mse_loss(gram(maps[n]), wanted, reduction="sum") for n, wanted in zip(STYLE, grams, strict=True)]
        loss = 1e5 * F.mse_loss(maps[CONTENT], target) + 3e4 * sum(parts) / len(parts)
        loss = loss + across.abs().sum() + down.abs().sum()
        loss.backward()
        losses.append(loss.item())
        if len(losses) >= arguments.evaluations:
            raise Enough
        return loss

    begin = time.perf_counter()
    with contextlib.suppress(Enough):
        optimizer.step(closure)
    seconds = time.perf_counter() - begin
    picture = ((image.detach() + MEAN)[0].permute(1, 2, 0)).clamp(0, 255).numpy().astype(np.uint8)
    cv2.imwrite(str(arguments.output), picture[:, :, ::-1])
    print(json.dumps({"losses": losses, "seconds": seconds}))


if __name__ == "__main__":
    main()
