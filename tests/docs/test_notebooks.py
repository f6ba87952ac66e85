"""Notebooks carry the badge that pyproject.toml asks for, and are pages of the site."""

import importlib.util
import json
import re
from types import ModuleType

import pytest
from markdown_blocks import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BADGES = load("make_badges")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_badge_is_current(path) -> None:
    text = path.read_text(encoding="utf-8")
    wanted = BADGES.render(text, path.stem, BADGES.repository(PYPROJECT))
    assert wanted == text, f"docs/notebooks/{path.name} is out of date; run python scripts/docs/make_badges.py"


def test_one_address_sets_all_badges_and_none_takes_them_away() -> None:
    assert (
        BADGES.repository(PYPROJECT.replace("[project.urls]", '[project.urls]\nRepository = "https://example.org"'))
        == ""
    )
    address = PYPROJECT.replace("[project.urls]", '[project.urls]\nRepository = "https://github.com/who/what.git"')
    assert BADGES.repository(address) == "who/what"
    for path in NOTEBOOKS:
        text = path.read_text(encoding="utf-8")
        with_badge = BADGES.render(text, path.stem, "who/what")
        first = "".join(json.loads(with_badge)["cells"][0]["source"])
        assert f"/github/who/what/blob/main/docs/notebooks/{path.stem}.ipynb)" in first
        assert BADGES.render(with_badge, path.stem, "who/what") == with_badge
        assert BADGES.render(with_badge, path.stem, "") == BADGES.render(text, path.stem, "")


def test_every_notebook_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert re.findall(r"- notebooks/(\w+)\.md", navigation) == ["n_s_t", "tf_tutorial", "compose", "many"]
    assert {path.stem for path in NOTEBOOKS} == {"n_s_t", "tf_tutorial", "compose", "many"}
