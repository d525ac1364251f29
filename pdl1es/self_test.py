"""Tests an installation: makes and scores a phantom study, and compares the score with the one that ships."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pdl1es.atomic import write_atomically
from pdl1es.errors import Refusal
from pdl1es.exit_code import ExitCode
from pdl1es.model.contract import unfit
from pdl1es.model.digests import check_digest, write_digests
from pdl1es.model.folder import EXPECTATION_FILE, model_folder_of
from pdl1es.phantom.dicom import make_phantom_study
from pdl1es.report.clock import report_time
from pdl1es.run import Execute, run_in_python, run_study
from pdl1es.settings import Settings

SEED: Final = 0
MATRIX: Final = 256
SLICES: Final = (16, 66)
"""The phantom: a part of the chest, so that it takes seconds."""
SCORE_TOLERANCE: Final = 1e-4
"""Processors and GPUs round differently, to about 1e-6 of the score; a wrong library or model differs by far more."""


class Expectation(BaseModel):
    """Result of the phantom study with one model.

    Attributes
    ----------
    model_sha256
        Digest of the ``model.onnx`` that gave it.
    score
        Of the phantom study, 0 to 1.
    source_voxels
        Voxels of its segmentation.
    tolerance
        Largest difference of the score that passes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    model_sha256: str
    score: float = Field(ge=0, le=1)
    source_voxels: int
    tolerance: float = SCORE_TOLERANCE


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Result of a self-test.

    Attributes
    ----------
    measured
        Of this installation; None where the phantom could not be scored.
    expected
        Of the model's maker; None where the model brings none, or one for another model.
    provider
        onnxruntime's execution provider.
    refusal
        Why the phantom could not be scored, or None.
    exit_code
        For the process: 0 where measured and expected agree.
    """

    measured: Expectation | None
    expected: Expectation | None
    provider: str
    refusal: Refusal | None
    exit_code: ExitCode

    @property
    def difference(self) -> float | None:
        """Difference of the scores, or None where one is missing."""
        if self.measured is None or self.expected is None:
            return None
        return abs(self.measured.score - self.expected.score)


def run_self_test(settings: Settings, model_folder: Path, *, execute: Execute = run_in_python) -> SelfTest:
    """Make the phantom study in a temporary folder, score it, and compare.

    The model, the limits and the log are the site's settings; which study is accepted is tested by the rules that ship,
    so that a site's stricter ones do not look like a broken installation.

    Parameters
    ----------
    settings
        ``app.yaml``, validated.
    model_folder
        Folder of ``model.onnx``, or the folder above it.
    execute
        What takes the study through the steps.

    Returns
    -------
    SelfTest

    Raises
    ------
    Refusal
        MODEL_CHANGED, MODEL_UNFIT: ``self_test.json`` is there and damaged.
    """
    folder = model_folder_of(model_folder)
    # Of the score, not of its interval.
    shipped = Settings(limits=settings.limits, model=settings.model, log=settings.log, contour_stability="off")
    with tempfile.TemporaryDirectory(prefix="pdl1es-self-test-") as temporary:
        study = make_phantom_study(Path(temporary) / "study", seed=SEED, matrix=MATRIX, slices=SLICES)
        outcome = run_study(
            study.folder,
            Path(temporary) / "report",
            settings=shipped,
            model_folder=folder,
            when=report_time({"SOURCE_DATE_EPOCH": "0"}),
            execute=execute,
        )
    assessment = outcome.result.assessment if outcome.result else None
    if assessment is None:
        return SelfTest(None, None, "none", outcome.refusal, outcome.exit_code)
    measured = Expectation(
        model_sha256=assessment.model.sha256,
        score=assessment.score,
        source_voxels=assessment.tumour.source_voxels,
    )
    expected = read_expectation(folder)
    if expected is None or expected.model_sha256 != measured.model_sha256:
        return SelfTest(measured, None, assessment.model.provider, None, ExitCode.USAGE)
    agree = (
        abs(measured.score - expected.score) <= expected.tolerance and measured.source_voxels == expected.source_voxels
    )
    exit_code = ExitCode.REPORT_WRITTEN if agree else ExitCode.DEFECT
    return SelfTest(measured, expected, assessment.model.provider, None, exit_code)


def read_expectation(folder: Path) -> Expectation | None:
    """Return the expectation that ships beside the model, or None where there is none."""
    file = folder / EXPECTATION_FILE
    if not file.is_file():
        return None
    content = file.read_bytes()
    check_digest(folder, EXPECTATION_FILE, content)
    try:
        return Expectation.model_validate_json(content)
    except ValidationError:
        raise unfit(f"{EXPECTATION_FILE} does not follow its schema") from None


def record_expectation(measured: Expectation, folder: Path) -> Path:
    """Write the measured score beside the model as its expectation. This is for the makers of a model.

    Parameters
    ----------
    measured
        From `run_self_test`.
    folder
        Folder of ``model.onnx``, or the folder above it.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    Refusal
        OUTPUT_NOT_WRITABLE.
    """
    file = model_folder_of(folder) / EXPECTATION_FILE
    write_atomically(file, (measured.model_dump_json(indent=2) + "\n").encode("utf-8"))
    write_digests(file.parent)
    return file
