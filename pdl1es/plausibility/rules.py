"""What to do about a tumour or a CT that is not what it seems: settings. `docs/method.md` says how the bounds were set."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pdl1es.dicom.protocol.rules import Action

HU = Annotated[float, Field(ge=-1024.0, le=3071.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class PlausibilityRules(BaseModel):
    """What to do about each way in which the input can be something else than one lung tumour on a CT in HU.

    Every rule says ``refuse``, ``withhold_group`` (the score is reported, no group is) or ``warn``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gaps: Action = Field(default="refuse", description="slices without contour between slices with one")
    overlapping_passes: Action = Field(
        default="refuse", description="slices of two acquisitions lie between each other at the tumour"
    )
    several_bodies: Action = Field(
        default="refuse", description="the segment has several separate parts, apart from specks, which are removed"
    )
    largest_body: bool = Field(
        default=False, description="of several separate parts take the largest, and tell; else `several_bodies` decides"
    )
    hollow: Action = Field(
        default="withhold_group", description="the contour leaves out tissue that it encloses, as an outline does"
    )
    not_hounsfield: Action = Field(default="refuse", description="the slices do not look like CT of a chest in HU")
    foreign_slices: Action = Field(
        default="withhold_group",
        description="a slice resembles neither neighbour, or is the very same: it is damaged, or of another place or pass",
    )
    attenuation: Action = Field(default="refuse", description="what the contour holds is air, lung or bone")
    size: Action = Field(default="refuse", description="the segment is larger than lung tumours are")
    off_edge: Action = Field(
        default="withhold_group", description="the contour follows no edge of the image; ground glass is one case"
    )
    scan_ends: Action = Field(default="refuse", description="the tumour touches an end of the scan or of its field")
    near_scan_end: Action = Field(
        default="warn", description="less than 10 mm of scan around the tumour, with all that the network sees"
    )
    patch_cut: Action = Field(
        default="withhold_group", description="the scan ends within the rectangle or the slices that the network sees"
    )
    padding: Action = Field(
        default="warn", description="padding around the tumour, within the 10 mm that features look at"
    )
    padding_in_patch: Action = Field(
        default="withhold_group",
        description="padding in the tumour, or within the rectangle or the slices that the network sees",
    )
    sparse_slices: Action = Field(
        default="withhold_group", description="the slices are farther apart than 1.5 times their thickness"
    )
    sparse_contour: Action = Field(
        default="warn", description="the contour's planes are farther apart than 1.5 times the slices"
    )
    few_planes: Action = Field(
        default="withhold_group",
        description="the contour lies on one plane of a larger tumour, or on planes more than 2.5 slices apart",
    )
    unlike_training: Action = Field(
        default="withhold_group",
        description="the tumour lies beyond the model's training patients, in its features or its size",
    )
    largest_volume_ml: Annotated[float, Field(gt=0.0)] = Field(
        default=1000.0, description="largest tumour volume that is plausible, mL"
    )
    largest_diameter_mm: Annotated[float, Field(gt=0.0)] = Field(
        default=200.0, description="largest tumour diameter that is plausible, mm"
    )
    lowest_median_hu: HU = Field(default=-800.0, description="lowest median inside the contour, HU")
    highest_median_hu: HU = Field(default=200.0, description="highest median inside the contour, HU")
    most_air: Share = Field(default=0.3, description="largest share below -900 HU inside the contour")
    most_hollow: Share = Field(default=0.1, description="largest share of enclosed tissue that a contour may leave out")
    least_edge_hu: Annotated[float, Field(ge=-1200.0, le=1200.0)] = Field(
        default=60.0, description="least difference across the contour, inner rim minus outer rim, HU"
    )
