"""Inspects a study: which series and which segment would be scored, and why. Nothing is written.

Pixels are read only where the choice needs them: to compare copies, to find empty segments, to rank several by volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pdl1es.clinical import ClinicalInput, ClinicalRecord, read_clinical_input
from pdl1es.dicom.free_text import free_text_shown
from pdl1es.dicom.selection.segment import SegmentCandidate
from pdl1es.dicom.selection.series import SeriesCandidate
from pdl1es.dicom.selection.survey import Selection, Survey, survey
from pdl1es.dicom.silence import silenced_pydicom
from pdl1es.dicom.study import Study, scan_study
from pdl1es.errors import Refusal
from pdl1es.exit_code import ExitCode
from pdl1es.score_warning import ScoreWarning
from pdl1es.settings import Settings


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Inspection:
    """Which series and which segment of a study would be scored, and why.

    Attributes
    ----------
    study
        What the folder holds.
    survey
        The rules' judgement of it.
    clinical
        Age, sex, smoking and family history, as far as they are known; None where nothing is selected, or they
        cannot be read.
    clinical_fault
        Why the study's own clinical data cannot be read, or None.
    """

    study: Study
    survey: Survey
    clinical: ClinicalInput | None = None
    clinical_fault: Refusal | None = None

    @property
    def series(self) -> tuple[SeriesCandidate, ...]:
        """Every series, the chosen one first, each with the reasons."""
        return self.survey.candidates

    @property
    def segments(self) -> tuple[SegmentCandidate, ...]:
        """Every segment of every readable SEG and every region of a structure set, each with the reason."""
        return self.survey.segments

    @property
    def selection(self) -> Selection | None:
        """What is selected; None where nothing is."""
        return self.survey.selection

    @property
    def refusal(self) -> Refusal | None:
        """Why nothing would be scored, or None."""
        return self.survey.refusal or self.clinical_fault

    @property
    def warnings(self) -> tuple[ScoreWarning, ...]:
        """Warnings about the choice, the protocol and the clinical data."""
        selected = self.selection.warnings if self.selection is not None else ()
        return selected + (self.clinical.warnings if self.clinical is not None else ())

    @property
    def withheld_by(self) -> tuple[str, ...]:
        """Codes of the warnings that would withhold the groups; empty where nothing would be scored."""
        warnings = self.warnings if self.refusal is None else ()
        return tuple(warning.code for warning in warnings if warning.effect == "withhold_group")

    @property
    def exit_code(self) -> ExitCode:
        """Of the command: as a run's, as far as a run looks at what is inspected."""
        return ExitCode.REPORT_WRITTEN if self.refusal is None else ExitCode.REFUSED

    def __repr__(self) -> str:
        return f"<Inspection: {self.survey!r}>"


def inspect_folder(folder: Path, settings: Settings, clinical: Path | ClinicalRecord | None = None) -> Inspection:
    """Read a study's headers and clinical data and judge them, as the chain does before it reads a pixel.

    Parameters
    ----------
    folder
        Where the study lies.
    settings
        Rules and limits.
    clinical
        What is known of the patient beside the study, as for a run.

    Returns
    -------
    Inspection

    Raises
    ------
    Refusal
        LIMIT_EXCEEDED.
    pdl1es.clinical.ClinicalFileError
        ``clinical`` does not follow its schema.
    """
    with silenced_pydicom(), free_text_shown(settings.report.show_free_text):
        study = scan_study(folder, settings.limits)
        judged = survey(study, settings.selection, settings.protocol)
        if judged.selection is None:
            return Inspection(study, judged)
        header = judged.selection.ct.slices[0].instance.header
        try:
            return Inspection(study, judged, read_clinical_input(header, folder, clinical))
        except Refusal as refusal:
            return Inspection(study, judged, clinical_fault=refusal)
