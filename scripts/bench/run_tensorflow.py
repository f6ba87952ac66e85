"""The race's TensorFlow program, a worker of `compare.py`: one `tf.function` on plain operations."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from typing import Any

import numpy as np
import tensorflow as tf
from worker import (
    CONTENT_LAYER,
    CONTENT_WEIGHT,
    LEARNING_RATE,
    STYLE_LAYERS,
    STYLE_WEIGHT,
    TV_WEIGHT,
    Case,
    layers_of,
    serve,
)


def make(case: Case, job: dict[str, np.ndarray]) -> Any:
    dtype = tf.bfloat16 if case.precision == "bfloat16" else tf.float32
    weights = {
        name: (tf.cast(job[f"{name}/kernel"], dtype), tf.cast(job[f"{name}/bias"], dtype))
        for name, _ in layers_of(case.network)
    }

    def features(x: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.cast(x, dtype)
        maps = {}
        pool = tf.nn.max_pool2d if case.pooling == "max" else tf.nn.avg_pool2d
        for name, _ in layers_of(case.network):
            if name.endswith("_1") and name != "conv1_1":
                x = pool(x, 2, 2, "VALID")
            kernel, bias = weights[name]
            x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias))
            maps[name.replace("conv", "relu")] = x
        return maps

    def gram(map_: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(tf.cast(map_, tf.float32), (-1, map_.shape[3]))
        return tf.matmul(flat, flat, transpose_a=True) / (flat.shape[0] * flat.shape[1])

    @tf.function
    def make_targets() -> Any:
        content = tf.cast(features(job["content"][None])[CONTENT_LAYER], tf.float32)
        maps = features(job["style"][None])
        return content, [gram(maps[layer]) for layer in STYLE_LAYERS]

    content, grams = make_targets()

    def objective(x: tf.Tensor) -> tf.Tensor:
        maps = features(x)
        difference = tf.cast(maps[CONTENT_LAYER], tf.float32) - content
        loss = CONTENT_WEIGHT * tf.reduce_mean(tf.square(difference))
        for layer, target in zip(STYLE_LAYERS, grams, strict=True):
            loss += STYLE_WEIGHT / len(STYLE_LAYERS) * tf.reduce_sum(tf.square(gram(maps[layer]) - target))
        return loss + TV_WEIGHT * tf.reduce_sum(tf.image.total_variation(x))

    @tf.function
    def evaluate(x: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = objective(x)
        return loss, tape.gradient(loss, x)

    image = tf.Variable(job["image"][None])
    if case.step == "adam":
        optimizer = tf.keras.optimizers.Adam(LEARNING_RATE)
        optimizer.build([image])

        @tf.function
        def adam() -> tf.Tensor:
            loss, gradient = evaluate(image)
            optimizer.apply_gradients([(gradient, image)])
            return loss

    def run(count: int) -> None:
        for _ in range(count):
            loss = adam() if case.step == "adam" else evaluate(image.value())[0]
        loss.numpy()

    def check() -> tuple[float, np.ndarray]:
        loss, gradient = evaluate(tf.constant(job["image"][None]))
        return float(loss), gradient[0].numpy()

    return run, check, {"version": tf.__version__}


serve(make)
