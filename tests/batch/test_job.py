"""Folders of pictures: every picture once, damaged ones by name, restartable, in shards, here and on other storage."""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import fsspec
import numpy as np
import pytest
from material import paint
from PIL import Image
from small import tiny_weights

from jnst.batch import entry_reader, folders
from jnst.batch.discovery import find_pictures
from jnst.batch.gallery import write_contact_sheet
from jnst.batch.job import FolderJob, run_folder
from jnst.batch.manifest import Manifest, latest, read_records
from jnst.batch.options import Options
from jnst.batch.pipeline import Pipeline
from jnst.batch.requests import Item
from jnst.batch.shards import Share
from jnst.batch.worklist import combine
from jnst.cli.main import main
from jnst.errors import ImageError, TargetsError
from jnst.images.writing import read_metadata
from jnst.presets.resolve import resolve_run
from jnst.progress.callbacks import Silent
from jnst.runtime import ending_signals
from jnst.transfer.result import Result
from jnst.transfer.style_file import read_style

SETTINGS = {
    "run.steps": 2,
    "run.scales": 1,
    "size.rule": "keep",
    "init": "content",
    "optimizer.method": "adam",
    "loss.content_layers": [["relu1_2", 1.0]],
    "loss.style_layers": [["relu1_1", 1.0]],
}
FLAGS = ["--full-size", "--iterations", "2", "--optimizer", "adam", "--init", "content", "--weights", tiny_weights()]
FLAGS += ["--content-layers", "relu1_2", "--style-layers", "relu1_1", "--batch-size", "2", "--quiet"]


def save(path: Path, subject: str, seed: int = 0, height: int = 32, width: int = 32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8(255 * paint(subject, height, width, seed))).save(path)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, request):
    """A working folder with four good pictures, one damaged one, and a style; the cache outlives single tests."""
    monkeypatch.setenv("JNST_CACHE", str(tmp_path.parent / "cache"))
    monkeypatch.chdir(tmp_path)
    for name, subject in {"a.png": "hills", "b.png": "shapes", "deep/c.png": "marble", "deep/d.png": "weave"}.items():
        save(tmp_path / "in" / name, subject)
    (tmp_path / "in" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    save(tmp_path / "style.png", "weave", height=24, width=40)
    return tmp_path


def batch(*words: str, output: str = "out", style: str = "style.png") -> int:
    return main(["batch", *words, "--style", style, "-o", output, *FLAGS])


def results(output: str = "out") -> dict[str, np.ndarray]:
    paths = sorted(Path(output).rglob("*.png"))
    return {path.relative_to(output).as_posix(): np.asarray(Image.open(path)) for path in paths}


def resolved():
    return resolve_run("default", weights=tiny_weights(), settings=SETTINGS)


def test_a_folder_becomes_a_folder_and_a_damaged_picture_one_failed_line(folder):
    assert batch("in") == 1
    assert list(results()) == ["a.png", "b.png", "deep/c.png", "deep/d.png"]
    records = latest(read_records("out"))
    assert {name: record["status"] for name, record in records.items()} == {
        **dict.fromkeys(results(), "done"),
        "bad.png": "failed",
    }
    assert "bad.png is damaged or cut off" in records["bad.png"]["reason"]
    assert records["a.png"]["loss"][1] < records["a.png"]["loss"][0]
    (job,) = [record for record in read_records("out") if record["kind"] == "job"]
    assert job["config"]["optimizer"]["method"] == "adam"
    assert len(job["weights"]["sha256"]) == 64
    metadata = read_metadata("out/a.png")
    assert metadata is not None
    assert (metadata["key"], metadata["config"]["run"]["steps"]) == (records["a.png"]["key"], 2)
    page = Path("out/index.html").read_text()
    assert page.count("<figure>") == 4
    assert "<h2>1 failed</h2>" in page


@pytest.mark.parametrize("name", ["line\nend.png", "es\x1b[31mcape.png", "x" * 250 + ".png"])
def test_a_picture_whose_result_can_have_no_name_is_one_failed_line(folder, name, capsys):
    """With a control character in it, or too long with the style's name behind it."""
    save(folder / "in" / name, "shapes")
    for path in (folder / "in").glob("*"):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (name, "a.png"):
            path.unlink()
    save(folder / "in/a.png", "shapes")
    words = ["batch", "in", "--style", "style.png", "-o", "out", *FLAGS, "--name", "{content}-style.png"]
    assert main(words) == 1
    assert [*results()] == ["a-style.png"]
    said = capsys.readouterr().err
    assert said.startswith("in/")
    assert "--name, such as '{index:06d}.png'" in said
    assert all(line.isprintable() for line in said.splitlines())
    (line,) = [record for record in read_records("out") if record["kind"] == "row"]
    assert line["status"] == "failed"
    # Where there is nothing else, it is a mistake, and nothing is made.
    (folder / "in/a.png").unlink()
    assert main([*words[:5], "new", *words[6:]]) == 2
    assert not (folder / "new").exists()


@pytest.mark.parametrize("place", ["jnst-manifest.jsonl", "a.png"])
def test_a_link_that_leads_nowhere_in_the_output_folder_is_not_written_through(folder, place, capsys):
    save(folder / "one/a.png", "shapes")
    (folder / "out").mkdir()
    (folder / "out" / place).symlink_to(folder / "elsewhere")
    words = ["batch", "one", "--style", "style.png", "-o", "out", *FLAGS]
    assert main(words) == 2
    assert (folder / "out" / place).is_symlink()
    assert "is there already" in (said := capsys.readouterr().err) or "which is not there" in said
    assert main([*words, "--overwrite"]) == 0
    assert not (folder / "out" / place).is_symlink()
    assert not (folder / "elsewhere").exists()


def test_a_job_that_cannot_begin_leaves_no_folder(folder, monkeypatch, capsys):
    save(folder / "one/a.png", "shapes")

    def fail(descriptor, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("jnst.batch.manifest._write_whole", fail)
    assert main(["batch", "one", "--style", "style.png", "-o", "new/out", *FLAGS]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not (folder / "new").exists()


def test_pictures_are_those_of_single_runs(folder):
    assert batch("in/a.png", "in/deep/c.png") == 0
    assert main(["stylize", "in/a.png", "style.png", "-o", "single.png", *FLAGS[:-3], "--quiet"]) == 0
    single = np.asarray(Image.open("single.png")).astype(int)
    assert np.abs(results()["a.png"].astype(int) - single).max() <= 1


def test_a_second_run_resumes_begins_again_or_is_refused(folder, capsys):
    assert batch("in") == 1
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.png")}
    assert batch("in") == 2
    assert "pass --resume to go on with it, or --overwrite" in capsys.readouterr().err
    save(folder / "in" / "e.png", "hills", seed=5)
    assert batch("in", "--resume") == 1
    assert sorted(results()) == ["a.png", "b.png", "deep/c.png", "deep/d.png", "e.png"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert batch("in", "--resume", "--tv-weight", "9") == 2
    assert "made with other settings" in capsys.readouterr().err
    save(folder / "in" / "bad.png", "shapes", seed=6)
    assert batch("in", "--resume") == 1
    assert batch("in", "--resume", "--retry-failed") == 0
    assert "bad.png" in results()
    assert batch("in", "--overwrite") == 0
    assert all(path.stat().st_mtime_ns != moment for path, moment in before.items())


def test_a_picture_whose_line_was_lost_is_found_and_not_made_again(folder):
    assert batch("in") == 1
    manifest = Path("out/jnst-manifest.jsonl")
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(line for line in lines if '"deep/c.png"' not in line) + '\n{"kind": "it')
    moment = Path("out/deep/c.png").stat().st_mtime_ns
    assert batch("in", "--resume") == 1
    assert latest(read_records("out"))["deep/c.png"]["recovered"]
    assert Path("out/deep/c.png").stat().st_mtime_ns == moment


def test_shards_make_everything_once(folder):
    for number in range(8):
        save(folder / "in" / f"{number}.png", "hills", seed=number)
    (folder / "in" / "bad.png").unlink()
    assert batch("in", "--shard", "1/2") == 0
    first = set(results())
    assert batch("in", "--shard", "2/2") == 0
    assert 0 < len(first) < 12 == len(results())
    items = [record["name"] for record in read_records("out") if record["kind"] == "item"]
    assert sorted(items) == sorted(results())
    assert Path("out/index.html").read_text().count("<figure>") == 12


def test_a_list_of_pairs_with_a_setting_of_its_own(folder):
    rows = [
        {"content": "in/a.png", "style": "style.png"},
        {"content": "in/a.png", "style": "in/b.png", "output": "other/x.webp", "run.steps": 0},
        {"content": "gone.png", "style": "style.png"},
    ]
    Path("pairs.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    assert main(["batch", "--pairs", "pairs.jsonl", "-o", "out", *FLAGS]) == 1
    assert list(results()) == ["a-style.png"]
    assert read_metadata("out/other/x.webp")["best_step"] == 0  # type: ignore[index]
    assert "gone.png" in latest(read_records("out"))["gone-style.png"]["reason"]


def test_several_styles_and_sizes_keep_their_names_and_alpha(folder):
    save(folder / "in" / "wide.png", "hills", 1, 24, 40)
    picture = Image.open("in/wide.png").convert("RGBA")
    picture.putalpha(77)
    picture.save("in/wide.png")
    assert main(["batch", "in/wide.png", "in/a.png", "--style", "style.png", "in/b.png", "-o", "out", *FLAGS]) == 0
    shapes = {name: image.shape for name, image in results().items()}
    assert shapes == {
        "a-b.png": (32, 32, 3),
        "a-style.png": (32, 32, 3),
        "wide-b.png": (24, 40, 4),
        "wide-style.png": (24, 40, 4),
    }
    assert (results()["wide-style.png"][..., 3] == 77).all()
    assert not np.array_equal(results()["a-b.png"], results()["a-style.png"])


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_folders_on_other_storage(folder, kind):
    root = f"{kind}://{folder}/store"
    filesystem, inner = fsspec.core.url_to_fs(root)
    for path in Path("in").rglob("*.png"):
        filesystem.makedirs(f"{inner}/{path.parent}", exist_ok=True)
        filesystem.pipe_file(f"{inner}/{path}", path.read_bytes())
    assert batch(f"{root}/in", output=f"{root}/out") == 1
    assert batch("in", output="out") == 1
    made = {path.partition("/out/")[2]: path for path in filesystem.find(f"{inner}/out")}
    assert sorted(made) == sorted([*results(), "index.html", next(name for name in made if "manifest" in name)])
    for name, image in results().items():
        with filesystem.open(made[name]) as file:
            assert np.array_equal(np.asarray(Image.open(file)), image)
    reason = latest(read_records(f"{root}/out"))["bad.png"]["reason"]
    assert f"{kind}://" in reason
    assert batch(f"{root}/in", "--resume", output=f"{root}/out") == 1
    assert len([record for record in read_records(f"{root}/out") if record["kind"] == "item"]) == 5


def test_a_prepared_style_gives_the_same_pictures(folder, capsys):
    common = ["--full-size", "--weights", tiny_weights(), "--style-layers", "relu1_1", "--quiet"]
    assert main(["targets", "style.png", "-o", "style.h5", *common]) == 0
    targets = read_style("style.h5")
    assert list(targets.grams[0]) == ["relu1_1"]
    assert targets.picture.shape == (24, 40, 3)
    assert batch("in/a.png", style="style.h5") == 0
    assert batch("in/a.png", output="out2") == 0
    assert np.array_equal(results()["a.png"], results("out2")["a.png"])
    assert main(["targets", "style.png", "-o", "style.h5", *common]) == 2
    assert "exists already" in capsys.readouterr().err
    assert batch("in/a.png", "--pooling", "average", style="style.h5", output="out3") == 2
    assert "the saved style was prepared with network" in capsys.readouterr().err
    words = ["batch", "in/a.png", "--style", "style.h5", "-o", "out4", *FLAGS, "--style-layers", "relu1_1,relu2_1"]
    assert main(words) == 2
    assert "has no Gram matrix of relu2_1" in capsys.readouterr().err


def test_a_damaged_prepared_style_is_refused(folder):
    assert main(["targets", "style.png", "-o", "s.h5", "--size", "24", "--style-layers", "relu1_1", "--quiet"]) == 0
    data = bytearray(Path("s.h5").read_bytes())
    position = data.index(read_style("s.h5").grams[0]["relu1_1"].tobytes()[:16])
    data[position] ^= 1
    Path("s.h5").write_bytes(data)
    with pytest.raises(TargetsError, match="do not match their hash"):
        read_style("s.h5")
    with pytest.raises(TargetsError, match="not there"):
        read_style("gone.h5")


def run(output="out", printer=None, **options):
    run = resolved()
    job_options = {name: options.pop(name) for name in ("keep_going",) if name in options}
    entries = combine(find_pictures("in").pictures, ["style.png"], run.config)
    job = FolderJob(tuple(entries), Options(output, batch_size=2, **job_options), **options)
    return run_folder(job, run.weights, printer or Silent())


@pytest.mark.parametrize("lost", [False, True])
def test_a_resumed_job_paints_again_what_is_made_of_files_that_have_changed(folder, lost, capsys):
    """A content, a style, and neither but for their times; also where the manifest's line was lost."""
    (folder / "in" / "bad.png").unlink()
    assert batch("in") == 0
    manifest = Path("out/jnst-manifest.jsonl")
    known = latest(read_records("out"))["a.png"]["inputs"]
    assert known["content"]["sha256"] == hashlib.sha256(Path("in/a.png").read_bytes()).hexdigest()
    assert "stamp" not in read_metadata("out/a.png")["inputs"]["content"]  # which tells of this machine alone
    assert known["styles"][0]["sha256"] == hashlib.sha256(Path("style.png").read_bytes()).hexdigest()
    before = results()

    def resume():
        if lost:
            manifest.unlink()
        times = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.png")}
        assert batch("in", "--resume") == 0
        return {path.name for path, time in times.items() if path.stat().st_mtime_ns != time}

    assert resume() == set()
    for path in (*Path("in").rglob("*.png"), Path("style.png")):
        os.utime(path, (1, 1))
    assert resume() == set()
    save(folder / "in" / "a.png", "shapes", seed=9)
    capsys.readouterr()
    assert batch("in", "--resume", "--dry-run") == 0
    assert "1 of 4 pictures to make" in capsys.readouterr().out
    assert resume() == {"a.png"}
    assert (results()["a.png"] != before["a.png"]).any()
    assert resume() == set()
    save(folder / "style.png", "marble", height=24, width=40)
    assert resume() == {"a.png", "b.png", "c.png", "d.png"}
    (folder / "in" / "a.png").unlink()
    assert resume() == set()


@pytest.mark.parametrize("which", ["in/a.png", "style.png"])
def test_a_file_that_is_replaced_right_after_it_was_read_is_noticed(folder, monkeypatch, which):
    """The manifest tells of the bytes that were read, not of the file that lies there by then."""
    (folder / "in" / "bad.png").unlink()
    read = folders.read_picture

    def read_and_replace(path, **options):
        found = read(path, **options)
        if path == which:
            save(folder / which, "marble", seed=9, height=32, width=32)
        return found

    def made_of(digest):
        """The results that the manifest says were made of a file with that hash."""
        told = latest(read_records("out"))
        return {name for name, record in told.items() if digest in json.dumps(record["inputs"])}

    known = hashlib.sha256((folder / which).read_bytes()).hexdigest()
    with monkeypatch.context() as patch:
        patch.setattr(folders, "read_picture", read_and_replace)
        run()
    # Of the pictures that share a style some may be read after it was replaced, and are made of the file that is there.
    outdated = made_of(known)
    assert "a.png" in outdated if which == "in/a.png" else outdated
    times = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.png")}
    run(resume=True)
    again = {path.relative_to("out").as_posix() for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert again == outdated
    assert made_of(known) == set()


def test_a_prepared_style_that_is_replaced_while_it_is_read_is_refused(folder, monkeypatch):
    """Else its Gram matrices would be kept under the hash of another file."""
    run, path = resolved(), Path("style.h5")
    path.write_bytes(b"one")
    entry = combine(find_pictures("in/a.png").pictures, [str(path)], run.config)[0]
    monkeypatch.setattr(entry_reader, "is_style_file", lambda _: True)
    monkeypatch.setattr(entry_reader, "read_style", lambda _: path.write_bytes(b"another"))
    with pytest.raises(ImageError, match=r"style\.h5 was replaced while it was being read; try again"):
        entry_reader.EntryReader(Options("out")).read(entry)


def test_gram_matrices_are_kept_by_what_is_in_a_file_and_how_it_is_read(folder):
    """Two rows of a list may read one style with and without its colour profile; a file may be replaced."""
    config = resolved().config
    plain = combine(find_pictures("in/a.png").pictures, ["style.png"], config)[0]
    ignoring = dataclasses.replace(plain, config=dataclasses.replace(config, color_profile="ignore"))
    reader = entry_reader.EntryReader(Options("out"))
    first, second = (reader.read(entry).item.task.style_key for entry in (plain, ignoring))
    save(folder / "style.png", "marble", height=24, width=40)
    third = entry_reader.EntryReader(Options("out")).read(plain).item.task.style_key
    assert len({first, second, third}) == 3
    assert reader.read(plain).item.task.style_key == first


@pytest.mark.parametrize("inputs", [None, 1, [], {}, {"content": {"sha256": 1}}, {"styles": [{"sha256": "a"}] * 3}])
def test_a_manifest_that_does_not_tell_of_its_inputs_is_taken_as_it_is(folder, inputs):
    (folder / "in" / "bad.png").unlink()
    assert batch("in") == 0
    manifest = Path("out/jnst-manifest.jsonl")
    records = [json.loads(line) for line in manifest.read_text().splitlines()]
    manifest.write_text("".join(json.dumps(record | {"inputs": inputs}) + "\n" for record in records))
    moment = Path("out/a.png").stat().st_mtime_ns
    save(folder / "style.png", "marble", height=24, width=40)
    assert batch("in", "--resume") == 0
    assert Path("out/a.png").stat().st_mtime_ns == moment


def test_a_full_disk_ends_the_job_unless_told_to_keep_going(folder, monkeypatch):
    def full(path, *_, **__):
        raise ImageError(f"cannot write {path}: No space left on device") from OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(folders, "write_picture", full)
    with pytest.raises(ImageError, match="No space left on device; 0 of 5 pictures are in out and in its manifest; "):
        run()
    assert run("elsewhere", keep_going=True).failed == 5


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs limits on the size of files")
@pytest.mark.parametrize("lines", [0.3, 1.3, 2.3, 3.3])
def test_a_manifest_on_a_full_disk_is_one_sentence_and_the_next_run_goes_on(folder, lines):
    """The disk is full at the first line, or in the middle of a later one; no line is torn and no picture is lost."""
    import resource

    (folder / "in" / "bad.png").unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        run("elsewhere")  # what else is written, such as the compiler's cache, is there then
        sizes = [len(line) + 1 for line in Path("elsewhere/jnst-manifest.jsonl").read_text().splitlines()]
        limit = sum(sizes[: int(lines)]) + int(lines % 1 * sizes[int(lines)])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        with pytest.raises(ImageError) as caught:
            run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert "File too large" in str(caught.value)
    assert "\n" not in str(caught.value)
    if lines > 1:
        assert "of 4 pictures are in out and in its manifest; mend that and pass --resume" in str(caught.value)
    manifest = Path("out/jnst-manifest.jsonl")
    assert manifest.exists() == (lines >= 1)  # without a line it goes again
    text = manifest.read_text() if lines >= 1 else ""
    assert not text or text.endswith("\n")
    done = sum(record["kind"] == "item" and record["status"] == "done" for record in read_records("out"))
    assert run(resume=True).done_before >= done
    assert results().keys() == {"a.png", "b.png", "deep/c.png", "deep/d.png"}


def test_the_page_has_the_pictures_of_a_shard_that_ended_at_the_same_moment(folder, monkeypatch):
    """Its last line comes after this one has read the manifests, and its page is in place before this one's."""

    def ended_meanwhile(*arguments, **options):
        if not Path(other).exists():
            with Manifest("out", Share(1, 2)) as manifest:
                manifest.append(line | {"time": "2100-01-01T00:00:00"})
        write_contact_sheet(*arguments, **options)

    assert run(share=Share(0, 2)).done > 0
    last = next(iter(latest(read_records("out")).values()))
    other, line = "out/jnst-manifest-2-of-2.jsonl", last | {"name": "of-the-other.png"}
    monkeypatch.setattr("jnst.batch.job.write_contact_sheet", ended_meanwhile)
    assert run(share=Share(0, 2), resume=True).done_before > 0
    assert "of-the-other.png" in Path("out/index.html").read_text()


def test_a_page_on_a_full_disk_is_left_out_with_a_sentence(folder, monkeypatch):
    def full(path, data):
        raise ImageError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("jnst.batch.gallery.folders.write_bytes", full)
    said = []

    class Listening(Silent):
        def problem(self, text):
            said.append(text)

    assert run(printer=Listening()).done == 4
    assert said[-1] == "the page of the job is left out: cannot write out/index.html: No space left on device"


def test_sigterm_gives_up_the_batch_at_hand_and_keeps_what_is_finished(folder):
    class Impatient(Silent):
        calls = 0

        def __call__(self, progress):
            # The first batch shows itself twice: after its first step, and at its end.
            self.calls += 1
            if self.calls == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    summary = run(printer=Impatient())
    assert summary.signal == signal.SIGTERM
    assert summary.done == len(results()) == 2
    assert summary.left == 2
    assert "2 left (go on with --resume)" in str(summary)
    assert run(resume=True).done == 2
    assert len(results()) == 4


@pytest.mark.parametrize("number", ending_signals())
@pytest.mark.parametrize(
    "place",
    ["batch.pipeline.folders.write_picture", "batch.manifest._write_whole", "batch.job.write_contact_sheet"],
)
def test_a_signal_while_something_is_written_leaves_whole_files(folder, monkeypatch, place, number):
    def write(*arguments, **options):
        with contextlib.suppress(IndexError):  # once, whichever thread is first
            os.kill(os.getpid(), left.pop())
        return real(*arguments, **options)

    module, name = f"jnst.{place}".rsplit(".", 1)
    real, left = getattr(pkgutil.resolve_name(module), name), [number]
    monkeypatch.setattr(f"jnst.{place}", write)
    assert run().signal == number
    assert not left
    done = {name for name, record in latest(read_records("out")).items() if record["status"] == "done"}
    assert done == set(results())
    assert Path("out/index.html").read_text().count("<figure>") == len(done)
    assert run(resume=True).left == 0
    assert len(results()) == 4


def test_an_infinite_loss_is_a_failure_with_its_reason(folder):
    # 1e30 and 3e38 are numbers; their product is not.
    settings = SETTINGS | {"loss.style_weight": 3e38, "loss.style_layers": [["relu1_1", 1e30]]}
    run = resolve_run("default", weights=tiny_weights(), settings=settings)
    entries = combine([("in/a.png", "")], ["style.png"], run.config)
    summary = run_folder(FolderJob(tuple(entries), Options("out")), run.weights, Silent())
    assert summary.failed == 1
    assert latest(read_records("out"))["a.png"]["reason"] == "the loss is not finite for this picture"


def test_pictures_are_read_and_written_while_a_batch_is_painted(folder, monkeypatch):
    """The second batch is read, and the first written, while painting is going on; else this would time out."""
    run = resolved()
    pipeline = Pipeline(run.weights, Options("out", batch_size=2))
    found = [*find_pictures("in/[a-b].png").pictures, *find_pictures("in/deep").pictures]
    entries = combine(found, ["style.png"], run.config)
    read, wrote = threading.Event(), threading.Event()
    real_read, waited = folders.read_picture, []

    def read_picture(path, **options):
        if path.endswith("d.png"):
            read.set()
        return real_read(path, **options)

    def fake_paint(items: list[Item], *, callback=None) -> list[Result]:
        waited.append((read if not waited else wrote).wait(20))
        trace = {"total": [1.0]}
        return [Result(item.full, trace, 0, "steps", {}) for item in items]

    monkeypatch.setattr(folders, "read_picture", read_picture)
    monkeypatch.setattr(folders, "write_picture", lambda *_, **__: wrote.set())
    monkeypatch.setattr(pipeline.scheduler, "run", fake_paint)
    records = []
    pipeline.work(entries, records.append)
    assert waited == [True, True]
    assert [record["status"] for record in records] == ["done"] * 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["batch", "-o", "out"], "CONTENT is missing"),
        (["batch", "in", "-o", "out"], "--style is missing"),
        (["batch", "in", "--style", "gone.png", "-o", "out"], "gone.png"),
        (["batch", "nothing/*.png", "--style", "style.png", "-o", "out"], "matches no pictures"),
        (["batch", "in", "--style", "style.png", "-o", "out", "--batch-size", "0"], "batch size is '0'"),
        (["batch", "in", "--style", "style.png", "-o", "out", "--shard", "3/2"], "shard is '3/2'"),
        (["batch", "in", "--style", "style.png", "-o", "out", "--name", "x.png"], "would both become x.png"),
        (["batch", "in", "--style", "style.png", "-o", "out", "--name", "{content}.xyz"], "unknown suffix"),
        (["batch", "in", "--style", "style.png", "-o", "out", "--save-every", "5"], "--save-every"),
        (["batch", "in", "--style", "style.png", "-o", "out", "--actors", "4-2"], "actors is '4-2'"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(folder, capsys, words, message):
    assert main([*words, "--quiet"]) == 2
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_hundred_pictures_five_damaged_a_kill_and_a_resume():
    script = Path(__file__).parents[2] / "scripts" / "crash_test_batch.py"
    shown = subprocess.run([sys.executable, script, "--images", "100"], capture_output=True, text=True, timeout=300)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "95 results, 5 failures, 0 with two lines, 0 written twice" in shown.stdout
