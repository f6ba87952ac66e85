"""Repeats the TensorFlow tutorial's golden values with TensorFlow itself, once, by hand.

    python -m pip install tensorflow-cpu     (in an environment of its own: neither jnst nor its tests need it)
    python scripts/golden/check_with_tensorflow.py

`make.py` writes out Keras's Adam and the total variation in PyTorch. Here the real `tf.keras.optimizers.Adam`,
`tf.image.total_variation`, `tf.nn.conv2d` and the tutorial's einsum take the same steps, in float32.
Last seen with TensorFlow 2.21: the terms agree to 4e-7, the totals of twenty steps to 1.7e-5 and the final picture to
2.7e-4. The totals' distance grows evenly to 6e-6 (Keras holds 0.999 in float32, so that its bias correction is off by
as much) until a rectifier switches at another step. Half the epsilon, beta_1 or beta_2 of 0.9 or 0.99, or no clipping
moves the totals by 5 to 40 %.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
import material

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_LAYER = "relu5_2"


def extract(params: material.Params, image: tf.Tensor) -> dict[str, tf.Tensor]:
    """The tutorial's taps of a 1 × H × W × 3 image in [0, 1]."""
    x = tf.keras.applications.vgg19.preprocess_input(image * 255.0)
    features = {}
    for name in material.layer_names("vgg19"):
        if name.startswith("conv"):
            x = tf.nn.conv2d(x, params[name]["kernel"], strides=1, padding="SAME") + params[name]["bias"]
        elif name.startswith("relu"):
            x = tf.nn.relu(x)
        else:
            x = tf.nn.max_pool2d(x, 2, 2, padding="VALID")
        features[name] = x
        if name == CONTENT_LAYER:
            break
    return features


def gram_matrix(features: tf.Tensor) -> tf.Tensor:
    pixels = tf.cast(tf.shape(features)[1] * tf.shape(features)[2], tf.float32)
    return tf.linalg.einsum("bijc,bijd->bcd", features, features) / pixels


def make_terms(params: material.Params, content: np.ndarray, style: np.ndarray):
    content_target = extract(params, tf.constant(content[None]))[CONTENT_LAYER]
    style_features = extract(params, tf.constant(style[None]))
    style_targets = {layer: gram_matrix(style_features[layer]) for layer in STYLE_LAYERS}

    def terms(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        features = extract(params, image)
        style_terms = [
            tf.reduce_mean((gram_matrix(features[layer]) - style_targets[layer]) ** 2) for layer in STYLE_LAYERS
        ]
        content_term = tf.reduce_mean((features[CONTENT_LAYER] - content_target) ** 2)
        return content_term, tf.add_n(style_terms) / len(STYLE_LAYERS), tf.image.total_variation(image)[0]

    return terms


def check_terms() -> None:
    golden = material.load_golden("presets")
    content = material.paint("shapes", 45, 61)
    params = material.random_params("vgg19", golden["about"]["width"], golden["about"]["seed"])
    terms = make_terms(params, content, material.paint("marble", 52, 40, seed=3))
    values = [value.numpy() for value in terms(tf.constant(material.with_noise(content, seed=1)[None]))]
    for name, value in zip(("content", "style", "total_variation"), values, strict=True):
        print(f"{name}: relative distance {abs(value / golden[f'tf-tutorial-tv/{name}'] - 1):.1e}")


def check_trace() -> None:
    golden = material.load_golden("traces")
    about = golden["about"]
    gain = about["gains"]["tf-tutorial"]
    params = material.random_params("vgg19", about["width"], about["seed"], gain=gain)
    content = material.with_noise(material.paint("shapes", 45, 61), seed=1)
    terms = make_terms(params, content, material.paint("marble", 52, 40, seed=3))
    image = tf.Variable(content[None])
    optimizer = tf.keras.optimizers.Adam(learning_rate=0.02, beta_1=0.99, epsilon=1e-1)
    totals = []
    for step in range(about["steps"] + 1):
        with tf.GradientTape() as tape:
            content_term, style_term, _ = terms(image)
            total = 1e4 * content_term + 1e-2 * style_term
        totals.append(total.numpy())
        if step < about["steps"]:
            optimizer.apply_gradients([(tape.gradient(total, image), image)])
            image.assign(tf.clip_by_value(image, 0.0, 1.0))
    reference = golden["tf-tutorial/trace"][:, 0]
    print(f"totals: relative distances up to {np.max(np.abs(np.array(totals) / reference - 1)):.1e}")
    print(f"final picture: distance up to {np.max(np.abs(image.numpy()[0] - golden['tf-tutorial/image'])):.1e}")


if __name__ == "__main__":
    print("TensorFlow", tf.__version__)
    check_terms()
    check_trace()
