"""The command line from outside: what it writes, what it says, and what it returns."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jnst.__main__
import jnst.cli.main
from jnst.cli.main import main
from jnst.images.resizing import resize
from jnst.images.writing import read_metadata
from jnst.weights.network import describe_weights, random_weights
from jnst.weights.store import write_weights

SHALLOW = ["--content-layers", "relu2_1", "--style-layers", "relu1_1,relu2_1", "--scales", "1"]


@pytest.fixture(autouse=True)
def usual_answer_to_ctrl_c() -> Iterator[None]:
    """What `enter` changes for its process is not for the other tests."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small pictures, narrow weights, and a cache of its own."""
    folder = tmp_path_factory.mktemp("cli")
    generator = np.random.default_rng(0)
    for name, size in (("content.png", (20, 28, 3)), ("style.png", (24, 24, 3))):
        Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)).save(folder / name)
    write_weights(
        folder / "narrow.h5",
        random_weights("vgg19", 1 / 16, 0),
        describe_weights("narrow", "vgg19", 1 / 16, "torchvision"),
    )
    return folder


@pytest.fixture(autouse=True)
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JNST_CACHE", str(folder / "cache"))
    monkeypatch.chdir(folder)


def stylize(*words: str, output: str = "out.png") -> int:
    fixed = [
        "stylize",
        "content.png",
        "style.png",
        "-o",
        output,
        "--weights",
        "narrow.h5",
        "--full-size",
        "--overwrite",
    ]
    return main([*fixed, *SHALLOW, "--iterations", "4", *words])


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def error_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert lines[-1].startswith("jnst: error: ")
    assert "Traceback" not in captured.err
    return lines[-1]


class TestStylize:
    def test_writes_the_picture_and_its_record(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert stylize("--plot", "--sheet") == 0
        assert "out.png (28 × 20" in capsys.readouterr().out
        assert pixels("out.png").shape == (20, 28, 3)
        record = json.loads(Path("out.json").read_text())
        assert {"config", "versions", "device", "weights", "seed", "size", "seconds", "trace"} <= set(record)
        assert record["size"] == {"height": 20, "width": 28}
        assert record["weights"]["name"] == "narrow"
        lengths = {name: len(values) for name, values in record["trace"].items()}
        assert lengths == dict.fromkeys(("evaluation", "total", "content", "style", "total_variation"), 5)
        assert record["trace"]["evaluation"] == [1, 2, 3, 4, 5]
        assert record["trace"]["total"][-1] < record["trace"]["total"][0]
        assert pixels("out-losses.png").shape[1] > 200
        assert pixels("out-sheet.png").shape[1] > 200
        embedded = read_metadata("out.png")
        assert embedded is not None
        assert embedded["config"] == record["config"]
        assert "trace" not in embedded
        assert stylize("--plot", "--sheet", "--overwrite") == 0

    def test_total_is_the_weighted_sum_of_the_terms(self) -> None:
        assert stylize() == 0
        record = json.loads(Path("out.json").read_text())
        loss, trace = record["config"]["loss"], record["trace"]
        for entry in range(5):
            weighted = (
                loss["content_weight"] * trace["content"][entry]
                + loss["style_weight"] * trace["style"][entry]
                + loss["tv_weight"] * trace["total_variation"][entry]
            )
            assert trace["total"][entry] == pytest.approx(weighted, rel=1e-5)

    @pytest.mark.parametrize("source", ["out.json", "out.png"])
    def test_config_repeats_the_run_bit_for_bit(self, source: str) -> None:
        assert stylize("--init", "random", "--seed", "5") == 0
        first = pixels("out.png")
        assert main(["stylize", "--config", source, "-o", "again.png", "--overwrite", "--quiet"]) == 0
        np.testing.assert_array_equal(pixels("again.png"), first)
        assert json.loads(Path("again.json").read_text())["seed"] == 5

    def test_a_flag_beside_config_changes_that_alone(self) -> None:
        assert stylize("--seed", "5") == 0
        assert main(["stylize", "--config", "out.json", "-o", "more.png", "--iterations", "6", "--overwrite"]) == 0
        before, after = (json.loads(Path(name).read_text()) for name in ("out.json", "more.json"))
        assert len(after["trace"]["total"]) == 7
        after["config"]["run"]["steps"] = before["config"]["run"]["steps"]
        assert after["config"] == before["config"]

    def test_quiet_prints_nothing(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert stylize("--quiet") == 0
        assert capfd.readouterr() == ("", "")

    def test_frames(self) -> None:
        assert stylize("--save-every", "2", output="film.png") == 0
        assert sorted(path.name for path in Path().glob("film-0*")) == [
            "film-00000.png",
            "film-00002.png",
            "film-00004.png",
        ]

    def test_alpha_is_kept(self) -> None:
        colours = pixels("content.png")
        alpha = np.tile(np.linspace(0, 255, 28).astype(np.uint8), (20, 1))
        Image.fromarray(np.dstack([colours, alpha])).save("glass.png")
        words = ["stylize", "glass.png", "style.png", "-o", "clear.png", "--weights", "narrow.h5", "--full-size"]
        assert main([*words, *SHALLOW, "--iterations", "1", "--overwrite"]) == 0
        np.testing.assert_array_equal(pixels("clear.png")[..., 3], alpha)

    def test_several_styles_are_blended(self) -> None:
        words = ["stylize", "content.png", "style.png", "content.png", "-o", "blend.png", "--style-blend", "3,1"]
        words += ["--weights", "narrow.h5", "--full-size", *SHALLOW, "--iterations", "1", "--overwrite"]
        assert main(words) == 0
        assert json.loads(Path("blend.json").read_text())["inputs"]["style_weights"] == [3, 1]

    def test_an_initial_picture_from_a_file(self) -> None:
        assert stylize("--init", "style.png", "--iterations", "0") == 0
        np.testing.assert_array_equal(pixels("out.png"), resize(pixels("style.png"), 20, 28, "pillow-lanczos"))


class TestErrors:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["stylize"], "CONTENT and STYLE are missing"),
            (["stylize", "content.png"], "STYLE is missing"),
            (["stylize", "gone.png", "style.png"], "there is no picture at gone.png"),
            (["stylize", ".", "style.png"], "is a folder"),
            (["stylize", "narrow.h5", "style.png"], "is not a picture"),
            (["stylize", "content.png", "style.png", "-o", "no/where.png"], "does not exist; make it first"),
            (["stylize", "content.png", "style.png", "-o", "content.png"], "would replace content.png"),
            (["stylize", "content.png", "style.png", "-o", "new.gif"], "did you mean '.tif'"),
            (["stylize", "content.png", "style.png", "--preset", "gordi"], "did you mean 'gordic'"),
            (["stylize", "content.png", "style.png", "--preset", "gordic", "--network", "vgg19"], "fetch vgg19"),
            (["stylize", "content.png", "style.png", "--optimizer", "adams"], "did you mean 'adam'"),
            (["stylize", "content.png", "style.png", "--style-layers", "relu4_22"], "did you mean 'relu4_2'"),
            (["stylize", "content.png", "style.png", "--style-weight", "-1"], "style weight is -1.0"),
            (["stylize", "content.png", "style.png", "--tv-weight", "nan"], "tv weight is nan"),
            (["stylize", "content.png", "style.png", "--height", "9", "--size", "9"], "not allowed with"),
            (["stylize", "content.png", "style.png", "--height", "9"], "needs at least 16 a side"),
            (["stylize", "content.png", "style.png", "--iterations", "many"], "expected a whole number"),
            (["stylize", "content.png", "style.png", "--set", "run.step=3"], "did you mean 'run.steps'"),
            (["stylize", "content.png", "style.png", "--pooling", "median"], "known are: max, average"),
            (["stylize", "content.png", "style.png", "--style-blend", "1,2"], "2 weights for 1 styles"),
            (["stylize", "content.png", "style.png", "--weights", "vgg16"], "not on this machine"),
            (["stylize", "content.png", "style.png", "--weights", "style.png"], "is not a weights file"),
            (["stylize", "content.png", "style.png", "--network", "vgg19"], "fetch vgg19"),
            (["stylize", "content.png", "style.png", "--config", "content.png"], "holds no record of a run"),
            (["stylise"], "did you mean 'stylize'"),
            (["presets", "paperr"], "did you mean 'paper'"),
            (["weights", "fetch", "vgg91"], "unknown weights"),
            (["weights", "verify", "content.png"], "is not a weights file"),
        ],
    )
    def test_one_clear_line_and_exit_code_two(
        self, capsys: pytest.CaptureFixture[str], words: list[str], message: str
    ) -> None:
        assert message in error_of(capsys, *words)
        assert not Path("content-style.png").exists()

    def test_a_layer_that_the_file_lacks(self, capsys: pytest.CaptureFixture[str]) -> None:
        params = random_weights("vgg19", 1 / 16, 0)
        shallow = {name: params[name] for name in list(params)[:4]}
        write_weights("shallow.h5", shallow, describe_weights("shallow", "vgg19", 1 / 16, "torchvision"))
        words = ["stylize", "content.png", "style.png", "-o", "new.png", "--weights", "shallow.h5", "--full-size"]
        message = error_of(capsys, *words, "--style-layers", "relu3_1", "--content-layers", "relu2_1")
        assert "the weights have no conv3_1" in message

    def test_a_full_disk_loses_nothing(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        import jnst.images.writing

        write = jnst.images.writing.write_atomically

        def full(path: Path, data: bytes) -> None:
            if Path(path) == Path("full.png"):
                raise OSError(28, "No space left on device")
            write(path, data)

        monkeypatch.setattr(jnst.images.writing, "write_atomically", full)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        assert stylize(output="full.png") == 2
        (rescued,) = tmp_path.glob("jnst-rescued-*/full.png")
        assert f"No space left on device; the picture was saved as {rescued} instead" in capsys.readouterr().err
        assert pixels(rescued).shape == (20, 28, 3)
        assert rescued.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_saves_the_best_picture_so_far(folder: Path, name: str, code: int) -> None:
    if (number := getattr(signal, name, None)) is None:
        pytest.skip("the system has no such signal")
    words = ["stylize", "content.png", "style.png", "-o", f"cut{code}.png", "--weights", "narrow.h5", "--full-size"]
    # Under nohup, or in the background of a script, the tests' own process ignores some, and hands that on.
    anew = f"import jnst.__main__, signal; signal.signal({int(number)}, signal.SIG_DFL); jnst.__main__.enter()"
    process = subprocess.Popen(
        [sys.executable, "-c", anew, *words, *SHALLOW, "--iterations", "10000000"],
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "/10000000" in line:
            break
    time.sleep(0.5)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert pixels(folder / f"cut{code}.png").shape == (20, 28, 3)
    record = json.loads((folder / f"cut{code}.json").read_text())
    assert record["interrupted"] is True
    assert len(record["trace"]["total"]) > 1


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
class TestLargePages:
    @pytest.mark.parametrize("before", ["", "glibc.malloc.check=1"])
    def test_painting_begins_anew_with_them_once(self, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
        calls: list[tuple[str, list[str], dict[str, str]]] = []
        monkeypatch.setattr(os, "execve", lambda *call: calls.append(call))
        monkeypatch.setattr(sys, "argv", ["jnst", "stylize", "a.png"])
        monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "jnst", "stylize", "a.png"])
        monkeypatch.setattr(jnst.cli.main, "main", lambda: 7)
        monkeypatch.setenv("GLIBC_TUNABLES", before)
        with pytest.raises(SystemExit, match="7"):  # the replaced execve returns
            jnst.__main__.enter()
        ((program, words, environment),) = calls
        assert (program, words) == (sys.executable, [sys.executable, "-m", "jnst", "stylize", "a.png"])
        assert environment["GLIBC_TUNABLES"] == ":".join(filter(None, [before, "glibc.malloc.hugetlb=1"]))
        monkeypatch.setenv("GLIBC_TUNABLES", environment["GLIBC_TUNABLES"])
        with pytest.raises(SystemExit, match="7"):
            jnst.__main__.enter()
        assert len(calls) == 1

    def test_ctrl_c_while_python_starts_waits_until_it_can_be_answered(self, folder: Path) -> None:
        """Sent before the second start, as soon as the signal is blocked for it."""
        program = "import jnst.__main__, os, signal; signal.signal(2, signal.default_int_handler); execve = os.execve\n"
        program += "def begin(*words): os.kill(os.getpid(), 2); execve(*words)\nos.execve = begin\n"
        program += "jnst.__main__.enter()"
        words = [sys.executable, "-c", program, "stylize", "--help"]
        environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
        done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environment)
        assert (done.returncode, done.stderr) == (130, "jnst: stopped\n")

    def test_other_commands_stay_as_they_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "execve", None)
        monkeypatch.setattr(sys, "argv", ["jnst", "weights", "list"])
        monkeypatch.setattr(jnst.cli.main, "main", lambda: 0)
        with pytest.raises(SystemExit, match="0"):
            jnst.__main__.enter()

    def test_the_new_process_gets_the_same_words(self, folder: Path) -> None:
        words = [sys.executable, "-m", "jnst", "stylize", "--help"]
        shown = subprocess.run(words, capture_output=True, text=True, cwd=folder, check=True).stdout
        assert shown.startswith("usage: jnst stylize")


class TestOtherCommands:
    def test_help_imports_nothing_heavy(self) -> None:
        script = (
            "import sys, jnst.cli.main; jnst.cli.main.main(['--help']); "
            "print('HEAVY' if {'jax', 'numpy'} & set(sys.modules) else '')"
        )
        shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        assert "stylize" in shown
        assert "HEAVY" not in shown

    @pytest.mark.parametrize("command", ["stylize", "presets", "weights"])
    def test_help_of_each_command(self, capsys: pytest.CaptureFixture[str], command: str) -> None:
        assert main([command, "--help"]) == 0
        assert f"jnst {command}" in capsys.readouterr().out

    def test_presets(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["presets"]) == 0
        assert "gordic-vgg16-experimental" in capsys.readouterr().out
        assert main(["presets", "tf-tutorial"]) == 0
        shown = capsys.readouterr().out
        assert "epsilon of 0.1 is added before bias correction" in shown
        assert json.loads(shown[shown.index("{") :])["optimizer"]["epsilon_hat"] is True

    def test_weights(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["weights", "list"]) == 0
        assert "bundled" in capsys.readouterr().out
        assert main(["weights", "verify", "narrow.h5"]) == 0
        assert "sound" in capsys.readouterr().out
        assert main(["weights", "info", "vgg16-caffe"]) == 0
        info = json.loads(capsys.readouterr().out)
        assert (info["architecture"], info["notes"]["changes"][:9]) == ("vgg16", "laid out ")
        assert main(["weights", "convert", "narrow.h5", "-o", "half.h5", "--half", "--overwrite"]) == 0
        assert Path("half.h5").stat().st_size < 0.6 * Path("narrow.h5").stat().st_size


@pytest.mark.parametrize(("line", "code"), [("import swallows", 130), ("os.kill(os.getpid(), signal.SIGINT)", 7)])
def test_ctrl_c_in_an_import_ends_the_process_and_elsewhere_it_is_raised(tmp_path: Path, line: str, code: int) -> None:
    """A library that tries one import and then another takes the exception for a module that is missing."""
    text = "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException:\n    pass\n"
    (tmp_path / "swallows.py").write_text(text)
    program = (
        "import os, signal, sys\nfrom jnst.__main__ import stop_imports\nstop_imports()\n"
        f"try:\n    {line}\nexcept KeyboardInterrupt:\n    sys.exit(7)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(jnst.__file__).parents[1])])}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == code, done.stderr
    assert done.stderr.strip() == ("jnst: stopped" if code == 130 else "")


@pytest.mark.parametrize(("stop", "code"), [("KeyboardInterrupt", 130), ("KeyboardInterrupt(15)", 143)])
def test_a_stopped_process_ends_while_a_thread_computes(stop: str, code: int) -> None:
    """Taking Python apart under a thread that waits for a computation is an abort."""
    program = """
import sys, threading
import jax, jax.numpy as jnp
import jnst.__main__, jnst.cli.main
def stop(words):
    x = jnp.ones((300, 300))
    long = jax.jit(lambda x: jax.lax.fori_loop(0, 100_000, lambda _, y: jnp.tanh(y @ x) * 0.01, x)).lower(x).compile()
    for _ in range(2):
        threading.Thread(target=lambda: jax.block_until_ready(long(x)), daemon=True).start()
    print("shown")
    raise STOP
jnst.cli.main._dispatch = stop
jnst.__main__.enter()
"""
    words = [sys.executable, "-c", program.replace("STOP", stop), "weights"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (code, "shown\n", "jnst: stopped\n")
