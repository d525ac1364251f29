"""Controls: what they take away, and what they leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK
from scipy.ndimage import label

from pdl1es.grid.patches import extract_patches
from pdl1es.grid.resample import TumourVolume
from pdl1es.plausibility.rules import PlausibilityRules
from tests.training.drawn_patients import draw_cohort
from training.cohort.case import CaseSource, PreparationSettings, read_case
from training.controls.disturbed import (
    CONTROLS,
    Control,
    NoRoomError,
    disturbed,
    mask_in_healthy_lung,
    seed_of,
    shuffled_voxels,
)
from training.expression.evaluate import evaluate
from training.expression.results import EXTERNAL, EvaluationSettings
from training.scoring.predictions import VOLUME
from training.scoring.volume import volume_alone
from training.statistics.calibration import Calibration
from training.statistics.discrimination import auc, compare_paired
from training.statistics.estimability import NotEstimable

LUNG, SOLID, AIR = -850, 40, -1000


def _study(folder: Path) -> CaseSource:
    """Two volumes of 1 mm: two balls and a speck in lung, all in one mask."""
    z, y, x = np.mgrid[:60, :60, :140]
    masks = [
        (z - 30) ** 2 + (y - 30) ** 2 + (x - middle) ** 2 <= radius**2
        for middle, radius in ((40, 10), (75, 6), (100, 2))
    ]
    hu = np.where(np.logical_or.reduce(masks), SOLID, LUNG).astype(np.int16)
    for name, values in (("ct", hu), ("mask", np.logical_or.reduce(masks).astype(np.uint8))):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(folder / f"{name}.nrrd"))
    return CaseSource("X", folder / "ct.nrrd", folder / "mask.nrrd", {})


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_disturbs_the_tumour_that_is_scored(tmp_path: Path, control: Control) -> None:
    """Specks are gone; of several parts the settings' choice is taken, as the preparation takes it."""
    source = _study(tmp_path)
    for largest_body in (True, False):
        settings = PreparationSettings(plausibility=PlausibilityRules(largest_body=largest_body))
        scored = read_case(source, settings).resampled().volume.mask
        assert label(scored)[1] == (1 if largest_body else 2)
        assert np.count_nonzero(disturbed(source, settings, control).mask) == np.count_nonzero(scored)


def _volume(lung: bool = True) -> TumourVolume:
    """A ball of soft tissue in lung, with chest wall on one side and air on the other."""
    rng = np.random.default_rng(0)
    z, y, x = np.mgrid[:60, :60, :120]
    mask = (z - 30) ** 2 + (y - 30) ** 2 + (x - 40) ** 2 <= 10**2
    hu = np.full(mask.shape, LUNG if lung else SOLID, dtype=np.int16)
    hu[:, :, 100:] = AIR
    hu[:, :, :15] = SOLID
    hu[mask] = rng.normal(SOLID, 30, int(mask.sum())).astype(np.int16)
    return TumourVolume(hu, mask, (0, 0, 0), np.eye(3), (0, 0, 0), (119, 59, 59))


def test_shuffling_keeps_every_value_and_the_surroundings() -> None:
    volume = _volume()
    shuffled = shuffled_voxels(volume, seed=3)
    assert np.array_equal(np.sort(shuffled.hu[volume.mask]), np.sort(volume.hu[volume.mask]))
    assert np.array_equal(shuffled.hu[~volume.mask], volume.hu[~volume.mask])
    assert (shuffled.hu[volume.mask] != volume.hu[volume.mask]).mean() > 0.9
    assert np.array_equal(shuffled_voxels(volume, seed=3).hu, shuffled.hu)
    assert not np.array_equal(shuffled_voxels(volume, seed=4).hu, shuffled.hu)


def test_a_patients_shuffle_depends_on_nobody_else() -> None:
    assert seed_of("E0001") == seed_of("E0001") != seed_of("E0002")


def test_the_displaced_mask_has_the_tumours_shape_lies_in_lung_and_far_from_it() -> None:
    volume = _volume()
    moved = mask_in_healthy_lung(volume)
    assert moved.mask.sum() == volume.mask.sum()
    assert np.array_equal(moved.hu, volume.hu)
    assert not (moved.mask & volume.mask).any()
    assert (volume.hu[moved.mask] == LUNG).mean() >= 0.9
    where, was = (np.argwhere(mask).mean(axis=0) for mask in (moved.mask, volume.mask))
    # two radii and the gap, and no further than needed
    assert 24 <= np.linalg.norm(where - was) <= 30
    assert extract_patches(moved).mask.any()


def test_without_lung_there_is_no_control() -> None:
    with pytest.raises(NoRoomError, match="no healthy lung"):
        mask_in_healthy_lung(_volume(lung=False))


def test_the_displaced_masks_margin_is_inside_the_crop_unless_the_scan_ends_there() -> None:
    """With a scan beyond the crop, the mask may not come within the radiomics margin of the crop's end."""
    volume = _volume()
    inner = TumourVolume(volume.hu, volume.mask, volume.origin, volume.axes, (-50, -50, -50), (200, 200, 200))
    moved = mask_in_healthy_lung(inner)
    for axis, size in enumerate(moved.mask.shape):
        found = np.flatnonzero(moved.mask.any(axis=tuple(k for k in range(3) if k != axis)))
        assert found[0] >= 11
        assert found[-1] < size - 11


def test_volume_alone_is_fitted_on_training_patients_only() -> None:
    rng = np.random.default_rng(0)
    label = (np.arange(200) % 2).astype(float)
    cases = pd.DataFrame(
        {
            "split": np.repeat(["train", "test"], 100),
            "label": label,
            "volume_ml": np.exp(rng.normal(label, 1.0)),
        }
    )
    score = volume_alone(cases)
    assert auc(label[100:], score[100:]).value == pytest.approx(auc(label[100:], cases["volume_ml"][100:]).value)
    flipped = cases.assign(label=np.where(cases["split"] == "test", 1 - label, label))
    assert np.array_equal(volume_alone(flipped), score)
    with pytest.raises(ValueError, match="no patient has a tumour volume above 0"):
        volume_alone(cases.assign(volume_ml=0.0))


def test_volume_alone_has_an_area_in_another_hospital_too_of_those_whose_volume_is_known() -> None:
    cases, predictions = draw_cohort({None: 120}, seed=9)
    cases["volume_ml"] = np.where(np.arange(120) % 3 == 0, np.nan, np.exp(cases["label"] + cases["volume_ml"] / 50))
    known = cases["volume_ml"].notna().to_numpy()
    score = volume_alone(cases)
    assert np.array_equal(np.isnan(score), ~known)
    found = evaluate(cases, predictions.adding(VOLUME, score), EvaluationSettings(resamples=20)).cohorts[EXTERNAL]
    volume = found.models[VOLUME]
    label, signature = cases["label"].to_numpy()[known], predictions.probability["PD-L1ES"][known]
    assert (volume.n, volume.unscored) == (80, 40)
    assert volume.auc == auc(label, cases["volume_ml"].to_numpy()[known])
    assert volume.comparison.difference == compare_paired(label, signature, score[known]).difference  # type: ignore[union-attr]
    assert isinstance(volume.calibration, NotEstimable)  # a rank is no probability
    assert isinstance(found.models["PD-L1ES"].calibration, Calibration)
