"""The oracles against values known from elsewhere: PyTorch's stored ones, and a few that one can do in one's head."""

import numpy as np
import pytest
from oracles import (
    adam,
    content_loss,
    convolve,
    directional_derivative,
    extract_features,
    fingerprint,
    gram_matrix,
    load_golden,
    paint,
    pool,
    random_params,
    style_loss,
    total_variation,
    with_noise,
)


@pytest.mark.parametrize(
    "case", ["vgg16", "vgg19", "vgg19-max-ceil", "vgg19-average-floor", "vgg19-average-ceil", "vgg19-replicate"]
)
def test_network_is_pytorchs(case):
    golden = load_golden("features")
    about = golden["about"][case]
    params = random_params(about["architecture"], about["width"], golden["about"]["seed"])
    np.testing.assert_allclose(fingerprint(params), golden[f"{case}/fingerprint"], rtol=1e-6)
    x = paint("shapes", about["height"], about["columns"]).astype(np.float64) * 255 - golden["about"]["mean"]
    features = extract_features(
        params,
        x,
        about["architecture"],
        pooling=about["pooling"],
        rounding="ceil" if about["ceil"] else "floor",
        first_padding="replicate" if about["replicate"] else "zero",
    )
    for layer in about["layers"]:
        values = features[layer]
        assert list(values.shape) == list(golden[f"{case}/{layer}/shape"])
        largest = golden[f"{case}/{layer}/mean_std_max_norm"][2]
        np.testing.assert_allclose(
            values.ravel()[golden[f"{case}/{layer}/positions"]], golden[f"{case}/{layer}/values"], atol=1e-12 * largest
        )


def gordic_terms(params, image, content_target, style_targets):
    """Unweighted terms of the gordic recipe at a variable (0 to 255 less the mean), from the oracles."""
    features = extract_features(params, image, "vgg19", layers=[*style_targets, "relu4_2"])
    style = [
        style_loss(gram_matrix(features[layer], divisor="pixels_channels"), target, reduction="sum")
        for layer, target in style_targets.items()
    ]
    return (
        content_loss(features["relu4_2"], content_target, reduction="mean"),
        sum(style) / len(style),
        total_variation(image, norm="l1", reduction="sum"),
    )


def test_gordic_terms_and_gradient_are_pytorchs():
    golden = load_golden("presets")
    recipe = golden["about"]["gordic"]
    params = random_params("vgg19", golden["about"]["width"], golden["about"]["seed"])
    content, style = paint("shapes", 45, 61), paint("marble", 52, 40, 3)
    to_variable = lambda image: image.astype(np.float64) * recipe["white"] - recipe["mean"]  # noqa: E731
    content_target = extract_features(params, to_variable(content), "vgg19", layers=["relu4_2"])["relu4_2"]
    style_features = extract_features(params, to_variable(style), "vgg19", layers=recipe["style"])
    style_targets = {layer: gram_matrix(style_features[layer], divisor="pixels_channels") for layer in recipe["style"]}
    start = to_variable(with_noise(content, 1))
    terms = gordic_terms(params, start, content_target, style_targets)
    for name, value in zip(("content", "style", "total_variation"), terms, strict=True):
        assert value == pytest.approx(float(golden[f"gordic/{name}"]), rel=1e-11)

    def total(image):
        return np.dot(recipe["weights"], gordic_terms(params, image, content_target, style_targets))

    position = int(np.argmax(np.abs(golden["gordic/gradient"])))
    direction = np.zeros(start.size)
    direction[golden["gordic/gradient positions"][position]] = 1
    slope = directional_derivative(total, start, direction.reshape(start.shape), step=1e-3)
    assert slope == pytest.approx(golden["gordic/gradient"][position], rel=1e-4)


def test_convolution_of_ones_counts_the_neighbours():
    ones, kernel = np.ones((3, 3, 1)), np.ones((3, 3, 1, 1))
    result = convolve(ones, kernel, np.array([0.5]))[..., 0]
    np.testing.assert_array_equal(result, [[4.5, 6.5, 4.5], [6.5, 9.5, 6.5], [4.5, 6.5, 4.5]])
    replicated = convolve(ones, kernel, np.array([0.5]), padding="replicate")
    np.testing.assert_array_equal(replicated, np.full((3, 3, 1), 9.5))


def test_pool_keeps_or_drops_the_odd_row():
    column = np.array([1.0, 3.0, 8.0]).reshape(3, 1, 1)
    pair = np.concatenate([column, column + 1], axis=1)
    assert pool(pair).ravel().tolist() == [4.0]
    assert pool(pair, pooling="average", rounding="ceil").ravel().tolist() == [2.5, 8.5]


def test_losses_by_hand():
    ones = np.ones((2, 3, 4))
    assert gram_matrix(ones, divisor="none").tolist() == [[6.0] * 4] * 4
    assert gram_matrix(ones, divisor="pixels_channels")[0, 0] == 0.25
    assert [content_loss(3 * ones, ones, reduction=name) for name in ("mean", "sum", "half_sum")] == [4, 96, 48]
    gram = 3 * np.ones((4, 4))
    assert [style_loss(gram, 0 * gram, reduction=name) for name in ("mean", "sum", "quarter_mean")] == [9, 144, 2.25]
    ramp = np.array([[[0.0], [2.0]], [[1.0], [3.0]]])
    assert total_variation(ramp, norm="l1", reduction="sum") == 6
    assert total_variation(ramp, norm="l2", reduction="sum") == 10
    assert total_variation(ramp, norm="l2", reduction="mean") == 5


def test_adams_first_step_is_the_learning_rate_or_less():
    start, gradient = np.array([1.0, -1.0]), lambda x: np.array([4.0, -0.5])
    plain = adam(gradient, start, steps=1, learning_rate=0.1, epsilon=0)[-1]
    np.testing.assert_allclose(plain, [0.9, -0.9])
    guarded = adam(gradient, start, steps=1, learning_rate=0.1, epsilon=0.5)[-1]
    np.testing.assert_allclose(guarded, start - 0.1 * np.array([4 / 4.5, -0.5 / 1.0]))
    # With the hat, epsilon is compared with √(1 − β₂) |g|, and is 1 / √0.001 = 31.6 times larger at the first step.
    root = np.sqrt(0.001)
    hatted = adam(gradient, start, steps=1, learning_rate=0.1, epsilon=root, epsilon_hat=True, clip=(-0.92, 0.95))[-1]
    np.testing.assert_allclose(hatted, [1 - 0.1 * 4 / 5, -0.92])
