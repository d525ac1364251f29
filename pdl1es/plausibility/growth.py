"""Masks grown by a ball, without scipy, whose import costs more than the work."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def grown(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Return a mask grown by a ball: every voxel at most ``radius`` away from one of the mask's, in voxels.

    Parameters
    ----------
    mask
        bool, shape (z, y, x).
    radius
        Whole number, 1 or more.

    Returns
    -------
    NDArray[np.bool_]
        Same shape: what grows beyond the array is lost.
    """
    padded = np.pad(mask, radius)
    depth, rows, columns = mask.shape
    # Runs along x first: a ball is a run of each half length at each offset along z and y.
    runs = [padded]
    for half in range(1, radius + 1):
        wider = runs[-1].copy()
        wider[:, :, half:] |= padded[:, :, :-half]
        wider[:, :, :-half] |= padded[:, :, half:]
        runs.append(wider)
    result = np.zeros_like(mask)
    for dz in range(-radius, radius + 1):
        for dy in range(-radius, radius + 1):
            left = radius * radius - dz * dz - dy * dy
            if left < 0:
                continue
            run = runs[math.isqrt(left)]
            result |= run[
                radius + dz : radius + dz + depth, radius + dy : radius + dy + rows, radius : radius + columns
            ]
    return result
