"""What contours were drawn on, and which series of an archive have to be fetched for them: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydicom.uid import RTStructureSetStorage

from gateway.fetch.archive import ArchivedSeries
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.segmentation import SEGMENTATION_SOP_CLASSES, parse_segmentation
from pdl1es.dicom.structure_set import parse_structure_set

CONTOUR_CLASSES: Final = frozenset({*SEGMENTATION_SOP_CLASSES, str(RTStructureSetStorage)})
"""SOP classes of contours."""
CT: Final = "CT"


@dataclass(frozen=True, slots=True)
class DrawnOn:
    """What a study's contours name.

    Attributes
    ----------
    series
        Series Instance UIDs, each once.
    images
        SOP Instance UIDs.
    """

    series: tuple[str, ...]
    images: frozenset[str]


def read_drawn_on(contours: Iterable[Instance]) -> DrawnOn:
    """Return what contours name.

    Parameters
    ----------
    contours
        Objects of `CONTOUR_CLASSES`.

    Returns
    -------
    DrawnOn

    Raises
    ------
    Refusal
        One is malformed.
    """
    series: dict[str, None] = {}
    images: set[str] = set()
    for instance in contours:
        is_seg = instance.sop_class_uid in SEGMENTATION_SOP_CLASSES
        for source in (parse_segmentation(instance),) if is_seg else parse_structure_set(instance).regions:
            series.update(dict.fromkeys(source.referenced_series_uids))
            images |= source.referenced_sop_instance_uids
    return DrawnOn(tuple(series), frozenset(images))


def series_to_fetch(
    drawn: DrawnOn, archived: Sequence[ArchivedSeries], stored: Mapping[str, frozenset[str]]
) -> tuple[str, ...]:
    """Return the series that have to be fetched.

    Parameters
    ----------
    drawn
        What the study's contours name; where they name nothing, every CT series of the study may be meant.
    archived
        The series that the archive has of the study.
    stored
        SOP Instance UIDs of what is here, by series.

    Returns
    -------
    tuple of str
        Of the CT series that are named, those of which the archive has more objects than are here; in the order of their UIDs.
        Where the archive does not count, those of which nothing is here, or of which a named image is missing.
    """
    here = frozenset(uid for uids in stored.values() for uid in uids)
    wanted = []
    for series in archived:
        if series.modality not in ("", CT):
            continue
        if drawn.series and series.series_instance_uid not in drawn.series:
            continue
        own = stored.get(series.series_instance_uid, frozenset())
        incomplete = not own if series.images is None else len(own) < series.images
        named_missing = bool(drawn.series) and len(drawn.series) == 1 and not drawn.images <= here
        if incomplete or (series.images is None and named_missing):
            wanted.append(series.series_instance_uid)
    return tuple(sorted(wanted))
