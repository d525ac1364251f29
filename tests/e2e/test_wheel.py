"""The package that pip installs: built, installed as docs/install.md says, and used from a folder of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from pdl1es import __version__

pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("wheel")]  # pip downloads and compiles

WITHOUT_PLACE = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "HOLOSCAN_MODEL_PATH")}


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that `make wheel` builds, of a copy of the checkout."""
    source, into = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if name.startswith(("pdl1es/", "gateway/", "models/", "app/", "operators/", "training/")) or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((repository / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(into), "."], cwd=source, check=True)
    (built,) = into.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a clean environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", wheel], env=WITHOUT_PLACE, check=True)
    return folder / "bin"


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the installed package in a folder that is not the checkout."""
    done = subprocess.run(command, cwd=folder, env=WITHOUT_PLACE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_wheel_holds_package_and_gateway_alone_with_settings_model_and_types(wheel: Path, repository: Path) -> None:
    # One wheel for every Python from 3.11 on.
    assert wheel.name == f"pdl1es-{__version__}-cp311-abi3-linux_x86_64.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert {name.split("/")[0] for name in names} == {"pdl1es", "gateway", f"pdl1es-{__version__}.dist-info"}
        assert archive.read("pdl1es/app.yaml") == (repository / "app.yaml").read_bytes()
        for file in (repository / "models").rglob("*"):
            if file.is_file():
                assert archive.read(f"pdl1es/{file.relative_to(repository)}") == file.read_bytes()
        assert archive.read(f"pdl1es-{__version__}.dist-info/top_level.txt").split() == [b"gateway", b"pdl1es"]
    assert {"pdl1es/py.typed", "pdl1es/features/compiled.abi3.so"} <= names
    assert not [name for name in names if name.endswith((".c", ".h"))]
    folders = (repository / "pdl1es", repository / "gateway")
    sources = {str(path.relative_to(repository)) for folder in folders for path in folder.rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == sources


def test_nothing_of_monai_deploy_or_torch_is_installed(installed: Path, tmp_path: Path) -> None:
    listed = run(installed / "pip", "list", "--format", "json", folder=tmp_path).stdout
    packages = {package["name"].lower() for package in json.loads(listed)}
    assert {"pdl1es", "pyradiomics-bhklab", "onnxruntime", "highdicom"} <= packages
    assert packages & {"monai", "monai-deploy-app-sdk", "holoscan-cu13", "torch", "onnxruntime-gpu"} == set()
    assert "No broken requirements" in run(installed / "pip", "check", folder=tmp_path).stdout


def test_a_phantom_is_made_inspected_and_scored_in_another_folder(installed: Path, tmp_path: Path) -> None:
    pdl1es = installed / "pdl1es"
    assert run(pdl1es, "--version", folder=tmp_path).stdout.split() == ["pdl1es", __version__]
    run(pdl1es, "phantom", "study", folder=tmp_path)
    run(pdl1es, "inspect", "study", folder=tmp_path)
    run(pdl1es, "run", "study", "report", folder=tmp_path)
    result = json.loads((tmp_path / "report" / "result.json").read_text(encoding="utf-8"))
    assert result["status"] == "scored"
    assert result["assessment"]["features"]["path"] == "compiled"
    assert [report["kind"] for report in result["reports"]] == ["sr"]


def five_lines(repository: Path) -> str:
    """The library's example, as README.md shows it."""
    blocks = re.findall(r"^```python\n(.*?)^```", (repository / "README.md").read_text(encoding="utf-8"), re.S | re.M)
    (example,) = [block for block in blocks if "score_study" in block]
    return example


def test_the_five_lines_of_the_library_work_in_another_folder(
    installed: Path, repository: Path, tmp_path: Path
) -> None:
    run(installed / "pdl1es", "phantom", "study", folder=tmp_path)
    (tmp_path / "five_lines.py").write_text(five_lines(repository), encoding="utf-8")
    printed = run(installed / "python", "five_lines.py", folder=tmp_path).stdout
    assert 0 < float(printed.split()[0]) < 1
    written = {path.name for path in (tmp_path / "report").iterdir()}
    assert len([name for name in written if name.endswith(".dcm")]) == 2


def test_the_installation_passes_its_self_test(installed: Path, tmp_path: Path) -> None:
    assert "PASSED" in run(installed / "pdl1es", "self-test", folder=tmp_path).stdout


def test_the_commands_of_the_training_are_not_offered_where_it_is_not(installed: Path, tmp_path: Path) -> None:
    assert "reproduce" not in run(installed / "pdl1es", "--help", folder=tmp_path).stdout
