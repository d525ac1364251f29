"""Which CT series can be scored, and which segment is the tumour: settings."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from pdl1es.dicom.stack import SMALLEST_STACK
from pdl1es.dicom.tumour_codes import LUNG_SITES, SECONDARY_CODES, TUMOUR_CODES
from pdl1es.dicom.tumour_labels import EXCLUDED_LABELS, LABELS, LABELS_BY_LANGUAGE, Language


def _checked_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


Pattern = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_checked_pattern)]
CodeEntry = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+:[A-Za-z0-9._-]+$", max_length=64)]


class SegmentRules(BaseModel):
    """Which segment is the primary tumour.

    A segment is a primary tumour where its Segmented Property Type is in ``codes``, or where its label matches ``labels``
    and its type names nothing else. So is a region of a structure set, by its RT ROI Identification Code, its RT ROI
    Interpreted Type (GTV) or its name. Its Anatomic Region, if it has one, must be in ``sites``. Where ``label``,
    ``tracking_id``, ``tracking_uid`` or ``number`` is set, the segment that matches all that are set is taken instead,
    however it is coded. Volume never makes a segment a tumour.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Literal["seg", "rtstruct"] = Field(
        default="seg", description="which is taken where a SEG and an RT Structure Set both hold a tumour"
    )
    choose: Literal["refuse", "largest", "newest"] = Field(
        default="refuse", description="what to do where several segments are tumours; newest takes a corrected contour"
    )
    label: str | None = Field(
        default=None, description="the segment's label (case does not matter), to name it outright"
    )
    tracking_id: str | None = Field(default=None, description="the segment's tracking id, to name it outright")
    tracking_uid: str | None = Field(default=None, description="the segment's tracking UID, to name it outright")
    number: Annotated[int, Field(ge=0, le=999_999_999)] | None = Field(
        default=None, description="the segment's or the ROI's number, to name it outright"
    )
    codes: tuple[CodeEntry, ...] = Field(
        default=TUMOUR_CODES, repr=False, description="segmented property types that are tumours, as scheme:value"
    )
    secondary_codes: tuple[CodeEntry, ...] = Field(
        default=SECONDARY_CODES, description="segmented property types that are metastases"
    )
    accept_metastases: bool = Field(default=False, description="take metastases for tumours to score")
    labels: tuple[Pattern, ...] = Field(
        default=LABELS,
        repr=False,
        description="regular expressions of labels that are tumours, of the label or of its plain words (case does not matter)",
    )
    excluded_labels: tuple[Pattern, ...] = Field(
        default=EXCLUDED_LABELS,
        repr=False,
        description="regular expressions of labels that are never the primary tumour",
    )
    label_languages: tuple[Language, ...] = Field(
        default=("en",), description="languages whose labels are taken beside labels: en, de, zh"
    )
    sites: tuple[CodeEntry, ...] = Field(
        default=LUNG_SITES, repr=False, description="anatomic regions that are accepted, where a segment names one"
    )
    any_site: bool = Field(default=False, description="accept a tumour in any anatomic region")

    @property
    def label_patterns(self) -> tuple[str, ...]:
        """Regular expressions of labels that are tumours, in all languages that are taken."""
        return self.labels + tuple(p for language in self.label_languages for p in LABELS_BY_LANGUAGE[language])

    @property
    def names_one(self) -> bool:
        """Whether the settings name the segment outright."""
        return any(value is not None for value in (self.label, self.tracking_id, self.tracking_uid, self.number))


class SelectionRules(BaseModel):
    """Which CT series can be scored, and which segment.

    A series is eligible where its images are CT by SOP Class, are no localizers or projections by Image Type, form one
    stack, lie across the patient, and are in Hounsfield units by Rescale Type. Image Type's second value (PRIMARY,
    SECONDARY) only ranks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    maximum_obliquity_degrees: Annotated[float, Field(ge=0.0, lt=90.0)] = Field(
        default=35.0,
        description="largest angle between the slices' normal and the patient's axis; gantries tilt by up to 30",
    )
    minimum_slices: Annotated[int, Field(ge=SMALLEST_STACK)] = Field(
        default=SMALLEST_STACK, description="fewest slices of a series"
    )
    segment: SegmentRules = SegmentRules()
