"""How far a perturbation's contours differ from those drawn, in small and in large tumours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.features.names import FEATURE_NAMES
from pdl1es.perturbation.contour import SUPERVOXEL_MM3
from training.cohort.prepared import PreparedCohort
from training.controls.repeated_features import RepeatedFeatures

_VOLUME: Final = FEATURE_NAMES.index("original_shape_MeshVolume")


@dataclass(frozen=True, slots=True, eq=False)
class ContourChange:
    """Volumes under perturbation beside those drawn.

    Attributes
    ----------
    volume_ml
        float64, shape (N,): as drawn, ascending.
    change
        float64, shape (N,): root mean square of the patient's changes, as a share of the volume as drawn.
    """

    volume_ml: NDArray[np.float64]
    change: NDArray[np.float64]


def contour_change(measured: RepeatedFeatures, patients: PreparedCohort) -> ContourChange:
    """Compare the volumes of perturbed tumours with those of the prepared cohort (IBSI: volume (mesh), RNU0).

    Parameters
    ----------
    measured
        Of `perturb_features`.
    patients
        The cohort that was perturbed, or more of it.

    Returns
    -------
    ContourChange
    """
    row = {case: place for place, case in enumerate(patients.case_ids)}
    drawn = patients.radiomics[[row[case] for case in measured.case_ids], _VOLUME]
    change = np.sqrt(np.mean((measured.values[:, :, _VOLUME] / drawn[:, None] - 1.0) ** 2, axis=1))
    order = np.argsort(drawn, kind="stable")
    return ContourChange(drawn[order] / 1000.0, change[order])


def contour_in_words(found: ContourChange, kinds: str) -> str:
    """Say how far the contours differ, in the smaller and the larger half of the tumours.

    Parameters
    ----------
    found
        As of `contour_change`.
    kinds
        Letters of the perturbations.

    Returns
    -------
    str
        With the scale of contour randomisation where it took part: its supervoxels have one size for all tumours.
    """
    half = (len(found.change) + 1) // 2
    parts = [
        f"{100 * np.median(found.change[rows]):.0f} % in the {name} half "
        f"({found.volume_ml[rows][0]:.3g} to {found.volume_ml[rows][-1]:.3g} mL)"
        for name, rows in (("smaller", slice(half)), ("larger", slice(half, None)))
        if found.change[rows].size
    ]
    said = f"the volume differs from that drawn by {' and by '.join(parts)}: root mean square, median of the patients"
    if "V" in kinds.upper():
        said += "; V alone gives 15 %"
    if "C" in kinds.upper():
        said += (
            f". C draws along supervoxels of about {SUPERVOXEL_MM3} mm3, whatever the size of the tumour (Zwanenburg et al. "
            "2019): where small ones differ much more, leave it out (--kinds NRTV)"
        )
    return said
