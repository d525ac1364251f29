"""The library: a study scored, inspected or read with one call; `pdl1es` itself exports these names.

The calls run the steps of `pdl1es.chain` with the settings that ship, or with yours; they add no rule.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from pdl1es import chain
from pdl1es.assessment import Assessment
from pdl1es.clinical import ClinicalRecord, read_clinical_mapping
from pdl1es.dicom.free_text import free_text_shown
from pdl1es.dicom.silence import silenced_pydicom
from pdl1es.dicom.study import Study
from pdl1es.features.radiomic_features import RadiomicFeatures
from pdl1es.grid.resample import TumourVolume
from pdl1es.inspection import Inspection, inspect_folder
from pdl1es.model.folder import DEFAULT_MODELS, model_folder_of
from pdl1es.model.fusion import FusionModel
from pdl1es.report.build import build_fhir, replaced_reports, with_key_objects
from pdl1es.report.clock import report_time
from pdl1es.report.delivery import FHIR_FILE, Delivery
from pdl1es.report.result import scored_result
from pdl1es.report.result_schema import ReportFile, ResultDocument
from pdl1es.score_warning import ScoreWarning
from pdl1es.settings import OutputKind, Settings, StabilityMode, read_settings
from pdl1es.stopwatch import Stopwatch

if TYPE_CHECKING:
    import pandas

PathLike = str | os.PathLike[str]
SettingsLike = Settings | Mapping[str, Any] | PathLike | None
"""Settings; a mapping with sections of ``app.yaml``; a file; None: ``HOLOSCAN_CONFIG_PATH``, else the file that ships."""
KINDS: Final[tuple[OutputKind, ...]] = get_args(OutputKind)


@dataclass(frozen=True, slots=True)
class Groups:
    """On which side of the model's cut-offs a tumour lies, in the model's words.

    Attributes
    ----------
    expression, risk
        By the score.
    clinical_risk, fusion_risk
        By the Cox models' linear predictors; None where the model has none.
    withheld
        Why the groups are withheld, and None; None where they are not.
    """

    expression: str | None
    risk: str | None
    clinical_risk: str | None
    fusion_risk: str | None
    withheld: str | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StudyResult:
    """A scored study; a notebook shows it with its score, groups, warnings and picture.

    Attributes
    ----------
    assessment
        Everything that is known of the tumour.
    study
        What the folder held.
    request
        What was asked for: settings, clinical data, time of the reports.
    seconds
        Wall time by step.
    """

    assessment: Assessment
    study: Study
    request: chain.RunRequest
    seconds: Mapping[str, float]

    @property
    def score(self) -> float:
        """PD-L1ES, 0 to 1."""
        return self.assessment.prediction.score

    @property
    def groups(self) -> Groups:
        """The groups that follow from the score."""
        found = self.assessment
        return Groups(
            found.expression_group, found.risk_group, found.clinical_risk_group, found.fusion_risk_group, found.withheld
        )

    @property
    def warnings(self) -> tuple[ScoreWarning, ...]:
        """What a reader has to know, in the order in which it should be read."""
        return self.assessment.warnings

    @property
    def document(self) -> ResultDocument:
        """What ``result.json`` says; ``document.model_dump()`` makes a dict of it."""
        return self._document(())

    def save(self, folder: PathLike, kinds: Iterable[OutputKind] | None = None) -> tuple[Path, ...]:
        """Write reports: each file whole or not at all, and all of them or none; an earlier run's reports go.

        Parameters
        ----------
        folder
            Made where it is missing.
        kinds
            ``"sr"``: the structured report; ``"cam"``: the picture of the class activation map; ``"pdf"``: the page;
            ``"kos"``: a Key Object Selection; ``"fhir"``: a Bundle of FHIR R4; ``"json"``: ``result.json``. Default: what the settings want (``outputs``), and
            ``result.json``.

        Returns
        -------
        tuple of Path
            The files, ``result.json`` last.

        Raises
        ------
        ValueError
            A kind is none of these, or ``kinds`` is a text instead of a list.
        Refusal
            OUTPUT_NOT_WRITABLE: nothing new is left in the folder.
        """
        if isinstance(kinds, str):
            raise ValueError(f"kinds is a list, as [{kinds!r}]")
        wanted = tuple(kinds) if kinds is not None else (*self.request.settings.outputs, "json")
        unknown = sorted({str(kind) for kind in wanted} - set(KINDS))
        if unknown:
            raise ValueError(f"kinds of reports are {', '.join(KINDS)}, not {', '.join(unknown)}")
        options = self.request.report_options
        with silenced_pydicom():
            reports = chain.build_reports(self.assessment, self.study, options, wanted, Stopwatch())
            built = reports
            if "kos" in wanted:
                built = with_key_objects(self.assessment, options, reports, study=self.study)
            with Delivery(Path(folder), mode=self.request.settings.report.mode) as delivery:
                files = tuple(delivery.deliver(report) for report in built)
                written = tuple(delivery.folder / file.file for file in files)
                bundle = None
                if "fhir" in wanted:
                    content = build_fhir(self.assessment, options, reports, study=self.study)
                    bundle = delivery.deliver_document(FHIR_FILE, content)
                    written += (delivery.folder / bundle,)
                if "json" in wanted:
                    written += (delivery.deliver_result(self._document(files, bundle)),)
        return written

    def _document(self, reports: tuple[ReportFile, ...], fhir: str | None = None) -> ResultDocument:
        return scored_result(
            self.assessment,
            study=self.study,
            reports=reports,
            seconds=self.seconds,
            when=self.request.when,
            show_clinical_values=self.request.settings.report.show_clinical_values,
            fhir=fhir,
            predecessors=replaced_reports(self.assessment, self.request.report_options, self.study),
        )

    def __repr__(self) -> str:
        codes = ", ".join(warning.code for warning in self.warnings) or "no warnings"
        return (
            f"<StudyResult: score {self.score:.3f}, {self.groups.expression or 'group withheld'}, "
            f"{self.groups.risk or 'group withheld'}, {codes}>"
        )

    def _repr_html_(self) -> str:
        """Show itself in a notebook."""
        from pdl1es.report.notebook_view import notebook_view  # draws: Pillow, scipy

        return notebook_view(self.assessment)


def load_model(folder: PathLike | None = None, *, require_gpu: bool = False, threads: int = 2) -> FusionModel:
    """Load a model once, to score many studies with it.

    Parameters
    ----------
    folder
        Folder of ``model.onnx``, or the folder above it; default: the model that ships.
    require_gpu
        Refuse to run on the CPU.
    threads
        Threads of onnxruntime; a fixed number, since it may change the last bits.

    Returns
    -------
    FusionModel

    Raises
    ------
    Refusal
        MODEL_UNFIT or PROVIDER_UNAVAILABLE.
    """
    found = model_folder_of(Path(folder) if folder is not None else DEFAULT_MODELS)
    return FusionModel.load(found, require_gpu=require_gpu, threads=threads)


def score_study(
    study: PathLike,
    *,
    model: FusionModel | PathLike | None = None,
    settings: SettingsLike = None,
    clinical: Mapping[str, Any] | ClinicalRecord | PathLike | None = None,
    contour_stability: StabilityMode | bool | None = None,
    when: datetime | None = None,
) -> StudyResult:
    """Score one study; nothing is written.

    Parameters
    ----------
    study
        Folder with the CT and the DICOM SEG or RT Structure Set of the primary tumour, nested in any way.
    model
        From `load_model`, or the folder of ``model.onnx``; default: the demonstration model that ships.
    settings
        Which series and segment are scored, and how it is reported: settings, a mapping with sections of ``app.yaml``
        as ``{"selection": {"segment": {"label": "GTV-1"}}}``, or a file.
    clinical
        Age, sex, smoking, family history and first-line treatment, as ``{"age": 63, "sex": "male"}``, or a file (JSON,
        or CSV keyed by patient id or accession number). It wins over the study's own ``clinical.json`` and header.
    contour_stability
        Score again with contours that differ by 1 mm: ``"on"``, ``"borderline"`` (where the score lies near a cut-off),
        ``"off"``; True and False are on and off. Default: as the settings say.
    when
        Aware date and time that reports will carry; default: now (``SOURCE_DATE_EPOCH`` where it is set).

    Returns
    -------
    StudyResult

    Raises
    ------
    Refusal
        The study cannot be scored: ``code``, ``found`` and ``remedy`` say why, and what to do.
    pdl1es.clinical.ClinicalFileError
        ``clinical`` does not follow its schema.
    pdl1es.settings.SettingsError
        ``settings`` or ``contour_stability`` hold something that is not allowed.
    ValueError
        ``when`` has no time zone.
    """
    chosen = read_settings(settings)
    if contour_stability is not None:
        mode = read_settings({"contour_stability": contour_stability}).contour_stability
        chosen = chosen.model_copy(update={"contour_stability": mode})
    if when is not None and when.utcoffset() is None:
        raise ValueError("the report's time needs a time zone")
    request = chain.RunRequest(Path(study), chosen, when or report_time(os.environ), _clinical(clinical))
    watch = Stopwatch(chosen.limits.seconds_total)
    with silenced_pydicom(), free_text_shown(chosen.report.show_free_text):
        if not isinstance(model, FusionModel):
            with watch.timed("model_loading"):
                model = load_model(model, require_gpu=chosen.model.require_gpu, threads=chosen.model.threads)
        with watch.timed("study_loader"):
            found = chain.load_study(request.study_folder, chosen.limits)
        assessment = chain.assess_study(found, request, model, watch)
    return StudyResult(assessment, found, request, watch.seconds)


def inspect_study(study: PathLike, *, settings: SettingsLike = None) -> Inspection:
    """Say which series and which segment of a study would be scored, and why; nothing is scored.

    Parameters
    ----------
    study
        Folder with the study.
    settings
        As for `score_study`.

    Returns
    -------
    Inspection
        Its ``refusal`` says why nothing would be scored.

    Raises
    ------
    Refusal
        LIMIT_EXCEEDED: the folder holds more than the settings allow.
    """
    return inspect_folder(Path(study), read_settings(settings))


def read_tumour(study: PathLike, *, settings: SettingsLike = None) -> chain.PlausibleTumour:
    """Read the tumour that would be scored, on the 1 mm grid.

    Parameters
    ----------
    study
        Folder with the study.
    settings
        As for `score_study`.

    Returns
    -------
    PlausibleTumour
        ``volume.hu`` and ``volume.mask`` are arrays of shape (z, y, x); ``size`` is its size.

    Raises
    ------
    Refusal
        As `score_study`.
    """
    chosen = read_settings(settings)
    with silenced_pydicom(), free_text_shown(chosen.report.show_free_text):
        found = chain.load_study(Path(study), chosen.limits)
        _, tumour = chain.find_tumour(found, chosen, Stopwatch())
        return tumour


def extract_features(tumour: chain.PlausibleTumour | TumourVolume) -> pandas.Series[float] | RadiomicFeatures:
    """Compute the 1316 radiomic features of a tumour.

    Parameters
    ----------
    tumour
        From `read_tumour`.

    Returns
    -------
    pandas.Series or RadiomicFeatures
        A Series with the features' names as its index where pandas is installed. Else `RadiomicFeatures`. Both are read
        by name, as ``features["original_shape_Sphericity"]``, and have ``values``, float64 of shape (1316,), NaN where
        a feature cannot be computed.
    """
    volume = tumour.volume if isinstance(tumour, chain.PlausibleTumour) else tumour
    features = chain.compute_features(volume)
    return features.as_series() if find_spec("pandas") else features


def _clinical(given: Mapping[str, Any] | ClinicalRecord | PathLike | None) -> Path | ClinicalRecord | None:
    if given is None or isinstance(given, ClinicalRecord):
        return given
    return read_clinical_mapping(given) if isinstance(given, Mapping) else Path(given)
