"""Perturbations change a real tumour as MIRP, by the method's authors, does."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pytest

from pdl1es.grid.source import TumourSource, read_source
from pdl1es.perturbation.noise import noise_level
from pdl1es.perturbation.perturbation import Perturbation
from pdl1es.perturbation.volume import perturbed_volume
from pdl1es.plausibility.specks import placed_clean
from training.cohort.volumes import read_ct_volume, read_mask_volume

MIRP_NOISE_HU: Final = 21.041
"""MIRP 2.7.0, ``estimate_noise`` on all slices of LUNG1-003_GTV-1."""
MIRP_AT_REST: Final = (-105.388, 234.379)
"""Mean and standard deviation within the contour, HU: MIRP 2.7.0, 1 mm, linear."""
MIRP: Final = {
    "rotation": (Perturbation(rotation_degrees=4.0), -103.893, 233.309, 34523 / 34752),
    "rotation back": (Perturbation(rotation_degrees=-4.0), -104.045, 233.031, 34554 / 34752),
    "noise": (Perturbation(noise=True), -105.411, 234.616, 1.0),
    "growth": (Perturbation(volume_share=0.15), -131.834, 251.788, 39964 / 34752),
    "shrinkage": (Perturbation(volume_share=-0.15), -77.893, 215.083, 29539 / 34752),
}


@pytest.fixture(scope="module")
def source(shared_data: Path) -> TumourSource:
    crops = shared_data / "tumour_crops"
    volume = read_ct_volume(crops / "LUNG1-003_GTV-1_ct.nrrd", {})
    placed, _ = placed_clean(read_mask_volume(crops / "LUNG1-003_GTV-1_mask.nrrd"), volume.ct)
    return read_source(placed, volume.read_slice)


def described(source: TumourSource, perturbation: Perturbation) -> tuple[float, float, int]:
    volume = perturbed_volume(source, perturbation).volume
    inside = volume.hu[volume.mask]
    return float(inside.mean()), float(inside.std()), inside.size


def test_the_level_of_noise_is_mirps_within_three_per_cent(source: TumourSource) -> None:
    """MIRP looks at six slices more, and divides by 0.6754."""
    assert noise_level(source) == pytest.approx(MIRP_NOISE_HU, rel=0.03)


@pytest.mark.parametrize("kind", MIRP)
def test_mean_spread_and_volume_change_as_they_do_by_mirp(source: TumourSource, kind: str) -> None:
    perturbation, mean, deviation, volume = MIRP[kind]
    rest, perturbed = described(source, Perturbation()), described(source, perturbation)
    changes = np.array([perturbed[0] - rest[0], perturbed[1] - rest[1]])
    # MIRP's grid lies elsewhere between the voxels, which alone moves the mean by 1.5 HU.
    assert changes == pytest.approx(np.array([mean, deviation]) - np.array(MIRP_AT_REST), abs=2.0)
    assert perturbed[2] / rest[2] == pytest.approx(volume, abs=0.006)
