"""One patient under two names is found by the images' content, whatever the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.cohort.rewritten_study import rewritten
from training.cohort.case import CaseSource, PreparationSettings
from training.cohort.identity import ALIKE_HU, alike_pairs, in_words
from training.cohort.prepare import prepare_cohort
from training.cohort.prepared import PreparedCohort
from training.cohort.table import read_cohort, write_cohort

RNG = np.random.default_rng(0)


def chest(seed: int) -> np.ndarray:
    """Patches of a patient of one's own: blobs of soft tissue in lung, with noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(-500, 300, (3, 14, 14)).repeat(8, axis=1).repeat(8, axis=2)
    return np.rint(coarse + rng.normal(0, 15, coarse.shape)).astype(np.int16)


def test_a_copy_is_the_same_and_other_patients_are_not_alike() -> None:
    patches = np.stack([chest(1), chest(2), chest(1), chest(3)])
    (pair,) = alike_pairs(patches)
    assert (pair.first, pair.second, pair.same, pair.distance_hu) == (0, 2, True, 0.0)


def test_the_rounding_of_another_file_format_is_still_the_same() -> None:
    copy = chest(1)
    copy.reshape(-1)[::200] += 1
    (pair,) = alike_pairs(np.stack([chest(1), copy]))
    assert pair.same


def test_another_noise_is_alike_and_not_the_same() -> None:
    """As the same raw data reconstructed again: told, and left to the reader."""
    other = (chest(1) + RNG.normal(0, 20, (3, 112, 112))).astype(np.int16)
    (pair,) = alike_pairs(np.stack([chest(1), other]))
    assert not pair.same
    assert 0 < pair.distance_hu < ALIKE_HU


def test_patches_without_contrast_say_nothing() -> None:
    assert alike_pairs(np.zeros((4, 3, 112, 112), np.int16)) == ()
    assert alike_pairs(np.zeros((0, 3, 112, 112), np.int16)) == ()


def test_all_pairs_are_found_among_more_cases_than_are_compared_at_a_time() -> None:
    small = np.stack([chest(seed)[:, ::2, ::2] for seed in range(600)])
    small[590] = small[3]
    small[599] = small[598]
    assert [(pair.first, pair.second) for pair in alike_pairs(small)] == [(3, 590), (598, 599)]


def test_pairs_are_named_by_their_pseudonyms() -> None:
    pairs = alike_pairs(np.stack([chest(1)] * 4))
    assert in_words(pairs, "ABCD", most=2) == "A and B (0.0 HU), A and C (0.0 HU) and 4 more"


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz"])
def test_one_study_as_dicom_and_as_volumes_is_one_patient(
    synthetic: Path, prepared: PreparedCohort, tmp_path: Path, suffix: str
) -> None:
    """The files have no byte in common; the prepared cohort names the pair."""
    made: CaseSource = rewritten(synthetic, tmp_path, suffix, "LPS")
    rows = [
        {"id": "A", "ct": str(synthetic / "images" / "E0001"), "label": 1},
        {"id": "B", "ct": str(made.ct), "seg": str(made.seg), "label": 0},
    ]
    (tmp_path / "cohort.csv").write_bytes(write_cohort(rows))
    cohort = prepare_cohort(read_cohort(tmp_path / "cohort.csv"), tmp_path / "out", PreparationSettings(), workers=1)
    assert cohort.cases["content_digest"].nunique() == 2
    ((first, second, distance, same),) = cohort.manifest["alike"]
    assert (first, second, same) == ("A", "B", True)
    assert distance < 0.1
    assert prepared.manifest["alike"] == []
