"""Tells by their content that two cases are one patient: by the patches, whatever the files, headers and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

WINDOW_HU: Final = (-1000.0, 400.0)
"""Patches are compared within these limits, so that metal and padding decide nothing."""
BLOCK: Final = 4
"""Pixels of a side over which a patch is averaged before it is compared: noise and kernel count for less."""
SAME_HU: Final = 1.0
"""Root mean square difference of the voxels up to which two cases are the same images.

A volume file that was converted from DICOM differs by 1 HU in a few voxels in a thousand, which is below 0.1."""
ALIKE_HU: Final = 45.0
"""Root mean square difference of the averaged patches up to which two cases are told as alike.

Of 24 phantoms, the nearest two of 276 pairs differ by 104 HU. The same patches with 30 HU of further noise differ by 7 to 8 HU,
and moved by 1 mm by 21 to 47 HU (median 36); moved by 4 mm they are like another patient's."""
_ROWS: Final = 512
"""Cases that are compared with all others at a time, which bounds the memory."""


@dataclass(frozen=True, slots=True)
class AlikePair:
    """Two cases whose patches are the same or alike.

    Attributes
    ----------
    first, second
        Their rows, ascending.
    distance_hu
        Root mean square difference of the averaged patches, HU.
    same
        Whether the voxels themselves differ by no more than the rounding of another file format.
    """

    first: int
    second: int
    distance_hu: float
    same: bool


def alike_pairs(patches: NDArray[np.int16]) -> tuple[AlikePair, ...]:
    """Return the pairs of cases whose patches are the same or alike.

    Parameters
    ----------
    patches
        int16 whole HU, shape (n, slices, rows, columns), as a prepared cohort has them.

    Returns
    -------
    tuple[AlikePair, ...]
        By their rows. Cases are compared as they lie: the same CT with a tumour drawn elsewhere has other patches and is
        found by `training.cohort.scan`. Patches without any contrast are compared with none.
    """
    n = len(patches)
    averaged = np.stack([_averaged(case) for case in patches]) if n else np.zeros((0, 1), np.float32)
    contrast = np.ptp(averaged, axis=1) > 0
    centred = averaged - averaged.mean(axis=0) if n else averaged
    squares = np.einsum("ij,ij->i", centred, centred)
    # Differences of large squares lose digits: the candidates are compared again, directly.
    limit = (ALIKE_HU**2 + 1.0) * averaged.shape[1]
    pairs = []
    for start in range(0, n, _ROWS):
        rows = slice(start, min(start + _ROWS, n))
        apart = squares[rows, None] + squares[None] - 2.0 * (centred[rows] @ centred.T)
        for row, second in np.argwhere(apart <= limit).tolist():
            first = start + row
            if first >= second or not (contrast[first] and contrast[second]):
                continue
            distance = _root_mean_square(averaged[first].astype(np.float64) - averaged[second])
            if distance <= ALIKE_HU:
                exact = _root_mean_square(_windowed(patches[first]) - _windowed(patches[second]))
                pairs.append(AlikePair(first, second, distance, exact <= SAME_HU))
    return tuple(sorted(pairs, key=lambda pair: (pair.first, pair.second)))


def in_words(pairs: Sequence[AlikePair], case_ids: Sequence[str], *, most: int = 5) -> str:
    """Name pairs by their pseudonyms.

    Parameters
    ----------
    pairs
        As `alike_pairs` gives them.
    case_ids
        The pseudonyms, by row.
    most
        Pairs that are named; of the others the number is told.

    Returns
    -------
    str
    """
    named = [f"{case_ids[pair.first]} and {case_ids[pair.second]} ({pair.distance_hu:.1f} HU)" for pair in pairs]
    return enumerated(named, most=most)


def enumerated(texts: Sequence[str], *, most: int = 5) -> str:
    """Return texts as one enumeration.

    Parameters
    ----------
    texts
        What is enumerated.
    most
        Texts that are given; of the others the number is told.

    Returns
    -------
    str
    """
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")


def _windowed(patches: NDArray[np.int16]) -> NDArray[np.float64]:
    return np.clip(patches.astype(np.float64), *WINDOW_HU)


def _averaged(patches: NDArray[np.int16]) -> NDArray[np.float32]:
    slices, rows, columns = patches.shape
    blocks = _windowed(patches).reshape(slices, rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    return blocks.mean(axis=(2, 4)).ravel().astype(np.float32)


def _root_mean_square(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))
