"""A study's tumour perturbed: its features, and its score, under other positions, noise and contours."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdl1es import chain
from pdl1es.clinical import ClinicalData, ClinicalRecord, read_clinical_mapping
from pdl1es.dicom.free_text import free_text_shown
from pdl1es.dicom.pixels.hounsfield import read_ct_slice
from pdl1es.dicom.silence import silenced_pydicom
from pdl1es.features.radiomic_features import RadiomicFeatures
from pdl1es.grid.resample import TumourVolume
from pdl1es.grid.source import TumourSource, read_source
from pdl1es.model.fusion import FusionModel
from pdl1es.perturbation.perturbation import Perturbation
from pdl1es.perturbation.volume import perturbed_volume
from pdl1es.plausibility.specks import placed_clean
from pdl1es.settings import Settings, read_settings
from pdl1es.stopwatch import Stopwatch


@dataclass(frozen=True, slots=True)
class StudySource:
    """A study's tumour on its own slices, and the clinical variables that a score needs.

    Attributes
    ----------
    tumour, clinical
        Both.
    memory_bytes
        ``limits.memory_bytes`` of the settings: what the features of one perturbed tumour may take.
    """

    tumour: TumourSource
    clinical: ClinicalData
    memory_bytes: int


@dataclass(frozen=True, slots=True, repr=False)
class PerturbedTumour:
    """What became of a tumour.

    Attributes
    ----------
    perturbation
        What was done.
    volume
        HU and mask on the 1 mm grid as it was placed.
    noise_hu
        Standard deviation of the noise that was added, HU; 0 where none was.
    features
        The 1316 radiomic features.
    score
        PD-L1ES; None where no model was given.
    """

    perturbation: Perturbation
    volume: TumourVolume
    noise_hu: float
    features: RadiomicFeatures
    score: float | None

    def __repr__(self) -> str:
        score = "" if self.score is None else f", score {self.score:.3f}"
        return f"PerturbedTumour({self.perturbation}{score})"


def read_source_tumour(
    study: str | os.PathLike[str],
    *,
    settings: Settings | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    clinical: Mapping[str, Any] | ClinicalRecord | str | os.PathLike[str] | None = None,
) -> StudySource:
    """Read the tumour that would be scored on its own slices, once, so that it can be perturbed many times.

    Parameters
    ----------
    study
        Folder with the study.
    settings, clinical
        As for `pdl1es.library.score_study`.

    Returns
    -------
    StudySource

    Raises
    ------
    Refusal
        As `pdl1es.library.score_study`; a slice beside the tumour cannot be read.
    pdl1es.clinical.ClinicalFileError
        ``clinical`` does not follow its schema.
    pdl1es.settings.SettingsError
        ``settings`` hold something that is not allowed.
    """
    chosen = read_settings(settings)
    given: Path | ClinicalRecord | None
    if clinical is None or isinstance(clinical, ClinicalRecord):
        given = clinical
    else:
        given = read_clinical_mapping(clinical) if isinstance(clinical, Mapping) else Path(clinical)
    with silenced_pydicom(), free_text_shown(chosen.report.show_free_text):
        found = chain.load_study(Path(study), chosen.limits)
        # Whatever would not be scored is not perturbed either.
        selection, _ = chain.find_tumour(found, chosen, Stopwatch())
        largest_body = chosen.plausibility.largest_body
        placed, _ = placed_clean(chain.read_mask(selection), selection.ct, largest_body=largest_body)
        tumour = read_source(placed, read_ct_slice, largest_body=largest_body)
        variables = chain.read_clinical(selection, Path(study), given).data
        return StudySource(tumour, variables, chosen.limits.memory_bytes)


def perturb(source: StudySource, perturbation: Perturbation, *, model: FusionModel | None = None) -> PerturbedTumour:
    """Perturb a tumour and compute its features, and its score where a model is given.

    Noise is added to the slices, image and contour are interpolated on the turned and shifted grid, once, and the contour is
    changed, in this order.

    Parameters
    ----------
    source
        From `read_source_tumour`.
    perturbation
        What is done; ``Perturbation()`` does nothing and gives the features of the score, to the bit.
    model
        From `pdl1es.library.load_model`.

    Returns
    -------
    PerturbedTumour

    Raises
    ------
    Refusal
        TUMOUR_TOO_SMALL: too little is left of the tumour. MISSING_SLICES: a slice is missing where the image is needed.
        MEMORY_EXCEEDED: the features would take more than ``source.memory_bytes``, as with much noise.
        With a model, what `FusionModel.predict` raises.

    Notes
    -----
    Zwanenburg et al., Assessing robustness of radiomic features by image perturbation, Sci Rep 2019; 9: 614,
    doi 10.1038/s41598-018-36938-4.
    """
    made = perturbed_volume(source.tumour, perturbation)
    described = chain.describe(made.volume, memory_bytes=source.memory_bytes)
    score = None
    if model is not None:
        score = chain.predict(model, described.patches, described.features, source.clinical).score
    return PerturbedTumour(perturbation, made.volume, made.noise_hu, described.features, score)
