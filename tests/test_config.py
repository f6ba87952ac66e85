"""Settings refuse nonsense with a sentence, and survive JSON."""

import dataclasses
import json
import math
import random
from dataclasses import fields, replace

import hostile
import numpy as np
import pytest

from jnst.argument_checks import check_seed
from jnst.config import Config, LossConfig, NetworkConfig, OptimizerConfig, PixelSpace, RunConfig, SizeConfig
from jnst.config_json import from_dict, to_dict
from jnst.errors import ConfigError, quote
from jnst.presets.presets import PRESETS

KINDS = [PixelSpace, NetworkConfig, LossConfig, SizeConfig, OptimizerConfig, RunConfig, Config]

LEADING = OptimizerConfig(content_lead=16.0)
REFUSED = [
    (PixelSpace, {"scale": 0.0}, "pixel scale 0.0"),
    (PixelSpace, {"scale": 1e-300}, "from 1e-6 to 1e6"),
    (PixelSpace, {"mean": (1e39, 0.0, 0.0)}, "expected numbers up to 1e6"),
    (PixelSpace, {"scale": math.inf}, "pixel scale inf"),
    (PixelSpace, {"std": (1.0, 0.0, 1.0)}, "must be positive"),
    (PixelSpace, {"std": (1.0, math.nan, 1.0)}, "must be positive"),
    (PixelSpace, {"mean": (0.0, math.nan, 0.0)}, "pixel mean"),
    (PixelSpace, {"order": "brg"}, "unknown order 'brg'; did you mean 'rgb'?"),
    (NetworkConfig, {"architecture": "vgg11"}, "unknown architecture 'vgg11'; did you mean 'vgg1"),
    (NetworkConfig, {"width": 0.0}, "network width is 0.0"),
    (NetworkConfig, {"width": math.nan}, "network width is nan"),
    (NetworkConfig, {"channels": (64, 0)}, "channels is (64, 0); expected at most 16 whole numbers"),
    (NetworkConfig, {"padding": "reflect"}, "unknown padding 'reflect'"),
    (NetworkConfig, {"pooling": "mean"}, "unknown pooling 'mean'"),
    (NetworkConfig, {"pool_rounding": "round"}, "unknown pool rounding 'round'"),
    (NetworkConfig, {"first_padding": "reflect"}, "unknown first padding 'reflect'"),
    (LossConfig, {"content_weight": -1.0}, "content weight is -1.0; expected a finite number that is zero or more"),
    (LossConfig, {"style_weight": math.nan}, "style weight is nan"),
    (LossConfig, {"tv_weight": math.inf}, "tv weight is inf"),
    (LossConfig, {"tv_weight": -1.0}, "tv weight is -1.0"),
    (
        LossConfig,
        {"content_weight": 1e39},
        "content weight is 1e+39; expected a finite number that is zero or more, at",
    ),
    (LossConfig, {"style_layers": (("relu1_1", 1e308),)}, "weight of style layer relu1_1 is 1e+308"),
    (OptimizerConfig, {"learning_rate": 1e39}, "learning rate is 1e+39; expected a number above zero, from 1.2e-38"),
    (OptimizerConfig, {"learning_rate": 1e-45}, "learning rate is 1e-45"),
    (OptimizerConfig, {"epsilon": 1e-300}, "epsilon is 1e-300"),
    (OptimizerConfig, {"inverse_scale": 1e308}, "inverse scale is 1e+308"),
    (OptimizerConfig, {"inverse_scale": 5e-324}, "inverse scale is 5e-324"),
    (OptimizerConfig, {"first_step": 1e-300}, "first step is 1e-300; expected above 0 (1e-30) and at most 1"),
    (OptimizerConfig, {"content_lead": 1e39}, "content lead is 1e+39"),
    (Config, {"noise": 1e39}, "noise is 1e+39"),
    (LossConfig, {"strength": 1.1}, "strength is 1.1; expected 0 to 1"),
    (LossConfig, {"strength": -0.1}, "strength is -0.1; expected 0 to 1"),
    (LossConfig, {"strength": math.nan}, "strength is nan; expected 0 to 1"),
    (LossConfig, {"content_layers": (("relu1_1", -1.0),)}, "weight of content layer relu1_1 is -1.0"),
    (LossConfig, {"style_layers": (("relu1_1", 1.0), ("relu1_1", 2.0))}, "style layers name a layer twice"),
    (LossConfig, {"style_layers": (), "content_layers": ()}, "nothing to optimise"),
    (LossConfig, {"content_reduction": "average"}, "unknown content reduction 'average'"),
    (LossConfig, {"content_normalization": "norm"}, "unknown content normalization 'norm'"),
    (LossConfig, {"gram_divisor": "pixel"}, "did you mean 'pixels'?"),
    (LossConfig, {"style_reduction": "quarter"}, "unknown style reduction 'quarter'"),
    (LossConfig, {"style_normalization": "target"}, "unknown style normalization 'target'"),
    (LossConfig, {"style_statistics": "means"}, "unknown style statistics 'means'"),
    (LossConfig, {"tv_norm": "l3"}, "unknown tv norm 'l3'"),
    (LossConfig, {"tv_reduction": "max"}, "unknown tv reduction 'max'"),
    (SizeConfig, {"style_pixels": -1}, "style pixels is -1; expected 1 to 65535, or 0"),
    (SizeConfig, {"rule": "width"}, "unknown rule 'width'"),
    (SizeConfig, {"pixels": 0}, "size is 0 pixels; expected 1 to 65535"),
    (SizeConfig, {"kernel": "lanczos"}, "unknown kernel 'lanczos'; did you mean 'pillow-lanczos'?"),
    (SizeConfig, {"style": "same"}, "unknown style 'same'"),
    (SizeConfig, {"style_scale": 0.0}, "style scale is 0.0"),
    (OptimizerConfig, {"method": "sgd"}, "unknown optimizer 'sgd'"),
    (OptimizerConfig, {"line_search": "wolfe"}, "unknown line search 'wolfe'"),
    (OptimizerConfig, {"learning_rate": 0.0}, "learning rate is 0.0; expected a number above zero"),
    (OptimizerConfig, {"learning_rate": math.inf}, "learning rate is inf"),
    (OptimizerConfig, {"beta1": 1.0}, "beta1 is 1.0"),
    (OptimizerConfig, {"beta2": -0.1}, "beta2 is -0.1"),
    (OptimizerConfig, {"epsilon": 0.0}, "epsilon is 0.0"),
    (OptimizerConfig, {"epsilon": math.inf}, "epsilon is inf"),
    (OptimizerConfig, {"history": 0}, "history is 0; expected 1 to 1000 pairs"),
    (OptimizerConfig, {"history_precision": "float16"}, "unknown history precision 'float16'"),
    (OptimizerConfig, {"history_precision": "bfloat16", "line_search": "zoom"}, "line search none alone"),
    (OptimizerConfig, {"history_precision": "bfloat16", "method": "optax-lbfgs"}, "not optax-lbfgs"),
    (OptimizerConfig, {"first_step": 0.0}, "first step is 0.0"),
    (OptimizerConfig, {"frequency_exponent": 2.5}, "frequency exponent is 2.5; expected 0 to 2"),
    (OptimizerConfig, {"clip": True, "frequency_exponent": 0.5}, "contradict each other"),
    (OptimizerConfig, {"content_lead": 0.5}, "content lead is 0.5; expected a finite number of one or more"),
    (OptimizerConfig, {"content_lead": math.inf}, "content lead is inf"),
    (OptimizerConfig, {"content_lead": 2.0, "line_search": "zoom"}, "not with lbfgs and line search zoom"),
    (OptimizerConfig, {"content_lead": 2.0, "method": "adam"}, "not with adam and line search none"),
    (OptimizerConfig, {"inverse_scale": 0.0}, "inverse scale is 0.0; expected a finite number above zero"),
    (OptimizerConfig, {"inverse_scale": math.inf}, "inverse scale is inf"),
    (OptimizerConfig, {"inverse_scale": 2.0, "line_search": "zoom"}, "not with lbfgs and line search zoom"),
    (OptimizerConfig, {"inverse_scale": 2.0, "method": "adam"}, "not with adam and line search none"),
    (RunConfig, {"steps": -1}, "steps is -1; expected zero or more"),
    (RunConfig, {"chunk": 0}, "chunk is 0; expected one or more steps"),
    (RunConfig, {"save_every": -1}, "save every is -1"),
    (RunConfig, {"scales": 9}, "scales is 9; expected 1 to 8"),
    (RunConfig, {"tolerance": 1.0}, "tolerance is 1.0"),
    (RunConfig, {"max_time": -1.0}, "max time is -1.0"),
    (RunConfig, {"keep": "first"}, "unknown keep 'first'"),
    (RunConfig, {"rounding": "floor"}, "unknown rounding 'floor'"),
    (RunConfig, {"colors": "grey"}, "unknown colors 'grey'"),
    (Config, {"lineage": "keras"}, "unknown lineage 'keras'"),
    (Config, {"color_profile": "drop"}, "unknown color profile 'drop'; known are: apply, ignore"),
    (Config, {"init": "noise"}, "unknown init 'noise'"),
    (Config, {"noise": -1.0}, "noise is -1.0"),
    (Config, {"precision": "float64"}, "unknown precision 'float64'; did you mean"),
    (Config, {"tile": 17}, "tile is 17 pixels; expected a multiple of 16"),
    (Config, {"tiled_content": "forget"}, "unknown tiled content 'forget'"),
    (Config, {"variable": PixelSpace(order="bgr")}, "always in RGB order"),
    (Config, {"optimizer": LEADING, "run": RunConfig(steps=200)}, "steps is 200 and scales 1; expected 300 steps"),
    (Config, {"optimizer": LEADING, "run": RunConfig(scales=2)}, "steps is 300 and scales 2; expected 300 steps"),
]


@pytest.mark.parametrize(("kind", "given", "message"), REFUSED)
def test_nonsense_is_refused_with_its_reason(kind, given, message):
    with pytest.raises(ConfigError) as error:
        kind(**given)
    assert message in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_a_default_a_test_and_a_help_text(kind):
    tested = {name for tested_kind, given, _ in REFUSED if tested_kind is kind for name in given}
    nothing_to_refuse = {"enlarge", "epsilon_hat", "clip", "preset"}
    for field in fields(kind):
        assert field.default is not dataclasses.MISSING
        if not dataclasses.is_dataclass(field.default):
            assert field.metadata["help"], field.name
            assert field.name in tested | nothing_to_refuse, f"{kind.__name__}.{field.name} has no bad value in REFUSED"


@pytest.mark.parametrize("kind", KINDS)
def test_settings_are_frozen_values(kind):
    assert kind() == kind()
    assert hash(kind()) == hash(kind())
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(kind(), fields(kind)[0].name, None)


@pytest.mark.parametrize("name", PRESETS)
def test_round_trip_through_json(name):
    config = PRESETS[name]
    again = from_dict(json.loads(json.dumps(to_dict(config))))
    assert again == config
    assert hash(again) == hash(config)


def test_absent_fields_take_their_defaults():
    assert from_dict({}) == Config()
    assert from_dict({"run": {"steps": 7}}) == replace(Config(), run=RunConfig(steps=7))
    assert from_dict({"steps": 7}, RunConfig) == RunConfig(steps=7)


def test_whole_numbers_become_floats_and_lists_tuples():
    config = from_dict({"loss": {"style_weight": 3, "style_layers": [["relu1_1", 1]]}})
    assert config.loss.style_layers == (("relu1_1", 1.0),)
    assert isinstance(config.loss.style_weight, float)
    assert isinstance(config.loss.style_layers[0][1], float)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"runs": {}}, "unknown field of Config 'runs'; did you mean 'run'?"),
        ({"run": {"step": 3}}, "unknown field of Config.run 'step'; did you mean 'steps'?"),
        ({"run": 3}, "Config.run is 3; expected an object with named fields"),
        ({"run": {"steps": "3"}}, "Config.run.steps is '3'; expected a whole number"),
        ({"run": {"steps": True}}, "Config.run.steps is True; expected a whole number"),
        ({"run": {"tolerance": "small"}}, "Config.run.tolerance is 'small'; expected a number"),
        ({"run": {"keep": 3}}, "keep is 3; expected one of best, last"),
        ({"run": {"keep": []}}, "keep is []; expected one of best, last"),
        ({"optimizer": {"clip": 1}}, "Config.optimizer.clip is 1; expected true or false"),
        ({"preset": None}, "Config.preset is None; expected text"),
        ({"variable": {"mean": [0, 0]}}, "Config.variable.mean has 2 entries; expected 3"),
        ({"variable": {"mean": 3}}, "Config.variable.mean is 3; expected a list"),
        ({"loss": {"style_layers": [["relu1_1"]]}}, "Config.loss.style_layers[0] has 1 entries; expected 2"),
        ({"loss": {"style_layers": ["relu1_1"]}}, "Config.loss.style_layers[0] is 'relu1_1'; expected a list"),
        ([], "Config is []; expected an object with named fields"),
    ],
)
def test_data_of_the_wrong_kind_is_refused_with_its_path(data, message):
    with pytest.raises(ConfigError) as error:
        from_dict(data)
    assert message in str(error.value)


def test_a_damaged_config_is_refused_with_one_line_or_taken():
    generator, refused = random.Random(0), 0
    for _ in range(200):
        data = hostile.mutate(to_dict(PRESETS["default"]), generator)
        message = hostile.refusal(lambda data=data: from_dict(data))
        if message is None:
            taken = from_dict(data)
            assert from_dict(json.loads(json.dumps(to_dict(taken)))) == taken
        else:
            refused += 1
            assert len(message) < 2000
            assert "\n" not in message
    assert refused > 100


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (RunConfig, {"steps": 2.5}, "steps is 2.5; expected a whole number"),
        (RunConfig, {"steps": True}, "steps is True; expected a whole number"),
        (RunConfig, {"steps": 2**40}, "expected at most 100000000 steps"),
        (RunConfig, {"steps": 10**5000}, "steps is a whole number of more than 4000 digits; expected a whole number"),
        (RunConfig, {"tolerance": "0.1"}, "tolerance is '0.1'; expected a number"),
        (SizeConfig, {"pixels": 2**64}, "at most 64 bits"),
        (SizeConfig, {"enlarge": 1}, "enlarge is 1; expected true or false"),
        (LossConfig, {"content_weight": 10**400}, "expected a number below 1e308"),
        (NetworkConfig, {"pooling": ["max"]}, "pooling is ['max']; expected one of max, average"),
    ],
)
def test_values_of_another_type_are_refused_in_python_too(kind, given, message):
    with pytest.raises(ConfigError) as error:
        kind(**given)
    assert message in str(error.value)


def test_numbers_of_numpy_become_plain_ones():
    config = RunConfig(steps=np.int64(5), tolerance=np.float32(0.5))
    assert json.dumps([config.steps, config.tolerance]) == "[5, 0.5]"


@pytest.mark.parametrize("seed", [-1, 2**32, 2**64, 1.0, "1", True, None, 10**5000], ids=quote)
def test_a_seed_has_32_bits(seed):
    assert check_seed(2**32 - 1) == 2**32 - 1
    with pytest.raises(ConfigError, match="expected a whole number from 0 to 4294967295"):
        check_seed(seed)
