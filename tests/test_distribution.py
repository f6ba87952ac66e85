"""The check of a built wheel and source archive (scripts/check_distribution.py) finds what is missing."""

import importlib.util
import io
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def checker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_distribution", ROOT / "scripts" / "check_distribution.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


METADATA = """Metadata-Version: 2.4
Name: jnst
Version: 0.1.0
Summary: Neural style transfer
License-Expression: Apache-2.0
Requires-Python: >=3.11
Project-URL: Paper, https://arxiv.org/abs/1508.06576
Author: somebody
Classifier: Typing :: Typed
Classifier: Programming Language :: Python :: 3
Description-Content-Type: text/markdown

# jnst
"""


def _wheel(path: Path, checker: ModuleType, *, metadata: str = METADATA, without: str = "", extra: str = "") -> Path:
    names = [name for name in checker.REQUIRED_FILES if name.startswith("jnst/")]
    names += ["jnst/data/weights/tiny.h5", "jnst-0.1.0.dist-info/licenses/LICENSE", extra]
    with zipfile.ZipFile(path, "w") as wheel:
        for name in names:
            if name and name != without:
                wheel.writestr(name, b"")
        wheel.writestr("jnst-0.1.0.dist-info/METADATA", metadata)
    return path


def test_a_sound_wheel_passes(tmp_path: Path, checker: ModuleType) -> None:
    assert list(checker.wheel_problems(_wheel(tmp_path / "jnst.whl", checker))) == []


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ({"without": "jnst/py.typed"}, "lacks jnst/py.typed"),
        ({"without": "jnst/data/weights/tiny.h5"}, "holds no weights"),
        ({"extra": "tests/test_x.py"}, "holds what does not belong there: tests/test_x.py"),
        ({"metadata": METADATA.replace("Requires-Python: >=3.11\n", "")}, "the metadata has no Requires-Python"),
        ({"metadata": METADATA.replace("Typing :: Typed", "Typing")}, "lacks the classifier Typing :: Typed"),
        ({"metadata": METADATA.replace("# jnst", "empty")}, "the description is not the README"),
        ({"metadata": METADATA.replace("text/markdown", "text/plain")}, "expected text/markdown"),
    ],
)
def test_a_fault_of_a_wheel_is_named(tmp_path: Path, checker: ModuleType, fault: dict[str, str], problem: str) -> None:
    problems = list(checker.wheel_problems(_wheel(tmp_path / "jnst.whl", checker, **fault)))
    assert len(problems) == 1
    assert problem in problems[0]


def test_a_wheel_that_is_too_large_is_named(
    tmp_path: Path, checker: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checker, "LARGEST_WHEEL", 100)
    assert "expected at most 0" in next(checker.wheel_problems(_wheel(tmp_path / "jnst.whl", checker)))


def test_a_source_archive_without_its_pages_is_named(tmp_path: Path, checker: ModuleType) -> None:
    path = tmp_path / "jnst.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("README.md", "docs/index.md"):
            archive.addfile(tarfile.TarInfo(f"jnst-0.1.0/{name}"), io.BytesIO())
    assert [problem.removeprefix("jnst.tar.gz lacks ") for problem in checker.source_problems(path)] == [
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "CITATION.cff",
        "mkdocs.yml",
    ]
