"""Named presets: each a literal of `Config` that reproduces a published program's numerics, with its reference."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from jnst.config import (
    Config,
    LayerWeights,
    LossConfig,
    NetworkConfig,
    OptimizerConfig,
    PixelSpace,
    RunConfig,
    SizeConfig,
)

# What the two lineages of weights were trained on.
TORCHVISION = PixelSpace(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
CAFFE = PixelSpace(scale=255.0, mean=(123.68, 116.779, 103.939), order="bgr")

# N_S_T feeds torchvision's network with 0–255 minus the mean, about 57 times hotter than it was trained for.
_GORDIC_SPACE = PixelSpace(scale=255.0, mean=(123.675, 116.28, 103.53))
# The mean of the author's notebook is given in [0, 1] with eight digits; × 255 it differs from Caffe's in the fifth.
_GATYS_MEAN = (0.48501961 * 255, 0.45795686 * 255, 0.40760392 * 255)


def _evenly(*layers: str) -> LayerWeights:
    return tuple((layer, 1.0 / len(layers)) for layer in layers)


_FIRST_OF_BLOCK = _evenly("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

_GORDIC = Config(
    preset="gordic",
    lineage="torchvision",
    color_profile="ignore",
    noise=90.0,
    variable=_GORDIC_SPACE,
    network_input=_GORDIC_SPACE,
    size=SizeConfig(rule="height", pixels=400, kernel="opencv-cubic"),
    loss=LossConfig(
        content_weight=1e5,
        style_weight=3e4,
        tv_weight=1.0,
        content_layers=(("relu4_2", 1.0),),  # called conv4_2 there, but an in-place ReLU overwrites it
        style_layers=_FIRST_OF_BLOCK,
        gram_divisor="pixels_channels",
        style_reduction="sum",
    ),
    # Its strong Wolfe search spends about one evaluation per step; a fixed step spends exactly one and ends as low.
    optimizer=OptimizerConfig(method="lbfgs", learning_rate=10.0, history=100),
    run=RunConfig(steps=999, rounding="truncate"),  # the picture written is that of evaluation 1000
)


def _with_layers(config: Config, name: str, architecture: str, content: LayerWeights, style: LayerWeights) -> Config:
    return dataclasses.replace(
        config,
        preset=name,
        network=dataclasses.replace(config.network, architecture=architecture),
        loss=dataclasses.replace(config.loss, content_layers=content, style_layers=style),
    )


_TF_TUTORIAL = Config(
    preset="tf-tutorial",
    lineage="caffe",
    color_profile="ignore",
    network_input=CAFFE,
    size=SizeConfig(rule="long", pixels=512, kernel="tensorflow-bilinear"),
    loss=LossConfig(
        content_weight=1e4,
        style_weight=1e-2,
        tv_weight=0.0,
        content_layers=(("relu5_2", 1.0),),  # Keras's block5_conv2 includes its ReLU
        style_layers=_FIRST_OF_BLOCK,
    ),
    optimizer=OptimizerConfig(
        method="adam", learning_rate=0.02, beta1=0.99, beta2=0.999, epsilon=0.1, epsilon_hat=True, clip=True
    ),
    run=RunConfig(steps=1000, keep="last", rounding="truncate"),
)

_GATYS_SPACE = PixelSpace(scale=255.0, mean=_GATYS_MEAN)

_GATYS = Config(
    preset="gatys",
    lineage="caffe",
    color_profile="ignore",
    variable=_GATYS_SPACE,
    network_input=dataclasses.replace(_GATYS_SPACE, order="bgr"),
    size=SizeConfig(rule="short", pixels=512, kernel="pillow-bilinear"),
    loss=LossConfig(
        content_weight=1.0,
        style_weight=1.0,
        content_layers=(("relu4_2", 1.0),),
        style_layers=tuple(
            (f"relu{block}_1", 1e3 / channels**2) for block, channels in enumerate((64, 128, 256, 512, 512), start=1)
        ),
    ),
    optimizer=OptimizerConfig(method="lbfgs", learning_rate=10.0, history=100),
    run=RunConfig(steps=499, rounding="truncate"),  # 500 calls of the closure
)

_PAPER = Config(
    preset="paper",
    lineage="caffe",
    init="random",
    noise=50.0,
    variable=PixelSpace(scale=255.0, mean=CAFFE.mean),
    network_input=CAFFE,
    network=NetworkConfig(pooling="average"),
    size=SizeConfig(rule="long", pixels=512, kernel="pillow-bicubic", style="content"),
    loss=LossConfig(
        content_weight=1.0,
        style_weight=1e3,  # the ratio α/β = 10⁻³ of the paper's figure 3
        content_layers=(("relu4_2", 1.0),),
        style_layers=_FIRST_OF_BLOCK,
        content_reduction="half_sum",
        style_reduction="quarter_mean",
    ),
    optimizer=OptimizerConfig(method="lbfgs", learning_rate=10.0, history=20),
    run=RunConfig(steps=999),
)

# Ours. Terms are normalised by their targets, so the weights mean the same on every network and size.
_DEFAULT = Config(
    preset="default",
    init="recolored",
    # With zeros around the picture, its outermost pixels come out lighter or darker than the photo's.
    network=NetworkConfig(architecture="vgg16", first_padding="replicate"),
    network_input=CAFFE,
    size=SizeConfig(rule="long", pixels=512, kernel="pillow-lanczos"),
    loss=LossConfig(
        content_weight=1.0,
        style_weight=60.0,
        tv_weight=3.0,
        # relu4_2 alone, eight pixels a position, loses what is thin: cables, the edges of a tower.
        content_layers=(("relu2_2", 0.5), ("relu3_2", 0.5), ("relu4_2", 1.0)),
        style_layers=_FIRST_OF_BLOCK,
        content_normalization="target_variance",
        style_normalization="target_norm",
        tv_reduction="mean",
    ),
    # The memory of 20 pairs in float32, and at exponent 0.5 704 evaluations for 815 to the same loss.
    optimizer=OptimizerConfig(method="lbfgs", history=40, history_precision="bfloat16", frequency_exponent=0.65),
    # Half the size first: larger strokes, and less of the style's distance left after less work than at one size. Above
    # 768 pixels a quarter and less before it, or strokes would be thin beside the picture.
    run=RunConfig(steps=100, scales=0),
)


PRESETS: dict[str, Config] = {
    "default": _DEFAULT,
    "gordic": _GORDIC,
    "gordic-vgg16": _with_layers(
        _GORDIC,
        "gordic-vgg16",
        "vgg16",
        (("relu2_2", 1.0),),
        _evenly("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
    ),
    "gordic-vgg16-experimental": _with_layers(
        _GORDIC,
        "gordic-vgg16-experimental",
        "vgg16",
        (("relu3_2", 1.0),),
        _evenly("relu1_1", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu4_1", "relu4_3", "relu5_1"),
    ),
    "tf-tutorial": _TF_TUTORIAL,
    "tf-tutorial-tv": dataclasses.replace(
        _TF_TUTORIAL, preset="tf-tutorial-tv", loss=dataclasses.replace(_TF_TUTORIAL.loss, tv_weight=30.0)
    ),
    "gatys": _GATYS,
    "paper": _PAPER,
}


class Variants(NamedTuple):
    """Forms of a preset, as data.

    networks: which preset it is for a network; empty where it is the same one for vgg16 and vgg19.
    settings: changes by path for an optimiser (adam, or lbfgs for all of that family) and an initial image.
    """

    networks: Mapping[str, str] = {}
    settings: Mapping[tuple[str, str], Mapping[str, Any]] = {}


def _gordic_settings(optimizer: str, content: float, style: float, variation: float) -> dict[str, Any]:
    weights = {"loss.content_weight": content, "loss.style_weight": style, "loss.tv_weight": variation}
    return weights | ({"run.steps": 3000, "run.keep": "last"} if optimizer == "adam" else {})


_GORDIC_VARIANTS = Variants(
    networks={"vgg19": "gordic", "vgg16": "gordic-vgg16", "vgg16-experimental": "gordic-vgg16-experimental"},
    # The author's table: weights of content, style and total variation.
    settings={
        ("lbfgs", "content"): _gordic_settings("lbfgs", 1e5, 3e4, 1e0),
        ("lbfgs", "style"): _gordic_settings("lbfgs", 1e5, 1e1, 1e-1),
        ("lbfgs", "random"): _gordic_settings("lbfgs", 1e5, 1e3, 1e0),
        ("adam", "content"): _gordic_settings("adam", 1e5, 1e5, 1e-1),
        ("adam", "style"): _gordic_settings("adam", 1e5, 1e2, 1e-1),
        ("adam", "random"): _gordic_settings("adam", 1e5, 1e2, 1e-1),
    },
)

VARIANTS: dict[str, Variants] = {
    **dict.fromkeys(("gordic", "gordic-vgg16", "gordic-vgg16-experimental"), _GORDIC_VARIANTS),
}


class Notes(NamedTuple):
    """What a reader should know of a preset: one line, where it comes from, and where it surprises."""

    summary: str
    reference: str
    quirks: tuple[str, ...] = ()


_GORDIC_REFERENCE = "H. Martin, N_S_T; A. Gordić, pytorch-neural-style-transfer (2020)"
_GORDIC_QUIRKS = (
    "The network sees 0–255 minus the mean although it was trained on values about 57 times smaller; on purpose.",
    "Content and style are brought to the same height by OpenCV's cubic kernel on 8-bit numbers, without antialiasing.",
    "Colour profiles of pictures are ignored, as OpenCV does; `--set color_profile=apply` applies them. Both turn "
    "pictures upright by their Exif orientation.",
    "Weights are the author's for each optimiser and initial image; giving one by hand replaces it.",
    "L-BFGS takes a fixed step where the original searches by strong Wolfe conditions, at equal or lower final loss.",
    "8-bit numbers are truncated, not rounded.",
)
_TF_REFERENCE = "TensorFlow tutorial 'Neural style transfer' (style_transfer.ipynb)"
_TF_QUIRKS = (
    "Adam's epsilon of 0.1 is added before bias correction, as Keras does; other libraries' Adam differs.",
    "The picture is clipped to [0, 1] after every step, and the last one is the result.",
    "Colour profiles of pictures are ignored, as TensorFlow's decoder does; `--set color_profile=apply` applies them.",
    "Pictures are turned upright by their Exif orientation, which TensorFlow's decoder does not do.",
    "Pictures are resized bilinearly without antialiasing and enlarged to 512 where they are smaller.",
    "8-bit numbers are truncated, not rounded.",
)

NOTES: dict[str, Notes] = {
    "default": Notes(
        "Ours: looks best with whatever weights are at hand.",
        "Terms normalised by their targets; preconditioned by spatial frequency; begins in the style's colours.",
    ),
    "gordic": Notes("The PyTorch notebook N_S_T, VGG19.", _GORDIC_REFERENCE, _GORDIC_QUIRKS),
    "gordic-vgg16": Notes(
        "N_S_T with VGG16.", _GORDIC_REFERENCE, ("Content is relu2_2, a style layer as well.", *_GORDIC_QUIRKS)
    ),
    "gordic-vgg16-experimental": Notes(
        "N_S_T with eight layers of VGG16.",
        _GORDIC_REFERENCE,
        ("Content is relu3_2, a style layer as well.", *_GORDIC_QUIRKS),
    ),
    "tf-tutorial": Notes("The TensorFlow 2 tutorial, first run.", _TF_REFERENCE, _TF_QUIRKS),
    "tf-tutorial-tv": Notes(
        "The TensorFlow 2 tutorial, second run: total variation weighs 30.",
        _TF_REFERENCE,
        (*_TF_QUIRKS, "Total variation is a sum of absolute differences, although the text speaks of squares."),
    ),
    "gatys": Notes(
        "The paper's author's own PyTorch notebook.",
        "L. Gatys, PytorchNeuralStyleTransfer (2017)",
        (
            "Style layers weigh 1000 / channels², which turns the mean over a Gram matrix into S/C⁴.",
            "The shorter side is brought to 512 pixels.",
            "Colour profiles are ignored, as Pillow alone does; `--set color_profile=apply` applies them. Pictures are "
            "turned upright by their Exif orientation, which Pillow alone does not do.",
            "8-bit numbers are truncated, not rounded.",
        ),
    ),
    "paper": Notes(
        "The published formulas, to the letter.",
        "L. Gatys, A. Ecker, M. Bethge, Image Style Transfer Using Convolutional Neural Networks, CVPR 2016",
        (
            "Content is half the sum of squares, style 1/(4N²M²) of the sum, pooling average.",
            "Layers are named conv in the paper; the features are those after the ReLU, as in its Caffe program.",
            "The style image is stretched to the content's size; the picture begins as noise.",
            "The paper names no noise level; 50 grey levels is ours.",
        ),
    ),
}
