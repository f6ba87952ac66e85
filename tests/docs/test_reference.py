"""The tables that are made from the code are current."""

import importlib.util
from types import ModuleType

import pytest
from markdown_blocks import ROOT

import jnst
from jnst.cli.main import COMMANDS
from jnst.presets.presets import PRESETS

DOCS = ROOT / "docs"


def _maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "scripts" / "docs" / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKER = _maker()


@pytest.mark.parametrize("page", sorted({page for page, _ in MAKER.REGIONS}))
def test_the_page_is_current(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert MAKER.render(page, text) == text, f"docs/{page} is out of date; run python scripts/docs/make_reference.py"


def test_a_page_without_its_region_is_refused() -> None:
    with pytest.raises(ValueError, match=r"docs/api\.md needs the lines"):
        MAKER.render("api.md", "# Public names\n")


def test_the_reference_names_every_command_flag_preset_and_public_name() -> None:
    commands = MAKER.command_reference()
    assert all(f"### jnst {name}\n" in commands for name in COMMANDS)
    assert "`--full-size`" in commands
    assert "`jnst weights fetch`" in commands
    assert all(f"### {name}\n" in MAKER.preset_reference() for name in PRESETS)
    assert "| `loss.style_weight` | `30000` |" in MAKER.preset_reference()  # gordic's
    assert "| `run.steps` | whole number | `300` |" in MAKER.setting_reference()
    names = MAKER.public_names().splitlines()
    assert all(f"::: jnst.{name}" in names for name in jnst.__all__)


def test_every_script_is_in_the_list_of_scripts() -> None:
    scripts = ROOT / "scripts"
    listed = (scripts / "README.md").read_text(encoding="utf-8")
    files = [path for path in scripts.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    missing = [path.name for path in files if path.name != "README.md" and f"{path.name}`" not in listed]
    assert not missing, f"scripts/README.md says nothing of {', '.join(missing)}"
