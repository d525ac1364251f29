"""What the image's build reads of ``app.yaml``, whatever that leaves out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from package.manifests import DEFAULTS, application_manifest, package_manifest, packaging_settings, write_complete
from pdl1es import __version__
from pdl1es.settings import DEFAULT_FILE, Settings, load_settings


def test_the_build_has_the_defaults_of_the_settings() -> None:
    settings = Settings()
    assert DEFAULTS["application"] == settings.application.model_dump(mode="json", by_alias=True)
    assert DEFAULTS["resources"] == settings.resources


@pytest.mark.parametrize(
    "left_out", ["application", "resources", "title", "version", "input-formats", "output-formats"]
)
def test_manifests_need_no_key_of_app_yaml(repository: Path, tmp_path: Path, left_out: str) -> None:
    document = yaml.safe_load(DEFAULT_FILE.read_text(encoding="utf-8"))
    next(part for part in (document, document["application"], document["resources"]) if left_out in part).pop(left_out)
    file = tmp_path / "app.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    shipped, short = packaging_settings(DEFAULT_FILE), packaging_settings(file)
    assert application_manifest(short, "4.0.0") == application_manifest(shipped, "4.0.0")
    assert package_manifest(short, repository / "models") == package_manifest(shipped, repository / "models")


def test_an_empty_file_is_completed_for_the_packager(tmp_path: Path) -> None:
    file, complete = tmp_path / "app.yaml", tmp_path / "complete.yaml"
    file.write_text("report:\n  series_number: 7\n", encoding="utf-8")
    write_complete(file, complete)
    assert yaml.safe_load(complete.read_text(encoding="utf-8")).keys() >= {"application", "resources", "report"}
    assert load_settings(complete) == load_settings(file)


def test_a_complete_file_stays_as_it_is_to_the_byte(tmp_path: Path) -> None:
    write_complete(DEFAULT_FILE, tmp_path / "app.yaml")
    assert (tmp_path / "app.yaml").read_bytes() == DEFAULT_FILE.read_bytes()


def test_the_version_is_printed_for_the_build(repository: Path, tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    file.write_text("{}", encoding="utf-8")
    program = [sys.executable, str(repository / "package" / "manifests.py"), "--settings", str(file), "--show-version"]
    assert subprocess.run(program, capture_output=True, text=True, check=True).stdout == f"{__version__}\n"
