"""The contour on the pictures of two patients' tumours and of a phantom stands out along its whole length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pdl1es import read_tumour
from pdl1es.grid.patches import extract_patches
from pdl1es.phantom.dicom import PhantomStudy
from pdl1es.report.roi_panels import CONTOUR, LUNG_WINDOW_HU, SOFT_TISSUE_WINDOW_HU, slice_panel
from tests.contrast import contour_line, least_contrast


def assert_visible(study: Path) -> None:
    patches = extract_patches(read_tumour(study).volume)
    x_low, y_low, x_high, y_high = patches.rectangle
    size = 8 * (x_high - x_low + 1), 8 * (y_high - y_low + 1)
    for hu, mask in zip(patches.hu, patches.mask, strict=True):
        line: NDArray[np.bool_] = contour_line(mask, size)
        assert line.any()
        for window in (LUNG_WINDOW_HU, SOFT_TISSUE_WINDOW_HU):
            panel = np.asarray(slice_panel(hu, mask, window, size))
            assert np.all(panel[line] == CONTOUR)
            assert least_contrast(panel, line) >= 3


@pytest.mark.parametrize("name", ["ct_4dlung113", "ibsi1/ct_phantom"])
def test_of_patients(shared_data: Path, name: str) -> None:
    assert_visible(shared_data / name)


def test_of_a_phantom(phantom_study: PhantomStudy) -> None:
    assert_visible(phantom_study.folder)
