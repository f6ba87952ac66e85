"""Flipped bits in the compressed data of a JPEG: said where they can be seen, never of a sound file."""

import io
import re

import numpy as np
import pytest
from oracles import paint
from PIL import Image

from jnst.images.jpeg_progressive import INCOMPLETE, NOTE, note_scans
from jnst.images.reading import read_picture_bytes


def encode(generator: np.random.Generator, mode: str = "RGB", **options: object) -> bytes:
    height, width = (int(side) for side in generator.integers(1, 90, 2))
    levels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if generator.integers(2) and min(height, width) > 8:
        levels = np.uint8(255 * paint("shapes", height, width))
    file = io.BytesIO()
    Image.fromarray(levels).convert(mode).save(file, "JPEG", quality=int(generator.integers(1, 101)), **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options",
    [{}, {"subsampling": 0}, {"subsampling": 1}, {"restart_marker_blocks": 3}, {"progressive": True}],
    ids=str,
)
def test_nothing_is_said_of_sound_files_and_their_pixels_are_pillows(mode: str, options: dict[str, object]) -> None:
    generator = np.random.default_rng(0)
    for _ in range(12):
        options = {name: value for name, value in options.items() if mode != "L" or name != "subsampling"}
        for data in (
            sound := encode(generator, mode, **options),
            sound + bytes(50) + sound,
            sound[:2] + b"\xff" + sound[2:],
        ):
            picture = read_picture_bytes("a.jpg", data)
            assert NOTE not in picture.notes
            expected = Image.open(io.BytesIO(data)).convert("RGB")
            np.testing.assert_array_equal(picture.pixels, np.asarray(expected))


def test_most_flipped_bits_are_noticed() -> None:
    """Of 60 files with three flipped bits each; a flip that keeps every code's length is not to be seen by anybody."""
    generator = np.random.default_rng(1)
    noticed = 0
    for _ in range(60):
        file = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(file, "JPEG", quality=90)
        data = bytearray(file.getvalue())
        start = data.index(b"\xff\xda") + 14
        for place in generator.integers(start, len(data) - 2, 3):
            data[place] ^= 1 << generator.integers(8)
        try:
            noticed += NOTE in read_picture_bytes("a.jpg", bytes(data)).notes
        except ValueError:  # so damaged that it is refused
            noticed += 1
    assert noticed >= 48


def test_data_that_is_left_over_used_up_or_out_of_step_is_noticed() -> None:
    file = io.BytesIO()
    Image.fromarray(np.uint8(255 * paint("shapes", 64, 64))).save(file, "JPEG", restart_marker_blocks=2)
    sound, end = file.getvalue(), len(file.getvalue()) - 2
    restart = sound.index(b"\xff\xd3")
    left_over = sound[:end] + bytes(range(1, 60)) + sound[end:]
    out_of_step = sound[: restart + 1] + b"\xd5" + sound[restart + 2 :]
    one_missing = sound[:restart] + sound[restart + 2 :]
    flat = io.BytesIO()
    Image.new("RGB", (64, 64), (9, 99, 200)).save(flat, "JPEG")
    used_up = flat.getvalue()[:-6] + flat.getvalue()[-2:]
    another = sound[:end] + b"\xff\xe1\0\2" + sound[end:]
    for data in (left_over, out_of_step, one_missing, used_up, another):
        assert NOTE in read_picture_bytes("a.jpg", data).notes


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_scans_that_are_missing_are_noticed(mode: str) -> None:
    """Of a progressive file that was put together again without some of its scans, each of them in turn."""
    file = io.BytesIO()
    Image.fromarray(np.uint8(255 * paint("shapes", 60, 80))).convert(mode).save(file, "JPEG", progressive=True)
    sound, places = file.getvalue(), [found.start() for found in re.finditer(b"\xff\xda", file.getvalue())]
    assert INCOMPLETE not in read_picture_bytes("a.jpg", sound).notes
    assert len(places) > 2
    for place in places[1:]:
        assert read_picture_bytes("a.jpg", sound[:place] + b"\xff\xd9").notes[0] == INCOMPLETE


def test_a_progressive_file_whose_restarts_are_out_of_step_or_whose_data_holds_an_odd_marker_is_noticed() -> None:
    file = io.BytesIO()
    Image.fromarray(np.uint8(255 * paint("shapes", 64, 64))).save(
        file, "JPEG", progressive=True, restart_marker_blocks=2
    )
    sound = file.getvalue()
    assert read_picture_bytes("a.jpg", sound).notes == ()
    restart = sound.index(b"\xff\xd3")
    for data in (
        sound[:restart] + sound[restart + 2 :],
        sound[: restart + 1] + b"\xd5" + sound[restart + 2 :],
        sound[: restart + 1] + b"\x17" + sound[restart + 2 :],
    ):
        assert note_scans(data) == (NOTE,)


def test_no_bytes_make_the_look_at_the_scans_fail() -> None:
    generator = np.random.default_rng(3)
    file = io.BytesIO()
    Image.fromarray(np.uint8(255 * paint("shapes", 40, 40))).save(file, "JPEG", progressive=True)
    sound = file.getvalue()
    for _ in range(500):
        data = bytearray(sound[: generator.integers(2, len(sound) + 1)])
        for place in generator.integers(2, len(data) + 1, 4) - 1:
            data[place] = generator.choice([0, 1, 0x11, 0xFF, 0xC2, 0xDA, 0xD9, 0xDD])
        assert note_scans(bytes(data)) in ((), (NOTE,), (INCOMPLETE,))
