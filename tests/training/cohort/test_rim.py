"""The rim is the tissue around the tumour, in the plane, and never the tumour or padding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pdl1es.features.extraction import extract_radiomics
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.grid.resample import TumourVolume
from training.cohort.rim import rim_features, rim_volume


def _volume(mask: NDArray[np.bool_], hu: NDArray[np.int16] | None = None) -> TumourVolume:
    size = mask.shape[::-1]
    if hu is None:
        hu = np.random.default_rng(0).integers(-900, 100, mask.shape).astype(np.int16)
    return TumourVolume(hu, mask, (0, 0, 0), np.eye(3), (0, 0, 0), (size[0] - 1, size[1] - 1, size[2] - 1))


def _ball(radius: float, shape: tuple[int, int, int] = (41, 41, 41)) -> NDArray[np.bool_]:
    z, y, x = np.indices(shape) - np.array(shape).reshape(3, 1, 1, 1) // 2
    return np.asarray(x**2 + y**2 + z**2 <= radius**2)


def test_its_voxels_lie_more_than_1_and_at_most_6_mm_from_the_tumour_in_their_slice() -> None:
    mask = _ball(9)
    rim = rim_volume(_volume(mask))
    assert rim is not None
    assert sorted(set(np.flatnonzero(rim.mask.any((1, 2))))) == list(range(17, 24)), "the ROI slice and 3 mm either way"
    y, x = np.indices(mask.shape[1:])
    for z in range(17, 24):
        tumour = np.argwhere(mask[z])
        distance = np.sqrt(((np.stack([y, x], -1)[:, :, None] - tumour) ** 2).sum(-1)).min(-1)
        assert np.array_equal(rim.mask[z], (distance > 1) & (distance <= 6))


def test_the_tumours_own_values_do_not_change_its_features() -> None:
    mask = _ball(7)
    one = _volume(mask)
    hu = one.hu.copy()
    hu[mask] += 5
    # Filters look beyond the mask, so that only features of unfiltered values are free of the tumour.
    unfiltered = [number for number, name in enumerate(FEATURE_NAMES) if name.startswith("original_firstorder")]
    before, after = rim_features(one), rim_features(_volume(mask, hu))
    assert len(unfiltered) == 18
    np.testing.assert_array_equal(before[unfiltered], after[unfiltered])


def test_they_are_the_methods_features_of_another_mask() -> None:
    volume = _volume(_ball(6))
    rim = rim_volume(volume)
    assert rim is not None
    np.testing.assert_array_equal(rim_features(volume), extract_radiomics(volume.hu, rim.mask).values)


def test_padding_is_no_tissue() -> None:
    mask = _ball(6)
    padding = np.zeros_like(mask)
    padding[:, :, 27:] = True
    volume = _volume(mask)
    padded = TumourVolume(
        volume.hu, mask, volume.origin, volume.axes, volume.scan_low, volume.scan_high, padding=padding
    )
    rim = rim_volume(padded)
    assert rim is not None
    assert not (rim.mask & padding).any()
    assert rim.mask[:, :, 26].any()


def test_without_tissue_there_are_no_features() -> None:
    mask = np.ones((5, 7, 7), dtype=np.bool_)
    assert rim_volume(_volume(mask)) is None
    assert np.isnan(rim_features(_volume(mask))).all()
