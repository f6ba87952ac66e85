"""What is minimised: an image and its targets become the terms of the loss, their weighted sum, and its gradient."""

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jnst.argument_checks import check_config, check_kind
from jnst.array_types import Image, LossTerms, LossWeights, Moment, Params, Scalar, check_array
from jnst.config import Config
from jnst.devices import check_platform
from jnst.errors import ConfigError
from jnst.loss.features import feature_maps
from jnst.loss.guidance import layers_with_means, region_products, to_grams
from jnst.loss.registry import TERMS
from jnst.loss.term import Context, Sees, Targets, Term, layers_seen


def terms_of(targets: Targets) -> tuple[Term, ...]:
    """The package's terms and those from outside that the targets were made for."""
    return (*TERMS, *targets.extra_terms.terms)


def compute_terms(
    sees: Sees, ours: Any, theirs: Any, targets: Targets, config: Config, *, size: tuple[Any, Any]
) -> dict[str, Scalar]:
    """The unweighted terms of one kind.

    Args:
        sees: which kind.
        ours: maps or Gram matrices by layer, or the image.
        theirs: the same of the targets; for the image, each term's own by its name.
        targets: from `make_targets`.
        config: of the run.
        size: true height and width of the whole image.
    """
    scale = {"maps": targets.content_scale, "grams": targets.style_scale, "image": {}}[sees]
    context = Context(config, size, targets.extent, scale)
    return {
        term.name: term.loss(ours, (theirs or {}).get(term.name) if sees == "image" else theirs, context)
        for term in terms_of(targets)
        if term.sees == sees
    }


def gram_terms(
    products: Sequence[dict[str, Moment]], targets: Targets, config: Config, *, size: tuple[Any, Any]
) -> dict[str, Scalar]:
    """The unweighted terms of Gram matrices; where there are regions Σ_r λ_r · term(G^r, A^r), λ_r their factor.

    Args:
        products: from `region_products`, summed over the whole image.
        targets: from `make_targets`.
        config: of the run.
        size: true height and width of the whole image.
    """
    if not targets.regions:
        (ours,) = to_grams(products, None, size, config)
        return compute_terms("grams", ours, targets.grams, targets, config, size=size)
    grams = to_grams(products, [region.filling for region in targets.regions], size, config)
    total: dict[str, Scalar] = {}
    for ours, region in zip(grams, targets.regions, strict=True):
        scaled = targets._replace(style_scale=region.style_scale)
        terms = compute_terms("grams", ours, region.grams, scaled, config, size=size)
        total = {name: total.get(name, 0) + region.factor * value for name, value in terms.items()}
    return total


def loss_terms(params: Params, image: Image, targets: Targets, config: Config) -> LossTerms:
    """The unweighted terms for one image, by name.

    Content and style are sums over layers of weight × distance (× scale where terms are normalised); total variation is
    on the variable's own pixel scale.

    Args:
        params: from `prepare_params`.
        image: height × width × 3 in the config's variable space (`jnst.encode(rgb, config.variable)`).
        targets: from `make_targets`.
        config: layers, divisors, reductions, spaces.

    Returns:
        "content", "style", "total_variation", and the extra terms that the targets were made for.
    """
    check_config(config)
    check_kind("targets", targets, Targets, "what jnst.make_targets returns")
    image = check_array("the image", image, axes="height × width × 3")
    extent, terms = targets.extent, terms_of(targets)
    size = (image.shape[0], image.shape[1]) if extent is None else extent.size
    maps = feature_maps(params, image, layers_seen(terms, config), config, extent)
    means = layers_with_means(config.loss)
    products = region_products(maps, layers_seen(terms, config, "grams"), targets.masks, means=means)
    return {
        **compute_terms("maps", maps, targets.content, targets, config, size=size),
        **gram_terms(products, targets, config, size=size),
        **compute_terms("image", image, targets.own, targets, config, size=size),
    }


def weigh(terms: LossTerms, weights: LossWeights) -> Scalar:
    """Σ over terms of weight · term.

    Args:
        terms: unweighted, by name, as from `loss_terms`.
        weights: one for each of them, as in `Targets.weights`.

    Returns:
        A scalar, float32.

    Raises:
        ConfigError: where a term has no weight.

    >>> weigh({"content": jnp.float32(2), "style": jnp.float32(3)}, {"content": 10.0, "style": 1.0}).item()
    23.0
    """
    check_platform()
    check_kind("terms", terms, Mapping, "numbers by name, as from jnst.loss_terms")
    check_kind("weights", weights, Mapping, "numbers by name, such as targets.weights")
    missing = sorted(set(terms) - set(weights))
    if missing:
        raise ConfigError(
            f"terms without a weight: {', '.join(missing)}; weights are given for {', '.join(weights) or 'none'}"
        )
    # In the order of the names, which is that in which trees keep a dict: the sum is the same to the bit everywhere.
    weighted = [weights[name] * terms[name] for name in sorted(terms)]
    return functools.reduce(operator.add, weighted) if weighted else jnp.float32(0.0)


def evaluate(params: Params, image: Image, targets: Targets, config: Config) -> tuple[tuple[Scalar, LossTerms], Image]:
    """((weighted loss, terms), gradient with respect to the image in variable space)."""

    def weighted(image: Image) -> tuple[Scalar, LossTerms]:
        terms = loss_terms(params, image, targets, config)
        return weigh(terms, targets.weights), terms

    return jax.value_and_grad(weighted, has_aux=True)(image)
