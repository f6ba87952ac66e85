"""Every public function under JAX's modes: 64-bit types, strict promotion of types and ranks, a halt at every NaN.

The quick ones in each mode by itself; those that compile a descent in all of them at once, where a number of another
type cannot hide: strict promotion refuses to mix it with float32, and results must be float32.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from PIL import Image
from small import WIDTH, shallow, small_params

import jnst
from jnst import devices
from jnst.cli.main import main
from jnst.config import Config, LossConfig, OptimizerConfig
from jnst.weights.network import describe_weights, random_weights
from jnst.weights.store import write_weights

pytestmark = pytest.mark.usefixtures("unchecked_shapes")

ALL: dict[str, Any] = {
    "jax_enable_x64": True,
    "jax_numpy_rank_promotion": "raise",
    "jax_numpy_dtype_promotion": "strict",
    "jax_debug_nans": True,
}
MODES = {"usual": {}, **{name: {name: value} for name, value in ALL.items()}, "all": ALL}
DTYPES = ("float16", "bfloat16", "float32", "float64")
RNG = np.random.default_rng(0)
CONTENT, STYLE = RNG.random((17, 20, 3)), RNG.random((16, 18, 3))
MAP, OTHER = RNG.random((5, 7, 3)), RNG.random((5, 7, 3))
ONE_LAYER = LossConfig(
    tv_weight=1e-3,
    content_layers=(("relu1_1", 1.0),),
    style_layers=(("relu1_1", 1.0),),
    content_normalization="target_variance",
    style_normalization="target_norm",
    tv_reduction="mean",
)


def config(**optimizer: Any) -> Config:
    """One convolution and two steps."""
    return shallow(steps=2, loss=ONE_LAYER, optimizer=OptimizerConfig(**optimizer))


def switched(settings: dict[str, Any]) -> Iterator[None]:
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Iterator[None]:
    yield from switched(MODES[request.param])


@pytest.fixture
def all_modes() -> Iterator[None]:
    yield from switched(ALL)


def as_type(array: Any, dtype: str) -> np.ndarray:
    return np.asarray(array).astype(jnp.dtype(dtype))


def check(value: Any, expected: Any) -> None:
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(np.asarray(value, np.float64), expected, rtol=2e-5, atol=2e-5)


def plain(array: Any) -> np.ndarray:
    return np.asarray(array, np.float64)


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("dtype", DTYPES)
def test_losses_and_spaces(dtype: str) -> None:
    map_, other = as_type(MAP, dtype), as_type(OTHER, dtype)
    gram, target = map_[0, :3], other[0, :3]
    check(jnst.gram_matrix(map_, divisor="pixels"), oracles.gram_matrix(plain(map_), divisor="pixels"))
    check(
        jnst.content_loss(map_, other, reduction="mean"),
        oracles.content_loss(plain(map_), plain(other), reduction="mean"),
    )
    check(
        jnst.style_loss(gram, target, reduction="sum"), oracles.style_loss(plain(gram), plain(target), reduction="sum")
    )
    for norm in ("l1", "l2"):
        check(
            jnst.total_variation(map_, norm=norm, reduction="mean"),
            oracles.total_variation(plain(map_), norm=norm, reduction="mean"),
        )
    space = shallow().network_input
    encoded = jnst.encode(map_, space)
    np.testing.assert_allclose(encoded, 255 * plain(map_) - np.array(space.mean), rtol=1e-5, atol=1e-3)
    check(jnst.decode(encoded, space), plain(map_))


@pytest.mark.usefixtures("mode")
def test_features_targets_and_terms() -> None:
    params, settings = small_params(), config()
    expected = oracles_of_features()
    for dtype in DTYPES:
        content, style = as_type(CONTENT, dtype), as_type(STYLE, dtype)
        loose = {"float16": 0.02, "bfloat16": 0.2}.get(dtype, 1e-4)
        found = jnst.features(params, content, ["relu1_1"], settings)["relu1_1"]
        direct = jnst.extract_features(
            params, jnst.encode(content, settings.network_input), ["relu1_1"], settings.network
        )["relu1_1"]
        for map_ in (found, direct):
            assert map_.dtype == jnp.float32
            assert np.abs(plain(map_) - expected).max() < loose * np.abs(expected).max()
        targets = jnst.make_targets(params, content, style, settings)
        terms = jnst.loss_terms(params, jnst.encode(content, settings.variable), targets, settings)
        assert float(terms["content"]) < 1e-6
        assert float(terms["style"]) > 0
        types = {leaf.dtype for leaf in jax.tree.leaves((targets, terms, jnst.weigh(terms, targets.weights)))}
        assert types == {jnp.dtype(jnp.float32)}


def oracles_of_features() -> np.ndarray:
    """Of the content: the first convolution and its ReLU in float64."""
    layer, mean = small_params()["conv1_1"], np.array(shallow().network_input.mean)
    x = np.pad(255 * CONTENT - mean, ((1, 1), (1, 1), (0, 0)))
    kernel, (height, width) = plain(layer["kernel"]), CONTENT.shape[:2]
    total = sum(x[i : i + height, j : j + width] @ kernel[i, j] for i, j in np.ndindex(3, 3))
    return np.maximum(total + plain(layer["bias"]), 0)


@pytest.fixture(scope="module")
def usual() -> np.ndarray:
    """The picture that the usual mode paints."""
    return jnst.stylize(small_params(), CONTENT, STYLE, config()).image


class TestAllAtOnce:
    """What compiles a descent."""

    pytestmark = pytest.mark.usefixtures("usual", "all_modes")

    def test_one_picture(self, usual: np.ndarray) -> None:
        for dtype in DTYPES:
            result = jnst.stylize(small_params(), as_type(CONTENT, dtype), as_type(STYLE, dtype), config())
            assert result.image.dtype == np.float32
            np.testing.assert_allclose(result.image, usual, atol={"bfloat16": 0.02, "float16": 2e-3}.get(dtype, 1e-4))

    def test_many_pictures(self, usual: np.ndarray) -> None:
        """Of an odd size, so that they are padded and their true sizes traced."""
        contents = [as_type(CONTENT, dtype) for dtype in ("float64", "bfloat16")]
        results = jnst.stylize_batch(small_params(), contents, as_type(STYLE, "float64"), config())
        assert {result.image.dtype for result in results} == {np.dtype(np.float32)}
        np.testing.assert_allclose(results[0].image, usual, atol=1e-3)
        np.testing.assert_allclose(results[1].image, usual, atol=0.02)

    def test_the_loop_by_hand_and_a_hessian_product(self) -> None:
        params, settings = small_params(), config(frequency_exponent=0.5)
        targets = jnst.make_targets(params, CONTENT, STYLE, settings)
        state, trace = jnst.advance(params, targets, jnst.init_state(CONTENT, settings), settings, num_steps=3)
        assert all(leaf.dtype in (jnp.float32, jnp.int32, jnp.bool_) for leaf in jax.tree.leaves((state, trace)))
        assert trace.total[2] < trace.total[0]

        def loss(x: Any) -> Any:
            return jnst.weigh(jnst.loss_terms(params, x, targets, settings), targets.weights)

        x = jnst.encode(STYLE[:, :17], settings.variable)
        targets = jnst.make_targets(params, x, STYLE, settings)
        value, tangent = jax.jit(lambda x: jax.jvp(jax.grad(loss), (x,), (x,)))(x)
        assert value.dtype == tangent.dtype == jnp.float32
        assert jnp.any(tangent != 0)

    @pytest.mark.parametrize(
        "optimizer",
        [
            {"method": "adam", "epsilon_hat": True, "clip": True},
            {"method": "jaxopt-lbfgs"},
            {"method": "optax-lbfgs"},
            {"history_precision": "bfloat16"},
        ],
        ids=lambda settings: next(iter(settings.values())),
    )
    def test_every_optimizer(self, optimizer: dict[str, Any]) -> None:
        result = jnst.stylize(small_params(), CONTENT, STYLE, config(**optimizer))
        assert result.image.dtype == np.float32
        assert min(result.trace["total"]) < result.trace["total"][0]

    def test_a_prepared_style_and_every_start(self) -> None:
        style = jnst.prepare_style(small_params(), as_type(STYLE, "float64"), config())
        assert {gram.dtype for gram in style.grams[0].values()} == {np.dtype(np.float32)}
        for init in ("random", "recolored", "style"):
            settings = shallow(steps=0, loss=ONE_LAYER, init=init, run={"scales": 2})
            assert np.isfinite(jnst.stylize(small_params(), CONTENT, STYLE, settings).image).all()

    def test_the_commands(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        write_files(tmp_path)
        words = ["--style-layers", "relu1_1", "--content-layers", "relu1_1", "--iterations", "1", "--quiet"]
        words += ["--weights", "narrow.h5"]
        assert main(["stylize", "content.png", "style.png", "-o", "out.png", "--full-size", *words]) == 0
        assert (
            main(["batch", "content.png", "--style", "style.png", "-o", "many", "--full-size", *words, "--debug"]) == 0
        )
        assert Path("out.png").is_file()
        assert len(list(Path("many").rglob("*.png"))) >= 1


def write_files(folder: Path) -> None:
    """Two pictures and narrow weights."""
    for name, picture in (("content.png", CONTENT), ("style.png", STYLE)):
        Image.fromarray((255 * picture).astype(np.uint8)).save(folder / name)
    write_weights(
        folder / "narrow.h5", random_weights("vgg19", WIDTH, 0), describe_weights("n", "vgg19", WIDTH, "caffe")
    )


class TestMissingPlatform:
    """JAX_PLATFORMS names what is not there."""

    @pytest.mark.parametrize(
        ("asked", "failure", "hint"),
        [
            ("cuda", AssertionError(), 'for an NVIDIA GPU install "jnst[cuda]"; or set JAX_PLATFORMS=cpu'),
            ("gpu", RuntimeError("Unknown backend"), 'for an NVIDIA GPU install "jnst[cuda]"'),
            ("tpu", RuntimeError("Failed to open libtpu.so"), 'for a TPU install "jnst[tpu]"'),
            ("nosuch,cpu", RuntimeError("not in the list"), "installed for JAX are: cpu; or set JAX_PLATFORMS=cpu"),
        ],
    )
    def test_one_sentence_says_what_is_there_and_what_to_install(
        self, asked: str, failure: Exception, hint: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail() -> None:
            raise failure

        monkeypatch.setattr(jax, "devices", fail)
        monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: name == "jaxlib" or None)
        before = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
        monkeypatch.setattr(type(jax.config), "jax_platforms", asked, raising=False)
        try:
            with pytest.raises(jnst.JnstError) as caught:
                jnst.prepare_params({})
        finally:
            monkeypatch.undo()
        assert jax.config.jax_platforms == before  # pyright: ignore[reportAttributeAccessIssue]
        assert str(caught.value).startswith(f"JAX_PLATFORMS is '{asked}', which JAX cannot start here; installed ")
        assert hint in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_the_command_ends_with_two_and_functions_say_so(self, tmp_path: Path) -> None:
        write_files(tmp_path)
        script = """
import sys, numpy as np, jnst
from jnst.cli.main import main
one = np.ones((4, 4, 3), np.float32)
for call in (lambda: jnst.gram_matrix(one, divisor="none"), lambda: jnst.encode(one, jnst.Config().variable),
             lambda: jnst.load_params("narrow.h5"), jnst.image_mesh, jnst.row_mesh):
    try:
        call()
    except jnst.JnstError as error:
        print(error)
sys.exit(main(["stylize", "content.png", "style.png", "-o", "out.png", "--weights", "narrow.h5"]))
"""
        run = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env={**os.environ, "JAX_PLATFORMS": "nosuch", "JNST_CACHE": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
        )
        sentence = "JAX_PLATFORMS is 'nosuch', which JAX cannot start here; installed for JAX are: cpu"
        assert run.returncode == 2, run.stderr
        assert [line.startswith(sentence) for line in run.stdout.splitlines()] == [True] * 5
        assert [line for line in run.stderr.splitlines() if line.startswith(f"jnst: error: {sentence}")]
        assert "Traceback" not in run.stderr
        assert not (tmp_path / "out.png").exists()
