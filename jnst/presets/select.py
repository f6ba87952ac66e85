"""Choosing a preset: its form for a network, an optimiser, an initial image, and the weights at hand."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jnst.config import Architecture, Config, Init, Method, PixelSpace
from jnst.errors import ConfigError, check_choice, describe_unknown, quote
from jnst.presets.presets import PRESETS, VARIANTS, Variants
from jnst.presets.settings import by_path, replace_settings
from jnst.vgg.layers import layer_names

_NETWORKS = {"vgg16": None, "vgg19": None}
# What an author's variants depend on: applied first, so that a variant is found however they were given.
_DECISIVE = ("optimizer.method", "init", "network.architecture")


def find_preset(
    name: str,
    *,
    network: str | None = None,
    optimizer: Method | None = None,
    init: Init | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Config:
    """The preset of that name, in the form its author gives for a network, an optimiser and an initial image.

    Args:
        name: a key of `PRESETS`.
        network: vgg16, vgg19, or a name that the preset alone knows, such as vgg16-experimental.
        optimizer: optimiser to use in place of the preset's own.
        init: initial image in place of the preset's own.
        settings: other changes by name or path (`replace_settings`), which are applied last. It makes no difference
            whether optimizer, init and network stand here or have a word of their own.

    Raises:
        ConfigError: for an unknown preset, a network that the preset does not know, or a value that is refused.

    >>> find_preset("gordic", optimizer="adam").loss.style_weight
    100000.0
    """
    check_choice("preset", name, PRESETS)
    given = {"optimizer.method": optimizer, "init": init}
    changes = by_path(settings or {})
    for path, value in given.items():
        if value is not None and changes.setdefault(path, value) != value:
            name = path.partition(".")[0]
            raise ConfigError(f"{name} is {quote(value)} and among the settings {quote(changes[path])}; expected one")
    network = network or changes.pop("network.architecture", None)
    config = PRESETS[name] if network is None else _for_network(name, network)
    config = replace_settings(config, {path: changes[path] for path in _DECISIVE if path in changes})
    variants = VARIANTS.get(config.preset, Variants())
    family = "adam" if config.optimizer.method == "adam" else "lbfgs"
    config = replace_settings(config, variants.settings.get((family, config.init), {}))
    return replace_settings(config, changes)


def _for_network(name: str, network: Any) -> Config:
    """The preset's variant for that network, or else the preset with that architecture."""
    known = VARIANTS[name].networks if name in VARIANTS else {}
    if not isinstance(network, str) or network not in (known or _NETWORKS):
        raise ConfigError(describe_unknown(f"network of preset {name}", str(network), known or _NETWORKS))
    config = PRESETS[known.get(network, name)]
    if known:
        return config
    return dataclasses.replace(config, network=dataclasses.replace(config.network, architecture=network))


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

    A preset made for other weights keeps its losses and optimiser, but the network is fed what it was trained on.
    `fixed` says that the user asked for the config's network, which the weights must then be of.

    Raises:
        ConfigError: where the weights are of another architecture than was asked for, or lack a layer of the preset.
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
