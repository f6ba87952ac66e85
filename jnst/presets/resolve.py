"""From the name of a recipe and of weights to what a run needs: one resolved config and prepared parameters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jnst.arrays import Params
from jnst.config import Config, Init, Method
from jnst.presets.select import adapt_preset, find_preset, preset_for_lineage
from jnst.presets.settings import Factor, by_path, replace_settings
from jnst.vgg.convolution import prepare_params
from jnst.weights.registry import resolve_weights
from jnst.weights.store import Weights, WeightsInfo, read_weights


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
    """The recipe in the form that fits the weights, with single settings replaced.

    Args:
        preset: a name from `jnst.PRESETS`.
        weights: a name of the catalogue, a path, or "auto".
        network: vgg16, vgg19 or vgg16-experimental.
        optimizer: optimiser in place of the recipe's own.
        init: initial image in place of the recipe's own.
        settings: values by short name or path (see `replace_settings`), applied last. `optimizer` and `init` may as
            well stand here.

    Raises:
        ConfigError: for an unknown name, value, or network.
        WeightsError: where the weights are missing (with the command that fetches them), damaged, or another network's.
    """

    def find(name: str) -> Config:
        return find_preset(name, network=network, optimizer=optimizer, init=init, settings=settings)

    config = find(preset)
    resolved = resolve_weights(weights, architecture=config.network.architecture, lineage=config.lineage)
    loaded = read_weights(resolved.path)
    notices = [resolved.notice] if resolved.notice else []
    if preset_for_lineage(preset, loaded.info.lineage) != preset:
        config = find(preset_for_lineage(preset, loaded.info.lineage))
    if config.lineage not in ("any", loaded.info.lineage):
        notices.append(
            f"preset {config.preset} was made for weights of {config.lineage} lineage; {loaded.info.name} is "
            f"{loaded.info.lineage}, so its loss weights may need a change"
        )
    config = adapt_to_weights(config, loaded.info)
    source = resolved.name if str(weights) in (resolved.name, "auto") else str(resolved.path)
    # What fits the weights must not replace what was asked for; a factor has been applied already.
    asked = {name: value for name, value in by_path(settings or {}).items() if not isinstance(value, Factor)}
    asked.pop("network.architecture", None)
    return Run(replace_settings(config, asked), loaded, source, tuple(notices))


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
        settings: steps, optimizer, init, scales, size (longer side in pixels), height, content_weight, style_weight,
            tv_weight, edge_weight, content_layers, style_layers, pooling; or any by its path, each dot as two
            underscores.

    >>> params, config = load_preset("pocket", weights="pocket", steps=10, optimizer__history=5)
    >>> config.run.steps, config.optimizer.history, "conv5_1" in params
    (10, 5, True)
    """
    named = {name.replace("__", "."): value for name, value in settings.items()}
    run = resolve_run(preset, weights=weights, network=network, settings=named)
    return prepare_params(run.weights.params), run.config


def load_params(weights: str | Path = "auto") -> Params:
    """Parameters of named or stored weights, prepared for use.

    Raises:
        WeightsError: as `read_weights`.
    """
    return prepare_params(read_weights(resolve_weights(weights).path).params)
