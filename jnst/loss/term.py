"""What a term of the loss is (a name, a weight, a function of what it looks at), and what images are compared with."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jnst.argument_checks import check_kind, check_series
from jnst.array_types import FeatureMap, Image, LossWeights, Moment, Scalar
from jnst.config import Config
from jnst.config_fields import is_weight
from jnst.errors import ConfigError, quote
from jnst.vgg.extent import Extent
from jnst.vgg.layers import deepest, layer_names, layer_shape

Sees = Literal["maps", "grams", "image"]
# Names that the trace uses beside those of the terms.
RESERVED = ("evaluation", "total")


class Context(NamedTuple):
    """What a term may ask beside what it compares.

    config: of the run.
    size: true height and width of the whole image in pixels, wherever this is a tile of it or it is padded.
    extent: the true part of a padded image or of a tile; None where all of the image is true.
    scale: factor by layer that the config's normalisation asks for; empty for terms that see the image.
    """

    config: Config
    size: tuple[Any, Any]
    extent: Extent | None
    scale: dict[str, Scalar]

    def pixels(self, layer: str) -> Any:
        """Number of positions of a layer's feature map over the whole image."""
        return math.prod(layer_shape(layer, *self.size, self.config.network))


class Term(NamedTuple):
    """One term of the loss. Those of the package are `jnst.loss.registry.TERMS`; others are handed in.

    Make a term once, not at every call: the compiled program is remembered under its functions.

    Attributes:
        name: under which its value stands in the loss terms, the trace, the record, the plot and the progress.
        weight: a number, or the name of the field of `LossConfig` that holds it.
        sees: what the term compares. "maps": feature maps of the image and of the content image, as a sum over
            positions (divide by `context.pixels(layer)` for a mean), so that tiles can be added. "grams": Gram matrices
            of the image and of the styles. "image": the image itself and the term's own target.
        loss: (ours, theirs, context) -> unweighted scalar. Ours and theirs are dicts by layer for maps and Gram
            matrices. For "image", ours is height × width × 3 in the config's variable space (`jnst.decode` makes it
            RGB) and theirs is what `target` returned.
        layers: names of the layers, or the name of the field of `LossConfig` that holds them with their weights.
        target: (content image in RGB, height × width × 3, config) -> arrays; for terms that see the image.

    >>> import jax.numpy as jnp
    >>> def brightness(image, wanted, context):
    ...     return jnp.square(jnp.mean(image) - wanted)
    >>> Term("brightness", 2.0, "image", brightness, target=lambda content, config: jnp.mean(content)).name
    'brightness'
    """

    name: str
    weight: float | str
    sees: Sees
    loss: Callable[[Any, Any, Context], Scalar]
    layers: str | tuple[str, ...] = ()
    target: Callable[[Image, Config], Any] | None = None

    def layers_in(self, config: Config) -> tuple[str, ...]:
        """The layers whose maps or Gram matrices the term sees.

        Args:
            config: of the run.

        Returns:
            Names from `layer_names`; none for a term that sees the image.
        """
        if isinstance(self.layers, tuple):
            return self.layers
        return tuple(layer for layer, _ in getattr(config.loss, self.layers))

    def weight_in(self, config: Config) -> float:
        """The weight, as a number.

        Args:
            config: of the run.

        Returns:
            What the unweighted term is multiplied by.
        """
        return getattr(config.loss, self.weight) if isinstance(self.weight, str) else self.weight


@jax.tree_util.register_static
@dataclass(frozen=True)
class ExtraTerms:
    """Terms from outside the package, as a part of a tree that has no arrays: compiled programs depend on it."""

    terms: tuple[Term, ...] = ()


class RegionTargets(NamedTuple):
    """What one region of an image is compared with.

    grams, style_scale: as in `Targets`, of the region's own style.
    factor: of its terms: its weight times the share of the image that it covers.
    filling: by layer, what `jnst.loss.guidance.fillings` says of it.
    """

    grams: dict[str, Moment]
    style_scale: dict[str, Scalar]
    factor: Scalar
    filling: dict[str, Scalar]


class Kept(NamedTuple):
    """What stays of the content image: `mask` is height × width × 1, one where it does; `image` in variable space."""

    mask: FeatureMap
    image: Image


class Targets(NamedTuple):
    """What an image is compared with: data only, so that `vmap` over many contents, styles or weights just works.

    Attributes:
        content: feature map of each content layer, height × width × channels.
        content_scale: what each content layer's distance is multiplied by: one, or the inverse of the target's own size
            where the config asks for normalised terms.
        grams: Gram matrix of each style layer, channels × channels.
        style_scale: as `content_scale`, for the style layers.
        weights: of the terms, by name.
        extent: where the true image lies in a padded one; None for a whole image.
        content_image: in variable space; stands in for `content` where a tiled run computes those maps again tile by
            tile.
        own: targets of terms that see the image, by the term's name; None where there are none.
        extra_terms: terms from outside that the targets were made for.
        regions: where styles keep to regions, each one's targets; `grams` and `style_scale` are empty then.
        masks: of the regions at each style layer, height × width × regions.
        kept: what stays of the content image.
    """

    content: dict[str, FeatureMap]
    content_scale: dict[str, Scalar]
    grams: dict[str, Moment]
    style_scale: dict[str, Scalar]
    weights: LossWeights
    extent: Extent | None = None
    content_image: Image | None = None
    own: Mapping[str, Any] | None = None
    extra_terms: ExtraTerms = ExtraTerms()
    regions: tuple[RegionTargets, ...] = ()
    masks: dict[str, FeatureMap] | None = None
    kept: Kept | None = None

    def __repr__(self) -> str:
        maps = ", ".join(f"{layer} {'×'.join(map(str, np.shape(map_)))}" for layer, map_ in self.content.items())
        grams = ", ".join(f"{layer} {np.shape(gram)[-1]}²" for layer, gram in self.grams.items())
        if self.regions:
            grams = f"of {len(self.regions)} regions, {', '.join(self.regions[0].grams)}"
        return f"Targets(content: {maps or 'none'}; Gram matrices: {grams or 'none'})"


def layers_seen(terms: Sequence[Term], config: Config, sees: Sees | None = None) -> tuple[str, ...]:
    """Names of the layers that the terms look at, each once; of all kinds, or of one."""
    chosen = [term for term in terms if term.sees != "image" and sees in (None, term.sees)]
    return tuple(dict.fromkeys(layer for term in chosen for layer in term.layers_in(config)))


def as_extra_terms(terms: Any) -> list[Term]:
    """Terms from outside as a list; raises ConfigError for what is no list of them."""
    several = check_series("extra terms", terms, "a list of jnst.Term")
    for one in several:
        check_kind("an extra term", one, Term, "a jnst.Term")
    return several


def check_extra_terms(extra: Sequence[Term], known: Sequence[Term], config: Config, *, divided: bool) -> None:
    """Raises ConfigError for terms that cannot stand beside the known ones.

    Args:
        extra: from outside.
        known: the package's own.
        config: of the run.
        divided: whether the image is computed in tiles or over devices, with margins for the config's layers alone.
    """
    names = [term.name for term in known]
    for term in extra:
        if term.name in names or term.name in RESERVED or not term.name.isidentifier():
            raise ConfigError(
                f"an extra term is called {quote(term.name)}; expected a name of letters, digits and underscores that "
                f"is not one of {', '.join((*names, *RESERVED))}"
            )
        names.append(term.name)
        weight = term.weight_in(config)
        if not is_weight(weight):
            raise ConfigError(f"weight of term {term.name} is {weight}; expected a finite number that is zero or more")
        layers = layers_seen([term], config)
        architecture = config.network.architecture
        if divided and layers and deepest(layers, architecture) > deepest(config.loss.layers, architecture):
            raise ConfigError(
                f"term {term.name} looks at {layer_names(architecture)[deepest(layers, architecture)]}, which is "
                "deeper than the config's own layers; that is for whole images on one device: set tile to 0"
            )
