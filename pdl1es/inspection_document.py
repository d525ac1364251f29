"""An inspection as JSON: what ``pdl1es inspect --json`` prints. No word of the study that could be a patient's is in it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pdl1es.dicom.study import Study
from pdl1es.errors import Refusal
from pdl1es.exit_code import ExitCode
from pdl1es.inspection import Inspection
from pdl1es.score_warning import Effect


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InspectedRefusal(_Part):
    """Why nothing would be scored, as in ``result.json``."""

    code: str = Field(description="of the table of refusals")
    stage: str = Field(description="the step of the chain that refuses it")
    found: str = Field(description="what was found")
    tag: str | None = Field(description="attribute at fault")
    value: str | None = Field(description="its value")
    uid: str | None = Field(description="object at fault")
    remedy: str = Field(description="what to do")


class InspectedWarning(_Part):
    """A warning that is known before a pixel is read."""

    code: str = Field(description="of the list of warnings")
    message: str = Field(description="one sentence")
    effect: Effect = Field(description="`withhold_group` keeps the groups out of the report")


class InspectedSeries(_Part):
    """One series of the study."""

    series_instance_uid: str = Field(description="in full")
    series_number: int | None = Field(description="Series Number")
    modality: str = Field(description="Modality, or `unknown`")
    images: int = Field(description="slices of a CT that can be scored, else objects")
    sharpness: Literal["sharp", "smooth", "unknown"] = Field(description="of the reconstruction kernels")
    slice_spacing_mm: float | None = Field(description="median distance between slices, mm")
    tumour_coverage: float | None = Field(description="share of the tumour's planes that the series shows, 0 to 1")
    chosen: bool = Field(description="whether this series would be scored")


class InspectedSegment(_Part):
    """One segment of a SEG or region of a structure set. Label and code meanings are free text, and are left out."""

    sop_instance_uid: str = Field(description="of the object that holds it, in full")
    kind: Literal["SEG", "RTSTRUCT"] = Field(description="of that object")
    number: int = Field(description="Segment Number or ROI Number")
    accepted: bool = Field(description="whether the rules take it for a primary tumour")
    chosen: bool = Field(description="whether this segment would be scored")


class LeftOutFiles(_Part):
    """Files that were left out for one reason."""

    reason: str = Field(description="why")
    files: int = Field(description="how many")


class InspectedStudy(_Part):
    """What the folder holds."""

    objects: int = Field(description="DICOM objects that were read")
    ignored_files: int = Field(description="files that are not DICOM")
    left_out: tuple[LeftOutFiles, ...] = Field(description="files that could not be read, or contradict each other")


class InspectionDocument(_Part):
    """The whole of what ``pdl1es inspect --json`` prints."""

    schema_version: Literal[1] = Field(default=1, description="rises with a change that breaks a reader")
    verdict: Literal["scored", "refused"] = Field(description="what `run` would do, unless the pixels tell otherwise")
    exit_code: int = Field(description="of this command")
    refusal: InspectedRefusal | None = Field(description="why nothing would be scored")
    warnings: tuple[InspectedWarning, ...] = Field(description="that the report would bear")
    withheld_by: tuple[str, ...] = Field(description="codes of the warnings that would withhold the groups")
    study: InspectedStudy | None = Field(description="null where the folder was not read to its end")
    series: tuple[InspectedSeries, ...] = Field(description="the chosen one first")
    segments: tuple[InspectedSegment, ...] = Field(
        description="of every segmentation and structure set that can be read"
    )
    clinical: dict[str, str] | None = Field(
        description="source of age, sex, smoking and family_history, or `missing`; null where nothing is selected"
    )

    def text(self) -> str:
        """Return what is printed, in ASCII."""
        return json.dumps(self.model_dump(mode="json"), indent=2)


def inspection_document(inspection: Inspection) -> InspectionDocument:
    """Return an inspection without a word that could be a patient's."""
    warnings = inspection.warnings if inspection.refusal is None else ()
    clinical = inspection.clinical
    return InspectionDocument(
        verdict="scored" if inspection.refusal is None else "refused",
        exit_code=inspection.exit_code,
        refusal=_refusal(inspection.refusal),
        warnings=tuple(InspectedWarning(code=w.code, message=w.message, effect=w.effect) for w in warnings),
        withheld_by=inspection.withheld_by,
        study=_study(inspection.study),
        series=tuple(
            InspectedSeries.model_validate({name: getattr(found, name) for name in InspectedSeries.model_fields})
            for found in inspection.series
        ),
        segments=tuple(
            InspectedSegment.model_validate({name: getattr(found, name) for name in InspectedSegment.model_fields})
            for found in inspection.segments
        ),
        clinical=None if clinical is None else clinical.data.sources(),
    )


def refused_document(refusal: Refusal) -> InspectionDocument:
    """Return the document of a folder that was refused before it was read to its end."""
    return InspectionDocument(
        verdict="refused",
        exit_code=ExitCode.REFUSED,
        refusal=_refusal(refusal),
        warnings=(),
        withheld_by=(),
        study=None,
        series=(),
        segments=(),
        clinical=None,
    )


def _refusal(refusal: Refusal | None) -> InspectedRefusal | None:
    if refusal is None:
        return None
    return InspectedRefusal(
        code=refusal.code.name,
        stage=refusal.code.row.stage,
        found=refusal.found,
        tag=refusal.tag,
        value=refusal.value,
        uid=refusal.uid,
        remedy=refusal.remedy,
    )


def _study(study: Study) -> InspectedStudy:
    reasons = Counter(file.reason for file in study.unreadable)
    return InspectedStudy(
        objects=len(study.instances),
        ignored_files=study.ignored_files,
        left_out=tuple(LeftOutFiles(reason=reason, files=reasons[reason]) for reason in sorted(reasons)),
    )
