"""Choosing a preset: its form for a network, an optimiser, an initial image, and the weights at hand."""

import dataclasses

from jnst.config import Architecture, Config, Init, Method, PixelSpace
from jnst.errors import ConfigError, describe_unknown
from jnst.presets.recipes import PRESETS
from jnst.vgg.layers import layer_names

# The author's table: weights (content, style, total variation) for each optimiser and initial image.
_GORDIC_WEIGHTS: dict[tuple[str, str], tuple[float, float, float]] = {
    ("lbfgs", "content"): (1e5, 3e4, 1e0),
    ("lbfgs", "style"): (1e5, 1e1, 1e-1),
    ("lbfgs", "random"): (1e5, 1e3, 1e0),
    ("adam", "content"): (1e5, 1e5, 1e-1),
    ("adam", "style"): (1e5, 1e2, 1e-1),
    ("adam", "random"): (1e5, 1e2, 1e-1),
}


def find_preset(
    name: str, *, network: str | None = None, method: Method | None = None, init: Init | None = None
) -> Config:
    """The preset of that name, in the form its author gives for a network, an optimiser and an initial image.

    Args:
        name: a key of `PRESETS`.
        network: vgg16, vgg19, or vgg16-experimental (N_S_T's third layer set).
        method: optimiser to use in place of the preset's own.
        init: initial image in place of the preset's own.

    Raises:
        ConfigError: for an unknown preset, or a network that the preset does not know.

    >>> find_preset("gordic", method="adam").loss.style_weight
    100000.0
    """
    if name not in PRESETS:
        raise ConfigError(describe_unknown("preset", name, PRESETS))
    if network is not None:
        name = _for_network(name, network)
    config = PRESETS[name]
    if network in ("vgg16", "vgg19") and config.network.architecture != network:
        config = dataclasses.replace(config, network=dataclasses.replace(config.network, architecture=network))
    if method is not None:
        precision = config.optimizer.history_precision if method == "lbfgs" else "float32"
        optimizer = dataclasses.replace(config.optimizer, method=method, history_precision=precision)
        config = dataclasses.replace(config, optimizer=optimizer)
    if init is not None:
        config = dataclasses.replace(config, init=init)
    if name.startswith("gordic"):
        config = _with_gordic_weights(config)
    return config


def _for_network(name: str, network: str) -> str:
    """Name of the preset's variant for that network."""
    if name.startswith("gordic"):
        variants = {"vgg19": "gordic", "vgg16": "gordic-vgg16", "vgg16-experimental": "gordic-vgg16-experimental"}
        if network not in variants:
            raise ConfigError(describe_unknown("network of preset gordic", network, variants))
        return variants[network]
    if network not in ("vgg16", "vgg19"):
        raise ConfigError(describe_unknown(f"network of preset {name}", network, ("vgg16", "vgg19")))
    return name


def _with_gordic_weights(config: Config) -> Config:
    adam = config.optimizer.method == "adam"
    weights = _GORDIC_WEIGHTS.get(("adam" if adam else "lbfgs", config.init))
    if weights is None:
        return config
    content, style, variation = weights
    run = dataclasses.replace(config.run, steps=3000, keep="last") if adam else config.run
    loss = dataclasses.replace(config.loss, content_weight=content, style_weight=style, tv_weight=variation)
    return dataclasses.replace(config, loss=loss, run=run)


def adapt_preset(
    config: Config,
    *,
    lineage: str,
    architecture: Architecture,
    width: float,
    network_input: PixelSpace,
    channels: tuple[int, ...] = (),
    fixed: bool = False,
) -> Config:
    """The config for weights of that lineage, architecture, width or channels, and input space.

    A recipe made for other weights keeps its losses and optimiser, but the network is fed what it was trained on.
    `fixed` says that the user asked for the config's network, which the weights must then be of.

    Raises:
        ConfigError: where the weights are of another architecture than was asked for, or lack a layer of the recipe.
    """
    asked = config.network.architecture
    if asked != architecture:
        absent = [layer for layer in config.loss.layers if layer not in layer_names(architecture)]
        if fixed or absent:
            layers = f" and have no {', '.join(absent)}" if absent else ""
            raise ConfigError(
                f"preset {config.preset} asks for {asked}, but the weights are of {architecture}{layers}; "
                f"choose other weights, or the preset's form for {architecture}"
            )
    network = dataclasses.replace(config.network, architecture=architecture, width=width, channels=channels)
    config = dataclasses.replace(config, network=network)
    if config.lineage != lineage or config.lineage == "any":
        config = dataclasses.replace(config, network_input=network_input)
    return config
