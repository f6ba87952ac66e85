"""What users are told."""

import pytest

from jnst import errors

CHILDREN = [errors.ConfigError, errors.ImageError, errors.WeightsError, errors.TargetsError]


@pytest.mark.parametrize("kind", CHILDREN)
def test_every_error_is_ours_and_a_value_error(kind):
    assert issubclass(kind, errors.JnstError)
    assert issubclass(kind, ValueError)
    assert not issubclass(errors.JnstError, ValueError)


def test_a_near_miss_is_pointed_out():
    known = ["relu4_1", "relu4_2", "pool4"]
    assert errors.describe_unknown("layer", "relu42", known) == "unknown layer 'relu42'; did you mean 'relu4_2'?"


def test_a_far_miss_lists_what_there_is():
    text = errors.describe_unknown("optimizer", "xyz", iter(["adam", "lbfgs"]))
    assert text == "unknown optimizer 'xyz'; known are: adam, lbfgs"
