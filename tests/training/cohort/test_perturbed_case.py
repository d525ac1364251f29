"""A cohort's case can be perturbed from slices that are read once, whatever its file format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pdl1es import chain
from pdl1es.perturbation.perturbation import Perturbation, perturbations
from pdl1es.perturbation.volume import perturbed_volume
from training.cohort.case import PreparationSettings, read_case
from training.cohort.sources import case_sources


@pytest.mark.parametrize("case_id", ["E0001", "E0002"], ids=["a DICOM study", "volumes"])
def test_without_a_change_its_features_are_those_of_the_cohort_and_with_one_they_are_not(
    synthetic: Path, case_id: str
) -> None:
    case = read_case(case_sources(synthetic / "cohort.csv")[case_id], PreparationSettings())
    usual = chain.compute_features(case.resampled().volume).values
    source = case.source()
    assert chain.compute_features(perturbed_volume(source, Perturbation()).volume).values.tobytes() == usual.tobytes()
    values = [
        chain.compute_features(perturbed_volume(source, one).volume).values
        for one in perturbations("RN", repetitions=1)
    ]
    assert len(values) == 2
    assert not any(np.array_equal(one, usual, equal_nan=True) for one in values)
