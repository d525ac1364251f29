"""The radiomics settings file, as it lies in the package."""

from __future__ import annotations

from importlib import resources


def radiomics_settings_text() -> str:
    """Return the text of ``settings.yaml``."""
    return resources.files("pdl1es.features").joinpath("settings.yaml").read_text(encoding="utf-8")
