"""Reports of many kinds, made from numbers drawn by seed: what a page must hold whole, whatever it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from pdl1es.assessment import Assessment, assess
from pdl1es.clinical import MISSING, ClinicalData, ClinicalValue
from pdl1es.grid.contours import contour_variants
from pdl1es.grid.resample import TumourVolume
from pdl1es.model.metadata import CutOff
from pdl1es.report.options import ReportOptions
from pdl1es.report.predecessors import Predecessor
from pdl1es.score_warning import ScoreWarning
from pdl1es.stability import ContourStability, VariantScore
from tests.report_cases import ROOT, WHEN, Case, metadata, prediction

WORDS = [
    "slices",
    "contour",
    "kernel",
    "<b>sharp</b>",
    "(B60f)",
    "tumour",
    "&",
    "lymph",
    "nodes",
    "3.5",
    "mm",
    "of",
    "the",
    "right",
    "upper",
    "lobe",
    "scanned",
    "again",
    "reconstructed",
    "with",
    "an",
    "unusual",
    "field",
    "of",
    "view;",
    "Größe",
    "naïve",
    "Ωμέγα",
    "выше",
    "100%",
    '"quoted"',
    "'single'",
    "a/b",
    "x<y>z",
    "margin",
]
LACKED = ["肺癌", "ตรวจ", "صدر", "가슴", "胸部CT"]
"""Words in letters that the page's typeface lacks."""


@dataclass(frozen=True)
class VariedReport:
    """Everything that a page is made from, but its pictures."""

    assessment: Assessment
    options: ReportOptions
    patient: Dataset
    predecessors: tuple[Predecessor, ...]


def varied_report(case: Case, seed: int) -> VariedReport:
    """One report: with short and long texts, few and many warnings, withheld or not, with and without clinical data."""
    random = np.random.default_rng(seed)
    found, model = case.assessment, _model(random)
    scores = np.sort(random.random(3))
    score = float(scores[1])
    predicted = prediction(
        score=score,
        slice_scores=scores,
        imputed=(("smoking", "family_history"), ())[seed % 2],
        clinical_risk=float(random.normal()),
        fusion_risk=float(random.normal()),
        deep=float(random.normal()),
        bias=float(random.normal()),
    )
    assessment = assess(
        selection=replace(found.selection, warnings=_warnings(random)),
        tumour=found.tumour,
        roi_slice=found.roi_slice,
        patches=found.patches,
        clinical=_clinical(random),
        prediction=predicted,
        model=model,
        contour_stability=_stability(random, score),
    )
    patient = Dataset()
    patient.PatientName = f"{'Müller-Lüdenscheidt' * int(random.integers(1, 4))}^Jörg"
    patient.PatientID = "P-0815" * int(random.integers(1, 10)) + _lacked(random)
    patient.StudyDescription = _text(random, int(random.integers(1, 9))) + _lacked(random)
    patient.StudyDate, patient.PatientSex, patient.AccessionNumber = "20260227", "M", f"A-4711{_lacked(random)}"
    earlier = (Predecessor(f"{ROOT}.1", f"{ROOT}.8", f"{ROOT}.9", f"{ROOT}.10", "2026-01-02 08:15"),)
    return VariedReport(
        assessment,
        ReportOptions(WHEN, show_clinical_values=bool(random.random() < 0.8)),
        patient,
        earlier if random.random() < 0.3 else (),
    )


def _lacked(random: np.random.Generator) -> str:
    """In one of five texts."""
    return str(random.choice(LACKED)) if random.random() < 0.2 else ""


def _text(random: np.random.Generator, words: int) -> str:
    return f"{' '.join(str(word) for word in random.choice(WORDS, words))}{_lacked(random)}"


def _sentence(random: np.random.Generator, most: int) -> str:
    return f"{_text(random, int(random.integers(3, most)))}."


def _model(random: np.random.Generator) -> Any:
    cox = {
        f"{name}_cut_off": CutOff(value=0.1, method=_text(random, 4), above="high risk", below="low risk")
        for name in ("clinical", "fusion")
    }
    long = random.random() < 0.15
    return metadata(
        training_data=str(random.choice(["untrained", "synthetic", "patients"])),
        limitations=tuple(_sentence(random, 120 if long else 20) for _ in range(int(random.integers(0, 7)))),
        trained_on=_sentence(random, 150 if long else 20),
        intended_use=_sentence(random, 40),
        name=_text(random, 3),
        expression_cut_off=CutOff(
            value=float(random.random()), method=_text(random, 3), above="high expression", below="low expression"
        ),
        calibrated=bool(random.random() < 0.3),
        **(cox if random.random() < 0.5 else {}),
    )


def _warnings(random: np.random.Generator) -> tuple[ScoreWarning, ...]:
    effects = ["warn", "withhold_group"] if random.random() < 0.4 else ["warn"]
    most = 90 if random.random() < 0.15 else 20
    return tuple(
        ScoreWarning(f"W{number}", _sentence(random, most), str(random.choice(effects)))  # type: ignore[arg-type]
        for number in range(int(random.integers(0, 9)) if most == 20 else 15)
    )


def _clinical(random: np.random.Generator) -> ClinicalData:
    if random.random() < 0.3:
        return ClinicalData(MISSING, MISSING, MISSING, MISSING)
    source = _text(random, int(random.integers(2, 20)))
    return ClinicalData(
        age=ClinicalValue(66.0, source),
        sex=ClinicalValue(1.0, "DICOM PatientSex (0010,0040)"),
        smoking=ClinicalValue(1.2, source, graded=False) if random.random() < 0.5 else MISSING,
        family_history=ClinicalValue(0.0, source),
        treatment="pembrolizumab" if random.random() < 0.5 else None,
    )


def _stability(random: np.random.Generator, score: float) -> ContourStability | None:
    if random.random() < 0.3:
        return None
    box = np.zeros((9, 9, 9), bool)
    box[2:7, 2:7, 2:7] = True
    names = [
        variant.name
        for variant in contour_variants(
            TumourVolume(box.astype(np.int16), box, (0, 0, 0), np.eye(3), (0, 0, 0), (8, 8, 8))
        )
    ]
    others = np.clip(score + random.normal(0, 0.1, len(names)), 0, 1)
    variants = tuple(VariantScore(name, float(value)) for name, value in zip(names, others, strict=True))
    return ContourStability(variants, min(score, float(others.min())), max(score, float(others.max())))
