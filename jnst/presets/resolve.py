"""From the name of a recipe and of weights to what a run needs: one resolved config and prepared parameters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jnst.arrays import Params
from jnst.config import Config, Init, Method, from_dict, to_dict
from jnst.errors import ConfigError, WeightsError, describe_unknown
from jnst.presets.select import adapt_preset, find_preset
from jnst.vgg.convolution import prepare_params
from jnst.weights.registry import resolve_weights
from jnst.weights.store import Weights, WeightsInfo, read_weights


class Run(NamedTuple):
    """A resolved run. `source` is the weights' name or path; `notices` are lines that the user should see."""

    config: Config
    weights: Weights
    source: str
    notices: tuple[str, ...]


def replace_settings(config: Config, settings: Mapping[str, Any]) -> Config:
    """The config with fields replaced by their paths, such as loss.style_weight.

    A line search or another optimiser brings a history in float32 with it, unless the precision is given too.

    Raises:
        ConfigError: for a field that does not exist or a value that it refuses.

    >>> replace_settings(Config(), {"run.steps": 7}).run.steps
    7
    """
    data = to_dict(config)
    if settings.get("optimizer.line_search", "none") != "none" or settings.get("optimizer.method", "lbfgs") != "lbfgs":
        settings = {"optimizer.history_precision": "float32", **settings}
    for path, value in settings.items():
        *groups, name = path.split(".")
        inner = data
        for group in groups:
            inner = inner.get(group) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or name not in inner:
            raise ConfigError(describe_unknown("setting", path, setting_paths()))
        inner[name] = value
    return from_dict(data)


def setting_paths() -> list[str]:
    """Paths of all settings, such as run.steps."""
    paths = []
    for name, value in to_dict(Config()).items():
        paths += [f"{name}.{inner}" for inner in value] if isinstance(value, dict) else [name]
    return paths


def resolve_run(
    preset: str = "default",
    *,
    weights: str | Path = "auto",
    network: str | None = None,
    method: Method | None = None,
    init: Init | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Run:
    """The recipe in the form that fits the weights, with single settings replaced.

    Args:
        preset: a name from `jnst.PRESETS`.
        weights: a name of the catalogue, a path, or "auto".
        network: vgg16, vgg19 or vgg16-experimental.
        method: optimiser in place of the recipe's own.
        init: initial image in place of the recipe's own.
        settings: values by path (see `replace_settings`), applied last.

    Raises:
        ConfigError: for an unknown name, value, or network.
        WeightsError: where the weights are missing (with the command that fetches them), damaged, or another network's.
    """
    config = find_preset(preset, network=network, method=method, init=init)
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
    return Run(replace_settings(config, settings or {}), loaded, source, (notice,) if notice else ())


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
        settings: steps, scales, size (longer side in pixels), height, content_weight, style_weight, tv_weight,
            edge_weight, strength, content_layers, style_layers, pooling, init, method; or any by its path, each dot as
            two underscores.

    >>> params, config = load_preset("default", steps=10, optimizer__history=5)
    >>> config.run.steps, config.optimizer.history, "conv5_1" in params
    (10, 5, True)
    """
    method, init = settings.pop("method", None), settings.pop("init", None)
    paths: dict[str, Any] = {}
    for name, value in settings.items():
        if name in ("size", "height"):
            paths |= {"size.rule": "long" if name == "size" else "height", "size.pixels": value}
        else:
            paths[_SHORT.get(name, name.replace("__", "."))] = value
    run = resolve_run(preset, weights=weights, network=network, method=method, init=init, settings=paths)
    return prepare_params(run.weights.params), run.config


_SHORT = {
    "steps": "run.steps",
    "scales": "run.scales",
    "content_weight": "loss.content_weight",
    "style_weight": "loss.style_weight",
    "tv_weight": "loss.tv_weight",
    "edge_weight": "loss.edge_weight",
    "strength": "loss.strength",
    "content_layers": "loss.content_layers",
    "style_layers": "loss.style_layers",
    "pooling": "network.pooling",
}


def load_params(weights: str | Path = "auto") -> Params:
    """Parameters of named or stored weights, prepared for use.

    Raises:
        WeightsError: as `read_weights`.
    """
    return prepare_params(read_weights(resolve_weights(weights).path).params)
