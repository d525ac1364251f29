"""Which series have to be fetched for a contour."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.fetch.archive import ArchivedSeries
from gateway.fetch.drawn_on import DrawnOn, read_drawn_on, series_to_fetch
from pdl1es.dicom.header import read_instance
from tests.structure_sets import Drawn, Region, circle, images_of, structure_set

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

DRAWN = DrawnOn(("1.1",), frozenset({"1.1.5", "1.1.6"}))
NOTHING: dict[str, frozenset[str]] = {}


def ct(uid: str, images: int | None) -> ArchivedSeries:
    """A CT series of the archive."""
    return ArchivedSeries(uid, "CT", images)


def here(count: int, first: int = 1) -> dict[str, frozenset[str]]:
    """So many images of the series 1.1 that are here."""
    return {"1.1": frozenset(f"1.1.{number}" for number in range(first, first + count))}


def test_the_series_that_the_contour_names_is_fetched_and_no_other() -> None:
    archived = [ct("1.1", 99), ct("1.2", 99), ArchivedSeries("1.3", "SEG", 1), ArchivedSeries("1.4", "SR", 2)]
    assert series_to_fetch(DRAWN, archived, NOTHING) == ("1.1",)


def test_a_series_of_which_some_images_are_here_is_fetched_whole() -> None:
    assert series_to_fetch(DRAWN, [ct("1.1", 99)], here(98)) == ("1.1",)
    assert series_to_fetch(DRAWN, [ct("1.1", 99)], here(99)) == ()


def test_an_archive_that_does_not_count_is_asked_where_a_named_image_is_missing() -> None:
    assert series_to_fetch(DRAWN, [ct("1.1", None)], NOTHING) == ("1.1",)
    assert series_to_fetch(DRAWN, [ct("1.1", None)], here(5)) == ("1.1",)
    assert series_to_fetch(DRAWN, [ct("1.1", None)], here(6)) == ()


def test_a_named_series_that_is_no_ct_is_left() -> None:
    assert (
        series_to_fetch(DrawnOn(("1.7",), frozenset()), [ArchivedSeries("1.7", "PT", 99), ct("1.1", 9)], NOTHING) == ()
    )


def test_a_series_of_which_the_archive_does_not_say_the_modality_is_fetched() -> None:
    assert series_to_fetch(DRAWN, [ArchivedSeries("1.1", "", 99)], NOTHING) == ("1.1",)


def test_where_the_contour_names_nothing_every_ct_series_may_be_meant() -> None:
    nothing = DrawnOn((), frozenset())
    assert series_to_fetch(nothing, [ct("1.2", 9), ct("1.1", 9)], NOTHING) == ("1.1", "1.2")
    assert series_to_fetch(nothing, [ct("1.2", 9), ct("1.1", 9)], here(9)) == ("1.2",)


def test_a_segmentation_names_the_series_that_it_was_drawn_on(phantom_study: PhantomStudy) -> None:
    contour = read_instance(phantom_study.seg_path)
    image = read_instance(phantom_study.ct.paths[0])
    drawn = read_drawn_on([contour])
    assert drawn.series == (image.series_instance_uid,)
    assert drawn.images
    assert drawn.images <= {read_instance(path).sop_instance_uid for path in phantom_study.ct.paths}


@pytest.mark.parametrize("listed", [True, False])
def test_a_structure_set_does_too(listed: bool, phantom_study: PhantomStudy, tmp_path: Path) -> None:
    images = images_of(phantom_study.ct.paths[0].parent)
    drawn = tuple(Drawn(circle((0.0, 0.0, 0.0), 10.0), image_uid=image.SOPInstanceUID) for image in images[:3])
    written = structure_set(
        images[0], [Region("GTV", drawn)], listed=[image.SOPInstanceUID for image in images] if listed else []
    )
    written.save_as(tmp_path / "contour.dcm", enforce_file_format=True)
    found = read_drawn_on([read_instance(tmp_path / "contour.dcm")])
    assert found.series == (images[0].SeriesInstanceUID,)
    assert found.images >= {str(image.SOPInstanceUID) for image in images[:3]}
