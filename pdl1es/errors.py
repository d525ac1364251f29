"""Refusals: the table of codes with which a study can be refused, in the order in which they are tested."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """One row of the table.

    Attributes
    ----------
    stage
        The operator of the chain that tests it.
    meaning
        What is wrong, in words for a PACS administrator.
    remedy
        What to do about it.
    """

    stage: str
    meaning: str
    remedy: str


class RefusalCode(Enum):
    """Every reason for which a study is refused; the order of definition is the order in which they are tested."""

    OUTPUT_NOT_WRITABLE = RefusalRow(
        "delivery", "the output folder cannot be written to", "make the output folder writable for the user that runs"
    )
    MODEL_CHANGED = RefusalRow(
        "model",
        "a file of the model's folder is not the one whose SHA-256 its metadata.json holds, or metadata.json is not there",
        "copy the model's folder again, whole, from where it was exported; whoever changed it by intention writes the digests "
        "again: python -m pdl1es.model.digests FOLDER",
    )
    MODEL_UNFIT = RefusalRow(
        "model",
        "the model file is missing, unreadable, or was made for other features or settings than this version computes",
        "deploy the model that belongs to this version, or export it again with the training of this version",
    )
    PROVIDER_UNAVAILABLE = RefusalRow(
        "model",
        "a GPU is required by the settings and none can be used",
        "give the process a GPU, or set require_gpu: false",
    )
    INPUT_UNREADABLE = RefusalRow(
        "study_loader",
        "the study's folder, or a file of it, cannot be read",
        "check that the study stays where it is until the run has ended, and that the user that runs may read it",
    )
    LIMIT_EXCEEDED = RefusalRow(
        "study_loader", "the input is larger than the limits allow", "send one study, or raise the limits in app.yaml"
    )
    SEVERAL_PATIENTS = RefusalRow(
        "series_selection", "objects of several patients are mixed in the input", "send one patient's study per run"
    )
    SEVERAL_STUDIES = RefusalRow(
        "series_selection", "objects of several studies are mixed in the input", "send one study per run"
    )
    INVALID_UIDS = RefusalRow(
        "series_selection",
        "the CT or the DICOM SEG was left out, because its UIDs are no UIDs",
        "have the software that wrote them, an anonymiser perhaps, write UIDs of digits and dots, alike in all objects",
    )
    NO_CT = RefusalRow(
        "series_selection", "there is no CT image in the study", "send the CT series with the segmentation"
    )
    NO_SEG = RefusalRow(
        "series_selection",
        "there is neither a DICOM SEG nor an RT Structure Set in the study",
        "send the tumour's contour with the CT, as DICOM SEG or RT Structure Set; NIfTI has to be converted first",
    )
    SEG_UNREADABLE = RefusalRow(
        "series_selection",
        "the DICOM SEG or RT Structure Set is malformed",
        "export the segmentation again from the workstation that drew it",
    )
    SEG_INCOMPLETE = RefusalRow(
        "series_selection",
        "the DICOM SEG is stored in several objects, and not all of them are in the study",
        "send every object of the segmentation's series; wait until its transfer has finished",
    )
    NO_TUMOUR_SEGMENT = RefusalRow(
        "series_selection",
        "no segment or ROI is coded or labelled as a tumour",
        "code the segment as a neoplasm or the ROI as GTV, or add its label to selection.segment.labels in app.yaml",
    )
    SEVERAL_TUMOUR_SEGMENTS = RefusalRow(
        "series_selection",
        "several segments or ROIs are tumours, and no setting chooses between them",
        "send the primary tumour alone, or set selection.segment.choose, label or tracking_id in app.yaml",
    )
    SEG_NOT_ON_CT = RefusalRow(
        "series_selection",
        "the tumour was drawn on images that are no CT, such as PET",
        "draw the tumour on the CT, or have the workstation transfer the contour to the CT's slices",
    )
    SEG_REFERENCES_OTHER_SERIES = RefusalRow(
        "series_selection",
        "the DICOM SEG or RT Structure Set references a series that is not in the study",
        "send the CT series on which the segmentation was drawn",
    )
    SEG_REFERENCES_ABSENT_INSTANCES = RefusalRow(
        "series_selection",
        "the DICOM SEG or RT Structure Set references images that are not in the study",
        "send the whole CT series; wait until its transfer has finished",
    )
    SEG_FRAME_OF_REFERENCE = RefusalRow(
        "series_selection",
        "the DICOM SEG or RT Structure Set and the CT have different frames of reference",
        "draw the segmentation on this CT, or send the CT on which it was drawn",
    )
    COPIES_DIFFER = RefusalRow(
        "series_selection",
        "several files have one SOP Instance UID and differ in their pixels or in what is read of them",
        "remove the copies that are not meant, or have different images written under UIDs of their own",
    )
    NO_ELIGIBLE_CT = RefusalRow(
        "series_selection",
        "no CT series is an axial volume that the method accepts",
        "send an axial CT series of the chest, as it was reconstructed; localizers, projections, maps and captures cannot be used",
    )
    GEOMETRY_MISSING = RefusalRow(
        "series_selection",
        "an image lacks the attributes that place it in space",
        "send the original images with Image Position (Patient), Image Orientation (Patient) and Pixel Spacing",
    )
    GEOMETRY_INCONSISTENT = RefusalRow(
        "series_selection",
        "the images of the series do not form one stack",
        "send one reconstruction of one acquisition as one series",
    )
    TOO_FEW_SLICES = RefusalRow(
        "series_selection", "the series has too few slices to form a volume", "send the whole CT series"
    )
    DUPLICATE_SLICES = RefusalRow(
        "series_selection",
        "several images of the series lie at the same position",
        "remove the duplicates, or split the phases or reconstructions into series of their own",
    )
    GANTRY_TILT = RefusalRow(
        "series_selection",
        "the gantry was tilted, and the settings refuse tilted series",
        "send an untilted series, or set protocol.gantry_tilt: warn in app.yaml",
    )
    PROTOCOL = RefusalRow(
        "series_selection",
        "the acquisition breaks a protocol rule that the settings refuse",
        "send a series that follows the protocol, or set the rule to warn in app.yaml",
    )
    SEGMENT_EMPTY = RefusalRow("resample", "the tumour's segment has no voxel", "draw the tumour and export it again")
    SEG_GEOMETRY = RefusalRow(
        "resample",
        "the contour does not lie on the CT's planes, encloses no area, or has no position",
        "export the segmentation on the CT's own grid, or closed contours on its own slices",
    )
    SEGMENT_OUTSIDE_VOLUME = RefusalRow(
        "resample", "the tumour's segment reaches beyond the CT", "send the whole CT series on which it was drawn"
    )
    TUMOUR_TOO_SMALL = RefusalRow(
        "resample",
        "the tumour is smaller than 64 mm3 or 5 mm, the least that the method measures",
        "check that the segment is the primary tumour",
    )
    MISSING_SLICES = RefusalRow(
        "resample",
        "slices are missing where the tumour lies",
        "send the whole CT series; wait until its transfer has finished",
    )
    NOT_HU = RefusalRow(
        "resample",
        "the pixel values cannot be turned into Hounsfield units",
        "send the original CT images: MONOCHROME2, in Hounsfield units, with Rescale Slope and Rescale Intercept",
    )
    UNSUPPORTED_TRANSFER_SYNTAX = RefusalRow(
        "resample",
        "pixel data are compressed in a way that cannot be decoded",
        "have the PACS send Explicit VR Little Endian, JPEG 2000, JPEG-LS, JPEG Lossless or RLE",
    )
    PIXEL_DATA_CORRUPT = RefusalRow("resample", "pixel data are truncated or corrupt", "send the image again")
    OVERLAPPING_PASSES = RefusalRow(
        "plausibility",
        "slices of two acquisitions of one series lie between each other at the tumour",
        "send each acquisition as a series of its own, with the segmentation that was drawn on it",
    )
    CONTOUR_GAPS = RefusalRow(
        "plausibility",
        "slices between the tumour's slices have no contour",
        "draw the tumour on every slice, or have the workstation interpolate, and export it again",
    )
    SEVERAL_LESIONS = RefusalRow(
        "plausibility",
        "the segment holds several separate lesions",
        "export each lesion as a segment of its own, and send the primary tumour; or set plausibility.largest_body in app.yaml",
    )
    TUMOUR_IMPLAUSIBLE = RefusalRow(
        "plausibility",
        "what the contour holds is no lung tumour",
        "check that the segment lies on the tumour of this CT, and is the tumour alone",
    )
    SCAN_ENDS_AT_TUMOUR = RefusalRow(
        "plausibility",
        "the CT ends at the tumour, so that part of it may be missing",
        "send the whole CT series; wait until its transfer has finished",
    )
    MEMORY_EXCEEDED = RefusalRow(
        "radiomics",
        "the tumour needs more memory than the run may take, or the run was killed for want of memory",
        "check that the segment is one lung tumour; else give the run more memory, and raise limits.memory_bytes in app.yaml",
    )
    CLINICAL_INVALID = RefusalRow(
        "clinical_data", "the clinical data of the study are malformed", "correct the file; its schema is in the docs"
    )
    RADIOMICS_INCOMPLETE = RefusalRow(
        "fusion_model",
        "more than 5 % of the features that the model uses could not be computed",
        "check that the segment is the whole primary tumour; a tumour of one or two voxels across cannot be scored",
    )
    SCORE_NOT_FINITE = RefusalRow(
        "fusion_model",
        "the model gave a score that is not a number",
        "report this study's refusal to the model's maker",
    )
    UNLIKE_TRAINING = RefusalRow(
        "assessment",
        "the tumour is unlike those that the model was trained on, and the settings refuse such",
        "use a model that was trained on such tumours, or set plausibility.unlike_training in app.yaml",
    )

    @property
    def row(self) -> RefusalRow:
        """The table's row of this code."""
        return self.value


class Refusal(Exception):
    """A study is refused, for a reason of the table, with what was found and where.

    Parameters
    ----------
    code
        The reason.
    found
        What was found, as a sentence without a full stop; it never holds a patient's name, id or date.
    tag
        Keyword and tag of the attribute at fault, as ``"RescaleSlope (0028,1053)"``.
    value
        The attribute's value, where it identifies nobody.
    uid
        UID of the object at fault (SOP instance, or series where the fault is the series').
    remedy
        What to do about it, where the table's own remedy would not be true; None for that one.
    """

    def __init__(
        self,
        code: RefusalCode,
        found: str,
        *,
        tag: str | None = None,
        value: str | None = None,
        uid: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.code = code
        self.found = found
        self.tag = tag
        self.value = value
        self.uid = uid
        self.own_remedy = remedy
        super().__init__(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the parameters, so that a refusal passes between processes."""
        made = partial(Refusal, tag=self.tag, value=self.value, uid=self.uid, remedy=self.own_remedy)
        return made, (self.code, self.found)

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return self.own_remedy or self.code.row.remedy

    @property
    def message(self) -> str:
        """One line that names code, warning, attribute, value, UID and remedy."""
        parts = [f"{self.code.name}: {self.found}"]
        if self.tag:
            parts.append(f"{self.tag} = {self.value if self.value is not None else 'absent'}")
        if self.uid:
            parts.append(f"UID {self.uid}")
        return "; ".join(parts) + f". Remedy: {self.remedy}."


def refusal_table() -> str:
    """Return the table of codes as Markdown, in the order in which they are tested."""
    lines = ["| # | code | tested by | what is wrong | remedy |", "|---|---|---|---|---|"]
    lines += [
        f"| {number} | `{code.name}` | {code.row.stage.replace('_', ' ')} | {code.row.meaning} | {code.row.remedy} |"
        for number, code in enumerate(RefusalCode, start=1)
    ]
    return "\n".join(lines) + "\n"
