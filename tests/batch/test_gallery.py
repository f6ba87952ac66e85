"""The page of a job, and manifests as untrusted input."""

import json
import random
import re
from pathlib import Path

import hostile
import pytest

from jnst.batch.gallery import describe_job, write_contact_sheet
from jnst.batch.manifest import latest, read_records
from jnst.errors import ImageError

DONE = {
    "kind": "item", "name": "sub/a b.png", "status": "done", "key": "0", "content": "in/a b.jpg", "styles": ["s/t.png"],
    "loss": [2.5, 0.125], "seconds": 1.5, "notes": [],
}  # fmt: skip
FAILED = {
    "kind": "item",
    "name": "c.png",
    "status": "failed",
    "content": "in/c.jpg",
    "styles": ["s/t.png"],
    "reason": "cut",
}


def test_the_page_shows_what_a_result_was_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    write_contact_sheet("out", [DONE, FAILED], "1 done in 2.0 s", total=5, bad_rows=["line 3 of x.csv: no content"])
    page = Path("out/index.html").read_text()
    assert "<title>jnst: 1 of 5 pictures in the style t.png, 1 failed, 3 left</title>" in page
    assert "1 done in 2.0 s" in page
    for source in ("./sub/a%20b.png", "../in/a%20b.jpg", "../s/t.png"):
        assert f'src="{source}"' in page
    assert "loss 2.5 → 0.125, 1.5 s" in page
    assert "<td>in/c.jpg</td><td>cut</td>" in page
    assert "<td>line 3 of x.csv</td><td>no content</td>" in page


def test_a_page_of_somebody_else_stays(tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    page.write_text("<!doctype html>\n<title>My photographs</title>\n")
    with pytest.raises(ImageError, match=r"index\.html is there, and jnst did not write it; rename it"):
        write_contact_sheet(str(tmp_path), [DONE], "x")
    assert "My photographs" in page.read_text()
    page.unlink()
    for about in ("the first run", "the second run"):
        write_contact_sheet(str(tmp_path), [DONE], about)
        assert about in page.read_text()


def test_names_cannot_leave_the_page_and_prepared_styles_are_named(tmp_path: Path) -> None:
    record = DONE | {
        "name": '//evil.example/"><script>.png',
        "content": "s3://bucket/a\x1b.png",
        "styles": ["\udc80.h5"],
        "loss": [None, None],
    }
    write_contact_sheet(str(tmp_path), [record], "x")
    page = (tmp_path / "index.html").read_text()
    assert "<script" not in page
    assert not re.search(r'(src|href)="(//|javascript)', page)
    assert "<span>\\udc80.h5</span>" in page
    assert "\x1b" not in page
    assert describe_job([record], 1).startswith("1 of 1 pictures in the style")


def test_a_manifest_of_any_json_is_read_and_shown(tmp_path: Path) -> None:
    manifest, generator, taken = tmp_path / "jnst-manifest.jsonl", random.Random(0), 0
    for _ in range(150):
        lines = [hostile.dumps(hostile.mutate(record, generator)) for record in (DONE, FAILED)]
        manifest.write_text("\n".join([*lines, "[" * 100_000, '{"a": 1' + "0" * 5000 + "}", '{"kind": "item"}']))
        records = latest(read_records(str(tmp_path)))
        taken += len(records)
        write_contact_sheet(str(tmp_path), list(records.values()), "x", total=2)
    assert taken > 50
    manifest.write_text(json.dumps(DONE))
    assert latest(read_records(str(tmp_path))) == {"sub/a b.png": DONE | {"reason": "no reason given"}}
