"""Neural style transfer for JAX.

Names are imported when they are first used, so that `import jnst` is instant and touches no device.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jnst.arrays import LossTerms as LossTerms
    from jnst.arrays import LossWeights as LossWeights
    from jnst.batch.api import stylize_batch as stylize_batch
    from jnst.config import Config as Config
    from jnst.errors import JnstError as JnstError
    from jnst.images.pixel_space import decode as decode
    from jnst.images.pixel_space import encode as encode
    from jnst.images.reading import read_image as read_image
    from jnst.images.writing import write_image as write_image
    from jnst.loss.objective import loss_terms as loss_terms
    from jnst.loss.objective import weigh as weigh
    from jnst.loss.targets import make_targets as make_targets
    from jnst.loss.term import Targets as Targets
    from jnst.loss.term import Term as Term
    from jnst.loss.terms import content_loss as content_loss
    from jnst.loss.terms import gram_matrix as gram_matrix
    from jnst.loss.terms import style_loss as style_loss
    from jnst.loss.terms import total_variation as total_variation
    from jnst.presets.recipes import PRESETS as PRESETS
    from jnst.presets.resolve import load_params as load_params
    from jnst.presets.resolve import load_preset as load_preset
    from jnst.transfer.driver import Result as Result
    from jnst.transfer.driver import stylize as stylize
    from jnst.transfer.loop import TransferState as TransferState
    from jnst.transfer.loop import advance as advance
    from jnst.transfer.loop import init_state as init_state
    from jnst.transfer.style_targets import StyleTargets as StyleTargets
    from jnst.transfer.style_targets import prepare_style as prepare_style
    from jnst.transfer.style_targets import read_style as read_style
    from jnst.transfer.style_targets import write_style as write_style
    from jnst.vgg.convolution import prepare_params as prepare_params
    from jnst.vgg.features import extract_features as extract_features

_ROOMS = {
    "LossTerms": "arrays",
    "LossWeights": "arrays",
    "stylize_batch": "batch.api",
    "Config": "config",
    "TransferState": "transfer.loop",
    "advance": "transfer.loop",
    "init_state": "transfer.loop",
    "JnstError": "errors",
    "read_image": "images.reading",
    "write_image": "images.writing",
    "content_loss": "loss.terms",
    "gram_matrix": "loss.terms",
    "style_loss": "loss.terms",
    "total_variation": "loss.terms",
    "Targets": "loss.term",
    "Term": "loss.term",
    "loss_terms": "loss.objective",
    "make_targets": "loss.targets",
    "weigh": "loss.objective",
    "decode": "images.pixel_space",
    "encode": "images.pixel_space",
    "PRESETS": "presets.recipes",
    "load_params": "presets.resolve",
    "load_preset": "presets.resolve",
    "StyleTargets": "transfer.style_targets",
    "prepare_style": "transfer.style_targets",
    "read_style": "transfer.style_targets",
    "write_style": "transfer.style_targets",
    "Result": "transfer.driver",
    "stylize": "transfer.driver",
    "extract_features": "vgg.features",
    "prepare_params": "vgg.convolution",
}

__all__ = sorted(_ROOMS)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'jnst' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"jnst.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
