"""The losses of the programs that jnst reproduces, in PyTorch, written from the programs themselves.

Nothing here imports jnst: `make.py` uses this to make the values that the tests hold jnst against. Recipes list
layers, divisors, reductions and constants; images are 1 × 3 × H × W, dtype as the caller's variable.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
import material

FIVE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
IMAGENET_MEAN = (123.675, 116.28, 103.53)
CAFFE_MEAN = (123.68, 116.779, 103.939)
Features = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """A program's loss. The variable is `white` · rgb − `mean` (RGB order); layer weights are part of the terms."""

    source: str
    architecture: str
    white: float
    mean: tuple[float, float, float]
    caffe_input: bool
    pooling: str
    content: dict[str, float]
    style: dict[str, float]
    content_reduction: str
    gram_divisor: str
    style_reduction: str
    weights: tuple[float, float, float]


GORDIC = {
    "source": "gordicaleksa/pytorch-neural-style-transfer, the same as HarshMartinTopno/N_S_T, defaults",
    "white": 255.0,
    "mean": IMAGENET_MEAN,
    "caffe_input": False,
    "pooling": "max",
    "content_reduction": "mean",
    "gram_divisor": "channels and pixels",
    "style_reduction": "sum",
    "weights": (1e5, 3e4, 1e0),
}
# Keras names a convolution with its activation: block5_conv2 is our relu5_2.
TENSORFLOW = {
    "source": "TensorFlow tutorial style_transfer.ipynb",
    "architecture": "vgg19",
    "white": 1.0,
    "mean": (0.0, 0.0, 0.0),
    "caffe_input": True,
    "pooling": "max",
    "content": {"relu5_2": 1.0},
    "style": dict.fromkeys(FIVE, 1 / 5),
    "content_reduction": "mean",
    "gram_divisor": "pixels",
    "style_reduction": "mean",
}
CAFFE = {"architecture": "vgg19", "white": 255.0, "mean": CAFFE_MEAN, "caffe_input": True}
EIGHT = ("relu1_1", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu4_1", "relu4_3", "relu5_1")
RECIPES = {
    # The content slice says conv4_2, but the in-place ReLU after it overwrites that tensor.
    "gordic": Recipe(**GORDIC, architecture="vgg19", content={"relu4_2": 1.0}, style=dict.fromkeys(FIVE, 1 / 5)),
    "gordic-vgg16": Recipe(
        **GORDIC,
        architecture="vgg16",
        content={"relu2_2": 1.0},
        style=dict.fromkeys(("relu1_2", "relu2_2", "relu3_3", "relu4_3"), 1 / 4),
    ),
    "gordic-vgg16-experimental": Recipe(
        **GORDIC, architecture="vgg16", content={"relu3_2": 1.0}, style=dict.fromkeys(EIGHT, 1 / 8)
    ),
    "tf-tutorial": Recipe(**TENSORFLOW, weights=(1e4, 1e-2, 0.0)),
    "tf-tutorial-tv": Recipe(**TENSORFLOW, weights=(1e4, 1e-2, 30.0)),
    # Each style layer weighs 1e3 / n² with n the full network's channels, whatever the width of the network here.
    "gatys": Recipe(
        source="leongatys/PytorchNeuralStyleTransfer, NeuralStyleTransfer.ipynb",
        **CAFFE,
        pooling="max",
        content={"relu4_2": 1.0},
        style={layer: 1e3 / n**2 for layer, n in zip(FIVE, material.CHANNELS, strict=True)},
        content_reduction="mean",
        gram_divisor="pixels",
        style_reduction="mean",
        weights=(1.0, 1.0, 0.0),
    ),
    # The paper says conv4_2 and conv1_1 … conv5_1. Its network is Caffe's, whose ReLU works in place: what is read out
    # under those names is rectified, hence relu here. Its M (pixels) is one number for both pictures, because the style
    # picture is first resized to the content's size. Weights: its ratio content : style of 1e-3 (figure 3).
    "paper": Recipe(
        source="Gatys, Ecker, Bethge, CVPR 2016, equations 1 and 3 to 5 and section 3",
        **CAFFE,
        pooling="average",
        content={"relu4_2": 1.0},
        style=dict.fromkeys(FIVE, 1 / 5),
        content_reduction="half sum",
        gram_divisor="none",
        style_reduction="sum / 4N²M²",
        weights=(1.0, 1e3, 0.0),
    ),
}


def run_network(
    params: material.Params,
    x: torch.Tensor,
    architecture: str,
    *,
    last: str | None = None,
    pooling: str = "max",
    ceil: bool = False,
    replicate: bool = False,
) -> Features:
    """Every layer up to `last`, each 1 × C × H × W, of an image of that form in the network's own pixel space."""
    features = {}
    pool = F.max_pool2d if pooling == "max" else F.avg_pool2d
    for name in material.layer_names(architecture):
        if name.startswith("conv"):
            kernel = torch.from_numpy(params[name]["kernel"]).to(x.dtype).permute(3, 2, 0, 1)
            mode = "replicate" if replicate and name == "conv1_1" else "constant"
            x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode=mode), kernel, torch.from_numpy(params[name]["bias"]).to(x.dtype))
        elif name.startswith("relu"):
            x = torch.relu(x)
        else:
            x = pool(x, kernel_size=2, stride=2, ceil_mode=ceil)
        features[name] = x
        if name == last:
            break
    return features


def to_variable(image: np.ndarray, recipe: Recipe, dtype: torch.dtype) -> torch.Tensor:
    pixels = torch.from_numpy(image).to(dtype).permute(2, 0, 1)[None]
    return (pixels * recipe.white - torch.tensor(recipe.mean, dtype=dtype).reshape(1, 3, 1, 1)).contiguous()


def to_network(variable: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    if not recipe.caffe_input:
        return variable
    shape, dtype = (1, 3, 1, 1), variable.dtype
    pixels = (variable + torch.tensor(recipe.mean, dtype=dtype).reshape(shape)) * (255 / recipe.white)
    return pixels.flip(1) - torch.tensor(CAFFE_MEAN[::-1], dtype=dtype).reshape(shape)


def gram_matrix(features: torch.Tensor, divisor: str) -> torch.Tensor:
    _, channels, height, width = features.shape
    flat = features.reshape(channels, height * width)
    by = {"none": 1, "pixels": height * width, "channels and pixels": channels * height * width}
    return flat @ flat.T / by[divisor]


def make_loss(
    params: material.Params, content: np.ndarray, style: np.ndarray, recipe: Recipe, dtype: torch.dtype
) -> Callable[[torch.Tensor], tuple[torch.Tensor, dict[str, torch.Tensor]]]:
    """A function from the variable to the weighted total and the unweighted terms; `layer style` terms are bare."""
    order = material.layer_names(recipe.architecture)
    last = max([*recipe.content, *recipe.style], key=order.index)

    def extract(variable: torch.Tensor) -> Features:
        x = to_network(variable, recipe)
        return run_network(params, x, recipe.architecture, last=last, pooling=recipe.pooling)

    with torch.no_grad():
        content_features = extract(to_variable(content, recipe, dtype))
        style_features = extract(to_variable(style, recipe, dtype))
    grams = {layer: gram_matrix(style_features[layer], recipe.gram_divisor) for layer in recipe.style}

    def loss(variable: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        features = extract(variable)
        terms = {"content": torch.zeros((), dtype=dtype), "style": torch.zeros((), dtype=dtype)}
        for layer, weight in recipe.content.items():
            squares = (features[layer] - content_features[layer]) ** 2
            value = squares.mean() if recipe.content_reduction == "mean" else squares.sum() / 2
            terms["content"] = terms["content"] + weight * value
        for layer, weight in recipe.style.items():
            squares = (gram_matrix(features[layer], recipe.gram_divisor) - grams[layer]) ** 2
            _, channels, height, width = features[layer].shape
            if recipe.style_reduction == "sum / 4N²M²":
                value = squares.sum() / (4 * channels**2 * (height * width) ** 2)
            else:
                value = squares.mean() if recipe.style_reduction == "mean" else squares.sum()
            terms[f"style {layer}"] = value
            terms["style"] = terms["style"] + weight * value
        rows, columns = variable[:, :, 1:] - variable[:, :, :-1], variable[..., 1:] - variable[..., :-1]
        terms["total_variation"] = rows.abs().sum() + columns.abs().sum()
        by = zip(recipe.weights, ("content", "style", "total_variation"), strict=True)
        return sum((weight * terms[name] for weight, name in by), torch.zeros((), dtype=dtype)), terms

    return loss
