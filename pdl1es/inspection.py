"""A study inspected: which series and which segment would be scored, and why. No pixel is read and nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pdl1es.dicom.selection.segment import SegmentCandidate
from pdl1es.dicom.selection.series import SeriesCandidate
from pdl1es.dicom.selection.survey import Selection, Survey, survey
from pdl1es.dicom.silence import silenced_pydicom
from pdl1es.dicom.study import Study, scan_study
from pdl1es.errors import Refusal
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
        What the rules make of it.
    """

    study: Study
    survey: Survey

    @property
    def series(self) -> tuple[SeriesCandidate, ...]:
        """Every series, the chosen one first, each with the reasons."""
        return self.survey.candidates

    @property
    def segments(self) -> tuple[SegmentCandidate, ...]:
        """Every segment of every readable SEG, each with the reason."""
        return self.survey.segments

    @property
    def selection(self) -> Selection | None:
        """What would be scored; None where nothing would."""
        return self.survey.selection

    @property
    def refusal(self) -> Refusal | None:
        """Why nothing would be scored, or None."""
        return self.survey.refusal

    @property
    def warnings(self) -> tuple[ScoreWarning, ...]:
        """Warnings about the choice and the protocol."""
        return self.selection.warnings if self.selection is not None else ()

    def __repr__(self) -> str:
        return f"<Inspection: {self.survey!r}>"


def inspect_folder(folder: Path, settings: Settings) -> Inspection:
    """Read a study's headers and judge them, as the chain's first two steps do.

    Parameters
    ----------
    folder
        Where the study lies.
    settings
        Rules and limits.

    Returns
    -------
    Inspection

    Raises
    ------
    Refusal
        LIMIT_EXCEEDED.
    """
    with silenced_pydicom():
        study = scan_study(folder, settings.limits)
        return Inspection(study, survey(study, settings.selection, settings.protocol))
