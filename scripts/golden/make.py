"""Writes `tests/golden/*.npz`: what the original programs compute, by PyTorch, for the tests to hold jnst against.

    python -m pip install torch numpy        (once, in an environment of its own: jnst and its tests need no PyTorch)
    python scripts/golden/make.py            (half a minute on two cores)
    python scripts/golden/make.py traces     (one file only: features, presets, traces or lbfgs)

Nothing here imports jnst: the losses are in `recipes.py`, written from the published programs. Weights and
pictures come from `tests/support/material.py` and are not stored. Everything is computed in float64; `spread` arrays
hold the relative distance of the same computation in float32, which is how far an honest float32 program may be off.
`check_with_tensorflow.py` repeats the TensorFlow tutorial's part with TensorFlow's own optimiser and operations.
"""

import contextlib
import json
import platform
import sys
from dataclasses import asdict

import numpy as np
import torch
from recipes import IMAGENET_MEAN, RECIPES, Recipe, make_loss, material, run_network, to_variable

WIDTH = 1 / 8
SEED = 2016


def to_image(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach()[0].permute(1, 2, 0).contiguous().double().numpy()


def distance(value: np.ndarray, reference: np.ndarray) -> float:
    """Largest difference relative to the largest reference value."""
    return float(np.max(np.abs(value - reference)) / np.max(np.abs(reference)))


def save(name: str, about: dict, arrays: dict[str, np.ndarray]) -> None:
    about = {"made_by": "scripts/golden", "torch": torch.__version__, "numpy": np.__version__} | about
    about |= {"python": platform.python_version(), "machine": platform.machine()}
    path = material.GOLDEN / f"{name}.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, about=np.array(json.dumps(about, ensure_ascii=False)), **arrays)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")


# --- the four files ---


def make_features() -> None:
    """Sampled values of the layers of both networks and of every choice of pooling and padding."""
    cases = {
        "vgg16": {"architecture": "vgg16"},
        "vgg19": {"architecture": "vgg19"},
        "vgg19-max-ceil": {"architecture": "vgg19", "ceil": True},
        "vgg19-average-floor": {"architecture": "vgg19", "pooling": "average"},
        "vgg19-average-ceil": {"architecture": "vgg19", "pooling": "average", "ceil": True},
        "vgg19-replicate": {"architecture": "vgg19", "replicate": True},
        "vgg19-full-width": {"architecture": "vgg19", "width": 1.0, "height": 37, "columns": 45},
    }
    about: dict = {"seed": SEED, "picture": "255 * paint('shapes', height, columns) - mean", "mean": IMAGENET_MEAN}
    arrays = {}
    for case, choices in cases.items():
        settings = {"width": WIDTH, "height": 69, "columns": 83, "pooling": "max", "ceil": False, "replicate": False}
        settings |= choices
        params = material.random_params(settings["architecture"], settings["width"], SEED)
        x = material.paint("shapes", settings["height"], settings["columns"]).astype(np.float64) * 255 - IMAGENET_MEAN
        x = torch.from_numpy(x).permute(2, 0, 1)[None]
        options = {key: settings[key] for key in ("pooling", "ceil", "replicate")}
        exact = run_network(params, x, settings["architecture"], **options)
        single = run_network(params, x.float(), settings["architecture"], **options)
        layers = list(exact) if case in ("vgg16", "vgg19") else [n for n in exact if n[-2:] == "_1" or n[:4] == "pool"]
        about[case] = settings | {"layers": layers}
        arrays[f"{case}/fingerprint"] = material.fingerprint(params)
        for layer in layers:
            values, values32 = to_image(exact[layer]), to_image(single[layer])
            positions = material.sample_positions(values.shape, 100)
            arrays[f"{case}/{layer}/shape"] = np.array(values.shape)
            arrays[f"{case}/{layer}/positions"] = positions.astype(np.int32)
            arrays[f"{case}/{layer}/values"] = values.ravel()[positions]
            arrays[f"{case}/{layer}/mean_std_max_norm"] = np.array(
                [values.mean(), values.std(), np.abs(values).max(), np.linalg.norm(values)]
            )
            arrays[f"{case}/{layer}/spread"] = np.array(distance(values32, values))
    save("features", about, arrays)


def make_presets() -> None:
    """Terms, total and input gradient of every recipe at one picture that is none of its targets."""
    height, columns = 45, 61
    content = material.paint("shapes", height, columns)
    start = material.with_noise(content, seed=1)
    style = material.paint("marble", 52, 40, seed=3)
    equal_style = material.paint("marble", height, columns, seed=3)
    about: dict = {
        "width": WIDTH,
        "seed": SEED,
        "content": "paint('shapes', 45, 61)",
        "start": "with_noise(content, 1)",
    }
    about |= {"style": "paint('marble', 52, 40, 3)", "style of paper": "paint('marble', 45, 61, 3)"}
    about["gradient"] = "of the total, with respect to the variable: white * rgb - mean"
    arrays = {}
    for name, recipe in RECIPES.items():
        params = material.random_params(recipe.architecture, WIDTH, SEED)
        gradients, totals = {}, {}
        for dtype in (torch.float32, torch.float64):
            loss = make_loss(params, content, equal_style if name == "paper" else style, recipe, dtype)
            variable = to_variable(start, recipe, dtype).requires_grad_()
            total, terms = loss(variable)
            total.backward()
            gradients[dtype], totals[dtype] = to_image(variable.grad), total.item()
        gradient, positions = gradients[torch.float64], material.sample_positions((height, columns, 3), 400)
        about[name] = asdict(recipe)
        arrays[f"{name}/fingerprint"] = material.fingerprint(params)
        arrays |= {f"{name}/{term}": np.array(value.item()) for term, value in terms.items()}
        arrays[f"{name}/total"] = np.array(totals[torch.float64])
        arrays[f"{name}/total spread"] = np.array(abs(totals[torch.float32] / totals[torch.float64] - 1))
        arrays[f"{name}/gradient positions"] = positions.astype(np.int32)
        arrays[f"{name}/gradient"] = gradient.ravel()[positions]
        arrays[f"{name}/gradient max_norm"] = np.array([np.abs(gradient).max(), np.linalg.norm(gradient)])
        arrays[f"{name}/gradient spread"] = np.array(distance(gradients[torch.float32], gradient))
        print(name, {term: f"{value.item():.4g}" for term, value in terms.items()}, f"{totals[torch.float64]:.5g}")
    save("presets", about, arrays)


class KerasAdam:
    """Keras's Adam: the epsilon stands beside the uncorrected root of the second moment ("epsilon hat")."""

    def __init__(self, variable: torch.Tensor, lr: float, beta1: float, beta2: float, eps: float):
        self.variable, self.lr, self.beta1, self.beta2, self.eps = variable, lr, beta1, beta2, eps
        self.m, self.v, self.t = torch.zeros_like(variable), torch.zeros_like(variable), 0

    @torch.no_grad()
    def step(self) -> None:
        self.t += 1
        self.m += (1 - self.beta1) * (self.variable.grad - self.m)
        self.v += (1 - self.beta2) * (self.variable.grad**2 - self.v)
        alpha = self.lr * (1 - self.beta2**self.t) ** 0.5 / (1 - self.beta1**self.t)
        self.variable -= alpha * self.m / (self.v.sqrt() + self.eps)
        self.variable.clamp_(0, 1)


def trace_adam(
    name: str, recipe: Recipe, content: np.ndarray, style: np.ndarray, steps: int, gain: float, dtype: torch.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """Total and terms of the image entering each step and of the last image (steps + 1 rows); that image as rgb."""
    params = material.random_params(recipe.architecture, WIDTH, SEED, gain=gain)
    loss = make_loss(params, content, style, recipe, dtype)
    variable = to_variable(content, recipe, dtype).requires_grad_()
    if name == "gordic":
        optimizer = torch.optim.Adam([variable], lr=1e1)
    else:
        optimizer = KerasAdam(variable, lr=0.02, beta1=0.99, beta2=0.999, eps=1e-1)
    rows = []
    for step in range(steps + 1):
        variable.grad = None
        total, terms = loss(variable)
        rows.append([total.item()] + [terms[term].item() for term in ("content", "style", "total_variation")])
        if step < steps:
            total.backward()
            optimizer.step()
    return np.array(rows), (to_image(variable) + recipe.mean) / recipe.white


def make_traces() -> None:
    """Twenty steps of Adam from the content picture, as each program takes them.

    Two choices keep the comparison meaningful, because where a loss has kinks two honest programs drift apart. The
    content picture has noise and hence no flat parts (whose pixels tie in every maximum and have no variation). The
    tutorial's network fades with depth (gain 0.65), as a trained one does; on plain He-scaled filters its content term
    blows up in step one and float32 is 3 % from float64 after twenty, with these 0.00003 %.
    """
    content = material.with_noise(material.paint("shapes", 45, 61), seed=1)
    style = material.paint("marble", 52, 40, seed=3)
    # The author's table has other weights for Adam from the content picture than for the default L-BFGS.
    weights = {"gordic": (1e5, 1e5, 1e-1), "tf-tutorial": (1e4, 1e-2, 0.0)}
    gains = {"gordic": 1.0, "tf-tutorial": 0.65}
    about: dict = {"width": WIDTH, "seed": SEED, "content": "with_noise(paint('shapes', 45, 61), 1)", "steps": 20}
    about |= {"style": "paint('marble', 52, 40, 3)", "columns": ["total", "content", "style", "total_variation"]}
    about |= {"gains": gains, "image": "rgb after the last step; a black-to-white range of one, clipped by tf-tutorial"}
    about["gordic optimizer"] = "torch Adam, lr 10, betas 0.9 0.999, eps 1e-8"
    about["tf-tutorial optimizer"] = "Keras Adam, lr 0.02, betas 0.99 0.999, eps 0.1 (hat), clipped to [0, 1]"
    arrays = {}
    for name in weights:
        recipe = Recipe(**(asdict(RECIPES[name]) | {"weights": weights[name]}))
        rows, image = trace_adam(name, recipe, content, style, 20, gains[name], torch.float64)
        rows32, image32 = trace_adam(name, recipe, content, style, 20, gains[name], torch.float32)
        about[name] = asdict(recipe)
        arrays[f"{name}/fingerprint"] = material.fingerprint(
            material.random_params(recipe.architecture, WIDTH, SEED, gain=gains[name])
        )
        arrays[f"{name}/trace"], arrays[f"{name}/image"] = rows, image.astype(np.float32)
        arrays[f"{name}/trace spread"] = np.abs(rows32 - rows) / np.maximum(np.abs(rows), 1e-30)
        arrays[f"{name}/image spread"] = np.array(np.abs(image32 - image).max())
        spread = arrays[f"{name}/trace spread"].max(axis=0)
        print(f"{name}: total {rows[0, 0]:.6g} to {rows[-1, 0]:.6g}, spread {spread}, {arrays[f'{name}/image spread']}")
    save("traces", about, arrays)


class EnoughError(Exception):
    """Ends an L-BFGS run from within its closure."""


def trace_lbfgs(pair: tuple, evaluations: int, dtype: torch.dtype) -> np.ndarray:
    """The loss of every evaluation of the original's L-BFGS, from the content picture."""
    recipe = RECIPES["gordic"]
    content, style = (material.paint(*picture) for picture in pair)
    loss = make_loss(material.random_params("vgg19", WIDTH, SEED), content, style, recipe, dtype)
    variable = to_variable(content, recipe, dtype).requires_grad_()
    optimizer = torch.optim.LBFGS([variable], max_iter=1000, history_size=100, line_search_fn="strong_wolfe")
    losses: list[float] = []

    def closure() -> torch.Tensor:
        if len(losses) == evaluations:
            raise EnoughError
        optimizer.zero_grad()
        total, _ = loss(variable)
        total.backward()
        losses.append(total.item())
        return total

    with contextlib.suppress(EnoughError):
        optimizer.step(closure)
    return np.array(losses)


def make_lbfgs() -> None:
    """How far torch's strong-Wolfe L-BFGS comes, by evaluations, on three pairs of pictures."""
    pairs = {
        "shapes in marble": (("shapes", 64, 64, 0), ("marble", 60, 72, 3)),
        "hills in weave": (("hills", 64, 64, 0), ("weave", 60, 72, 0)),
        "marble in shapes": (("marble", 64, 64, 5), ("shapes", 60, 72, 6)),
    }
    about = {"width": WIDTH, "seed": SEED, "recipe": asdict(RECIPES["gordic"]), "pairs": pairs}
    about["optimizer"] = "torch LBFGS, lr 1, max_iter 1000, history 100, strong_wolfe, tolerances 1e-7 and 1e-9"
    about["content"] = "the loss of every evaluation (trial points of the line search too), from the content picture"
    arrays = {"gordic/fingerprint": material.fingerprint(material.random_params("vgg19", WIDTH, SEED))}
    for name, pair in pairs.items():
        for dtype, key in ((torch.float32, "loss float32"), (torch.float64, "loss float64")):
            losses = trace_lbfgs(pair, 200, dtype)
            arrays[f"{name}/{key}"] = losses
            best = np.minimum.accumulate(losses)
            marks = [best[min(n, len(best)) - 1] for n in (1, 25, 50, 100, 200)]
            print(f"{name}, {key}, {len(best)} evaluations: {[f'{value:.5g}' for value in marks]}")
    save("lbfgs", about, arrays)


def main() -> None:
    torch.set_num_threads(2)
    makers = {"features": make_features, "presets": make_presets, "traces": make_traces, "lbfgs": make_lbfgs}
    for name in sys.argv[1:] or makers:
        makers[name]()


if __name__ == "__main__":
    main()
