"""Calls public functions with arguments of another kind, as `test_arguments` wants it; a line for each bad answer.

In a process of its own: in the tests, types are checked before our functions are reached.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from small import shallow, small_params

import jnst
from jnst.errors import JnstError
from jnst.transfer.planning import plan_run


class Raising:
    """As an array of another library that lies elsewhere, or has a gradient."""

    shape, ndim, dtype = (32, 32, 3), 3, np.dtype(np.float32)

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise RuntimeError("call detach first\nor else")


def deleted() -> jax.Array:
    """An array whose memory has been given away."""
    array = jnp.zeros((32, 32, 3))
    array.delete()
    return array


IMAGE = np.random.default_rng(0).random((32, 32, 3)).astype(np.float32)
WRONG = {
    "None": None,
    "number": 3,
    "endless": float("inf"),
    "large": 2**70,
    "text": "default",
    "bytes": b"x",
    "list": [1, 2],
    "object": object(),
    "lambda": lambda: 0,
    "path": Path("x"),
    "array": np.zeros(3),
    "objects": np.array([[object()]]),
    "texts": np.array(["a"]),
    "fields": np.zeros(3, [("a", "f4")]),
    "key": jax.random.key(0),
    "raising": Raising(),
    "deleted": deleted(),
    "empty": IMAGE[:0],
    "grey": IMAGE[..., 0].astype(complex),
    "NUL": "a\0b",
    "masked": np.ma.masked_array(IMAGE, mask=IMAGE > 0.5),
}


def calls():
    """Public functions, with right arguments for each, and the names of those that are tried with wrong ones."""
    params, config = small_params(), shallow(steps=1)
    targets = jnst.make_targets(params, IMAGE, [IMAGE], config)
    terms = jnst.loss_terms(params, IMAGE, targets, config)
    state = jnst.init_state(IMAGE, config)
    run = {"params": params, "content": IMAGE, "style": IMAGE, "config": config}
    return {
        "stylize": (jnst.stylize, run),
        "stylize_batch": (jnst.stylize_batch, {"params": params, "contents": IMAGE, "styles": IMAGE, "config": config}),
        "make_targets": (
            jnst.make_targets,
            {"params": params, "content": IMAGE, "styles": IMAGE, "config": config},
        ),
        "loss_terms": (
            jnst.loss_terms,
            {"params": params, "image": IMAGE, "targets": targets, "config": config},
        ),
        "weigh": (jnst.weigh, {"terms": terms, "weights": targets.weights}),
        "features": (jnst.features, {"params": params, "rgb": IMAGE, "layers": ["relu1_1"], "config": config}),
        "extract_features": (
            jnst.extract_features,
            {"params": params, "x": IMAGE, "layers": ["relu1_1"], "network": config.network},
        ),
        "encode": (jnst.encode, {"image": IMAGE, "space": config.variable}),
        "decode": (jnst.decode, {"encoded": IMAGE, "space": config.variable}),
        "init_state": (jnst.init_state, {"image": IMAGE, "config": config}),
        "advance": (
            jnst.advance,
            {"params": params, "targets": targets, "state": state, "config": config, "num_steps": 0},
        ),
        "match_colors": (jnst.match_colors, {"picture": IMAGE, "like": IMAGE}),
        "total_variation": (jnst.total_variation, {"image": IMAGE, "norm": "l1", "reduction": "mean"}),
        "gram_matrix": (jnst.gram_matrix, {"features": IMAGE, "divisor": "positions"}),
        "content_loss": (jnst.content_loss, {"features": IMAGE, "target": IMAGE, "reduction": "mean"}),
        "style_loss": (jnst.style_loss, {"gram": IMAGE[0, :3], "target": IMAGE[0, :3], "reduction": "mean"}),
        "write_image": (jnst.write_image, {"path": "/nowhere/a.png", "image": IMAGE}),
        "color_mask": (jnst.color_mask, {"picture": IMAGE, "color": "red"}),
        "prepare_params": (jnst.prepare_params, {"params": params}),
        "load_preset": (jnst.load_preset, {"preset": "default"}),
        "inspect": (jnst.inspect, {"params": params, "picture": IMAGE, "config": config}),
        "reconstruct": (jnst.reconstruct, {"params": params, "picture": IMAGE, "config": config}),
        "texture": (jnst.texture, {"params": params, "style": IMAGE, "config": config, "size": (32, 32)}),
        "prepare_style": (jnst.prepare_style, {"params": params, "styles": IMAGE, "config": config}),
        "plan_run": (plan_run, {"size": (24, 32), "config": config}),
    }


PLACES = {
    "stylize": (
        *("params", "content", "style", "config", "seed", "callback", "style_weights", "initial", "keep"),
        *("regions", "optimizer", "extra_terms", "checkpoint"),
    ),
    "stylize_batch": ("params", "contents", "styles", "config", "callback", "regions", "batch_size", "extra_terms"),
    "make_targets": ("params", "content", "styles", "config", "style_weights"),
    "loss_terms": ("params", "image", "targets", "config"),
    "weigh": ("terms", "weights"),
    "features": ("params", "rgb", "layers", "config"),
    "extract_features": ("params", "x", "layers", "network"),
    "encode": ("image", "space"),
    "decode": ("encoded", "space"),
    "init_state": ("image", "config"),
    "advance": ("params", "targets", "state", "config", "num_steps"),
    "match_colors": ("picture", "like", "weights", "like_weights"),
    "total_variation": ("image", "norm", "reduction"),
    "gram_matrix": ("features", "divisor"),
    "content_loss": ("features", "target", "reduction"),
    "style_loss": ("gram", "target", "reduction"),
    "write_image": ("path", "image", "alpha", "rounding", "quality", "bits"),
    "color_mask": ("picture", "color"),
    "prepare_params": ("params",),
    "load_preset": ("preset",),
    "inspect": ("params", "picture", "config", "layers"),
    "reconstruct": ("params", "picture", "config", "layers"),
    "texture": ("params", "style", "config", "size", "seamless"),
    "prepare_style": ("params", "styles", "config"),
    "plan_run": ("size", "config", "available", "devices", "regions"),
}
# What has a meaning there, or is the caller's own affair.
RIGHT = {
    "callback": {"None", "lambda"},
    "style_weights": {"None"},
    "initial": {"None"},
    "keep": {"None"},
    "weights": {"None"},
    "like_weights": {"None"},
    "alpha": {"None"},
    "seed": {"number"},
    "num_steps": {"number", "large"},
    "preset": {"text"},
    "size": {"number", "list"},
    "available": {"None", "number", "endless", "large"},
    "devices": {"number", "large"},
    "regions": {"None", "number", "large"},
    "optimizer": {"None"},
    "extra_terms": {"empty"},
    "checkpoint": {"None"},
    "batch_size": {"None", "number"},
}


# What would be taken for numbers or pictures one by one, as "11" for 1 and 1, or has no order of its own.
NO_SERIES = ["11", b"11", bytearray(b"11"), {1, 2}, {1: 0, 2: 0}]
NO_SERIES_OF = {
    ("stylize", "style_weights"): [*NO_SERIES, ["1", "2"], np.array(["1", "2"])],
    ("make_targets", "style_weights"): [*NO_SERIES, ["1", "2"]],
    ("stylize_batch", "seeds"): NO_SERIES,
    ("stylize_batch", "initials"): NO_SERIES,
    ("stylize_batch", "keeps"): NO_SERIES,
}
MIX_UPS = {
    "config is 'gatys'; expected a jnst.Config, such as that of jnst.load_preset": ("stylize", {"config": "gatys"}),
    "params is 'vgg19'; expected layers by name, as jnst.load_params": ("stylize", {"params": "vgg19"}),
    "layers is [3]; expected a list of names": ("features", {"layers": [3]}),
    "callback is int; expected a function, or None": ("stylize", {"callback": 3}),
    "style weights are 'half'; expected a number for each style": ("stylize", {"style_weights": "half"}),
    "state is int; expected what jnst.init_state": ("advance", {"state": 3}),
    "number of steps is float; expected a whole number": ("advance", {"num_steps": 0.5}),
    "the content image is a masked array; expected a plain one": ("stylize", {"content": WRONG["masked"]}),
    "the style image is a masked array; expected a plain one": ("stylize", {"style": WRONG["masked"]}),
    "the initial image is a masked array; expected a plain one": ("stylize", {"initial": WRONG["masked"]}),
}


def answer(function, arguments):
    """What is wrong with what the function says, or nothing; and what it says."""
    try:
        function(**arguments)
    except JnstError as error:
        said = str(error)
        return "" if said.isprintable() and len(said) < 400 else "no short line", said
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]!r}", ""
    return "taken", ""


def main():
    """Tries every wrong argument in every place."""
    known = calls()
    for name, places in PLACES.items():
        function, right = known[name]
        for place in places:
            for kind, value in WRONG.items():
                problem = "" if kind in RIGHT.get(place, ()) else answer(function, right | {place: value})[0]
                if problem:
                    print(f"{name}({place}={kind}): {problem}")
    for sentence, (name, wrong) in MIX_UPS.items():
        function, right = known[name]
        said = answer(function, right | wrong)[1]
        if sentence not in said:
            print(f"{name}: {said!r} in place of {sentence!r}")
    for (name, place), values in NO_SERIES_OF.items():
        function, right = known[name]
        several = {key: [IMAGE, IMAGE] for key in ("style", "styles", "contents") if key in right}
        for value in values:
            said = answer(function, right | several | {place: value})[1]
            if "expected a" not in said or place.replace("_", " ") not in said:
                print(f"{name}({place}={value!r}): {said!r}")
    function, right = known["advance"]
    function(**right | {"num_steps": jnp.int32(0)})


if __name__ == "__main__":
    main()
