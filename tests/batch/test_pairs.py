"""Lists of work: what a row says, how it may be written, and that a wrong row costs itself alone."""

import csv
import functools
import io
import json
import random
from pathlib import Path

import hostile
import pytest

from jnst.batch.pairs import Reading, Rows, read_pairs
from jnst.batch.worklist import combine, fill_template
from jnst.cli.flags import parse_named
from jnst.config import Config
from jnst.errors import ConfigError
from jnst.presets.settings import replace_settings, setting_names


def read(path: Path, text: str, **fields: object) -> Rows:
    path.write_text(text, newline="")
    reading = Reading(["s.png"], functools.partial(replace_settings, Config()), parse_named, setting_names())
    return read_pairs(str(path), reading._replace(**fields))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_blanks_and_capitals(tmp_path: Path, separator: str, end: str) -> None:
    lines = ["\ufeff Content , style, STEPS ,optimizer", " a.jpg , t.png , 7 , adam ", " , , , ", "b.jpg,,,"]
    rows = read(tmp_path / "list.csv", end.join(lines).replace(",", separator))
    first, second = rows.entries
    assert (first.content, first.styles) == (f"{tmp_path}/a.jpg", (f"{tmp_path}/t.png",))
    assert (first.config.run.steps, first.config.optimizer.method) == (7, "adam")
    assert (second.styles, second.config) == (("s.png",), Config())
    assert rows.bad == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("contents|style\na|b\n", "separated by commas, semicolons, tabs"),
        ("contents,style\na,b\n", "did you mean content by 'contents'"),
        ("content,stlye\na,b\n", "unknown column 'stlye'; did you mean 'style'"),
        ("content,step\na,b\n", "unknown column 'step'; did you mean 'steps'"),
        ("content,output,Output\na,b,c\n", "two columns are named 'output'"),
        ("content\x1b[31m\nx\n", r"content\x1b[31m"),
        ("content,output\na.png,x.png\nb.png,X.png\n", "would both become X.png"),
        ("content,output\na.png,x.png\nb.png,x.png/b.png\n", "one is a folder then"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path / "list.csv", text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("seed", "99999999999999999999", "seed is '99999999999999999999'; expected a whole number"),
        ("seed", "1.5", "seed is '1.5'"),
        ("steps", "2.5", "expected a whole number"),
        ("steps", "9" * 5000, "expected a whole number"),
        ("steps", "99999999999", "at most 100000000 steps"),
        ("size", str(2**70), "at most 64 bits"),
        ("style_weight", "1e400", "style weight is inf"),
        ("content", "a\0.png", "holds a NUL character"),
        ("content", "x" * 300 + ".png", "too long for a path"),
        ("content", "x" * 131_073, "too long for a path"),
        ("style_weights", "nan", "style weights are 'nan'"),
        ("style_weights", "1|2", "2 style weights for 1 styles"),
        ("output", "../x.png", "does not lie inside"),
        ("output", "/etc/x.png", "does not lie inside"),
        ("output", "a\\..\\..\\x.png", "does not lie inside"),
        ("output", "C:\\x.png", "does not lie inside"),
        ("output", "a/.. /x.png", "does not lie inside"),
        ("output", "file:///x.png", "does not lie inside"),
        ("output", "~/x.png", "does not lie inside"),
        ("output", "x" * 300 + ".png", "too long"),
        ("output", "x.doc", "cannot tell the format"),
        ("output", "a\nb.png", "a quotation mark makes lines 3 to 4 one row"),
    ],
)
def test_a_bad_row_is_one_failed_line(tmp_path: Path, column: str, value: str, message: str) -> None:
    buffer = io.StringIO()
    names = list(dict.fromkeys(["content", "output", column]))
    writer = csv.DictWriter(buffer, names)
    writer.writeheader()
    writer.writerows([{"content": "a.jpg"}, {"content": "b.jpg", column: value}, {"content": "c.jpg"}])
    rows = read(tmp_path / "list.csv", buffer.getvalue())
    assert [entry.name for entry in rows.entries] == ["a-s.png", "c-s.png"]
    (bad,) = rows.bad
    assert message in bad.reason
    assert bad.line == 3
    assert str(bad).isprintable()
    assert len(str(bad)) < 500


@pytest.mark.parametrize(
    ("row", "first", "last", "right"),
    [
        ('"b.jpg,t.png', 3, 6, ["a"]),  # never closed: all rows below would go without a word
        ('b.jpg,"t.png', 3, 6, ["a"]),
        ('"b.jpg,t.png\nx.jpg,"u.png"', 3, 4, ["a", "c", "d"]),
        ('"b\r\n.jpg",t.png', 3, 4, ["a", "c", "d"]),
    ],
)
def test_a_quotation_mark_that_takes_other_rows_in_is_told(
    tmp_path: Path, row: str, first: int, last: int, right: list[str]
) -> None:
    lines = ["content,style", "a.jpg,t.png", row, "c.jpg,t.png", "", "d.jpg,t.png"]
    rows = read(tmp_path / "list.csv", "\n".join(lines))
    assert [entry.name for entry in rows.entries] == [f"{name}-t.png" for name in right]
    (bad,) = rows.bad
    assert bad.line == first
    assert bad.reason.startswith(f"a quotation mark makes lines {first} to {last} one row; close it")
    # One that is closed in its own line, or is no quotation at all, takes in nothing.
    for plain in ('"b.jpg","t.png"', ' "b.jpg" ,t.png', 'b".jpg,t.png', '"b""x.jpg",t.png'):
        assert len(read(tmp_path / "list.csv", "\n".join(["content,style", plain, "c.jpg,t.png"])).entries) == 2


def test_a_line_of_separators_above_the_head_is_passed_over(tmp_path: Path) -> None:
    rows = read(tmp_path / "list.csv", ",,,\n\t\ncontent;style\na.jpg;t.png\n")
    assert [entry.name for entry in rows.entries] == ["a-t.png"]


def test_rows_of_the_same_settings_share_their_config(tmp_path: Path) -> None:
    """Making a config for each of ten thousand rows takes half a minute."""
    for end in ("\n", "\r\n", "\r"):
        lines = ["content,output,steps", *(f"in/{index}.jpg,{index}.png,{7 + index % 2}" for index in range(500))]
        entries = read(tmp_path / "list.csv", "\ufeff" + end.join(lines)).entries
        assert [entry.config.run.steps for entry in entries] == 250 * [7, 8]
        assert len({id(entry.config) for entry in entries}) == 2


def test_rows_of_any_json_cost_themselves_alone(tmp_path: Path) -> None:
    """Seeded: rows with values of every wrong kind, lines that are no JSON, lines nested deeply."""
    generator, good = random.Random(0), {"content": "good.jpg", "output": "good.png"}
    row = {"content": "a.jpg", "style": ["t.png", "u.png"], "output": "x.png", "seed": 3, "style_weights": [1, 2]}
    row |= {"steps": 5, "loss.style_layers": [["relu1_1", 1.0]], "init": "random", "optimizer": "adam"}
    bad = 0
    for _ in range(150):
        lines = [hostile.dumps(hostile.mutate(row, generator)) for _ in range(3)]
        lines += ["[" * 100_000, '{"content": 1' + "0" * 5000 + "}", "{", "null"]
        text = "\n".join([json.dumps(good), *lines])
        message = hostile.refusal(lambda text=text: read(tmp_path / "list.jsonl", text))
        if message is not None:  # two of them become one file
            assert "would both become" in message or "one is a folder then" in message
            continue
        rows = read(tmp_path / "list.jsonl", text)
        assert rows.entries[0].name == "good.png"
        assert len(rows.entries) + len(rows.bad) == 8
        assert all(len(str(row)) < 800 for row in rows.bad)
        bad += len(rows.bad)
    assert bad > 600


@pytest.mark.parametrize(
    "template", ["{", "}", "{0}", "{}", "{index:999999999999d}", "{index!x}", "{content.x}", "{style[0]}"]
)
def test_templates_of_any_kind_are_refused_in_a_sentence(template: str) -> None:
    with pytest.raises(ConfigError, match=r"name template|field of the name template"):
        fill_template(template + ".png", "cat.jpg", ["s.png"])


@pytest.mark.parametrize(
    ("contents", "styles", "suggested"),
    [
        ([("in/a.png", ""), ("in/a.jpg", "")], ["s.png"], "{folder}/{content}-{suffix}.png"),
        ([("cats/a.jpg", ""), ("dogs/a.jpg", "")], ["s.png"], "{parent}/{content}.png"),
        ([("cats/a.jpg", ""), ("dogs/a.jpg", "")], ["s.png", "t.png"], "{parent}/{content}-{style}.png"),
        ([("x/cats/a.jpg", ""), ("y/cats/a.jpg", "")], ["s.png"], "{index:06d}.png"),
        ([("a.jpg", "")], ["x/s.png", "y/s.png"], "{index:06d}.png"),
    ],
)
def test_the_suggested_template_works(contents: list, styles: list, suggested: str) -> None:
    with pytest.raises(ConfigError) as error:
        combine(contents, styles, Config())
    assert f"--name '{suggested}' tells them apart" in str(error.value)
    names = [entry.name for entry in combine(contents, styles, Config(), template=suggested)]
    assert len(set(names)) == len(contents) * len(styles)


@pytest.mark.parametrize("above", ["\n", "\n \n\r\n", ",,,\n", "\ufeff\n"])
def test_empty_lines_above_the_head_are_no_rows(tmp_path: Path, above: str) -> None:
    rows = read(tmp_path / "list.csv", f"{above}content,style\na.jpg,t.png\nb.jpg,t.png,1\n")
    assert [entry.name for entry in rows.entries] == ["a-t.png"]
    assert [row.line for row in rows.bad] == [above.count("\n") + 3]
