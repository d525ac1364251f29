"""The method's decisions as numbers: each stands here once."""

from __future__ import annotations

from typing import Final

GRID_MM: Final = 1.0
"""Node distance of the grid; nodes lie at whole millimetres from the frame of reference's origin."""
MASK_THRESHOLD: Final = 0.5
"""A trilinearly interpolated mask value at or above it is tumour."""
FLOOR_HU: Final = -1024
"""Pixel Padding Value and every lower value count as this before anything is interpolated: air."""
NOISE_FLOOR_HU: Final = -1100
"""Noise of air does not reach below it in any real CT at hand: what does is padding."""
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
