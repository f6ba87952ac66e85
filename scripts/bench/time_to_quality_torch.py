"""N_S_T's program on given weights, the peer of `time_to_quality.py`: strong Wolfe L-BFGS, history 100, one closure.

    python scripts/bench/time_to_quality_torch.py JOB.npz ANSWER.npz EVALUATIONS TURN

JOB holds content, style (RGB, [0, 1]), the mean that is subtracted from 0–255 RGB, the three weights, the names of the
convolutions in order and of those whose ReLU a term sees, each one's kernel (HWIO, RGB) and bias. The program
waits for a line on its standard input before every TURN evaluations; after them ANSWER holds every loss so far and the
best picture, and a line tells the evaluations made in the turn, its seconds and its processor seconds.
"""

import contextlib
import sys
import time

import numpy as np
import torch
from torch.nn import functional as F


class Enough(Exception):
    """The evaluations are spent."""


def main() -> None:
    job, answer, evaluations, turn = np.load(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    layers, style_layers, (content_layer,) = (list(job[name]) for name in ("layers", "style_layers", "content_layers"))
    kernels = {name: torch.from_numpy(job[f"{name}/kernel"]).permute(3, 2, 0, 1).contiguous() for name in layers}
    biases = {name: torch.from_numpy(job[f"{name}/bias"]) for name in layers}
    mean = torch.from_numpy(job["mean"]).view(1, 3, 1, 1)
    content_weight, style_weight, tv_weight = map(float, job["weights"])

    def load(name: str) -> torch.Tensor:
        return (255 * torch.from_numpy(job[name]).permute(2, 0, 1)[None] - mean).contiguous()

    def features(x: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        style, content = [], x
        for name in layers:
            if name.endswith("_1") and name != "conv1_1":
                x = F.max_pool2d(x, 2)
            x = F.relu(F.conv2d(x, kernels[name], biases[name], padding=1))
            if name in style_layers:
                style.append(x)
            if name == content_layer:
                content = x
        return style, content

    def gram(maps: torch.Tensor) -> torch.Tensor:
        flat = maps.flatten(2)[0]
        return flat @ flat.T / flat.numel()

    content = load("content")
    with torch.no_grad():
        grams, target = [gram(maps) for maps in features(load("style"))[0]], features(content)[1]
    image = content.clone().requires_grad_()
    losses, best, told = [], content, 0
    begin, processor = time.perf_counter(), time.process_time()

    def end_turn() -> None:
        """Tells what the turn took, and begins another when asked to."""
        nonlocal begin, processor, told
        if told or losses:
            spent = time.perf_counter() - begin, time.process_time() - processor
            picture = ((best + mean)[0].permute(1, 2, 0) / 255).clamp(0, 1).numpy()
            np.savez(answer, losses=losses, picture=picture)
            print(len(losses) - told, *spent, flush=True)
            told = len(losses)
        sys.stdin.readline()
        begin, processor = time.perf_counter(), time.process_time()

    optimizer = torch.optim.LBFGS([image], max_iter=evaluations, history_size=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        nonlocal best
        if len(losses) % turn == 0:
            end_turn()
        optimizer.zero_grad()
        style, current = features(image)
        loss = content_weight * F.mse_loss(current, target)
        loss = loss + style_weight / len(grams) * sum(
            F.mse_loss(gram(maps), wanted, reduction="sum") for maps, wanted in zip(style, grams, strict=True)
        )
        across, down = image[..., 1:] - image[..., :-1], image[..., 1:, :] - image[..., :-1, :]
        loss = loss + tv_weight * (across.abs().sum() + down.abs().sum())
        loss.backward()
        losses.append(loss.item())
        if losses[-1] == min(losses):
            best = image.detach().clone()
        if len(losses) >= evaluations:
            raise Enough
        return loss

    with contextlib.suppress(Enough):
        optimizer.step(closure)
    # A search that ended in NaN ends early: what is missing is no loss.
    losses += [float("nan")] * (evaluations - len(losses))
    end_turn()


if __name__ == "__main__":
    main()
