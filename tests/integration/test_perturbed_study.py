"""What a researcher is promised of `pdl1es.perturb` on a study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pdl1es import (
    Perturbation,
    Refusal,
    StudySource,
    chain,
    load_model,
    perturb,
    read_source_tumour,
    read_tumour,
    score_study,
)
from pdl1es.model.fusion import FusionModel
from pdl1es.perturbation.noise import noise_level

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy


@pytest.fixture(scope="module")
def model() -> FusionModel:
    return load_model()


@pytest.fixture(scope="module")
def source(phantom_study: PhantomStudy) -> StudySource:
    return read_source_tumour(phantom_study.folder)


def test_doing_nothing_gives_the_features_and_the_score_of_the_study_to_the_bit(
    phantom_study: PhantomStudy, source: StudySource, model: FusionModel
) -> None:
    unchanged = perturb(source, Perturbation(), model=model)
    assert unchanged.score == score_study(phantom_study.folder, model=model, contour_stability="off").score
    expected = chain.compute_features(read_tumour(phantom_study.folder).volume)
    assert unchanged.features.values.tobytes() == expected.values.tobytes()
    assert unchanged.noise_hu == 0.0


def test_doing_nothing_gives_the_real_cases_features_to_the_bit(shared_data: Path) -> None:
    study = shared_data / "ct_4dlung113"
    unchanged = perturb(read_source_tumour(study), Perturbation())
    assert unchanged.score is None
    expected = chain.compute_features(read_tumour(study).volume)
    assert unchanged.features.values.tobytes() == expected.values.tobytes()


@pytest.mark.parametrize(
    "perturbation",
    [
        Perturbation(rotation_degrees=4.0),
        Perturbation(translation_mm=(0.25, 0.75, 0.25)),
        Perturbation(noise=True),
        Perturbation(volume_share=0.15),
        Perturbation(redraw_contour=True),
    ],
    ids="RTNVC",
)
def test_every_kind_changes_the_features_and_leaves_the_tumour_the_same(
    source: StudySource, model: FusionModel, perturbation: Perturbation
) -> None:
    plain, perturbed = (perturb(source, one, model=model) for one in (Perturbation(), perturbation))
    assert perturbed.features.values.tobytes() != plain.features.values.tobytes()
    assert np.isfinite(perturbed.features.values).sum() == np.isfinite(plain.features.values).sum()
    assert perturbed.score is not None
    voxels = [one.features["original_shape_VoxelVolume"] for one in (perturbed, plain)]
    assert voxels[0] == pytest.approx(voxels[1] * (1 + perturbation.volume_share), rel=0.1)
    assert perturbed.features["original_firstorder_Median"] == pytest.approx(
        plain.features["original_firstorder_Median"], abs=15
    )


def test_the_level_of_noise_is_the_images_own(source: StudySource) -> None:
    perturbed = perturb(source, Perturbation(noise=True))
    assert perturbed.noise_hu == noise_level(source.tumour) > 0


def test_features_that_would_take_too_much_memory_are_refused(source: StudySource) -> None:
    bounded = replace(source, memory_bytes=2**27)
    with pytest.raises(Refusal, match="MEMORY_EXCEEDED"):
        perturb(bounded, Perturbation(noise=True, noise_hu=100.0))


def test_a_study_that_is_not_scored_is_not_perturbed(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="NO_CT"):
        read_source_tumour(tmp_path)


def test_clinical_data_count_as_for_a_score(phantom_study: PhantomStudy, model: FusionModel) -> None:
    clinical = {"age": 45, "sex": "female", "smoking": "never", "family_history": "yes"}
    scored = score_study(phantom_study.folder, model=model, clinical=clinical, contour_stability="off")
    source = read_source_tumour(phantom_study.folder, clinical=clinical)
    assert perturb(source, Perturbation(), model=model).score == scored.score
