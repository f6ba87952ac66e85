"""The manifest of a job survives kills, and names and lists of work are what they should be."""

import errno
import functools
import json
import os
import shutil

import fsspec
import pytest

from jnst.batch.discovery import find_pictures
from jnst.batch.folders import join
from jnst.batch.manifest import Manifest, latest, manifest_name, read_records
from jnst.batch.pairs import Reading, read_pairs
from jnst.batch.shards import Share
from jnst.batch.worklist import combine, fill_template
from jnst.cli.flags import parse_named
from jnst.config import Config
from jnst.errors import ConfigError, ImageError
from jnst.presets.settings import replace_settings, setting_names


def item(name, status="done"):
    return {"kind": "item", "name": name, "status": status, "content": "a.png", "styles": ["s.png"]}


def test_lines_are_appended_and_read_back_over_all_shards(tmp_path):
    for share in (Share(0, 2), Share(1, 2)):
        with Manifest(str(tmp_path), share) as manifest:
            manifest.append(item(f"{share.index}.png", "failed"))
            manifest.append(item(f"{share.index}.png"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "jnst-manifest-1-of-2.jsonl",
        "jnst-manifest-2-of-2.jsonl",
    ]
    assert manifest_name(Share()) == "jnst-manifest.jsonl"
    assert len(read_records(str(tmp_path))) == 4
    assert {name: record["status"] for name, record in latest(read_records(str(tmp_path))).items()} == {
        "0.png": "done",
        "1.png": "done",
    }


@pytest.mark.parametrize(("first", "then"), [((0, 1), (0, 2)), ((1, 2), (0, 3)), ((0, 2), (0, 1))])
def test_the_last_line_of_a_picture_counts_whatever_manifest_it_is_in(tmp_path, first, then):
    """A folder may be one job first and shards later, whose manifests sort before its own by name."""
    for share, status, moment in ((first, "failed", "10:00"), (then, "done", "11:00")):
        with Manifest(str(tmp_path), Share(*share)) as manifest:
            manifest.append(item("a.png", status) | {"time": f"2026-01-01T{moment}:00.000+00:00"})
    assert latest(read_records(str(tmp_path)))["a.png"]["status"] == "done"


def test_every_line_is_on_the_disk_when_append_returns(tmp_path, monkeypatch):
    synced = []
    with Manifest(str(tmp_path), Share()) as manifest:
        monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
        manifest.append(item("a.png"))
    assert synced == [(tmp_path / "jnst-manifest.jsonl").stat().st_size]


@pytest.mark.parametrize(("number", "resumes"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EROFS, False)])
def test_a_full_disk_says_what_stays_and_how_to_go_on(tmp_path, monkeypatch, number, resumes):
    def refuse(descriptor, data):
        raise OSError(number, os.strerror(number))

    with Manifest(str(tmp_path), Share()) as manifest:
        monkeypatch.setattr(os, "write", refuse)
        with pytest.raises(ImageError, match=os.strerror(number)) as caught:
            manifest.append(item("a.png"))
        monkeypatch.undo()
    assert ("finished pictures stay: make room" in str(caught.value)) is resumes


@pytest.mark.parametrize("torn", ['{"kind": "item", "na', '{"kind": "item", "name": "b.png", "status": "done"'])
def test_a_line_cut_off_by_a_kill_is_left_out_and_the_next_run_begins_a_new_one(tmp_path, torn):
    path = tmp_path / "jnst-manifest.jsonl"
    path.write_text(json.dumps(item("a.png")) + "\n" + torn)
    assert list(latest(read_records(str(tmp_path)))) == ["a.png"]
    with Manifest(str(tmp_path), Share()) as manifest:
        manifest.append({"kind": "job"})
        manifest.append(item("c.png"))
    assert list(latest(read_records(str(tmp_path)))) == ["a.png", "c.png"]


def test_a_damaged_line_costs_its_own_picture_only(tmp_path):
    (tmp_path / "jnst-manifest.jsonl").write_text("nonsense\n[1]\n" + json.dumps(item("a.png")) + "\n")
    assert read_records(str(tmp_path)) == [item("a.png")]


def test_two_runs_cannot_write_one_book(tmp_path):
    with Manifest(str(tmp_path), Share()), pytest.raises(ConfigError, match="another run is writing"):
        Manifest(str(tmp_path), Share())
    with Manifest(str(tmp_path), Share()) as manifest:
        manifest.append(item("a.png"))


@pytest.mark.parametrize("how", ["removed", "renamed", "file alone", "made anew"])
def test_lines_follow_the_pictures_where_the_folder_goes_away(tmp_path, how):
    folder = tmp_path / "out"
    folder.mkdir()
    with Manifest(str(folder), Share()) as manifest:
        manifest.append({"kind": "item", "name": "a.png"})
        if how == "renamed":
            folder.rename(tmp_path / "elsewhere")
        elif how == "file alone":
            (folder / manifest_name(Share())).unlink()
        else:
            shutil.rmtree(folder)
        if how == "made anew":
            folder.mkdir()
            (folder / manifest_name(Share())).write_text('{"kind": "other"}\n')
        for name in ("b.png", "c.png"):
            manifest.append({"kind": "item", "name": name})
        with pytest.raises(ConfigError, match="another run is writing"):
            Manifest(str(folder), Share())
        names = [record.get("name") for record in read_records(str(folder))]
        assert names == [None] * (how == "made anew") + ["a.png", "b.png", "c.png"]


def test_books_on_object_stores_are_written_in_parts():
    folder = "memory://manifests/out"
    with Manifest(folder, Share()) as manifest:
        for number in range(300):
            manifest.append(item(f"{number}.png"))
    with Manifest(folder, Share()) as manifest:
        manifest.append(item("again.png"))
    assert len(latest(read_records(folder))) == 301


def test_names_of_results():
    assert fill_template("{folder}/{content}.png", "in/a/cat.jpg", ["s/van.png"], "a") == "a/cat.png"
    assert fill_template("{content}-{style}-{seed}.webp", "cat.x.jpg", ["van.png", "go.h5"], seed=3) == (
        "cat.x-van+go-3.webp"
    )
    entries = combine([("in/cat.jpg", ""), ("in/b/dog.jpg", "b")], ["x.png", "y.png"], Config())
    assert [entry.name for entry in entries] == ["cat-x.png", "cat-y.png", "b/dog-x.png", "b/dog-y.png"]


@pytest.mark.parametrize("template", ["../{content}.png", "a/../../{content}.png", "~/{content}.png"])
def test_names_stay_inside_the_output_folder(template):
    with pytest.raises(ConfigError, match="does not lie inside"):
        fill_template(template, "cat.jpg", ["s.png"])


def test_unknown_fields_and_clashing_names_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'content'"):
        fill_template("{contents}.png", "cat.jpg", ["s.png"])
    with pytest.raises(ConfigError, match=r"cat.jpg and in/Cat.png would both become Cat.png"):
        combine([("in/cat.jpg", ""), ("in/Cat.png", "")], ["s.png"], Config())


def test_the_key_depends_on_everything_that_changes_the_picture():
    (entry,) = combine([("cat.jpg", "")], ["s.png"], Config())
    (seeded,) = combine([("cat.jpg", "")], ["s.png"], Config(), seed=1)
    (changed,) = combine([("cat.jpg", "")], ["s.png"], replace_settings(Config(), {"run.steps": 7}))
    keys = {entry.key("w"), seeded.key("w"), changed.key("w"), entry.key("v")}
    assert len(keys) == 4
    assert entry.key("w") == combine([("cat.jpg", "")], ["s.png"], Config())[0].key("w")


def rows_of(path, styles=()):
    override = functools.partial(replace_settings, Config())
    return read_pairs(str(path), Reading(styles, override, parse_named, setting_names()))


def read(path, styles=()):
    rows = rows_of(path, styles)
    assert rows.bad == []
    return rows.entries


def test_pairs_from_csv_with_overrides(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(
        "content,style,output,seed,run.steps,style_weights\n"
        "a.jpg,s.png,,,,\n"
        "sub/b.jpg,s.png|/abs/t.png,b/result.webp,5,40,2|1\n"
    )
    first, second = read(path)
    assert (first.name, first.content, first.styles) == ("a-s.png", f"{tmp_path}/a.jpg", (f"{tmp_path}/s.png",))
    assert (first.seed, first.config) == (0, Config())
    assert (second.name, second.styles) == ("b/result.webp", (f"{tmp_path}/s.png", "/abs/t.png"))
    assert (second.seed, second.config.run.steps, second.style_weights) == (5, 40, (2.0, 1.0))


def test_pairs_from_jsonl_with_the_style_of_the_command_line(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [{"content": "s3://b/a.jpg", "loss.style_weight": 7}, {"content": "c.jpg", "style": ["x", "y"]}]
    path.write_text("\n\n".join(json.dumps(row) for row in rows))
    first, second = read(path, styles=["one.png"])
    assert (first.content, first.styles, first.config.loss.style_weight) == ("s3://b/a.jpg", ("one.png",), 7.0)
    assert second.styles == (f"{tmp_path}/x", f"{tmp_path}/y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,style\na,b\n", "expected a head line with a column named content"),
        ("content\na.jpg\n", "line 2 of .*: no style, and 0 styles given"),
        ("content,style,run.stepz\na.jpg,s.png,3\n", "line 1 of .*: column 3: .*did you mean 'run.steps'"),
        ("content,style,run.steps\na.jpg,s.png,many\n", "line 2 of .*expected a whole number"),
        ("content,style\na.jpg,s.png,more\n", "more values than the head line has names"),
        ("content,style\n", "names no pictures"),
    ],
)
def test_bad_pairs_name_their_line(tmp_path, text, message):
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read(path)


@pytest.mark.parametrize("kind", ["local", "file://", "memory://"])
def test_folders_and_globs(tmp_path, kind):
    import fsspec

    root = {"local": str(tmp_path), "file://": f"file://{tmp_path}", "memory://": f"memory:/{tmp_path}"}[kind]
    filesystem, _ = fsspec.core.url_to_fs(root)
    for name in ("b.png", "a.JPG", "deep/c.webp", "notes.txt", ".hidden/d.png", "out/e.png"):
        filesystem.makedirs(f"{tmp_path}/{name}".rpartition("/")[0], exist_ok=True)
        filesystem.pipe_file(f"{tmp_path}/{name}", b"x")
    found = find_pictures(root, without=join(root, "out")).pictures
    assert [(path.rpartition(f"{tmp_path}/")[2], folder) for path, folder in found] == [
        ("a.JPG", ""),
        ("b.png", ""),
        ("deep/c.webp", "deep"),
    ]
    assert [path.rpartition("/")[2] for path, _ in find_pictures(f"{root}/*.png").pictures] == ["b.png"]
    assert [folder for _, folder in find_pictures(f"{root}/**/*.webp").pictures] == ["deep"]
    assert find_pictures(f"{root}/missing.png").pictures == [(f"{root}/missing.png", "")]
    with pytest.raises(ConfigError, match="matches no pictures"):
        find_pictures(f"{root}/*.tiff")


def test_a_store_whose_folder_is_called_like_a_manifest():
    with Manifest("memory://odd.jsonl/out", Share()) as manifest:
        manifest.append({"kind": "job"})
    assert read_records("memory://odd.jsonl/out") == [{"kind": "job"}]
    assert fsspec.filesystem("memory").exists("/odd.jsonl/out/jnst-manifest-00000.jsonl")
