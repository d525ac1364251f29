"""Which CT series and which segment: the rules, the choice, and why every other series was not chosen."""

from __future__ import annotations

from dataclasses import dataclass

from pdl1es.dicom.segmentation import Segment, Segmentation
from pdl1es.dicom.series import CTSeries
from pdl1es.findings import Finding


@dataclass(frozen=True, slots=True)
class SeriesCandidate:
    """One series of the study in the light of the rules.

    Attributes
    ----------
    series_instance_uid, series_number, modality
        Its identity. A series description may hold a name and is never repeated.
    images
        Number of slices.
    kernel
        Convolution Kernel, or None.
    sharpness
        ``sharp``, ``smooth`` or ``unknown`` by the vendor table.
    slice_spacing
        Median distance between slices, mm, or None.
    tumour_coverage
        Share of the segment's planes that this series shows, 0 to 1, or None where it was not computed.
    chosen
        True for exactly one series of a selection.
    reasons
        Why it was chosen, or why not.
    """

    series_instance_uid: str
    series_number: int | None
    modality: str
    images: int
    kernel: str | None
    sharpness: str
    slice_spacing: float | None
    tumour_coverage: float | None
    chosen: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """The one CT series, the one SEG and the one segment that will be scored.

    Attributes
    ----------
    ct, segmentation, segment
        The choice.
    candidates
        Every series of the study, the chosen one first.
    findings
        Protocol findings of the chosen series, and what the choice passed over.
    """

    ct: CTSeries
    segmentation: Segmentation
    segment: Segment
    candidates: tuple[SeriesCandidate, ...]
    findings: tuple[Finding, ...]
