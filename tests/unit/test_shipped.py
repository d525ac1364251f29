"""Where the files are found that ship with the software."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdl1es import shipped
from pdl1es.model.folder import DEFAULT_MODELS, MODEL_FILE, model_folder_of
from pdl1es.settings import DEFAULT_FILE


def test_settings_and_model_that_ship_are_there() -> None:
    assert DEFAULT_FILE.is_file()
    assert (model_folder_of(DEFAULT_MODELS) / MODEL_FILE).is_file()


@pytest.mark.parametrize("installed", [True, False])
def test_an_installed_package_reads_its_own_files_and_a_checkout_those_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    package = tmp_path / "pdl1es"
    package.mkdir()
    (tmp_path / "app.yaml").write_text("of the checkout", encoding="utf-8")
    if installed:
        (package / "app.yaml").write_text("of the package", encoding="utf-8")
    monkeypatch.setattr(shipped, "files", lambda _: package)
    found = shipped.shipped_path("app.yaml").read_text(encoding="utf-8")
    assert found == ("of the package" if installed else "of the checkout")
