"""The smallest tumour that the method measures: 64 mm3 and a longest diameter of 5 mm on the 1 mm grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pdl1es.grid.bounding_box import bounding_box
from pdl1es.grid.diameter import longest_diameter
from pdl1es.method import MIN_TUMOUR_DIAMETER_MM, MIN_TUMOUR_VOLUME_MM3


def shortfall(mask: NDArray[np.bool_]) -> str | None:
    """Return what makes a tumour too small, or None where it is large enough.

    Parameters
    ----------
    mask
        bool, shape (z, y, x), on the 1 mm grid.

    Returns
    -------
    str or None
        A clause for a message: ``the tumour has 45 mm3 on the 1 mm grid``.
    """
    volume = float(np.count_nonzero(mask))
    if volume < MIN_TUMOUR_VOLUME_MM3:
        return f"the tumour has {volume:.0f} mm3 on the 1 mm grid"
    if max(side.stop - side.start - 1 for side in bounding_box(mask)) >= MIN_TUMOUR_DIAMETER_MM:
        return None  # The diameter is at least as long as the box, and takes longer to measure.
    diameter = longest_diameter(mask)
    return f"the tumour's longest diameter is {diameter:.1f} mm" if diameter < MIN_TUMOUR_DIAMETER_MM else None
