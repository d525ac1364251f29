"""How well the tumour's contour stands out on a drawn slice, by the web's own measure of contrast."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion

from pdl1es.report.roi_panels import LINE


def contour_line(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the contour of a mask has to be drawn on a panel of this width and height."""
    large = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
    tumour = np.asarray(large) >= 128
    return tumour & ~binary_erosion(tumour, iterations=LINE, border_value=1)


def luminance(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Relative luminance (WCAG 2.2) of 8-bit sRGB, shape (..., 3)."""
    parts = pixels / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def least_contrast(shown: NDArray[np.uint8], line: NDArray[np.bool_]) -> float:
    """The contrast ratio (WCAG 2.2) of the contour's pixels to the best pixel within two of them, where it is least."""
    bright = luminance(shown) + 0.05
    padded = np.pad(bright, LINE, mode="edge")
    steps = range(2 * LINE + 1)
    height, width = bright.shape
    ratios = [
        np.maximum(bright / other, other / bright)
        for other in (padded[row : row + height, column : column + width] for row in steps for column in steps)
    ]
    return float(np.max(ratios, axis=0)[line].min())
