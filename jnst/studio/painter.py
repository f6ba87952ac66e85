"""One picture in the making: moved a few steps at a time under weights that may change between them."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jnst.array_types import Gram, Params
from jnst.config import Colors, Config, compile_key
from jnst.images.inputs import PictureForm, StylePicture, as_styles
from jnst.images.resizing import to_unit
from jnst.images.sizing import fit
from jnst.loss.region_targets import blend_grams
from jnst.loss.targets import content_targets, loss_weights, style_grams
from jnst.loss.term import Targets
from jnst.studio.knobs import Knobs, turned
from jnst.transfer.color_mode import PREPARED, canvas_of, carry_over, prepare_styles
from jnst.transfer.loop import CAPACITY, advance
from jnst.transfer.regions_at_scale import guide
from jnst.transfer.restart import restart
from jnst.transfer.scales import (
    at_scale,
    check_given_size,
    check_size,
    content_at_scale,
    first_image,
    styles_at_scale,
)
from jnst.transfer.state import Trace, TransferState, current_picture, init_state
from jnst.transfer.stopping import MAX_REJECTED

# What the curves show; the names are those of the trace.
CURVES = ("total", "content", "style", "total_variation")


def read_trace(trace: Trace) -> dict[str, list[float]]:
    """The trace of `advance` as lists by name."""
    return {name: np.asarray(column).tolist() for name, column in trace.columns().items()}


class Painter:
    """The optimisation of one picture at one size.

    Args:
        params: from `prepare_params`.
        content: RGB, uint8, uint16 or floating point in [0, 1]; brought to working size by `config.size`.
        styles: the same, one or more; what is transparent in one is not looked at.
        config: of any number of scales; this paints one of them.
        knobs: to begin with.
        seed: of a random initial picture.
        initial: picture to begin with in place of `config.init`; brought to the size of this scale.
        initial_colors: the way with colours that it was painted in; None where it was not painted here.
        size: height and width at this scale; the full size by default.
        scale: number of the scale, 0 for the coarsest. Above that, the picture to begin with is an enlarged result, of
            which only the fine detail is missing.

    Raises:
        ConfigError: where an image is too small, as given or for the deepest layer.
    """

    def __init__(
        self,
        params: Params,
        content: np.ndarray,
        styles: Sequence[np.ndarray | PictureForm | StylePicture],
        config: Config,
        knobs: Knobs,
        *,
        seed: int = 0,
        initial: np.ndarray | None = None,
        initial_colors: Colors | None = None,
        size: tuple[int, int] | None = None,
        scale: int = 0,
    ) -> None:
        self._params, self._knobs = params, knobs
        self._config, self._key = at_scale(config, scale), compile_key(config)
        check_given_size(np.shape(content), config, "content")
        self._canvas = fit(content, config.size)
        self._full = to_unit(self._canvas)
        self._size = (self._full.shape[0], self._full.shape[1]) if size is None else size
        check_size(self._size, config, "content")
        self._styles = as_styles(list(styles), color_profile=config.color_profile)
        several = self._prepare()
        self._targets = self._blended()
        self._aim()
        if initial is not None and initial_colors is not None:
            initial = carry_over(to_unit(initial), self._full, initial_colors, knobs.colors)
        enlarged = scale > 0 or (initial is not None and initial.shape[:2] == self._size)
        before, given = (to_unit(initial), None) if enlarged else (None, initial)  # pyright: ignore
        first = first_image(
            config, self._content, several, before=before, initial=given, seed=seed, style_weights=knobs.blend
        )
        self._state = self._begin(first)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture at this scale."""
        return self._size

    @property
    def canvas(self) -> np.ndarray:
        """The photo at full size."""
        return self._canvas

    def _begin(self, picture: np.ndarray) -> TransferState:
        return init_state(to_unit(picture), self._config)

    def _prepare(self) -> list[StylePicture]:
        """Brings photo and styles to this scale, in the colours that the knobs say, and makes the Gram matrices.

        Returns:
            The styles in those colours, as large as they were given.
        """
        full, colors = self._full, self._knobs.colors
        self._content = content_at_scale(canvas_of(full, colors), self._size)
        several = prepare_styles(self._styles, full, colors)
        painted = styles_at_scale(several, self._config, (full.shape[0], full.shape[1]), self._size)
        guide(None, self._size, painted, self._config)
        self._grams = [self._style_grams(one) for one in painted]
        return several

    def _style_grams(self, style: StylePicture) -> dict[str, Gram]:
        mask = None if style.mask is None else jnp.asarray(style.mask)[..., None]
        return style_grams(self._params, jnp.asarray(style.pixels), None, mask, config=self._key)

    def _blended(self) -> Targets:
        """Targets for the blend, from the program that `make_targets` runs: another one would round the scales of the
        Gram matrices otherwise, and every step after."""
        return content_targets(
            self._params, jnp.asarray(self._content), blend_grams(self._grams, self._knobs.blend), config=self._key
        )

    def _aim(self) -> None:
        """Brings the loss weights in line with the knobs; they are data of the loop, as the targets are."""
        self._targets = self._targets._replace(weights=loss_weights(turned(self._config, self._knobs)))

    def compile(self) -> None:
        """Compiles the loop for this size, where it has not been; makes no step."""
        self._state, _ = advance(self._params, self._targets, self._state, self._config, num_steps=0, in_place=True)

    def paint(self, steps: int) -> dict[str, list[float]]:
        """Goes on by so many steps (at most 256) and returns their trace by name; the first step only evaluates."""
        self._state, trace = advance(
            self._params, self._targets, self._state, self._config, num_steps=min(steps, CAPACITY), in_place=True
        )
        return read_trace(trace)

    def set_knobs(self, knobs: Knobs) -> bool:
        """Sets the knobs; returns whether the loss is another now, and what was measured before is forgotten."""
        before, self._knobs = self._knobs, knobs
        prepared = before.colors != knobs.colors and not {before.colors, knobs.colors}.isdisjoint(PREPARED)
        if dataclasses.replace(before, colors=knobs.colors) == knobs and not prepared:
            return False
        if prepared:
            self._prepare()
        if prepared or before.blend != knobs.blend:
            self._targets = self._blended()
        self._aim()
        if "luminance" in {before.colors, knobs.colors} and prepared:
            self._state = self._begin(carry_over(self.picture(), self._full, before.colors, knobs.colors))
        else:
            self._state = restart(self._state)
        return True

    def go_back(self, picture: np.ndarray) -> None:
        """Begins again with an earlier picture."""
        self._state = self._begin(picture)

    def picture(self) -> np.ndarray:
        """The picture as it is worked on, grey where that is on luminance alone: RGB in [0, 1], height × width × 3."""
        fresh = int(self._state.step) == 0
        return current_picture(self._state, self._config, best=self._config.run.keep == "best" and not fresh)

    @property
    def stuck(self) -> bool:
        """Whether no step lowers the loss any further."""
        return int(self._state.rejected) >= MAX_REJECTED
