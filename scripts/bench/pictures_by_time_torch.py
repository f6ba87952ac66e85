"""Two PyTorch programs' settings on the bundled VGG16, the peers of `pictures_by_time.py`; no code of jnst.

    python scripts/bench/pictures_by_time_torch.py gordic|crowsonkb CONTENT STYLE FOLDER BEGIN LIMIT EVERY
        [--size 256] [--weights weights/vgg16.h5]

Writes the picture that a user would be shown to FOLDER/SECONDS.png every EVERY seconds, counted from BEGIN (seconds
since 1970, when the command was given), and the last one when the program has ended or LIMIT seconds are over.

`gordic` (pytorch-neural-style-transfer, and N_S_T after it): 1e5 · content at relu2_2 + 3e4 · Gram matrices of relu1_2,
relu2_2, relu3_3 and relu4_3 + total variation, strong Wolfe L-BFGS, 1000 evaluations, from the content picture.
`crowsonkb` (style-transfer-pytorch): sizes √2 apart from 128 pixels up, 1000 steps of Adam at the first and 500 at
each other, rate 0.02, clamped to [0, 1] after each step, the averaged picture (decay 0.99) shown; 0.015 · content at
relu4_2, the squared 2-Wasserstein distance between the normal distributions of the maps at relu1_1 … relu5_1 with
weights 256, 64, 16, 4, 1, and 2 · squared differences of neighbours. Adam's moments are enlarged with the picture.

Both programs run VGG19 of torchvision as a rule; here both see the bundled file. crowsonkb's network expects pixels of
unit variance, so this one's maps are divided by 255 · 0.225, which is the same network fed such pixels.
"""

import argparse
import contextlib
import time
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

MEAN_BGR = (103.939, 116.779, 123.68)
LAYERS = [f"conv{block}_{i}" for block, depth in enumerate((2, 2, 3, 3, 1), 1) for i in range(1, depth + 1)]
UNIT = 255 * 0.225


class Over(Exception):
    """The time is over."""


class Frames:
    """Writes what is shown, every so many seconds since the command was given."""

    def __init__(self, folder: Path, begin: float, limit: float, every: float) -> None:
        self.folder, self.begin, self.limit, self.every, self.next = folder, begin, limit, every, 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, picture: torch.Tensor) -> None:
        now = time.time() - self.begin
        pixels = (picture.detach()[0].permute(1, 2, 0).clamp(0, 1) * 255).round().numpy().astype(np.uint8)
        Image.fromarray(pixels).save(self.folder / f"{now:07.2f}.png")

    def step(self, shown: torch.Tensor) -> None:
        now = time.time() - self.begin
        if now >= self.next:
            self.write(shown)
            self.next = now + self.every
        if now >= self.limit:
            raise Over


def read_network(path: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    with h5py.File(path) as file:
        kernels = {name: np.asarray(file[name]["kernel"], np.float32).transpose(3, 2, 0, 1) for name in LAYERS}
        biases = {name: np.asarray(file[name]["bias"], np.float32) for name in LAYERS}
    return (
        {name: torch.from_numpy(kernel.copy()) for name, kernel in kernels.items()},
        {name: torch.from_numpy(bias) for name, bias in biases.items()},
    )


def read_picture(path: str, size: int, *, enlarge: bool = True) -> torch.Tensor:
    """RGB in [0, 1], 1 × 3 × height × width, the longer side `size` pixels."""
    picture = Image.open(path).convert("RGB")
    factor = size / max(picture.size)
    if factor < 1 or enlarge:
        width, height = (max(1, round(side * factor)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(picture, np.float32).transpose(2, 0, 1)[None].copy() / 255)


class Network:
    def __init__(self, path: str, *, replicate: bool, divisor: float) -> None:
        self.kernels, self.biases = read_network(path)
        self.replicate, self.divisor = replicate, divisor
        self.mean = torch.tensor(MEAN_BGR).view(1, 3, 1, 1)

    def maps(self, picture: torch.Tensor, wanted: tuple[str, ...]) -> dict[str, torch.Tensor]:
        x, found = 255 * picture.flip(1) - self.mean, {}
        for name in LAYERS[: 1 + max(map(LAYERS.index, wanted))]:
            padding = 1
            if name == "conv1_1" and self.replicate:
                x, padding = F.pad(x, (1, 1, 1, 1), "replicate"), 0
            elif name.endswith("_1") and name != "conv1_1":
                x = F.max_pool2d(x, 2)
            x = F.relu(F.conv2d(x, self.kernels[name], self.biases[name], padding=padding))
            if name in wanted:
                found[name] = x / self.divisor
        return found


def gordic(arguments: argparse.Namespace, frames: Frames) -> None:
    style_layers, content_layer = ("conv1_2", "conv2_2", "conv3_3", "conv4_3"), "conv2_2"
    network = Network(arguments.weights, replicate=False, divisor=1)

    def gram(maps: torch.Tensor) -> torch.Tensor:
        flat = maps.flatten(2)[0]
        return flat @ flat.T / flat.numel()

    content = read_picture(arguments.content, arguments.size)
    with torch.no_grad():
        grams = {
            n: gram(m) for n, m in network.maps(read_picture(arguments.style, arguments.size), style_layers).items()
        }
        target = network.maps(content, (content_layer,))[content_layer]
    image = (255 * content).requires_grad_()
    optimizer, count = torch.optim.LBFGS([image], max_iter=1000, line_search_fn="strong_wolfe"), 0

    def closure() -> torch.Tensor:
        nonlocal count
        frames.step(image / 255)
        if count >= 1000:
            raise Over
        count += 1
        optimizer.zero_grad()
        maps = network.maps(image / 255, style_layers)
        style = sum(F.mse_loss(gram(maps[n]), wanted, reduction="sum") for n, wanted in grams.items()) / len(grams)
        across, down = image[..., 1:] - image[..., :-1], image[..., 1:, :] - image[..., :-1, :]
        loss = 1e5 * F.mse_loss(maps[content_layer], target) + 3e4 * style + across.abs().sum() + down.abs().sum()
        loss.backward()
        return loss

    with contextlib.suppress(Over):
        optimizer.step(closure)
    frames.write(image / 255)


def square_root(matrix: torch.Tensor, iterations: int = 12) -> torch.Tensor:
    """Newton and Schulz's iteration for the root of a positive semidefinite matrix."""
    norm, identity = matrix.norm(), torch.eye(len(matrix))
    y, z = matrix / norm, identity
    for _ in range(iterations):
        t = (3 * identity - z @ y) / 2
        y, z = y @ t, t @ z
    return y * norm.sqrt()


def moments(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    flat = maps.flatten(2)[0]
    mean = flat.mean(1, keepdim=True)
    return mean[:, 0], (flat - mean) @ (flat - mean).T / flat.shape[1] + 1e-4 * torch.eye(len(flat))


def squared_differences(image: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of each pixel from its neighbours, the diagonal ones at a quarter of the weight."""
    x = F.pad(image, (1, 1, 1, 1), "replicate")
    middle, total = x[..., 1:-1, 1:-1], torch.zeros(())
    for weight, neighbour in (
        (1 / 3, x[..., 1:-1, 2:]),
        (1 / 3, x[..., 2:, 1:-1]),
        (1 / 12, x[..., 2:, 2:]),
        (1 / 12, x[..., 2:, :-2]),
    ):
        total = total + weight * (neighbour - middle).square()
    return 2 * total.mean()


def crowsonkb(arguments: argparse.Namespace, frames: Frames) -> None:
    style_layers, content_layer = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"), "conv4_2"
    weights = dict(zip(style_layers, np.array([256, 64, 16, 4, 1]) / 341, strict=True))
    network = Network(arguments.weights, replicate=True, divisor=UNIT)
    sizes, power = [arguments.size], 1
    while round(arguments.size / 2 ** (power / 2)) >= 128:
        sizes.insert(0, round(arguments.size / 2 ** (power / 2)))
        power += 1
    image, shown, state = torch.zeros(0), torch.zeros(0), {}
    for number, size in enumerate(sizes):
        content = read_picture(arguments.content, size)
        shape = tuple(content.shape[2:])
        start = F.interpolate(image.detach(), shape, mode="bicubic").clamp(0, 1) if number else content.clone()
        image = start.requires_grad_()
        with torch.no_grad():
            target = network.maps(content, (content_layer,))[content_layer]
            style = network.maps(read_picture(arguments.style, size, enlarge=False), style_layers)
            wanted = {name: moments(maps) for name, maps in style.items()}
            roots = {name: square_root(covariance) for name, (_, covariance) in wanted.items()}
        optimizer = torch.optim.Adam([image], lr=0.02, betas=(0.9, 0.99))
        if number:
            state["exp_avg"] = F.interpolate(state["exp_avg"], shape, mode="bicubic")
            state["exp_avg_sq"] = F.interpolate(state["exp_avg_sq"], shape, mode="bilinear").relu()
            optimizer.state[image] = state
        average, decay = torch.zeros_like(content), 1.0
        for _ in range(500 if number else 1000):
            optimizer.zero_grad()
            maps = network.maps(image, (*style_layers, content_layer))
            loss = 0.015 * F.mse_loss(maps[content_layer], target) + 2 * squared_differences(image)
            for name, (mean, covariance) in wanted.items():
                ours_mean, ours = moments(maps[name])
                cross = square_root(roots[name] @ ours @ roots[name])
                distance = (ours_mean - mean).square().mean() + (ours + covariance - 2 * cross).diagonal().mean()
                loss = loss + weights[name] * distance
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                image.clamp_(0, 1)
                average.mul_(0.99).add_(image, alpha=0.01)
            decay *= 0.99
            shown = average / (1 - decay)
            try:
                frames.step(shown)
            except Over:
                frames.write(shown)
                return
        state = optimizer.state[image]
    frames.write(shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", choices=("gordic", "crowsonkb"))
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("folder", type=Path)
    parser.add_argument("begin", type=float)
    parser.add_argument("limit", type=float)
    parser.add_argument("every", type=float)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--weights", default="weights/vgg16.h5")
    arguments = parser.parse_args()
    frames = Frames(arguments.folder, arguments.begin, arguments.limit, arguments.every)
    (gordic if arguments.program == "gordic" else crowsonkb)(arguments, frames)


if __name__ == "__main__":
    main()
