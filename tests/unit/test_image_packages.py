"""What the image installs: all that is needed, and nothing that it says it leaves out."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

RESOLVED: dict[str, dict[str, Any]] = {
    "framework": {
        "version": "1.0",
        "requires_dist": ["arrays[all]>=1", 'windows-only; sys_platform == "win32"', "tool"],
    },
    "arrays": {"version": "2.0", "requires_dist": ["numbers", 'network; extra == "all"', 'plots; extra == "plots"']},
    "numbers": {"version": "3.0"},
    "network": {"version": "4.0", "requires_dist": ["sockets"]},
    "sockets": {"version": "5.0"},
    "tool": {"version": "6.0", "requires_dist": ["numbers", "terminal"]},
    "terminal": {"version": "7.0"},
}
"""As pip's report gives them, by name."""


@pytest.fixture(scope="module")
def image_packages(repository: Path) -> ModuleType:
    """package/image_packages.py."""
    spec = importlib.util.spec_from_file_location("image_packages", repository / "package" / "image_packages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_everything_that_is_asked_for_is_kept_with_extras_and_markers(image_packages: ModuleType) -> None:
    found = image_packages.kept(RESOLVED, ["framework==1.0"], [])
    assert found == sorted(f"{name}=={package['version']}" for name, package in RESOLVED.items())


def test_what_only_a_left_out_package_needs_goes_with_it(image_packages: ModuleType) -> None:
    found = image_packages.kept(RESOLVED, ["framework==1.0"], ["Network", "tool"])
    assert found == ["arrays==2.0", "framework==1.0", "numbers==3.0"]


def test_a_list_that_leaves_out_what_nobody_asks_for_is_refused(image_packages: ModuleType) -> None:
    """So that the list cannot outlive its reasons."""
    with pytest.raises(ValueError, match="ghost"):
        image_packages.kept(RESOLVED, ["framework==1.0"], ["ghost"])


def test_the_image_for_gpus_has_the_other_onnxruntime_of_the_same_version_in_the_place_of_the_first(
    image_packages: ModuleType, repository: Path
) -> None:
    requirements = repository / "requirements.txt"
    gpu = image_packages.gpu_extra(repository / "pyproject.toml")
    (cpu,) = [line for line in image_packages.requested(requirements) if "onnxruntime" in line]
    (other,) = [line for line in image_packages.requested(requirements, gpu) if "onnxruntime" in line]
    assert Requirement(cpu).name == "onnxruntime"
    assert Requirement(other).name == "onnxruntime-gpu"
    (version,) = Requirement(cpu).specifier
    assert version.version in Requirement(other).specifier
    assert set(gpu) <= set(image_packages.requested(requirements, gpu))


def test_of_a_further_list_only_what_the_first_does_not_name_is_asked_for(
    image_packages: ModuleType, repository: Path
) -> None:
    """So that the gateway's onnxruntime does not come beside the one for GPUs."""
    more = image_packages.further(repository / "requirements.txt", repository / "gateway" / "requirements.txt")
    names = {Requirement(line).name for line in more}
    assert {"dbos", "pynetdicom", "sqlalchemy"} <= names
    assert not {"onnxruntime", "numpy", "pydicom"} & names


def test_requirements_without_a_pinned_onnxruntime_are_refused(image_packages: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("numpy==2.0\nonnxruntime>=1\n")
    with pytest.raises(ValueError, match="must pin onnxruntime once"):
        image_packages.requested(file)
