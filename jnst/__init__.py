"""Neural style transfer for JAX.

Names are imported when they are first used, so that `import jnst` is instant and touches no device.
"""

import ast
import contextlib
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # The public list, once: type checkers read these imports, and `_read_modules` reads them at run time.
    from jnst.array_types import LossTerms as LossTerms
    from jnst.array_types import LossWeights as LossWeights
    from jnst.batch.api import stylize_batch as stylize_batch
    from jnst.config import Config as Config
    from jnst.config import NetworkConfig as NetworkConfig
    from jnst.devices import image_mesh as image_mesh
    from jnst.errors import ArrayError as ArrayError
    from jnst.errors import ConfigError as ConfigError
    from jnst.errors import ImageError as ImageError
    from jnst.errors import JnstError as JnstError
    from jnst.errors import TargetsError as TargetsError
    from jnst.errors import WeightsError as WeightsError
    from jnst.images.colors import match_colors as match_colors
    from jnst.images.masks import color_mask as color_mask
    from jnst.images.pixel_space import decode as decode
    from jnst.images.pixel_space import encode as encode
    from jnst.images.reading import read_image as read_image
    from jnst.images.writing import write_image as write_image
    from jnst.loss.distances import content_loss as content_loss
    from jnst.loss.distances import gram_matrix as gram_matrix
    from jnst.loss.distances import style_loss as style_loss
    from jnst.loss.distances import total_variation as total_variation
    from jnst.loss.features import features as features
    from jnst.loss.objective import loss_terms as loss_terms
    from jnst.loss.objective import weigh as weigh
    from jnst.loss.targets import make_targets as make_targets
    from jnst.loss.term import Targets as Targets
    from jnst.loss.term import Term as Term
    from jnst.presets.presets import PRESETS as PRESETS
    from jnst.presets.resolve import load_params as load_params
    from jnst.presets.resolve import load_preset as load_preset
    from jnst.progress.callbacks import BatchSnapshot as BatchSnapshot
    from jnst.progress.callbacks import Progress as Progress
    from jnst.progress.callbacks import Snapshot as Snapshot
    from jnst.transfer.animation import Animation as Animation
    from jnst.transfer.driver import stylize as stylize
    from jnst.transfer.inspection import Inspection as Inspection
    from jnst.transfer.inspection import inspect as inspect
    from jnst.transfer.loop import advance as advance
    from jnst.transfer.regions import Region as Region
    from jnst.transfer.result import Result as Result
    from jnst.transfer.row_sharding import row_mesh as row_mesh
    from jnst.transfer.state import TransferState as TransferState
    from jnst.transfer.state import init_state as init_state
    from jnst.transfer.style_file import read_style as read_style
    from jnst.transfer.style_file import write_style as write_style
    from jnst.transfer.style_targets import StyleTargets as StyleTargets
    from jnst.transfer.style_targets import prepare_style as prepare_style
    from jnst.transfer.texture import reconstruct as reconstruct
    from jnst.transfer.texture import texture as texture
    from jnst.vgg.convolution import prepare_params as prepare_params
    from jnst.vgg.features import VGG as VGG
    from jnst.vgg.features import extract_features as extract_features
    from jnst.vgg.layers import layer_names as layer_names

    __version__: str


def _read_modules(source: str) -> dict[str, str]:
    """Each public name with the module that it comes from, out of the imports above."""
    block = next(node for node in ast.parse(source).body if isinstance(node, ast.If))
    imports = (node for node in block.body if isinstance(node, ast.ImportFrom))
    return {alias.name: str(node.module) for node in imports for alias in node.names}


_MODULES = _read_modules(__loader__.get_source(__name__))  # pyright: ignore

__all__ = sorted(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]


if not TYPE_CHECKING:  # hidden from type checkers, which would take every misspelt name for Any

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib import metadata  # which takes a while

            try:
                return metadata.version("jnst")
            except metadata.PackageNotFoundError:  # a copy of the sources that is not installed
                return "unknown"
        if name not in _MODULES:
            from jnst.errors import describe_unknown

            raise AttributeError(f"module 'jnst': {describe_unknown('name', name, __all__)}")
        if "jax" not in sys.modules:
            # XLA reports harmless differences of machine names in long lines whenever it loads a cached program. It
            # reads this when it is imported.
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with _saying_that_jax_starts():
            return getattr(importlib.import_module(_MODULES[name]), name)

    def _saying_that_jax_starts() -> contextlib.AbstractContextManager[object]:
        """On a terminal a spinner says why the first name takes a second or two; it is gone afterwards."""
        if "jax" in sys.modules or not getattr(sys.stderr, "isatty", bool)():
            return contextlib.nullcontext()
        from jnst.progress.bar import ProgressBar

        printer = ProgressBar(sys.stderr)
        printer.doing("starting JAX")
        return printer


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
