"""Whether a tumour lies beyond the patients that a model was trained on."""

from __future__ import annotations

import numpy as np
import pytest

from pdl1es.errors import Refusal, RefusalCode
from pdl1es.grid.measurement import TumourMeasurement
from pdl1es.model.training_reach import Remoteness, TrainingReach, remoteness, unlike_training_warning

COVARIANCE = np.array([[4.0, 1.0], [1.0, 2.0]])
FACTOR = np.linalg.cholesky(np.linalg.inv(COVARIANCE))
REACH = TrainingReach(
    patients=750,
    clipped_share=0.05,
    distance=3.0,
    centre=(0.5, -0.5),
    whitening=tuple(FACTOR[np.tril_indices(2)].tolist()),
    volume_ml=(1.0, 100.0),
    longest_diameter_mm=(10.0, 80.0),
)


def found(
    *, clipped: int = 0, distance: float = 1.0, ml: float = 20.0, mm: float = 40.0, reach: TrainingReach | None = REACH
) -> Remoteness:
    tumour = TumourMeasurement(100, ml, mm, mm, mm, 0)
    return remoteness(reach, clipped=clipped, features=100, distance=distance, tumour=tumour)


def test_the_distance_is_mahalanobis_in_the_features_as_the_network_sees_them() -> None:
    offset = np.array([2.0, 1.0]) - np.array([0.5, -0.5])
    expected = np.sqrt(offset @ np.linalg.inv(COVARIANCE) @ offset)
    assert REACH.distance_of(np.array([2.0, 1.0])) == pytest.approx(expected, rel=1e-12)
    # A missing feature counts as the mean, a wild one as five standard deviations.
    assert REACH.distance_of(np.array([np.nan, 400.0])) == REACH.distance_of(np.array([0.0, 5.0]))


def test_a_tumour_among_the_training_patients_gets_no_warning() -> None:
    inside = found(clipped=5, distance=3.0, ml=100.0, mm=10.0)
    assert inside.beyond == ()
    assert unlike_training_warning(inside, "refuse") is None


@pytest.mark.parametrize(
    "beyond",
    [found(clipped=6), found(distance=3.01), found(ml=0.9), found(ml=101.0), found(mm=9.9), found(mm=81.0)],
    ids=["clipped", "distant", "small", "large", "short", "long"],
)
def test_a_tumour_beyond_them_in_one_thing_is_told_with_the_settings_effect(beyond: Remoteness) -> None:
    assert len(beyond.beyond) == 1
    for action in ("warn", "withhold_group"):
        warning = unlike_training_warning(beyond, action)
        assert warning is not None
        assert (warning.code, warning.effect) == ("UNLIKE_TRAINING", action)
    with pytest.raises(Refusal) as refusal:
        unlike_training_warning(beyond, "refuse")
    assert refusal.value.code is RefusalCode.UNLIKE_TRAINING


def test_where_a_model_does_not_say_how_far_they_lie_one_clipped_feature_is_beyond() -> None:
    assert found(reach=None).beyond == ()
    assert found(reach=None, clipped=1).beyond


def test_a_file_whose_reach_is_damaged_is_not_valid() -> None:
    with pytest.raises(ValueError, match="lower triangle"):
        TrainingReach.model_validate({**REACH.model_dump(), "whitening": (1.0, 2.0)})
    with pytest.raises(ValueError, match="ascend"):
        TrainingReach.model_validate({**REACH.model_dump(), "volume_ml": (2.0, 1.0)})
