"""The plausibility of a resampled tumour: the numbers, the warnings, and the refusals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from pdl1es.dicom.protocol.rules import Action
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.grid.measurement import TumourMeasurement
from pdl1es.grid.placement import PlacedMask
from pdl1es.grid.resample import TumourVolume
from pdl1es.method import RADIOMICS_MARGIN_MM
from pdl1es.plausibility.extent import (
    Body,
    bodies,
    contour_gaps,
    contour_sparseness,
    interleaved_passes,
    lies_on_too_few_planes,
    scan_margin,
    sparseness,
    touches_scan_end,
)
from pdl1es.plausibility.filling import filled
from pdl1es.plausibility.hounsfield import HounsfieldLook, HounsfieldSurvey, look_at
from pdl1es.plausibility.rules import PlausibilityRules
from pdl1es.plausibility.specks import Removed
from pdl1es.plausibility.tumour import attenuation, edge_contrast, hollow_share
from pdl1es.score_warning import ScoreWarning


@dataclass(frozen=True, slots=True)
class PlausibilityFacts:
    """The numbers that the rules judge.

    Attributes
    ----------
    removed_specks, removed_voxels
        Specks that were removed from the segment, and their voxels on its own grid.
    removed_bodies, removed_bodies_ml
        Further parts that were left out because the settings take the largest, and their volume.
    bodies
        The tumour's separate parts, the largest first.
    hollow_share
        Tissue that the contour encloses and leaves out, as a share of what it encloses.
    median_hu, share_below_900_hu
        Inside the contour.
    edge_hu
        Inner rim minus outer rim.
    scan_margin_mm
        Between the tumour and the nearest end of the scan, mm; at most 10.
    padding_voxels, padding_in_patch
        Voxels around the tumour whose value comes from padding, and whether the network looks at one.
    slice_spacing_to_thickness
        None where no slice states its thickness.
    contour_spacing_to_slices
        Slices of the CT for each plane of the contour; None where it has one plane.
    hounsfield
        What the values of the slices that were read look like.
    """

    removed_specks: int
    removed_voxels: int
    removed_bodies: int
    removed_bodies_ml: float
    bodies: tuple[Body, ...]
    hollow_share: float
    median_hu: float
    share_below_900_hu: float
    edge_hu: float
    scan_margin_mm: int
    padding_voxels: int
    padding_in_patch: bool
    slice_spacing_to_thickness: float | None
    contour_spacing_to_slices: float | None
    hounsfield: HounsfieldLook


@dataclass(frozen=True, slots=True)
class Plausibility:
    """What the step found.

    Attributes
    ----------
    facts
        The numbers.
    warnings
        Of the rules that warn or withhold the group.
    """

    facts: PlausibilityFacts = field(repr=False)
    warnings: tuple[ScoreWarning, ...]


@dataclass(frozen=True, slots=True)
class _Doubt:
    """One rule that something breaks."""

    code: str
    action: Action
    message: str
    refusal: RefusalCode = RefusalCode.TUMOUR_IMPLAUSIBLE


def check_plausibility(
    *,
    placed: PlacedMask,
    volume: TumourVolume,
    size: TumourMeasurement,
    removed: Removed,
    parts: int,
    survey: HounsfieldSurvey,
    rules: PlausibilityRules,
) -> Plausibility:
    """Check whether a resampled tumour looks like a lung tumour on a CT of a chest.

    Parameters
    ----------
    placed
        The segment on its own lattice, without specks.
    volume
        The same tumour on the 1 mm grid.
    size
        Its measurement.
    removed
        What was taken out of the segment before.
    parts
        Separate parts of the mask on the grid, not filled.
    survey
        The values of the slices that were read.
    rules
        What to do about each doubt.

    Returns
    -------
    Plausibility

    Raises
    ------
    Refusal
        For the first broken rule whose action is ``refuse``: NOT_HU, OVERLAPPING_PASSES,
        PIXEL_DATA_CORRUPT, CONTOUR_GAPS, SEVERAL_LESIONS,
        TUMOUR_IMPLAUSIBLE, SCAN_ENDS_AT_TUMOUR.
    """
    whole = filled(volume.mask)
    inside = attenuation(volume)
    margin = scan_margin(volume)
    facts = PlausibilityFacts(
        removed_specks=removed.specks,
        removed_voxels=removed.voxels,
        removed_bodies=removed.bodies,
        removed_bodies_ml=removed.bodies_ml,
        bodies=bodies(volume, whole, parts),
        hollow_share=hollow_share(volume, whole),
        median_hu=inside.median_hu,
        share_below_900_hu=inside.below_900,
        edge_hu=edge_contrast(volume),
        scan_margin_mm=margin.least_mm,
        padding_voxels=0 if volume.padding is None else int(np.count_nonzero(volume.padding)),
        padding_in_patch=margin.padding_in_patch,
        slice_spacing_to_thickness=sparseness(placed),
        contour_spacing_to_slices=contour_sparseness(placed),
        hounsfield=look_at(survey),
    )
    warnings = []
    if facts.removed_specks:
        warnings.append(
            ScoreWarning(
                "SPECKS_REMOVED",
                f"Specks of the contour that were removed before anything was measured: {facts.removed_specks} "
                f"({facts.removed_voxels} voxels).",
            )
        )
    if facts.removed_bodies:
        warnings.append(
            ScoreWarning(
                "LARGEST_BODY",
                f"The segment has {facts.removed_bodies} further separate parts ({facts.removed_bodies_ml:.1f} mL), which were "
                "left out: the settings take the largest.",
            )
        )
    uid = placed.sop_instance_uid
    for doubt in _doubts(facts, placed, size, margin.patch_cut, survey, rules):
        if doubt.action == "refuse":
            raise Refusal(doubt.refusal, doubt.message, uid=uid)
        sentence = doubt.message[0].upper() + doubt.message[1:] + "."
        warnings.append(ScoreWarning(doubt.code, sentence, doubt.action))
    return Plausibility(facts, tuple(warnings))


def _doubts(
    facts: PlausibilityFacts,
    placed: PlacedMask,
    size: TumourMeasurement,
    patch_cut: bool,
    survey: HounsfieldSurvey,
    rules: PlausibilityRules,
) -> list[_Doubt]:
    """Return the broken rules, in the order in which they are reported."""
    doubts: list[_Doubt] = []

    if faults := facts.hounsfield.faults():
        doubts.append(
            _Doubt(
                "VALUES_NOT_HU",
                rules.not_hounsfield,
                "the slices at the tumour do not look like CT of a chest in Hounsfield units: " + "; ".join(faults),
                RefusalCode.NOT_HU,
            )
        )
    if (passes := interleaved_passes(placed)) > 1:
        doubts.append(
            _Doubt(
                "OVERLAPPING_PASSES",
                rules.overlapping_passes,
                f"slices of {passes} acquisitions lie between each other at the tumour",
                RefusalCode.OVERLAPPING_PASSES,
            )
        )
    if foreign_slices := survey.foreign_slices():
        doubts.append(
            _Doubt(
                "SLICES_FOREIGN",
                rules.foreign_slices,
                f"{foreign_slices} slices at the tumour resemble neither neighbour, although these resemble each other: they are "
                "damaged, or of another place or pass",
                RefusalCode.PIXEL_DATA_CORRUPT,
            )
        )
    elif repeated_slices := survey.repeated_slices():
        doubts.append(
            _Doubt(
                "SLICES_FOREIGN",
                rules.foreign_slices,
                f"{repeated_slices} slices at the tumour hold the very values of the slice before: one image is stored at several "
                "places",
                RefusalCode.PIXEL_DATA_CORRUPT,
            )
        )
    if gaps := contour_gaps(placed):
        places = ", ".join(f"{gap.low:.1f} and {gap.high:.1f} mm" for gap in gaps[:3])
        doubts.append(
            _Doubt(
                "CONTOUR_GAPS",
                rules.gaps,
                f"{sum(gap.planes for gap in gaps)} slices without contour lie between slices with one (between {places})",
                RefusalCode.CONTOUR_GAPS,
            )
        )
    if len(facts.bodies) > 1:
        parts = ", ".join(
            f"{body.volume_ml:.1f} mL at ({', '.join(f'{c:.0f}' for c in body.centre_mm)}) mm"
            for body in facts.bodies[:4]
        )
        doubts.append(
            _Doubt(
                "SEVERAL_BODIES",
                rules.several_bodies,
                f"the segment has {len(facts.bodies)} separate parts: {parts}",
                RefusalCode.SEVERAL_LESIONS,
            )
        )
    if facts.median_hu < rules.lowest_median_hu or facts.share_below_900_hu > rules.most_air:
        doubts.append(
            _Doubt(
                "TUMOUR_ATTENUATION",
                rules.attenuation,
                f"the contour holds air or lung: its median is {facts.median_hu:.0f} HU, and {facts.share_below_900_hu:.0%} of it "
                "lie below -900 HU",
            )
        )
    elif facts.median_hu > rules.highest_median_hu:
        doubts.append(
            _Doubt(
                "TUMOUR_ATTENUATION",
                rules.attenuation,
                f"the contour holds bone or metal: its median is {facts.median_hu:.0f} HU",
            )
        )
    if size.volume_ml > rules.largest_volume_ml or size.longest_diameter_mm > rules.largest_diameter_mm:
        doubts.append(
            _Doubt(
                "TUMOUR_SIZE",
                rules.size,
                f"the segment is larger than lung tumours are: {size.volume_ml:.0f} mL, {size.longest_diameter_mm:.0f} mm (the settings "
                f"allow {rules.largest_volume_ml:.0f} mL, {rules.largest_diameter_mm:.0f} mm)",
            )
        )
    if touches_scan_end(placed):
        doubts.append(
            _Doubt(
                "SCAN_ENDS_AT_TUMOUR",
                rules.scan_ends,
                "the tumour touches the first or last slice of the CT, or a border of its slices",
                RefusalCode.SCAN_ENDS_AT_TUMOUR,
            )
        )
    elif patch_cut:
        doubts.append(
            _Doubt(
                "SCAN_ENDS_IN_PATCH",
                rules.patch_cut,
                "the scan ends within the part of the image that the network looks at",
                RefusalCode.SCAN_ENDS_AT_TUMOUR,
            )
        )
    elif facts.scan_margin_mm < RADIOMICS_MARGIN_MM:
        doubts.append(
            _Doubt(
                "NEAR_SCAN_END",
                rules.near_scan_end,
                f"the scan ends {facts.scan_margin_mm} mm beside the tumour, and features look at {RADIOMICS_MARGIN_MM} mm",
                RefusalCode.SCAN_ENDS_AT_TUMOUR,
            )
        )
    if facts.hollow_share > rules.most_hollow:
        doubts.append(
            _Doubt(
                "CONTOUR_HOLLOW",
                rules.hollow,
                f"the contour leaves out {facts.hollow_share:.0%} of the tissue that it encloses: an outline, not a tumour",
            )
        )
    if facts.edge_hu < rules.least_edge_hu:
        doubts.append(
            _Doubt(
                "CONTOUR_OFF_EDGE",
                rules.off_edge,
                f"the contour follows no edge of the image: its inner rim is {facts.edge_hu:.0f} HU denser than its outer rim, and "
                f"solid tumours have {rules.least_edge_hu:.0f} HU or more",
            )
        )
    if facts.padding_in_patch:
        doubts.append(
            _Doubt(
                "PADDING_IN_PATCH",
                rules.padding_in_patch,
                "padding, which counts as air, lies in the tumour or within the part of the image that the network looks at",
            )
        )
    elif facts.padding_voxels:
        doubts.append(
            _Doubt(
                "PADDING_NEAR_TUMOUR",
                rules.padding,
                f"{facts.padding_voxels} voxels beside the tumour are padding, which counts as air: features look at "
                f"{RADIOMICS_MARGIN_MM} mm around it",
            )
        )
    if facts.slice_spacing_to_thickness is not None and facts.slice_spacing_to_thickness > _SPARSE:
        doubts.append(
            _Doubt(
                "SLICES_SPARSE",
                rules.sparse_slices,
                f"the slices are {facts.slice_spacing_to_thickness:.1f} times as far apart as they are thick: tissue between them "
                "was not seen, or slices are missing",
            )
        )
    if lies_on_too_few_planes(placed, size.longest_diameter_mm):
        doubts.append(
            _Doubt(
                "CONTOUR_FEW_PLANES",
                rules.few_planes,
                f"the contour lies on {len(placed.occupied())} planes of a tumour of {size.longest_diameter_mm:.0f} mm: most of its "
                "depth is not drawn",
                RefusalCode.CONTOUR_GAPS,
            )
        )
    elif facts.contour_spacing_to_slices is not None and facts.contour_spacing_to_slices > _SPARSE:
        doubts.append(
            _Doubt(
                "CONTOUR_SPARSE",
                rules.sparse_contour,
                f"the CT has {facts.contour_spacing_to_slices:.1f} slices for each plane of the contour, which is interpolated between "
                "them",
                RefusalCode.CONTOUR_GAPS,
            )
        )
    return doubts


_SPARSE: Final = 1.5 + 1e-3
"""Slices farther apart than this multiple of their thickness leave tissue between them unseen."""
