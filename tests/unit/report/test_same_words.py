"""Structured report, result.json and FHIR say the same, word for word, over many assessments."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from pdl1es.assessment import Assessment
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.study import Study
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.model.metadata import CutOff
from pdl1es.report.build import build_fhir, build_refusal_sr, build_sr, replaced_reports
from pdl1es.report.codes import group_code
from pdl1es.report.result import scored_result
from pdl1es.report.statements import ReportStatement, report_statements
from pdl1es.score_warning import ScoreWarning
from pdl1es.stability import ContourStability, VariantScore
from tests.report_cases import CLINICAL, OPTIONS, SMOOTH, THICK, WHEN, as_read, metadata, prediction, report_case
from tests.unit.report.test_report_content import lines

UNLIKE = ScoreWarning(
    "UNLIKE_TRAINING", "The tumour is unlike those of the training: 50 of 126 features lie < -5 & > 5 off."
)
COX = {
    "clinical_cut_off": CutOff(value=0.05, method="X-tile", above="high risk", below="low risk"),
    "fusion_cut_off": CutOff(value=1.78, method="X-tile", above="early <progression>", below="late"),
}


def drawn_at_random(seed: int) -> Assessment:
    """An assessment with scores, warnings, model and clinical values of the seed."""
    random = np.random.default_rng(seed)
    warnings = tuple(w for w in (THICK, SMOOTH, UNLIKE) if random.random() < 0.4)
    score = float(random.uniform(0.01, 0.99))
    slices = np.clip(score + random.normal(0, 0.08, 3), 0.001, 0.999)
    model = metadata(
        **(COX if random.random() < 0.5 else {}),
        calibrated=bool(random.random() < 0.3),
        training_data=str(random.choice(["synthetic", "patients", "untrained"])),
    )
    predicted = prediction(score=score, slice_scores=slices)
    if model.clinical_cut_off is not None:
        predicted = replace(predicted, clinical_risk=float(random.normal()), fusion_risk=float(random.normal(1.8)))
    clinical = replace(CLINICAL, treatment=["pembrolizumab", "other", None][int(random.integers(3))])
    assessment = report_case(
        model=model, predicted=predicted, clinical=clinical, warnings=warnings, site=bool(random.random() < 0.5)
    ).assessment
    if random.random() < 0.5:
        names = ("eroded by 1 mm", "dilated by 1 mm", "shifted 1 mm to the left")
        scores = np.clip(score + random.normal(0, 0.1, 3), 0.001, 0.999).tolist()
        first_is_too_small = random.random() < 0.3
        variants = tuple(VariantScore(name, value) for name, value in zip(names, scores, strict=True))
        stability = ContourStability(variants, min(score, *scores), max(score, *scores))
        if first_is_too_small:
            stability = replace(stability, variants=(VariantScore(names[0], None), *variants[1:]))
        assessment = replace(assessment, contour_stability=stability)
    return assessment


def earlier_reports(seed: int, assessment: Assessment) -> tuple[Dataset, ...]:
    """Every second assessment is the study's second; the first was scored, or refused."""
    if seed % 2 == 0:
        return ()
    options = replace(OPTIONS, when=WHEN - timedelta(hours=1))
    if seed % 4 == 1:
        return (build_sr(assessment, options).dataset,)
    refused = build_refusal_sr(Refusal(RefusalCode.NO_SEG, "none"), study_with(assessment), options)
    assert refused is not None
    return (refused.dataset,)


def study_with(assessment: Assessment, *reports: Dataset) -> Study:
    """What the input held: an image, and earlier reports."""
    headers = [assessment.roi_slice.instance.header, *(as_read(report) for report in reports)]
    return Study(Path("study"), tuple(Instance(Path(f"{n}.dcm"), header) for n, header in enumerate(headers)))


def as_in_the_sr(statement: ReportStatement) -> str:
    """What a reader of the structured report sees of a statement: a code's meaning in place of the model's words."""
    code = group_code(statement.group) if statement.group is not None else None
    return code.meaning if code is not None else statement.text


@pytest.mark.parametrize("seed", range(40))
def test_every_statement_stands_in_every_report_and_no_other_result_does(seed: int) -> None:
    assessment = drawn_at_random(seed)
    study = study_with(assessment, *earlier_reports(seed, assessment))
    predecessors = replaced_reports(assessment, OPTIONS, study)
    assert len(predecessors) == seed % 2
    statements = report_statements(assessment, predecessors=predecessors)
    sr = pydicom.dcmread(BytesIO(build_sr(assessment, OPTIONS, study=study).data))
    said = [(label, value[0] if isinstance(value, tuple) else str(value)) for label, value in lines(sr)]
    summary = " ".join(s.text for s in statements if s.label == "Summary")
    assert ("Summary", summary) in said
    for statement in statements:
        if statement.label != "Summary":
            assert (statement.label, as_in_the_sr(statement)) in said, statement
    document = scored_result(assessment, study=None, reports=(), seconds={}, when=WHEN, predecessors=predecessors)
    assert document.assessment is not None
    assert [(s.section, s.label, s.text) for s in document.assessment.statements] == [
        (s.section, s.label, s.words) for s in statements
    ]
    bundle = json.loads(build_fhir(assessment, OPTIONS, (), study=study))
    (report,) = (e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "DiagnosticReport")
    told = [html.unescape(part) for part in re.findall(r"<(?:li|p)>(.*?)</(?:li|p)>", report["text"]["div"], re.DOTALL)]
    assert told == [s.text if s.section in ("notice", "summary") else f"{s.label}: {s.words}" for s in statements]
