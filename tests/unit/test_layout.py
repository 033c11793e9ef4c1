"""The rooms of the package import only downwards, and ``make check`` says so."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


def checked(*package: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOLS / "check_layout.py"), *map(str, package)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def package(tmp_path):
    def make(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / "pack" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "pack"

    return make


def test_the_package_keeps_to_its_layout():
    assert checked().returncode == 0, checked().stdout


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"api/a.py": "from pack.hooks import b", "hooks/b.py": ""}, "pack.api.a imports pack.hooks.b"),
        ({"api/a.py": "def f():\n    import pack.hooks.b", "hooks/b.py": ""}, "pack.api.a imports pack.hooks.b"),
        (
            {"api/a.py": "if TYPE_CHECKING:\n    import pack.hooks.b", "hooks/b.py": ""},
            "pack.api.a imports pack.hooks.b",
        ),
        ({"waiting/a.py": "from pack.sending.b import c", "sending/b.py": ""}, "pack.waiting.a imports"),
        ({"emulator/a.py": "from pack.api.wire import c", "api/wire.py": ""}, "emulator may import api.contract"),
        ({"api/a.py": "from pack.api import b", "api/b.py": "def f():\n    from pack.api.a import c"}, "in a circle"),
    ],
    ids=["upwards", "in a function", "for types", "sideways", "the emulator", "a circle"],
)
def test_an_import_against_the_layout_is_refused(package, files, words):
    found = checked(package(files))
    assert found.returncode == 1
    assert words in found.stdout


@pytest.mark.parametrize(
    "files",
    [
        {"hooks/a.py": "from pack.api.b import c", "api/b.py": ""},
        {"emulator/a.py": "from pack.api.contract import c", "api/contract/__init__.py": ""},
        {"api/a.py": "if TYPE_CHECKING:\n    from pack.api import b", "api/b.py": "import pack.api.a"},
    ],
    ids=["downwards", "the emulator and the contract", "a circle of types"],
)
def test_an_import_that_follows_the_layout_passes(package, files):
    assert checked(package(files)).returncode == 0


def test_types_that_drifted_from_the_contract_or_were_edited_are_refused(tmp_path):
    for place in ("airflow_provider_wts", "tools"):
        shutil.copytree(TOOLS.parent / place, tmp_path / place)
    command = [sys.executable, str(tmp_path / "tools/generate_types.py"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0
    types = tmp_path / "airflow_provider_wts/api/types.py"
    text = types.read_text()
    types.write_text(text.replace("NotRequired[str]", "str", 1))
    assert subprocess.run(command, check=False).returncode == 1
    types.write_text(text)
    (tmp_path / "airflow_provider_wts/more.py").write_text(
        "from airflow_provider_wts.api.types import AgentUpdateDepartmentItem"
    )
    assert subprocess.run(command, check=False).returncode == 1
