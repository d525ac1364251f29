"""The digest of the method's decisions. A model records it, so that it never gets other inputs than it was trained on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pdl1es.features.names import FEATURE_NAMES
from pdl1es.features.settings_file import radiomics_settings_text
from pdl1es.method import FLOOR_HU, GRID_MM, MASK_THRESHOLD, PATCH_MARGIN_MM, PATCH_SIZE, PATCH_SLICES


def method_description() -> dict[str, Any]:
    """Return every decision that changes a feature or a patch, as plain data."""
    return {
        "grid": {
            "spacing_mm": GRID_MM,
            "origin": "frame of reference, whole millimetres",
            "axes": "CT's own, canonical LPS order",
            "ct_floor": f"Pixel Padding Value and everything below count as {FLOOR_HU} HU",
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
    """Return the SHA-256 of the method's description; equal digests mean equal definitions of features and patches."""
    text = json.dumps(method_description(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
