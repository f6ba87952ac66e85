"""Films of a run: even steps of change, one size, bounded in number, and a run that is the same without one."""

import errno
import gc
import itertools
import os
import warnings
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from small import picture, shallow, small_params

from jnst import Animation, Region
from jnst.errors import ConfigError, ImageError, JnstError
from jnst.transfer import animation as module
from jnst.transfer.animation import CAPACITY
from jnst.transfer.driver import stylize


def flat(level, size=(8, 12)):
    return np.full((*size, 3), level / 255, np.float32)


def recorded(levels, **options):
    animation = Animation(**options)
    animation.begin((8, 12))
    for level in levels:
        animation.add(flat(level))
    return animation


def levels_of(animation, count):
    return [int(frame[0, 0, 0]) for frame in animation.frames(count)]


def test_frames_are_even_in_change_whatever_the_steps_were():
    """Two leaps and many small moves: the film moves on by the same amount from frame to frame."""
    animation = recorded([0, 100, 180, *range(181, 201)])
    assert levels_of(animation, 21) == list(range(0, 201, 10))
    assert levels_of(animation, 2) == [0, 200]
    assert levels_of(animation, 401)[-1] == 200


def test_change_counts_in_every_direction():
    animation = recorded([0, 100, 0])
    assert levels_of(animation, 5) == [0, 50, 100, 50, 0]


def test_a_picture_that_never_changes_is_one_frame():
    assert levels_of(recorded([7, 7, 7]), 30) == [7]
    assert levels_of(recorded([7]), 30) == [7]


def test_a_long_run_keeps_few_frames_and_still_the_whole_way():
    rng = np.random.default_rng(0)
    noisy = np.cumsum(rng.uniform(-3, 3.2, 3000)).clip(0, 255)
    animation = recorded(np.rint(noisy))
    files = list(animation._folder.iterdir())
    assert len(animation._kept) == len(files) <= CAPACITY
    way = np.concatenate([[0], np.cumsum(np.abs(np.diff(np.rint(noisy))))])
    wanted = np.interp(np.linspace(0, way[-1], 40), way, np.rint(noisy))
    # Between two frames that were kept there may have been a step that is left out.
    assert np.abs(np.array(levels_of(animation, 40)) - wanted).max() <= 2 * animation._spacing + 1
    assert levels_of(animation, 40)[-1] == round(noisy[-1])


def test_looks_come_later_where_little_changes_and_sooner_where_much_does():
    animation = recorded([0, 100])
    assert animation.steps_ahead == 1
    for _ in range(20):
        animation.add(flat(100))
    assert animation.steps_ahead == 64
    animation.add(flat(160))
    assert animation.steps_ahead == 32


def test_frames_put_aside_go_with_the_animation():
    animation = recorded([0, 100, 200])
    folder = animation._folder
    assert folder.is_dir()
    del animation
    gc.collect()
    assert not folder.exists()


def test_a_new_run_forgets_the_old_one():
    animation = recorded([0, 100, 200])
    animation.begin((8, 12))
    animation.add(flat(50))
    assert levels_of(animation, 5) == [50]
    assert len(list(animation._folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("result", "options", "size"),
    [
        ((300, 400), {}, (300, 400)),
        ((3000, 4000), {}, (810, 1080)),
        ((3000, 4000), {"size": 400}, (300, 400)),
        ((30, 40), {"size": 400}, (30, 40)),
        ((1, 5000), {}, (1, 1080)),
    ],
)
def test_the_film_is_no_larger_than_asked_for(result, options, size):
    animation = Animation(**options)
    animation.begin(result)
    animation.add(flat(9, (5, 5)))
    assert next(animation.frames(1)).shape == (*size, 3)


def test_the_usual_size_is_that_of_the_format(tmp_path):
    animation = Animation(tmp_path / "out.gif")
    animation.begin((2000, 1000))
    animation.add(flat(9, (5, 5)))
    assert next(animation.frames(1)).shape == (480, 240, 3)


def test_bad_input(tmp_path):
    for options, message in (
        ({"seconds": 0}, "film length is 0 seconds; expected above 0"),
        ({"seconds": float("nan")}, "film length is nan"),
        ({"size": 3}, "film size is 3 pixels; expected 16 to 4096"),
    ):
        with pytest.raises(ConfigError, match=message):
            Animation(**options)
    with pytest.raises(ImageError, match="unknown film format"):
        Animation(tmp_path / "out.avi")
    with pytest.raises(ImageError, match="does not exist"):
        Animation(tmp_path / "nowhere" / "out.gif")
    with pytest.raises(JnstError, match="no frame for a film"):
        Animation().write(tmp_path / "out.gif")
    with pytest.raises(JnstError, match="has no path"):
        recorded([1, 2]).write()


CONFIG = shallow(steps=5, run={"scales": 2})
CONTENT, STYLE = np.asarray(picture("hills", 64, 96)), np.asarray(picture("weave", 40, 36))


def test_a_filmed_run_is_the_run_itself_and_its_film_ends_with_the_result(tmp_path):
    plain = stylize(small_params(), CONTENT, STYLE, CONFIG)
    animation = Animation(seconds=0.5)
    filmed = stylize(small_params(), CONTENT, STYLE, CONFIG, animate=animation)
    np.testing.assert_array_equal(filmed.image, plain.image)
    assert filmed.trace == plain.trace
    frames = list(animation.frames(12))
    assert {frame.shape for frame in frames} == {(64, 96, 3)}
    np.testing.assert_array_equal(frames[-1], np.rint(filmed.image * 255).astype(np.uint8))
    # It begins with the photo at the coarse scale, enlarged.
    assert np.abs(frames[0] - 255 * CONTENT).mean() < 8
    steps = [np.sqrt(np.mean((a.astype(float) - b) ** 2)) for a, b in itertools.pairwise(frames)]
    assert max(steps) < 2 * np.mean(steps)
    animation.write(tmp_path / "out.webp")
    with Image.open(tmp_path / "out.webp") as film:
        assert film.n_frames == 12


def test_a_path_is_enough(tmp_path):
    stylize(
        small_params(), CONTENT, STYLE, replace(CONFIG, run=replace(CONFIG.run, steps=1)), animate=tmp_path / "a.gif"
    )
    with Image.open(tmp_path / "a.gif") as film:
        assert film.size == (96, 64)
        assert film.n_frames > 10


@pytest.mark.parametrize("made", [False, True])
def test_a_film_lies_in_the_folder_that_was_at_hand_when_the_run_began(tmp_path, monkeypatch, made):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    film = Animation("a.gif") if made else "a.gif"
    config = replace(CONFIG, run=replace(CONFIG.run, steps=1, scales=1))
    stylize(small_params(), CONTENT, STYLE, config, animate=film, callback=lambda _: os.chdir(tmp_path / "other"))
    if isinstance(film, Animation):
        film.write()
    assert (tmp_path / "a.gif").exists()
    assert not list((tmp_path / "other").iterdir())


def test_a_film_is_refused_before_the_work_and_never_costs_the_result(tmp_path, monkeypatch):
    monkeypatch.setattr("jnst.transfer.driver.run_scales", lambda *_: pytest.fail("work was done"))
    with pytest.raises(ImageError, match="unknown film format"):
        stylize(small_params(), CONTENT, STYLE, CONFIG, animate=tmp_path / "a.avi")
    monkeypatch.undo()

    def fail(*arguments, **options):
        raise ImageError("the disk is full")

    monkeypatch.setattr(module, "write_film", fail)
    config = replace(CONFIG, run=replace(CONFIG.run, steps=1, scales=1))
    with pytest.warns(UserWarning, match="the film was not written: the disk is full"):
        result = stylize(small_params(), CONTENT, STYLE, config, animate=tmp_path / "a.gif")
    assert result.image.shape == (64, 96, 3)


# Frames between two looks are blends, and off where only one of the looks is clipped: a matched luminance clips more.
@pytest.mark.parametrize(("colors", "clipped"), [("content", 0.0), ("luminance", 0.01)])
def test_frames_have_the_colours_that_the_result_has(colors, clipped):
    config, seen = replace(CONFIG, run=replace(CONFIG.run, colors=colors)), []
    animation = Animation()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = stylize(
            small_params(),
            CONTENT,
            STYLE,
            config,
            animate=animation,
            callback=lambda snapshot: seen.append(snapshot.image()),
        )
    np.testing.assert_array_equal(seen[-1], result.image)
    for image in seen:  # at coarse scales as well
        assert (image.max(2) - image.min(2)).mean() > 0.3 * (CONTENT.max(2) - CONTENT.min(2)).mean()
    for frame in animation.frames(6):
        chroma = frame.astype(float) / 255 - CONTENT
        grey = np.all((frame > 0) & (frame < 255), axis=2)
        moved = np.abs(chroma - chroma.mean(-1, keepdims=True))[grey]
        assert moved.max() < 0.05
        assert (moved.max(1) >= 0.02).mean() <= clipped
    assert result.image.shape == (64, 96, 3)


def test_a_film_of_regions_ends_with_the_result_and_keeps_what_is_kept():
    keep = np.zeros(CONTENT.shape[:2], bool)
    keep[20:40, 30:60] = True
    left = np.zeros(CONTENT.shape[:2])
    left[:, :48] = 1
    regions = [Region(left, STYLE), Region("rest", STYLE[::-1])]
    animation = Animation()
    result = stylize(small_params(), CONTENT, None, CONFIG, animate=animation, regions=regions, keep=keep)
    frames = list(animation.frames(5))
    np.testing.assert_allclose(frames[-1] / 255, result.image, atol=0.51 / 255)
    inside = keep & np.roll(keep, 4, 0) & np.roll(keep, -4, 0) & np.roll(keep, 4, 1) & np.roll(keep, -4, 1)
    for frame in frames[1:]:
        # At a coarse scale what is kept is the photo at that size, enlarged.
        assert np.abs(frame / 255 - CONTENT)[inside].mean() < 0.05


@pytest.mark.parametrize("broken", [0, 1, 5])
def test_a_full_disk_costs_the_film_and_not_the_run(monkeypatch, broken):
    """Frames lie in the folder for temporary files, which is often a small one."""
    store, stored = module.store_frame, itertools.count()

    def fill_up(path, frame):
        if next(stored) >= broken:
            path.write_bytes(b"half of")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        store(path, frame)

    monkeypatch.setattr(module, "store_frame", fill_up)
    animation = recorded(range(0, 200, 20))
    assert animation._folder is None
    with pytest.raises(JnstError, match=r"frames of the film cannot be put aside in .*: No space left .* set TMPDIR"):
        animation.write("film.gif")
    monkeypatch.setattr(module, "store_frame", store)
    animation.begin((8, 12))
    animation.add(flat(7))
    assert levels_of(animation, 30) == [7]


def test_no_folder_for_temporary_files_costs_the_film_and_not_the_run(monkeypatch):
    def refuse(**_):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(module.tempfile, "mkdtemp", refuse)
    with pytest.raises(JnstError, match="No usable temporary directory found; set TMPDIR"):
        recorded([0, 100]).write("film.gif")


def test_frames_that_are_gone_are_said(tmp_path):
    animation = recorded([0, 100, 200])
    for path in animation._folder.iterdir():
        path.unlink()
    with pytest.raises(JnstError, match=r"a frame of the film that was put aside in .* cannot be read: No such file"):
        animation.write(tmp_path / "film.gif")
    assert not (tmp_path / "film.gif").exists()
