"""The parameters' short look, and that they are the same pytree as a plain dictionary of theirs would be."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
from oracles import paint
from small import shallow, small_params

import jnst
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
