"""From the name of a recipe and of weights to what a run needs: one resolved config and prepared parameters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jnst.arrays import Params
from jnst.config import Config, Init, Method, from_dict, to_dict
from jnst.errors import ConfigError, describe_unknown
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
    loaded = read_weights(resolved.path)
    notices = [resolved.notice] if resolved.notice else []
    if preset == "default" and loaded.info.lineage == "jnst":
        config = find_preset("pocket", network=network, method=method, init=init)
    if config.lineage not in ("any", loaded.info.lineage):
        notices.append(
            f"preset {config.preset} was made for weights of {config.lineage} lineage; {loaded.info.name} is "
            f"{loaded.info.lineage}, so its loss weights may need a change"
        )
    config = adapt_to_weights(config, loaded.info)
    source = resolved.name if str(weights) in (resolved.name, "auto") else str(resolved.path)
    return Run(replace_settings(config, settings or {}), loaded, source, tuple(notices))


def adapt_to_weights(config: Config, info: WeightsInfo) -> Config:
    """`adapt_preset` for a weights file."""
    return adapt_preset(
        config, lineage=info.lineage, architecture=info.architecture, width=info.width, network_input=info.space
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
            content_layers, style_layers, pooling, init, method; or any by its path, each dot as two underscores.

    >>> params, config = load_preset("pocket", weights="pocket", steps=10, optimizer__history=5)
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
