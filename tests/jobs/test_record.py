"""Records as untrusted input: checked when it is read, with a sentence that names the field."""

import hashlib
import json
import random
from pathlib import Path

import hostile
import pytest

from jnst.config import Config
from jnst.config_json import to_dict
from jnst.errors import JnstError
from jnst.jobs.record import find_input, read_record, record_config

FILE = {"path": "content.png", "sha256": "0" * 64}
RECORD = {
    "config": to_dict(Config()),
    "inputs": {"content": FILE, "styles": [FILE, FILE], "style_weights": [1.0, 2.0], "initial": None},
    "weights": {"name": "narrow", "source": "narrow.h5", "sha256": "0" * 64},
    "seed": 3,
    "stopped": "steps",
}


def test_a_record_of_any_json_is_refused_with_one_sentence_or_is_usable(tmp_path: Path) -> None:
    path, generator, refused = tmp_path / "out.json", random.Random(0), 0
    for _ in range(300):
        path.write_text(hostile.dumps(hostile.mutate(RECORD, generator)))
        message = hostile.refusal(lambda: read_record(path))
        if message is not None:
            refused += 1
            assert str(path) in message
            assert message.isprintable()
            assert len(message) < 600
            continue
        record = read_record(path)
        assert isinstance(record_config(record), Config)
        assert 0 <= record["seed"] < 2**32
        assert all(isinstance(style["path"], str) for style in record["inputs"]["styles"])
    assert refused > 150


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"inputs": []}, "inputs is []"),
        ({"inputs": {"content": "content.png"}}, "inputs.content is 'content.png'"),
        ({"inputs": {"content": {"path": "a\0b"}}}, "inputs.content.path"),
        ({"inputs": {"styles": [{"path": 3}]}}, "inputs.styles[0].path is 3"),
        ({"inputs": {"styles": [FILE], "style_weights": [1, 2]}}, "inputs.style_weights"),
        ({"weights": 7}, "weights is 7"),
        ({"weights": {"source": {}}}, "weights.source is {}"),
        ({"seed": 2**64}, "seed is 18446744073709551616"),
        ({"seed": 1.0}, "seed is 1.0"),
        ({"config": {"run": {"steps": 1.5}}}, "Config.run.steps is 1.5"),
    ],
)
def test_the_field_is_named(tmp_path: Path, change: dict, field: str) -> None:
    path = tmp_path / "out.json"
    path.write_text(json.dumps(RECORD | change))
    with pytest.raises(JnstError) as error:
        read_record(path)
    assert f"the record in {path} is damaged: {field}" in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\ufffe", '{"config": 1' + "0" * 5000 + "}", "[]", "3"])
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "out.json"
    path.write_text(text)
    with pytest.raises(JnstError, match=r"cannot be read as the record of a run|holds no record of a run"):
        read_record(path)


def test_inputs_are_found_beside_the_record_and_their_changes_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "kept"
    (there / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    record, digest = there / "out.json", hashlib.sha256(b"x").hexdigest()
    with pytest.raises(JnstError, match="neither there nor beside the record"):
        find_input({"path": "sub/a.png", "sha256": digest}, record)
    (there / "a.png").write_bytes(b"x")
    assert find_input({"path": "elsewhere/a.png", "sha256": digest}, record) == (there / "a.png", "")
    (there / "sub/a.png").write_bytes(b"y")
    found, notice = find_input({"path": "sub/a.png", "sha256": digest}, record)
    assert found == there / "sub/a.png"
    assert "has changed since that run" in notice
    assert find_input({"path": "sub/a.png", "sha256": None}, record)[1] == ""
