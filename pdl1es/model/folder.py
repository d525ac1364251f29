"""Where the model's files lie."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pdl1es.shipped import shipped_path

MODEL_FILE: Final = "model.onnx"
METADATA_FILE: Final = "metadata.json"
"""The model's description in the layout of a MONAI bundle, with the digests of the folder's files."""
EXPECTATION_FILE: Final = "self_test.json"
"""What the self-test gives with this model."""
MODEL_SUBFOLDER: Final = "pdl1es"
"""Below the folder that ``HOLOSCAN_MODEL_PATH`` names, as the MAP packager lays models out."""
DEFAULT_MODELS: Final = shipped_path("models")
"""The folder above the demonstration model's own."""


def model_folder_of(folder: Path) -> Path:
    """Return the folder that holds ``model.onnx``: the given one, or the model's own below it."""
    below = folder / MODEL_SUBFOLDER
    return below if not (folder / MODEL_FILE).is_file() and (below / MODEL_FILE).is_file() else folder
