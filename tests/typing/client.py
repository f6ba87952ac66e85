"""A program as a user would write it, which names everything public. It is type-checked, not run."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jnst


def stylize_files(photo: Path, painting: Path, output: Path) -> list[float]:
    """One picture, watched and stopped after a minute."""
    params, config = jnst.load_preset("default", steps=150, size=384)
    content, style = jnst.read_image(photo), jnst.read_image(painting, allow_large=True)
    result: jnst.Result = jnst.stylize(
        params, content.pixels, style.pixels, config, seed=1, callback=lambda snapshot: snapshot.progress.seconds > 60
    )
    jnst.write_image(output, result.image)
    return result.trace["total"]


def stylize_many(photos: list[Path], painting: Path, saved: Path) -> list[str]:
    """Many pictures in a style that is prepared once."""
    params = jnst.load_params("vgg16-caffe")
    config: jnst.Config = jnst.PRESETS["default"]
    prepared: jnst.StyleTargets = jnst.prepare_style(params, jnst.read_image(painting).pixels, config)
    jnst.write_style(saved, prepared)
    contents = [jnst.read_image(photo).pixels for photo in photos]
    results = jnst.stylize_batch(params, contents, jnst.read_style(saved), config, seeds=list(range(len(contents))))
    return [result.stopped for result in results]


def own_loss(image: jax.Array, style: jax.Array) -> jax.Array:
    """jnst's terms inside another program's loss."""
    params, config = jnst.load_preset("default")
    targets: jnst.Targets = jnst.make_targets(params, image, style, config)
    terms: jnst.LossTerms = jnst.loss_terms(params, jnst.encode(image, config.variable), targets, config)
    weights: jnst.LossWeights = targets.weights
    return jnst.weigh(terms, weights) + jnp.mean(jnp.square(image))


def own_term(image: np.ndarray, style: np.ndarray) -> jnst.Result:
    """A term of the caller's own beside jnst's."""
    params, config = jnst.load_preset("default")

    def brightness(image: jax.Array, wanted: jax.Array, context: object) -> jax.Array:
        return jnp.square(jnp.mean(image) - wanted)

    def mean(content: jax.Array, config: jnst.Config) -> jax.Array:
        return jnp.mean(content)

    term = jnst.Term("brightness", 2.0, "image", brightness, target=mean)
    return jnst.stylize(params, image, style, config, extra_terms=[term])


def own_loop(image: jax.Array, style: jax.Array, *, num_steps: int) -> jax.Array:
    """The compiled loop without the driver."""
    params, config = jnst.load_preset("tf-tutorial")
    targets = jnst.make_targets(params, image, style, config)
    state: jnst.TransferState = jnst.init_state(image, config)
    state, _ = jnst.advance(params, targets, state, config, num_steps=num_steps)
    return jnst.decode(state.best_point, config.variable)


def own_terms(kernels: dict[str, dict[str, np.ndarray]], image: jax.Array, target: jax.Array) -> jax.Array:
    """The terms one by one, on weights that the caller has read."""
    params = jnst.prepare_params(kernels)
    _, config = jnst.load_preset("paper")
    features = jnst.extract_features(params, image, ("relu1_1", "relu4_2"), config.network)
    gram = jnst.gram_matrix(features["relu1_1"], divisor="pixels")
    content = jnst.content_loss(features["relu4_2"], target, reduction="mean")
    style = jnst.style_loss(gram, gram, reduction="mean")
    return content + style + jnst.total_variation(image, norm="l2", reduction="mean")


def maps_by_name(image: jax.Array) -> dict[str, tuple[int, ...]]:
    """Feature maps of an RGB image, at every layer."""
    params, config = jnst.load_preset("default")
    network: jnst.NetworkConfig = config.network
    layers = jnst.layer_names(network.architecture)
    assert jnst.VGG(network).network == network
    return {name: map_.shape for name, map_ in jnst.features(params, image, layers, config).items()}


def watched(image: np.ndarray, style: np.ndarray) -> list[jnst.Result]:
    """What callbacks are given, for one image and for many, over the devices that there are."""
    params, config = jnst.load_preset("default")

    def watch(snapshot: jnst.Snapshot) -> bool:
        progress: jnst.Progress = snapshot.progress
        return progress.fraction > 0.5 and snapshot.image().mean() > 0

    def watch_many(snapshot: jnst.BatchSnapshot) -> bool:
        return all(progress.fraction > 0.5 for progress in snapshot.progress)

    one = jnst.stylize(params, image, style, config, callback=watch, mesh=jnst.row_mesh())
    return [one, *jnst.stylize_batch(params, [image], style, config, callback=watch_many, mesh=jnst.image_mesh())]


def regions_and_colors(image: np.ndarray, style: np.ndarray, map_: np.ndarray) -> jnst.Result:
    """One style in a region, none elsewhere, and a film of it."""
    params, config = jnst.load_preset("default")
    matched = jnst.match_colors(style, image)
    region = jnst.Region(jnst.color_mask(map_, "red"), matched, weight=0.5)
    return jnst.stylize(params, image, None, config, regions=[region], animate=jnst.Animation("film.gif", seconds=4))


def looked_into(style: np.ndarray) -> dict[str, dict[str, object]]:
    """A texture, a picture from its feature maps, and what the network sees of one."""
    params, config = jnst.load_preset("default")
    made: jnst.Result = jnst.texture(params, style, config, size=(64, 64))
    again: jnst.Result = jnst.reconstruct(params, made.image, config, layers=("relu3_1",))
    seen: jnst.Inspection = jnst.inspect(params, again.image, config, layers=("relu1_1",))
    return seen.statistics()


def refused(name: str) -> str:
    """Every error of jnst's is a JnstError."""
    try:
        jnst.load_preset(name)
    except (jnst.ArrayError, jnst.ConfigError, jnst.ImageError, jnst.TargetsError, jnst.WeightsError) as error:
        return f"{jnst.__version__}: {error}"
    except jnst.JnstError as error:
        return str(error)
    return ""
