"""Settings of a run: frozen, hashable dataclasses that validate themselves and round-trip through JSON.

Units: sizes in pixels, times in seconds, learning rates in the units of the optimised variable (see `PixelSpace`).
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from jnst.config_fields import LARGEST, check_fields, check_positive, check_weight, require, setting
from jnst.errors import quote

Architecture = Literal["vgg16", "vgg19"]
Pooling = Literal["max", "average"]
PoolRounding = Literal["floor", "ceil"]
FirstPadding = Literal["zero", "replicate"]
Padding = Literal["zero", "circular"]
ContentReduction = Literal["mean", "sum", "half_sum"]
ContentNormalization = Literal["none", "target_variance"]
GramDivisor = Literal["none", "pixels", "pixels_channels"]
StyleReduction = Literal["mean", "sum", "quarter_mean"]
StyleNormalization = Literal["none", "target_norm"]
StyleStatistics = Literal["gram", "covariance"]
VariationNorm = Literal["l1", "l2"]
VariationReduction = Literal["sum", "mean"]
SizeRule = Literal["keep", "height", "long", "short"]
StyleSize = Literal["own", "content"]
ResizeKernel = Literal[
    "opencv-cubic", "tensorflow-bilinear", "pillow-bilinear", "pillow-bicubic", "pillow-lanczos", "nearest"
]
Method = Literal["adam", "lbfgs", "jaxopt-lbfgs", "optax-lbfgs"]
LineSearch = Literal["none", "zoom", "backtracking", "hager-zhang"]
Init = Literal["content", "style", "random", "recolored"]
Keep = Literal["best", "last"]
Precision = Literal["float32", "tf32", "bfloat16"]
Rounding = Literal["round", "truncate"]
Colors = Literal["style", "content", "match", "luminance"]
Lineage = Literal["any", "torchvision", "caffe"]
ColorProfile = Literal["apply", "ignore"]
TiledContent = Literal["keep", "recompute"]
HistoryPrecision = Literal["float32", "bfloat16"]
LayerWeights = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class PixelSpace:
    """x = (scale · rgb − mean) / std with rgb in [0, 1]; mean and std are always listed in RGB order."""

    scale: float = setting(1.0, "value of white before the mean is taken off")
    mean: tuple[float, float, float] = setting((0.0, 0.0, 0.0), "subtracted per channel, RGB order")
    std: tuple[float, float, float] = setting((1.0, 1.0, 1.0), "divisor per channel, RGB order")
    order: Literal["rgb", "bgr"] = setting("rgb", "channel order that comes out")

    def __post_init__(self) -> None:
        check_fields(self)
        require(
            all(1e-6 <= value <= 1e6 for value in (self.scale, *self.std)),
            f"pixel scale {self.scale} and std {self.std} must be positive, from 1e-6 to 1e6",
        )
        require(all(abs(value) <= 1e6 for value in self.mean), f"pixel mean is {self.mean}; expected numbers up to 1e6")


def check_channels(channels: tuple[int, ...]) -> None:
    """Raises ConfigError unless these can be the output channels of a VGG's first convolutions."""
    require(
        len(channels) <= 16 and all(type(count) is int and 1 <= count <= 4096 for count in channels),
        f"channels is {channels}; expected at most 16 whole numbers from 1 to 4096, one per convolution in order",
    )


@dataclass(frozen=True)
class NetworkConfig:
    """Which VGG (Simonyan and Zisserman 2014, arXiv 1409.1556), and the choices that its users make differently.

    Every field has its meaning in `docs/settings.md`; the command line shows the same text.

    architecture: "vgg16" or "vgg19".
    width, channels: output channels of the convolutions, the table's times `width`, or listed one by one.
    pooling, pool_rounding: "max" or "average" over 2 × 2 windows, and what becomes of an odd last row or column.
    first_padding, padding: what lies beyond the image's border.
    """

    architecture: Architecture = setting("vgg19", "layer table of the network")
    width: float = setting(1.0, "multiplier on the channels of every convolution")
    pooling: Pooling = setting("max", "how 2×2 windows are pooled")
    pool_rounding: PoolRounding = setting("floor", "what happens to an odd last row or column")
    first_padding: FirstPadding = setting("zero", "border of the first convolution")
    channels: tuple[int, ...] = setting((), "output channels of each convolution in order; empty: the table's × width")
    padding: Padding = setting(
        "zero", "what the image has beyond its border; circular: its opposite side, so that the result tiles"
    )

    def __post_init__(self) -> None:
        check_fields(self)
        require(0 < self.width <= 4, f"network width is {self.width}; expected a multiplier above 0 and at most 4")
        check_channels(self.channels)


@dataclass(frozen=True)
class LossConfig:
    """Layers, weights, and every divisor and reduction by which published programs differ."""

    content_weight: float = setting(1.0, "weight of the content term")
    style_weight: float = setting(1.0, "weight of the style term")
    tv_weight: float = setting(0.0, "weight of the total variation term")
    strength: float = setting(0.5, "of the style, 0 to 1; 0.5 is the style weight as given, 0.1 more doubles it")
    content_layers: LayerWeights = setting((("relu4_2", 1.0),), "content layers with their weights")
    style_layers: LayerWeights = setting(
        (("relu1_1", 0.2), ("relu2_1", 0.2), ("relu3_1", 0.2), ("relu4_1", 0.2), ("relu5_1", 0.2)),
        "style layers with their weights",
    )
    content_reduction: ContentReduction = setting("mean", "over channels and pixels of a content layer")
    content_normalization: ContentNormalization = setting("none", "divisor of each content layer's term")
    style_statistics: StyleStatistics = setting(
        "gram", "what is compared at a style layer: Gram matrices, or covariance matrices and means of its channels"
    )
    gram_divisor: GramDivisor = setting("pixels", "what the Gram matrix is divided by")
    style_reduction: StyleReduction = setting("mean", "over the entries of a Gram matrix")
    style_normalization: StyleNormalization = setting("none", "divisor of each style layer's term")
    tv_norm: VariationNorm = setting("l1", "of the differences between neighbouring pixels")
    tv_reduction: VariationReduction = setting(
        "sum", "over pairs of neighbours and channels; mean is that of rows plus that of columns"
    )

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("content_weight", "style_weight", "tv_weight"):
            check_weight(name.replace("_", " "), getattr(self, name))
        require(0 <= self.strength <= 1, f"strength is {self.strength}; expected 0 to 1, where 0.5 is the preset's own")
        for kind in ("content", "style"):
            layers = getattr(self, f"{kind}_layers")
            names = [layer for layer, _ in layers]
            require(len(set(names)) == len(names), f"{kind} layers name a layer twice: {quote(', '.join(names))}")
            for layer, weight in layers:
                check_weight(f"weight of {kind} layer {quote(layer)[1:-1]}", weight)
        require(
            self.style_statistics == "gram" or self.gram_divisor == "pixels",
            f"style statistics covariance goes with Gram divisor pixels, not {self.gram_divisor}: a covariance matrix "
            "is a mean over positions; set Gram divisor to pixels, or style statistics to gram",
        )
        require(
            bool(self.content_layers or self.style_layers),
            "no content and no style layer: there is nothing to optimise",
        )

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that the loss looks at: content first, then style."""
        return tuple(layer for layer, _ in (*self.content_layers, *self.style_layers))


@dataclass(frozen=True)
class SizeConfig:
    """How input pictures are brought to working size."""

    rule: SizeRule = setting("long", "side that is brought to `pixels`; keep leaves the picture as it is")
    pixels: int = setting(512, "length of that side", unit="pixels")
    kernel: ResizeKernel = setting("pillow-lanczos", "resampling kernel")
    enlarge: bool = setting(True, "whether smaller pictures are enlarged")
    style: StyleSize = setting("own", "style image sized by the same rule, or stretched to the content's exact size")
    style_scale: float = setting(1.0, "factor on the style image's size, hence on its strokes")
    style_pixels: int = setting(0, "longer side to which a larger style image is brought; 0 any", unit="pixels")

    def __post_init__(self) -> None:
        check_fields(self)
        require(1 <= self.pixels <= 65_535, f"size is {self.pixels} pixels; expected 1 to 65535")
        require(0 < self.style_scale <= 16, f"style scale is {self.style_scale}; expected above 0 and at most 16")
        require(
            0 <= self.style_pixels <= 65_535,
            f"style pixels is {self.style_pixels}; expected 1 to 65535, or 0 for any size",
        )


MOST_STEPS = 100_000_000
MOST_SCALES = 8
# Steps at which a content lead falls to its root, and to one.
LEAD_FALLS = (100, 200)


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimiser and its constants."""

    method: Method = setting("lbfgs", "optimiser; lbfgs takes fixed steps, or jaxopt's with a line search")
    learning_rate: float = setting(0.02, "Adam's step, in units of the optimised variable")
    beta1: float = setting(0.9, "Adam's decay of the mean gradient")
    beta2: float = setting(0.999, "Adam's decay of the mean squared gradient")
    epsilon: float = setting(1e-8, "Adam's guard in the divisor")
    epsilon_hat: bool = setting(False, "epsilon added before bias correction, as TensorFlow does")
    history: int = setting(10, "pairs that L-BFGS remembers")
    history_precision: HistoryPrecision = setting("float32", "of those pairs; bfloat16 halves the memory they take")
    line_search: LineSearch = setting("none", "of L-BFGS; none takes a fixed step of one")
    first_step: float = setting(0.01, "mean change of the first L-BFGS step", unit="of the range black to white")
    frequency_exponent: float = setting(
        0.0, "preconditioning: spatial frequency f is weighed by f to minus this, half of it after the first scale"
    )
    inverse_scale: float = setting(
        1.0, "factor on the inverse curvature that L-BFGS assumes in directions it has not moved along yet"
    )
    content_lead: float = setting(
        1.0, "long L-BFGS runs: content weighs this times as much for 100 steps, and the root of it for 100 more"
    )
    clip: bool = setting(False, "clip the picture to black and white after every step")

    def __post_init__(self) -> None:
        check_fields(self)
        check_positive("learning rate", self.learning_rate)
        for name in ("beta1", "beta2"):
            require(0 <= getattr(self, name) < 1, f"{name} is {getattr(self, name)}; expected 0 or more and below 1")
        check_positive("epsilon", self.epsilon)
        require(1 <= self.history <= 1000, f"history is {self.history}; expected 1 to 1000 pairs")
        require(
            1e-30 <= self.first_step <= 1, f"first step is {self.first_step}; expected above 0 (1e-30) and at most 1"
        )
        require(
            0 <= self.frequency_exponent <= 2,
            f"frequency exponent is {self.frequency_exponent}; expected 0 to 2",
        )
        require(
            1 <= self.content_lead <= LARGEST,
            f"content lead is {self.content_lead}; expected a finite number of one or more",
        )
        check_positive("inverse scale", self.inverse_scale, "a finite number above zero")
        require(
            self.inverse_scale == 1 or (self.method == "lbfgs" and self.line_search == "none"),
            f"an inverse scale goes with optimizer lbfgs and line search none, not with {self.method} and line search "
            f"{self.line_search}; set inverse scale to 1",
        )
        require(
            self.content_lead == 1 or (self.method == "lbfgs" and self.line_search == "none"),
            f"a content lead goes with optimizer lbfgs and line search none, not with {self.method} and line search "
            f"{self.line_search}; set content lead to 1",
        )
        require(
            self.history_precision == "float32" or self.method != "lbfgs" or self.line_search == "none",
            "a history in bfloat16 goes with line search none alone; with another, set history precision to float32",
        )
        require(
            self.history_precision == "float32" or self.method not in ("jaxopt-lbfgs", "optax-lbfgs"),
            f"a history in bfloat16 goes with optimizer lbfgs, not {self.method}; set history precision to float32",
        )
        require(
            not (self.clip and self.frequency_exponent),
            "clip and frequency exponent contradict each other: clipped pixels are not independent frequencies; "
            "set one of them to zero",
        )


@dataclass(frozen=True)
class RunConfig:
    """How long to go on and what to keep. Nothing here changes the compiled step."""

    steps: int = setting(300, "optimiser steps at full size", unit="steps")
    chunk: int = setting(25, "steps between two looks at the picture", unit="steps")
    save_every: int = setting(0, "write a frame each so many steps; 0 never", unit="steps")
    scales: int = setting(
        1, "sizes of a coarse-to-fine run, each half the next; 0 for two, and one more per doubling above 768 pixels"
    )
    tolerance: float = setting(0.0, "stop when the loss falls by less than this fraction over a chunk; 0 never")
    max_time: float = setting(0.0, "stop after this long; 0 never", unit="seconds")
    keep: Keep = setting("best", "which picture is the result")
    colors: Colors = setting(
        "style",
        "the style's; the content's, put back at the end; the style's brought to the content's first (match); or those "
        "of the content with style transfer on luminance alone",
    )
    rounding: Rounding = setting("round", "how the result becomes 8-bit numbers")

    def __post_init__(self) -> None:
        check_fields(self)
        require(self.steps >= 0, f"steps is {self.steps}; expected zero or more")
        require(self.chunk >= 1, f"chunk is {self.chunk}; expected one or more steps")
        require(self.save_every >= 0, f"save every is {self.save_every}; expected zero or more steps")
        for name in ("steps", "chunk", "save_every"):  # the compiled loop counts in 32 bits
            value = getattr(self, name)
            require(value <= MOST_STEPS, f"{name.replace('_', ' ')} is {value}; expected at most {MOST_STEPS} steps")
        require(
            0 <= self.scales <= MOST_SCALES,
            f"scales is {self.scales}; expected 1 to {MOST_SCALES}, or 0 for as many as the size asks for",
        )
        require(0 <= self.tolerance < 1, f"tolerance is {self.tolerance}; expected 0 or more and below 1")
        require(
            math.isfinite(self.max_time) and self.max_time >= 0,
            f"max time is {self.max_time}; expected zero or more seconds",
        )


@dataclass(frozen=True)
class Config:
    """All settings of a run. A preset is a literal of this; a variant of it is `dataclasses.replace`.

    Every field has its meaning, unit and values in `docs/settings.md`; the command line shows the same text.

    preset, lineage: where the settings come from, and for which weights.
    color_profile, init, noise: of the pictures that are read, and of the image that the run begins with.
    precision, tile, tiled_content: how loss and gradient are computed.
    network, network_input, variable: the network, and the pixel spaces that it sees and that the optimiser moves in.
    size, loss, optimizer, run: sizes, terms and their weights, the optimiser, how long to go on and what to keep.

    Raises:
        ConfigError: for a value that a field cannot have, or fields that contradict each other.
    """

    preset: str = setting("default", "name of the preset that this began as")
    lineage: Lineage = setting("any", "weights that the preset was made for")
    color_profile: ColorProfile = setting(
        "apply", "of input pictures: apply brings them to sRGB, ignore takes the numbers in the file for sRGB"
    )
    init: Init = setting("content", "picture to begin with")
    noise: float = setting(0.1, "standard deviation of a random initial picture, in units of the optimised variable")
    precision: Precision = setting("float32", "of the convolutions; losses are always float32")
    tile: int = setting(0, "side of the tiles that loss and gradient are computed in; 0 the whole image", unit="pixels")
    tiled_content: TiledContent = setting("keep", "content targets of a tiled run; recompute saves memory, costs time")
    network: NetworkConfig = NetworkConfig()
    variable: PixelSpace = PixelSpace()
    network_input: PixelSpace = PixelSpace()
    size: SizeConfig = SizeConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    run: RunConfig = RunConfig()

    def __post_init__(self) -> None:
        check_fields(self)
        check_weight("noise", self.noise)
        require(
            0 <= self.tile < 2**20 and self.tile % 16 == 0,
            f"tile is {self.tile} pixels; expected a multiple of 16 below 1048576, or 0 for the whole image",
        )
        require(self.variable.order == "rgb", "the optimised variable is always in RGB order")
        require(
            self.optimizer.content_lead == 1 or (self.run.steps >= 300 and self.run.scales == 1),
            f"a content lead of {self.optimizer.content_lead:g} lasts {LEAD_FALLS[1]} steps and is for one long run, "
            f"but steps is {self.run.steps} and scales {self.run.scales}; expected 300 steps or more and 1 scale, or "
            "content lead 1",
        )


def compile_key(config: Config) -> Config:
    """The config with everything reset that does not change the compiled computation.

    Runs that differ only in weights, steps, size rules or seed then share one compilation.
    """
    plain = Config()
    return dataclasses.replace(
        config,
        preset=plain.preset,
        lineage=plain.lineage,
        color_profile=plain.color_profile,
        init=plain.init,
        noise=plain.noise,
        size=plain.size,
        run=plain.run,
        loss=dataclasses.replace(
            config.loss, content_weight=1.0, style_weight=1.0, tv_weight=1.0, strength=plain.loss.strength
        ),
    )
