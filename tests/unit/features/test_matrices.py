"""The texture matrices hold the counts of pyradiomics' compiled ones."""

from __future__ import annotations

import numpy as np
import pytest
from radiomics import cMatrices, imageoperations

from pdl1es.features.compiled_texture import TextureLine, texture_matrices_by_kernel
from pdl1es.features.discretisation import GreyLevels, discretise
from pdl1es.features.matrices import texture_matrices
from pdl1es.features.region import Region
from tests.unit.features.stock import cropped
from tests.unit.features.tumours import KINDS


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "thin scan"])
@pytest.mark.parametrize("force_2d", [True, False])
def test_the_counts_are_those_of_the_compiled_matrices(kind: str, force_2d: bool) -> None:
    """One line of voxels holds every neighbour and every run that the box holds, in 2-D and in 3-D."""
    hu, mask = cropped(kind)
    grey = discretise(hu[mask], bin_width=25)
    region = Region.of(mask, force_2d=force_2d)
    ours = texture_matrices(grey, region)
    image, _ = imageoperations.binImage(hu, mask)
    highest, rows, one = int(grey.levels[-1]), grey.levels - 1, np.array([1])

    glcm, angles = cMatrices.calculate_glcm(image, mask, one, highest, force_2d, 0)
    assert np.array_equal(ours.glcm.transpose(1, 2, 0), glcm[0][np.ix_(rows, rows)])
    assert len(region.steps) == len(angles)
    gldm = cMatrices.calculate_gldm(image, mask, one, highest, 0, force_2d, 0)
    assert np.array_equal(ours.gldm, gldm[0][rows])
    glrlm, _ = cMatrices.calculate_glrlm(image, mask, highest, max(mask.shape), force_2d, 0)
    longest = ours.glrlm.shape[1]
    assert np.array_equal(ours.glrlm, glrlm[0][rows][:, :longest])
    assert not glrlm[0][:, longest:].any()
    glszm = cMatrices.calculate_glszm(image, mask, highest, int(mask.sum()), force_2d, 0)
    assert np.array_equal(ours.glszm, glszm[0][np.ix_(rows, ours.zone_sizes - 1)])
    assert ours.glszm.sum() == glszm.sum()
    ngtdm = cMatrices.calculate_ngtdm(image, mask, one, highest, force_2d, 0)
    assert np.array_equal(ours.differences, ngtdm[0][rows, 1])
    assert np.array_equal(ours.counts, ngtdm[0][rows, 0])


def test_a_direction_along_which_no_line_holds_two_voxels_is_dropped() -> None:
    mask = np.zeros((2, 5, 5), dtype=bool)
    mask[0, 0, :] = mask[1, 2, :] = True
    directions = [(1, 1), (1, 0), (1, -1), (0, 1)]
    assert dict(zip(directions, (line is None for line in Region.of(mask).lines), strict=True)) == {
        (1, 1): True,
        (1, 0): True,
        (1, -1): True,
        (0, 1): False,
    }
    # a gap in a line does not make its voxels lone
    mask[0, 4, 0] = True
    lone = dict(zip(directions, (line is None for line in Region.of(mask).lines), strict=True))
    assert not lone[1, 0]


@pytest.mark.parametrize("levels", [[0, 2], [2, 3], [1, 2], [0, 1]])
def test_levels_that_are_not_their_ranks_count_as_levels(levels: list[int]) -> None:
    """A last level that equals the number of levels does not make the first one 1."""
    mask = np.ones((1, 3, 4), dtype=np.bool_)
    ranks = np.array([1, 2, 2, 1, 1, 1, 2, 1, 2, 2, 1, 1])
    grey = GreyLevels(ranks, np.array(levels), np.bincount(ranks)[1:])
    ours = texture_matrices(grey, Region.of(mask))
    assert np.array_equal(ours.differences, texture_matrices_by_kernel(grey, TextureLine.of(mask)).differences)
    image = np.array(levels)[ranks - 1].reshape(3, 4)
    expected = np.zeros(2)
    for y, x in np.ndindex(image.shape):
        near = image[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        mean = (near.sum() - image[y, x]) / (near.size - 1)
        expected[levels.index(image[y, x])] += abs(image[y, x] - mean)
    np.testing.assert_allclose(ours.differences, expected, rtol=1e-12)


def test_levels_far_apart_take_no_memory() -> None:
    """Metal beside air: pyradiomics lays out 4000 x 4000 cells and deletes all but a few."""
    _, mask = cropped("blob")
    grey = discretise(np.where(np.arange(mask.sum()) % 2, 1_000_000, 0), bin_width=25)
    assert texture_matrices(grey, Region.of(mask)).glcm.shape == (4, 2, 2)
