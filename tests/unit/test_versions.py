"""The version stands in pdl1es/__init__.py; every other place that says it agrees."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from pdl1es import __version__

PYTHONS = ("3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_package_takes_its_version_from_the_module(project: dict[str, Any]) -> None:
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "pdl1es.__version__"}


def test_settings_citation_image_and_changelog_say_the_same_version(repository: Path) -> None:
    def text(name: str) -> str:
        return (repository / name).read_text(encoding="utf-8")

    # its newest version, or the one that it announces for what is not released
    changelog = re.search(r"(?:^## \[|version will be )(\d+\.\d+\.\d+)", text("CHANGELOG.md"), re.MULTILINE)
    image = re.search(r"^ARG VERSION=(.+)$", text("Dockerfile"), re.MULTILINE)
    assert changelog is not None
    assert image is not None
    assert {
        "app.yaml": yaml.safe_load(text("app.yaml"))["application"]["version"],
        "CITATION.cff": yaml.safe_load(text("CITATION.cff"))["version"],
        "Dockerfile": image[1],
        "CHANGELOG.md": changelog[1],
    } == dict.fromkeys(("app.yaml", "CITATION.cff", "Dockerfile", "CHANGELOG.md"), __version__)


def test_makefile_and_package_name_the_same_pythons(repository: Path, project: dict[str, Any]) -> None:
    assert project["project"]["requires-python"] == ">=3.11,<3.14"
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    assert all(f"python{version}" in makefile for version in PYTHONS)


def locked(file: Path) -> dict[str, str]:
    """Return the version of every package of a list, by its name as the list writes it."""
    lines = (line.split()[0] for line in file.read_text(encoding="utf-8").splitlines() if re.match(r"[a-z0-9]", line))
    return {name: version for name, _, version in (line.partition("==") for line in lines)}


def test_the_lists_of_requirements_are_those_of_the_lock(repository: Path) -> None:
    """`make lock` writes all of them; none was changed by hand."""
    lock = locked(repository / "lock.txt")
    for name in ("requirements.txt", "gateway/requirements.txt", "training/requirements.txt"):
        listed = locked(repository / name)
        assert listed.items() <= lock.items(), name


def names(requirements: list[str]) -> set[str]:
    """Return the packages' names, as the lock writes them."""
    # As PEP 503 normalises names.
    return {re.sub(r"[-_.]+", "-", re.split(r"[=<>~!\[ ]", text)[0]).lower() for text in requirements}


def test_what_pyproject_asks_for_is_listed(repository: Path, project: dict[str, Any]) -> None:
    base, extras = names(project["project"]["dependencies"]), project["project"]["optional-dependencies"]
    run_time = base | names(extras["map"])
    assert locked(repository / "requirements.txt").keys() == run_time
    assert locked(repository / "training" / "requirements.txt").keys() == run_time | names(extras["training"]) - {
        "torch"
    }
    assert locked(repository / "gateway" / "requirements.txt").keys() == base | names(extras["gateway"])
    groups = {name for group in project["dependency-groups"].values() for name in names(group)}
    assert groups | names(extras["gpu"]) <= locked(repository / "lock.txt").keys()


def test_every_locked_package_has_a_hash_and_no_address(repository: Path) -> None:
    text = (repository / "lock.txt").read_text(encoding="utf-8")
    assert "://" not in text
    stanzas = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert [stanza.split()[0] for stanza in stanzas if "--hash=sha256:" not in stanza] == []
    assert len(stanzas) > 100


def test_torch_is_not_locked(repository: Path) -> None:
    """Builds for CPUs and for CUDA have one version and different hashes: the Makefile takes what the index gives."""
    assert "torch" not in locked(repository / "lock.txt")
