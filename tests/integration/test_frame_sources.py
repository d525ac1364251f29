"""A SEG whose frames lie elsewhere than the images that they name gets no group; `inspect` tells it too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pdl1es.inspection import Inspection, inspect_folder
from pdl1es.phantom.dicom import PhantomStudy
from pdl1es.settings import Settings
from tests.altered_phantom import AlteredPhantom

SLICE_MM = 3.0


def positions_reversed(study: AlteredPhantom) -> None:
    places = [list(group.PlanePositionSequence[0].ImagePositionPatient) for group in study.groups]
    for group, place in zip(study.groups, places[::-1], strict=True):
        group.PlanePositionSequence[0].ImagePositionPatient = place


def moved(study: AlteredPhantom, x_mm: float, z_mm: float) -> None:
    for group in study.groups:
        x, y, z = map(float, group.PlanePositionSequence[0].ImagePositionPatient)
        group.PlanePositionSequence[0].ImagePositionPatient = [x + x_mm, y, z + z_mm]


def one_slice_up(study: AlteredPhantom) -> None:
    moved(study, 0.0, SLICE_MM)


def ten_millimetres_to_the_left(study: AlteredPhantom) -> None:
    moved(study, 10.0, 0.0)


def as_drawn(study: AlteredPhantom) -> None:
    """Nothing is changed."""


def half_a_pixel_to_the_left(study: AlteredPhantom) -> None:
    moved(study, 0.3, 0.0)


def on_planes_between_the_slices(study: AlteredPhantom) -> None:
    moved(study, 0.0, SLICE_MM / 2)


def with_further_sources(study: AlteredPhantom) -> None:
    for group in study.groups:
        group.DerivationImageSequence = [*study.groups[0].DerivationImageSequence, *group.DerivationImageSequence]


Alter = Callable[[AlteredPhantom], None]


@pytest.fixture
def inspected(phantom_study: PhantomStudy, tmp_path: Path) -> Callable[[Alter], Inspection]:
    def inspect(alter: Alter) -> Inspection:
        study = AlteredPhantom(phantom_study)
        alter(study)
        return inspect_folder(study.write(tmp_path / "study"), Settings())

    return inspect


@pytest.mark.parametrize("alter", [positions_reversed, one_slice_up, ten_millimetres_to_the_left])
def test_frames_that_lie_elsewhere_than_their_sources_withhold_the_group(
    alter: Alter, inspected: Callable[[Alter], Inspection]
) -> None:
    assert inspected(alter).withheld_by == ("SEG_OFF_SOURCE",)


@pytest.mark.parametrize(
    "alter", [as_drawn, half_a_pixel_to_the_left, on_planes_between_the_slices, with_further_sources]
)
def test_frames_at_their_sources_or_on_planes_of_their_own_do_not(
    alter: Alter, inspected: Callable[[Alter], Inspection]
) -> None:
    assert inspected(alter).withheld_by == ()
