"""How far a model's training patients lie, and whether a tumour lies beyond them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pdl1es.dicom.protocol.rules import Action
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.grid.measurement import TumourMeasurement
from pdl1es.method import Z_CLIP
from pdl1es.score_warning import ScoreWarning

Range = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


class TrainingReach(BaseModel):
    """How far the training patients lie, in the features that the model uses and in size.

    Attributes
    ----------
    patients
        Of the training.
    clipped_share
        99.9 % point of the share of features that lie more than 5 standard deviations from the mean.
    distance
        99.9 % point of the Mahalanobis distance. Each patient's is from a mean and a covariance that others gave, since
        the distance from one's own is smaller.
    centre
        Mean of the standardised features, clipped as the network sees them.
    whitening
        Lower triangle, row by row, of the Cholesky factor L of the inverse of their shrunken covariance (Ledoit and Wolf,
        J Multivar Anal 2004; 88: 365-411): the distance is the length of L' (z - centre).
    volume_ml, longest_diameter_mm
        Smallest and largest tumour.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    patients: int = Field(ge=1)
    clipped_share: float = Field(ge=0, le=1)
    distance: float = Field(gt=0)
    centre: tuple[float, ...] = Field(repr=False)
    whitening: tuple[float, ...] = Field(repr=False)
    volume_ml: Range
    longest_diameter_mm: Range

    @model_validator(mode="after")
    def _consistent(self) -> TrainingReach:
        features = len(self.centre)
        if len(self.whitening) != features * (features + 1) // 2:
            raise ValueError("whitening must hold a lower triangle for the features of centre")
        if self.volume_ml[0] > self.volume_ml[1] or self.longest_diameter_mm[0] > self.longest_diameter_mm[1]:
            raise ValueError("a range must ascend")
        return self

    def distance_of(self, radiomic_z: NDArray[np.float64]) -> float:
        """Return the Mahalanobis distance of a tumour.

        Parameters
        ----------
        radiomic_z
            Standardised features before clipping, shape (features,); NaN where missing, which counts as the mean.

        Returns
        -------
        float
            In standard deviations.
        """
        size = len(self.centre)
        factor = np.zeros((size, size))
        factor[np.tril_indices(size)] = self.whitening
        return float(np.linalg.norm(factor.T @ (as_seen(radiomic_z) - np.array(self.centre))))


def as_seen(radiomic_z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return standardised features as the network sees them: clipped, missing ones at the mean."""
    return np.clip(np.nan_to_num(radiomic_z, nan=0.0, posinf=np.inf, neginf=-np.inf), -Z_CLIP, Z_CLIP)


@dataclass(frozen=True, slots=True)
class Remoteness:
    """How a tumour lies to a model's training patients.

    Attributes
    ----------
    clipped_share
        Share of the model's features that were clipped.
    distance
        Mahalanobis distance; None where the model does not say how far its training patients lie.
    reach
        What the model says of them, or None.
    beyond
        In what the tumour lies beyond them, in words; empty where in nothing.
    """

    clipped_share: float
    distance: float | None
    reach: TrainingReach | None = field(repr=False)
    beyond: tuple[str, ...]


def remoteness(
    reach: TrainingReach | None, *, clipped: int, features: int, distance: float | None, tumour: TumourMeasurement
) -> Remoteness:
    """Hold a tumour against a model's training patients.

    Parameters
    ----------
    reach
        Of the model. Where a model does not say, any clipped feature is beyond.
    clipped, features
        How many of the features that the model uses were clipped, of how many.
    distance
        Of the tumour, as `TrainingReach.distance_of` gives it.
    tumour
        Its size.

    Returns
    -------
    Remoteness
    """
    share = clipped / features if features else 0.0
    beyond = []
    if share > (reach.clipped_share if reach is not None else 0.0):
        beyond.append(
            f"{clipped} of its {features} radiomic features lie more than {Z_CLIP:g} standard deviations away"
        )
    if reach is not None:
        if distance is not None and distance > reach.distance:
            beyond.append(
                f"its features lie {distance:.1f} standard deviations from their mean (Mahalanobis distance), and those of "
                f"99.9 % of them at most {reach.distance:.1f}"
            )
        for value, unit, (low, high) in (
            (tumour.volume_ml, "mL", reach.volume_ml),
            (tumour.longest_diameter_mm, "mm", reach.longest_diameter_mm),
        ):
            if not low <= value <= high:
                beyond.append(f"it measures {value:.1f} {unit}, and theirs {low:.1f} to {high:.1f} {unit}")
    return Remoteness(share, distance, reach, tuple(beyond))


def unlike_training_warning(found: Remoteness, action: Action) -> ScoreWarning | None:
    """Return the warning that a tumour is unlike those that the model was trained on.

    Parameters
    ----------
    found
        From `remoteness`.
    action
        The setting ``plausibility.unlike_training``.

    Returns
    -------
    ScoreWarning or None
        UNLIKE_TRAINING.

    Raises
    ------
    Refusal
        UNLIKE_TRAINING, where the setting refuses.
    """
    if not found.beyond:
        return None
    message = "the tumour is unlike those that the model was trained on: " + "; ".join(found.beyond)
    if action == "refuse":
        raise Refusal(RefusalCode.UNLIKE_TRAINING, message)
    return ScoreWarning("UNLIKE_TRAINING", message[0].upper() + message[1:] + ".", action)
