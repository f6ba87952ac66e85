"""Every notebook of docs/notebooks from top to bottom, small, on the bundled network.

Run by `scripts/test_notebooks`.
"""

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Small pictures, few steps, no download, and one cache of compiled programs for all notebooks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JNST_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("JNST_OFFLINE", "1")
        patch.setenv("JNST_NOTEBOOK_SIZE", "64")
        patch.setenv("JNST_NOTEBOOK_STEPS", "4")
        # Compiles in half the time to slower programs, which make few steps here.
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        yield


def outputs_of(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_all_four_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["compose", "many", "n_s_t", "tf_tutorial"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    # They are kept without outputs: small, and nothing in them goes out of date.
    assert outputs_of(notebook) == []
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    outputs = outputs_of(notebook)
    shown = [output.data for output in outputs if "data" in output]
    assert any("image/png" in data or "data:image/png" in data.get("text/html", "") for data in shown)
    assert not [output for output in outputs if output.output_type == "error"]
    text = "".join(output.get("text", "") for output in outputs if output.get("name") == "stderr")
    assert "Warning" not in text, text
