"""The smallest box that holds a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the smallest box that holds every true element.

    Parameters
    ----------
    mask
        Any number of dimensions.

    Returns
    -------
    tuple of slice
        One for each axis, so that ``mask[box]`` is the box.

    Raises
    ------
    ValueError
        The mask is empty.
    """
    box: list[slice] = []
    for axis in range(mask.ndim):
        # What the axes before have ruled out is not looked at again.
        rest = mask[tuple(box)]
        occupied = np.flatnonzero(rest.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not occupied.size:
            raise ValueError("the mask is empty")
        box.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    return tuple(box)
