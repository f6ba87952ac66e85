"""From names to a resolved run: which preset, which weights, which settings."""

from pathlib import Path

import pytest
from small import tiny_weights

from jnst.config import Config, Method
from jnst.errors import ConfigError, WeightsError
from jnst.presets.presets import CAFFE, PRESETS, TORCHVISION
from jnst.presets.resolve import load_preset, resolve_run
from jnst.presets.select import find_preset
from jnst.presets.settings import Factor, replace_settings, setting_paths
from jnst.weights.network import describe_weights, random_weights
from jnst.weights.store import write_weights


@pytest.fixture
def caffe(tmp_path: Path) -> Path:
    path = tmp_path / "caffe16.h5"
    write_weights(path, random_weights("vgg16", 1 / 16, 0), describe_weights("caffe16", "vgg16", 1 / 16, "caffe"))
    return path


def test_every_setting_can_be_replaced_by_its_path() -> None:
    paths = setting_paths()
    assert {"run.steps", "loss.style_layers", "precision", "network_input.mean"} <= set(paths)
    config = replace_settings(Config(), {"loss.style_layers": [["relu1_1", 1.0]], "precision": "bfloat16"})
    assert config.loss.style_layers == (("relu1_1", 1.0),)
    assert config.precision == "bfloat16"


@pytest.mark.parametrize(
    ("changed", "precision"),
    [
        ({}, "bfloat16"),
        ({"optimizer.history": 5}, "bfloat16"),
        ({"optimizer.line_search": "zoom"}, "float32"),
        ({"optimizer.method": "optax-lbfgs"}, "float32"),
        ({"optimizer.method": "jaxopt-lbfgs"}, "float32"),
        ({"optimizer.method": "adam"}, "float32"),
        ({"optimizer.method": "adam", "optimizer.history_precision": "bfloat16"}, "bfloat16"),
    ],
)
def test_the_default_gives_up_its_compact_history_for_what_needs_another(changed: dict, precision: str) -> None:
    assert replace_settings(PRESETS["default"], changed).optimizer.history_precision == precision


@pytest.mark.parametrize(("optimizer", "precision"), [("lbfgs", "bfloat16"), ("optax-lbfgs", "float32")])
def test_a_preset_with_another_optimizer_takes_the_history_that_it_can(optimizer: Method, precision: str) -> None:
    assert find_preset("default", optimizer=optimizer).optimizer.history_precision == precision


def test_a_line_search_against_a_compact_history_is_refused() -> None:
    with pytest.raises(ConfigError, match="set history precision to float32"):
        replace_settings(
            PRESETS["default"], {"optimizer.line_search": "zoom", "optimizer.history_precision": "bfloat16"}
        )


@pytest.mark.parametrize("path", ["run.step", "runs.steps", "loss", "run.steps.more", "loss.style_layers.relu1_1"])
def test_a_path_that_is_no_setting_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown setting|expected an object"):
        replace_settings(Config(), {path: 1})


def test_the_default_runs_on_the_bundled_vgg16_without_a_word(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JNST_CACHE", str(tmp_path))
    run = resolve_run("default")
    assert (run.source, run.notices) == ("vgg16-caffe", ())
    assert (run.config.network.architecture, run.config.network_input) == ("vgg16", CAFFE)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_runs_on_the_bundled_vgg16_and_says_what_differs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, preset: str
) -> None:
    monkeypatch.setenv("JNST_CACHE", str(tmp_path))
    made_for = PRESETS[preset]
    run = resolve_run(preset)
    assert (run.source, run.config.network.architecture) == ("vgg16-caffe", "vgg16")
    notice = " ".join(run.notices)
    depth, lineage = made_for.network.architecture != "vgg16", made_for.lineage == "torchvision"
    if made_for.lineage == "any":
        assert notice == ""
    else:
        assert ("the layers are vgg16's" in notice) == depth
        assert ("channel order and mean" in notice) == lineage
        assert "`jnst weights fetch" in notice
    # The network is fed what Oxford's was trained on, in its order.
    assert run.config.network_input.order == "bgr"
    assert run.config.network_input.mean == pytest.approx(CAFFE.mean, rel=1e-4)
    assert run.config.loss == made_for.loss


def test_a_network_that_was_asked_for_names_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JNST_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"vgg19 weights needed.*`jnst weights fetch vgg19-caffe`"):
        resolve_run("tf-tutorial", network="vgg19")


def test_other_weights_are_fed_what_they_were_trained_on(caffe: Path) -> None:
    run = resolve_run("gordic", weights=caffe, network="vgg16")
    assert run.config.network_input.order == "bgr"
    assert run.config.variable.scale == 255
    assert run.config.network.width == 1 / 16
    assert any("torchvision" in notice for notice in run.notices)


def test_torchvision_weights_keep_the_recipes_hot_input(tmp_path: Path) -> None:
    path = tmp_path / "tv.h5"
    write_weights(path, random_weights("vgg19", 1 / 16, 0), describe_weights("tv", "vgg19", 1 / 16, "torchvision"))
    run = resolve_run("gordic", weights=path)
    assert run.config.network_input == run.config.variable
    assert run.notices == ()
    assert resolve_run("default", weights=path).config.network_input == TORCHVISION


def test_weights_of_another_network_are_refused(caffe: Path) -> None:
    with pytest.raises(ConfigError, match=r"asks for vgg19, but the weights are of vgg16"):
        resolve_run("gordic", weights=caffe, network="vgg19")


def test_load_preset_takes_short_names_and_paths() -> None:
    _, config = load_preset(
        "default", weights=tiny_weights(), size=99, style_weight=7, optimizer="adam", optimizer__beta1=0.5
    )
    assert config.loss.strength == 0.5
    assert load_preset("default", weights=tiny_weights(), strength=0.8)[1].loss.strength == 0.8
    assert (config.size.rule, config.size.pixels) == ("long", 99)
    assert config.loss.style_weight == 7
    assert (config.optimizer.method, config.optimizer.beta1) == ("adam", 0.5)
    with pytest.raises(ConfigError, match=r"did you mean 'optimizer.beta"):
        load_preset("default", weights=tiny_weights(), optimizer__beta=0.5)


@pytest.mark.parametrize("init", ["content", "style", "random", "recolored"])
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("network", [None, "vgg16", "vgg19"])
@pytest.mark.parametrize("name", ["default", "gordic", "tf-tutorial", "gatys", "paper"])
def test_a_setting_means_the_same_however_it_is_given(name: str, network: str, optimizer: Method, init: str) -> None:
    """By its own word, by its short name, or by its path: the author's variant is found each time."""
    expected = find_preset(name, network=network, optimizer=optimizer, init=init)  # pyright: ignore
    assert (expected.optimizer.method, expected.init) == (optimizer, init)
    for settings in ({"optimizer": optimizer, "init": init}, {"init": init, "optimizer.method": optimizer}):
        more = {} if network is None else {"network.architecture": network}
        assert find_preset(name, settings={**settings, **more}) == expected
        assert find_preset(name, network=network, settings=settings) == expected


def test_what_is_given_by_hand_is_applied_after_the_authors_variant() -> None:
    config = find_preset("gordic", settings={"steps": 5, "optimizer": "adam", "style_weight": Factor(2)})
    assert (config.run.steps, config.loss.style_weight, config.loss.tv_weight) == (5, 2e5, 1e-1)


def test_a_factor_multiplies_once_and_only_numbers(tmp_path: Path) -> None:
    path = tmp_path / "tv.h5"
    write_weights(path, random_weights("vgg19", 1 / 16, 0), describe_weights("tv", "vgg19", 1 / 16, "torchvision"))
    assert resolve_run("default", weights=path, settings={"style_weight": Factor(3)}).config.loss.style_weight == 180
    with pytest.raises(ConfigError, match="cannot be multiplied by 2"):
        replace_settings(Config(), {"precision": Factor(2)})


@pytest.mark.parametrize(
    "settings",
    [
        {"size": 64, "height": 64},
        {"size": 64, "size.pixels": 32},
        {"size": 64, "size.rule": "keep"},
        {"steps": 3, "run.steps": 4},
        {"optimizer": "adam", "optimizer.method": "lbfgs"},
    ],
)
def test_one_setting_under_two_names_with_two_values_is_refused(settings):
    with pytest.raises(ConfigError, match="contradict each other; leave one of them out"):
        replace_settings(Config(), settings)
    first, second = settings
    if settings[first] != settings[second] and second != "size.rule":
        assert replace_settings(Config(), {first: settings[first], second: settings[first]})


def test_an_argument_and_a_setting_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match="optimizer is 'adam' and among the settings 'lbfgs'; expected one"):
        find_preset("default", optimizer="adam", settings={"optimizer": "lbfgs"})
    assert find_preset("default", init="random", settings={"init": "random"}).init == "random"


@pytest.mark.parametrize(
    ("settings", "notice"),
    [
        ({"optimizer.learning_rate": 5.0}, "learning_rate changes nothing: the optimiser is lbfgs"),
        ({"optimizer.clip": True, "optimizer.frequency_exponent": 0.0}, "clip changes nothing: the optimiser is lbfgs"),
        (
            {"optimizer.method": "adam", "optimizer.line_search": "zoom", "optimizer.history": 7},
            "history and line_search change nothing: the optimiser is adam",
        ),
        ({"optimizer.method": "adam", "optimizer.learning_rate": 5.0}, ""),
        ({"optimizer.line_search": "zoom", "optimizer.clip": False}, ""),
        ({"optimizer.history": 7, "optimizer.first_step": 0.5}, ""),
    ],
)
def test_settings_that_the_optimiser_does_not_look_at_are_told(settings, notice):
    found = resolve_run("default", weights=tiny_weights(), settings=settings).notices
    assert [line for line in found if "nothing" in line] == ([notice] if notice else [])
