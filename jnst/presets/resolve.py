"""From the name of a preset and of weights to what a run needs: one resolved config and prepared parameters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jnst.array_types import Params
from jnst.config import Config, Init, Method, OptimizerConfig
from jnst.errors import WeightsError
from jnst.optim.registry import optimizer_kind
from jnst.presets.select import adapt_preset, find_preset
from jnst.presets.settings import Factor, by_path, replace_settings
from jnst.vgg.convolution import prepare_params
from jnst.weights.network import Weights, WeightsInfo
from jnst.weights.registry import resolve_weights
from jnst.weights.store import read_weights


class Run(NamedTuple):
    """A resolved run. `source` is the weights' name or path; `notices` are lines that the user should see."""

    config: Config
    weights: Weights
    source: str
    notices: tuple[str, ...]


def resolve_run(
    preset: str = "default",
    *,
    weights: str | Path = "auto",
    network: str | None = None,
    optimizer: Method | None = None,
    init: Init | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Run:
    """The preset in the form that fits the weights, with single settings replaced.

    Args:
        preset: a name from `jnst.PRESETS`.
        weights: a name of the catalogue, a path, or "auto".
        network: vgg16, vgg19 or vgg16-experimental.
        optimizer: optimiser in place of the preset's own.
        init: initial image in place of the preset's own.
        settings: values by short name or path (see `replace_settings`), applied last. `optimizer` and `init` may as
            well stand here.

    Raises:
        ConfigError: for an unknown name, value, or network.
        WeightsError: where the weights are missing (with the command that fetches them), damaged, or another network's.
    """
    asked = by_path(settings or {})
    network = network or asked.pop("network.architecture", None)
    config = find_preset(preset, network=network, optimizer=optimizer, init=init, settings=asked)
    resolved = resolve_weights(weights, architecture=config.network.architecture, lineage=config.lineage)
    if network is not None and resolved.missing:
        raise WeightsError(
            f"{config.network.architecture} weights needed, and none on this machine; "
            f"`jnst weights fetch {resolved.missing}` brings them, or leave the network to the weights"
        )
    loaded = read_weights(resolved.path)
    notice = _tell_difference(config, loaded.info, resolved.missing)
    config = adapt_to_weights(config, loaded.info, network=network)
    source = resolved.name if str(weights) in (resolved.name, "auto") else str(resolved.path)
    # What fits the weights must not replace what was asked for; a factor has been applied already.
    config = replace_settings(config, {path: value for path, value in asked.items() if not isinstance(value, Factor)})
    notices = (notice, _tell_unused(config.optimizer, asked))
    return Run(config, loaded, source, tuple(filter(None, notices)))


def _tell_unused(optimizer: OptimizerConfig, asked: Mapping[str, Any]) -> str:
    """A line for the user where settings were asked for that the optimiser does not look at; empty where all count.

    >>> _tell_unused(OptimizerConfig(method="lbfgs"), {"optimizer.learning_rate": 5.0, "run.steps": 3})
    'learning_rate changes nothing: the optimiser is lbfgs'
    """
    usual = OptimizerConfig()
    unused = [
        name
        for name in optimizer_kind(optimizer).unused
        if asked.get(f"optimizer.{name}", getattr(usual, name)) != getattr(usual, name)
    ]
    many = "change" if len(unused) > 1 else "changes"
    return f"{' and '.join(unused)} {many} nothing: the optimiser is {optimizer.method}" if unused else ""


def _tell_difference(config: Config, info: WeightsInfo, missing: str) -> str:
    """A line for the user where a preset runs on other weights than it was made for; empty where it does not."""
    asked, given = config.network.architecture, info.architecture
    if config.lineage == "any" or (asked, config.lineage) == (given, info.lineage):
        return ""
    changes = []
    if asked != given:
        changes.append(f"the layers are {given}'s")
    if config.lineage != info.lineage:
        changes.append("channel order and mean are those of the weights, and loss weights may need a change")
    fetch = f"; `jnst weights fetch {missing}` brings those it was made for" if missing else ""
    return (
        f"preset {config.preset} was made for {asked} of {config.lineage} lineage and runs on {info.name} ({given}, "
        f"{info.lineage} lineage): {'; '.join(changes)}{fetch}"
    )


def adapt_to_weights(config: Config, info: WeightsInfo, *, network: str | None = None) -> Config:
    """`adapt_preset` for a weights file. `network` is what the user asked for, if anything."""
    return adapt_preset(
        config,
        lineage=info.lineage,
        architecture=info.architecture,
        width=info.width,
        network_input=info.space,
        fixed=network is not None,
        channels=info.channels,
    )


def load_preset(
    preset: str = "default", *, weights: str | Path = "auto", network: str | None = None, **settings: Any
) -> tuple[Params, Config]:
    """Parameters ready for use and the config of a preset, in one call.

    Args:
        preset: a name from `jnst.PRESETS`.
        weights: a name of the catalogue, a path, or "auto".
        network: vgg16, vgg19 or vgg16-experimental.
        settings: steps, optimizer, init, scales, size (longer side in pixels), height, content_weight, style_weight,
            tv_weight, strength, content_layers, style_layers, style_statistics, pooling; or any by its path, each dot
            as two underscores.

    Returns:
        The parameters, from `prepare_params`, and the config.

    Raises:
        ConfigError: for an unknown preset, network or setting, or a value that it cannot have.
        WeightsError: for unknown or damaged weights, or weights that the preset cannot use.

    >>> params, config = load_preset("default", steps=10, optimizer__history=5)
    >>> config.run.steps, config.optimizer.history, "conv5_1" in params
    (10, 5, True)
    """
    named = {name.replace("__", "."): value for name, value in settings.items()}
    run = resolve_run(preset, weights=weights, network=network, settings=named)
    return prepare_params(run.weights.params), run.config


def load_params(weights: str | Path = "auto") -> Params:
    """Parameters of named or stored weights, prepared for use.

    Args:
        weights: a name of the catalogue, a path, or "auto".

    Returns:
        A kernel (HWIO), a bias and the prepared forms of each convolution, by its name.

    Raises:
        WeightsError: as `read_weights`.
    """
    return prepare_params(read_weights(resolve_weights(weights).path).params)
