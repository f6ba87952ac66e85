"""The parameters' short look, and that they are the same pytree as a plain dictionary of theirs would be."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import paint
from small import shallow, small_params

import jnst
from jnst.errors import JnstError, WeightsError
from jnst.vgg.convolution import prepare_params
from jnst.vgg.params import NetworkParams


def test_they_are_a_line_and_a_table():
    params = small_params()
    assert repr(params) == f"NetworkParams(16 convolutions, conv1_1 to conv5_4, {repr(params).split(', ')[-1]}"
    assert len(repr(params)) < 80
    shown = params._repr_html_()
    assert "<td>conv1_1</td><td>3 × 3 × 3 × 4</td>" in shown
    assert shown.count("<tr>") == 17
    assert len(shown) < 5000
    assert repr(NetworkParams()) == "NetworkParams()"
    bytes_of = NetworkParams({"a": {"kernel": jnp.zeros((3, 3, 1, 1)), "bias": jnp.zeros(1)}})
    assert repr(bytes_of) == "NetworkParams(a, 40 bytes)"
    assert "\n" not in repr(jax.tree.map(lambda leaf: leaf.shape, bytes_of))  # of whatever leaves


def test_transformations_give_back_the_same_kind():
    params = small_params()
    doubled = jax.jit(lambda tree: jax.tree.map(lambda leaf: 2 * leaf, tree))(params)
    assert type(doubled) is NetworkParams
    assert list(doubled) == sorted(params)
    np.testing.assert_array_equal(doubled["conv1_1"]["bias"], 2 * params["conv1_1"]["bias"])
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    assert paths == [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(dict(params))]


def test_a_plain_dictionary_does_as_well():
    image, config = jnp.asarray(paint("shapes", 20, 24)), shallow()
    params = small_params()
    plain = {name: dict(layer) for name, layer in params.items()}
    assert plain == params
    one, other = (jnst.features(given, image, ("relu2_1",), config)["relu2_1"] for given in (params, plain))
    np.testing.assert_array_equal(one, other)


def test_they_are_copied_and_pickled():
    params = NetworkParams({"a": {"bias": np.arange(3.0)}})
    for again in (pickle.loads(pickle.dumps(params)), copy.deepcopy(params)):
        assert type(again) is NetworkParams
        np.testing.assert_array_equal(again["a"]["bias"], [0, 1, 2])


KERNEL, BIAS = np.zeros((3, 3, 3, 4)), np.zeros(4)


@pytest.mark.parametrize(
    ("kernel", "bias", "message"),
    [
        (KERNEL.transpose(3, 2, 0, 1), BIAS, r"kernel of conv1_1 .*kernel.transpose\(2, 3, 1, 0\)"),
        (KERNEL[0], BIAS, "expected 3 × 3 × input × output"),
        (np.zeros((5, 5, 3, 4)), BIAS, "expected 3 × 3 × input × output"),
        (KERNEL, np.zeros(3), "bias of conv1_1 .*one number for each output channel"),
        (KERNEL, 0.0, "bias of conv1_1"),
        (KERNEL + 1j, BIAS, "holds complex128; expected real numbers"),
        (KERNEL.astype(str), BIAS, "expected real numbers"),
        ([[1], [2, 3]], BIAS, "is no array"),
        (None, BIAS, "expected real numbers"),
    ],
)
def test_what_cannot_be_a_convolution_is_refused(kernel, bias, message):
    with pytest.raises(jnst.WeightsError, match=message):
        jnst.prepare_params({"conv1_1": {"kernel": kernel, "bias": bias}})


@pytest.mark.parametrize("dtype", [np.float16, np.float64, jnp.bfloat16, np.int32])
def test_any_real_type_is_taken(dtype):
    (layer,) = jnst.prepare_params({"conv1_1": {"kernel": KERNEL.astype(dtype), "bias": BIAS.astype(dtype)}}).values()
    assert {array.dtype for array in layer.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("part", ["kernel", "bias"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda array: array * np.nan, "not finite"),
        (lambda array: array + np.inf, "not finite"),
        (lambda array: array.astype(np.float64) + 1e300, "not finite in float32"),
        (lambda array: np.ma.masked_array(array, array > 0), "is a masked array"),
    ],
)
def test_parameters_that_make_no_network_are_refused(part, change, message):
    layer = {"kernel": np.ones((3, 3, 3, 4), np.float32), "bias": np.ones(4, np.float32)}
    with pytest.raises(WeightsError, match=f"the {part} of conv1_1 .*{message}"):
        prepare_params({"conv1_1": layer | {part: change(layer[part])}})


def test_a_convolution_has_a_name():
    layer = {"kernel": np.ones((3, 3, 3, 4), np.float32), "bias": np.ones(4, np.float32)}
    with pytest.raises(JnstError, match="expected convolutions by name"):
        prepare_params({1: layer})
