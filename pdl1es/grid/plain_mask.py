"""A mask whose bytes are 0 and 1, whatever a caller's array holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def plain_mask(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask as bool, each byte 0 or 1.

    A segmentation of 0 and 255 that is seen through ``view(bool)`` keeps its bytes. numpy and compiled code count with
    them, and get wrong numbers.

    Parameters
    ----------
    mask
        Any number of dimensions; not 0 is true.

    Returns
    -------
    NDArray[np.bool_]
        The mask itself where it is plain, else a copy.
    """
    if mask.dtype != np.bool_:
        return mask.astype(np.bool_)
    octets = mask.view(np.uint8)
    return octets != 0 if octets.max(initial=0) > 1 else mask
