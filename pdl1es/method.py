"""The method's decisions as data, and the digest by which a model knows that it is fed what it was trained on."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from typing import Any, Final

GRID_MM: Final = 1.0
"""Node distance of the grid; nodes lie at whole millimetres from the frame of reference's origin."""
MASK_THRESHOLD: Final = 0.5
"""A trilinearly interpolated mask value at or above it is tumour."""
PATCH_SIZE: Final = 112
"""Pixels on each side of a patch (paper, Methods)."""
PATCH_SLICES: Final = 3
"""The ROI slice, one below and one above (paper, Methods)."""
PATCH_MARGIN_MM: Final = 5
"""Enlargement of the ROI's rectangle on every side (paper, Methods)."""
RADIOMICS_MARGIN_MM: Final = 10
"""pyradiomics' padDistance; the crop is part of the definition, because some filters normalise by its maximum."""
MIN_TUMOUR_VOLUME_MM3: Final = 64.0
MIN_TUMOUR_DIAMETER_MM: Final = 5.0
Z_CLIP: Final = 5.0
"""Standardised features are clipped at this absolute value (inside the model)."""
MAX_MISSING_FEATURES: Final = 0.05
"""Largest share of the model's features that may be NaN."""


def radiomics_settings_text() -> str:
    """Return the radiomics settings file as it lies in the package."""
    return resources.files("pdl1es.features").joinpath("settings.yaml").read_text(encoding="utf-8")


def method_description() -> dict[str, Any]:
    """Return every decision that changes a feature or a patch, as plain data."""
    from pdl1es.features.names import FEATURE_NAMES

    return {
        "grid": {
            "spacing_mm": GRID_MM,
            "origin": "frame of reference, whole millimetres",
            "axes": "CT's own, canonical LPS order",
            "ct_interpolation": "trilinear, rounded to whole HU",
            "mask_interpolation": f"trilinear, >= {MASK_THRESHOLD}",
        },
        "patch": {
            "slice": "axial slice of largest tumour area, lowest first",
            "slices": PATCH_SLICES,
            "slice_distance_mm": GRID_MM,
            "margin_mm": PATCH_MARGIN_MM,
            "size": PATCH_SIZE,
            "interpolation": "bilinear, pixel centres, rounded to whole HU, beyond the scan the nearest voxel",
        },
        "radiomics": {
            "definition": "pyradiomics 3.0.1",
            "settings": radiomics_settings_text(),
            "feature_names": list(FEATURE_NAMES),
        },
        "clinical": ["age", "sex", "smoking", "family_history"],
    }


def method_digest() -> str:
    """Return the SHA-256 of the method's description: the same where features and patches mean the same."""
    text = json.dumps(method_description(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
