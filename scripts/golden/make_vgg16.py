"""Writes `tests/golden/vgg16.npz`: what PyTorch computes from the bundled file `weights/vgg16.h5`.

    python scripts/golden/make_vgg16.py            (torch, numpy, h5py; two minutes on two cores)

Nothing here imports jnst: the file is read by h5py, the losses are in `recipes.py`. Features, terms and gradients are
computed in float64, and so are twenty steps of Adam and the search of L-BFGS: steps amplify rounding, so that in
float32 the values depend on the machine.
"""

from dataclasses import asdict, replace
from pathlib import Path

import h5py
import numpy as np
import torch
from make import save, to_image
from recipes import RECIPES, Recipe, make_loss, material, run_network, to_network, to_variable

FILE = Path(__file__).parents[2] / "weights" / "vgg16.h5"
STEPS = 20
EVALUATIONS = 100
CONTENT = material.with_noise(material.paint("shapes", 48, 64), seed=1)
STYLE = material.paint("marble", 52, 40, seed=3)
EQUAL_STYLE = material.paint("marble", 48, 64, seed=3)
START = material.with_noise(CONTENT, seed=2)
# The author's weights for Adam from the content picture; the tutorial's own.
ADAM = {"gordic-vgg16": (1e5, 1e5, 1e-1), "tf-tutorial": (1e4, 1e-2, 0.0)}


def read_file() -> material.Params:
    """Kernels (HWIO) and biases of the thirteen convolutions, float32."""
    with h5py.File(FILE) as file:
        names = [name for name in material.layer_names("vgg16") if name.startswith("conv")]
        return {name: {part: file[name][part][()].astype(np.float32) for part in ("kernel", "bias")} for name in names}


def on_vgg16(name: str) -> Recipe:
    """The recipe on VGG16 of Caffe's lineage, whatever network it was written for."""
    return replace(RECIPES[name], architecture="vgg16", caffe_input=True)


def add_features(params: material.Params, arrays: dict) -> None:
    x = to_network(to_variable(CONTENT, on_vgg16("tf-tutorial"), torch.float64), on_vgg16("tf-tutorial"))
    for layer, values in run_network(params, x, "vgg16").items():
        values = to_image(values)
        positions = material.sample_positions(values.shape, 60)
        arrays[f"features/{layer}"] = values.ravel()[positions]
        arrays[f"features/{layer} max_norm"] = np.array([np.abs(values).max(), np.linalg.norm(values)])


def add_terms(params: material.Params, arrays: dict) -> None:
    for name in RECIPES:
        recipe = on_vgg16(name)
        loss = make_loss(params, CONTENT, EQUAL_STYLE if name == "paper" else STYLE, recipe, torch.float64)
        variable = to_variable(START, recipe, torch.float64).requires_grad_()
        total, terms = loss(variable)
        total.backward()
        gradient = to_image(variable.grad)
        for term in ("content", "style", "total_variation"):
            arrays[f"{name}/{term}"] = np.array(terms[term].item())
        arrays[f"{name}/total"] = np.array(total.item())
        arrays[f"{name}/gradient"] = gradient.ravel()[material.sample_positions(gradient.shape, 200)]
        arrays[f"{name}/gradient max_norm"] = np.array([np.abs(gradient).max(), np.linalg.norm(gradient)])


def adam_totals(params: material.Params, name: str) -> np.ndarray:
    """The total before each step of the program's Adam and after the last."""
    recipe = replace(on_vgg16(name), weights=ADAM[name])
    loss = make_loss(params, CONTENT, STYLE, recipe, torch.float64)
    x = to_variable(CONTENT, recipe, torch.float64)
    first, second, totals = torch.zeros_like(x), torch.zeros_like(x), []
    keras = name == "tf-tutorial"
    rate, beta1, beta2, epsilon = (0.02, 0.99, 0.999, 0.1) if keras else (10.0, 0.9, 0.999, 1e-8)
    for step in range(1, STEPS + 2):
        variable = x.clone().requires_grad_()
        total, _ = loss(variable)
        totals.append(total.item())
        total.backward()
        gradient = variable.grad
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        if keras:  # epsilon before the correction of the bias
            x = x - rate * (1 - beta2**step) ** 0.5 / (1 - beta1**step) * first / (second.sqrt() + epsilon)
            x = x.clamp(0, 1)
        else:
            x = x - rate * (first / (1 - beta1**step)) / ((second / (1 - beta2**step)).sqrt() + epsilon)
    return np.array(totals)


def lbfgs_totals(params: material.Params) -> np.ndarray:
    """The loss of every evaluation of N_S_T's L-BFGS with VGG16; the search works on the loss divided by its first."""
    recipe = on_vgg16("gordic-vgg16")
    loss = make_loss(params, CONTENT, STYLE, recipe, torch.float64)
    variable = to_variable(CONTENT, recipe, torch.float64).requires_grad_()
    scale = loss(variable)[0].item()
    search = {"line_search_fn": "strong_wolfe", "tolerance_grad": 0.0, "tolerance_change": 0.0}
    optimizer = torch.optim.LBFGS([variable], max_iter=1000, history_size=100, max_eval=EVALUATIONS, **search)
    totals: list[float] = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        total = loss(variable)[0] / scale
        total.backward()
        totals.append(total.item() * scale)
        return total

    optimizer.step(closure)
    return np.array(totals[:EVALUATIONS])


def main() -> None:
    torch.set_num_threads(2)
    params, arrays = read_file(), {}
    about = {name: asdict(on_vgg16(name)) for name in RECIPES}
    about |= {"adam": ADAM, "steps": STEPS, "content": "with_noise(paint('shapes', 48, 64), 1)"}
    about |= {"start": "with_noise(content, 2)", "style": "paint('marble', 52, 40, 3)", "file": FILE.name}
    add_features(params, arrays)
    add_terms(params, arrays)
    for name in ADAM:
        arrays[f"{name}/adam"] = adam_totals(params, name)
    arrays["gordic-vgg16/lbfgs"] = lbfgs_totals(params)
    save("vgg16", about, arrays)


if __name__ == "__main__":
    main()
