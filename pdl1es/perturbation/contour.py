"""The contour drawn differently: grown or shrunk by a share of its volume, or redrawn along supervoxels."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_dilation, binary_erosion, generate_binary_structure

Mask = NDArray[np.bool_]

SUPERVOXEL_MM3: Final = 500
_COMPACTNESS: Final = 0.05
_SURELY_IN: Final = 0.9
_SURELY_OUT: Final = 0.2
_BEYOND_RANGE: Final = 0.1


def changed_volume(mask: Mask, share: float, rng: np.random.Generator) -> Mask:
    """Grow or shrink a mask by a share of its volume.

    Layers of one voxel are added or taken away while they fit; of the last one, as many voxels at random as are missing.

    Parameters
    ----------
    mask
        bool, shape (z, y, x), not empty, with room to grow.
    share
        Above -1: 0.1 grows the volume by 10 %, -0.1 shrinks it.
    rng
        Chooses the voxels of the last layer.

    Returns
    -------
    numpy.ndarray
        bool, same shape, of ``floor((1 + share) * voxels)`` voxels, at least one.

    Raises
    ------
    ValueError
        The mask has no room to grow.

    Notes
    -----
    Zwanenburg et al., Sci Rep 2019; 9: 614 (volume adaptation).
    """
    wanted = max(int(np.floor(np.count_nonzero(mask) * (1.0 + share))), 1)
    structure = generate_binary_structure(3, 1)
    change = binary_dilation if share > 0 else binary_erosion
    current = mask
    while True:
        missing = wanted - np.count_nonzero(current)
        if missing == 0:
            return current.copy()
        following = change(current, structure)
        layer = np.flatnonzero(following ^ current)
        if layer.size >= abs(missing):
            result = current.copy()
            result.ravel()[rng.choice(layer, size=abs(missing), replace=False)] = missing > 0
            return result
        if not layer.size:
            raise ValueError("the mask has no room to grow")
        current = following


def randomised_contour(hu: NDArray[np.int16], mask: Mask, rng: np.random.Generator) -> Mask:
    """Draw a contour anew along the image's own supervoxels.

    The image is divided into supervoxels of about 500 mm3 (SLIC). Each is taken with the share of it that lies in the
    tumour as its probability: surely from 0.9 on, never below 0.2. The one with the largest share is always taken.

    Parameters
    ----------
    hu
        Hounsfield units on the 1 mm grid, shape (z, y, x), with some surroundings of the tumour.
    mask
        bool, same shape, not empty.
    rng
        Decides.

    Returns
    -------
    numpy.ndarray
        bool, same shape, closed by one voxel.

    Notes
    -----
    Zwanenburg et al., Sci Rep 2019; 9: 614 (contour randomisation); SLIC: Achanta et al., IEEE Trans Pattern Anal Mach Intell
    2012; 34(11): 2274-2282, by scikit-image. Intensities are clipped to the tumour's range and a tenth of it beyond, as
    Zwanenburg's MIRP does.
    """
    from skimage.segmentation import slic  # takes 0.5 s to import, for this perturbation alone

    low, high = float(hu[mask].min()), float(hu[mask].max())
    beyond = _BEYOND_RANGE * max(high - low, 1.0)
    image = (np.clip(hu, low - beyond, high + beyond) - (low - beyond)) / (high - low + 2 * beyond)
    labels = slic(
        image,
        n_segments=max(hu.size // SUPERVOXEL_MM3, 1),
        sigma=1.0,
        compactness=_COMPACTNESS,
        convert2lab=False,
        enforce_connectivity=True,
        channel_axis=None,
        start_label=0,
    )
    sizes = np.bincount(labels.ravel())
    shares = np.bincount(labels[mask], minlength=sizes.size) / np.maximum(sizes, 1)
    shares[shares >= _SURELY_IN] = 1.0
    shares[shares < _SURELY_OUT] = 0.0
    shares[np.argmax(np.bincount(labels[mask], minlength=sizes.size) / np.maximum(sizes, 1))] = 1.0
    taken = rng.random(sizes.size) < shares
    # Closing looks beyond the array's edge, where it would find nothing.
    return np.asarray(binary_closing(np.pad(taken[labels], 1, mode="edge"))[1:-1, 1:-1, 1:-1])
