"""Exports the signature of a finished run as the file that the chain serves, with card and metadata."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pandas as pd
from pydantic import ValidationError

from pdl1es.atomic import write_atomically
from pdl1es.model.digests import write_digests
from pdl1es.model.folder import METADATA_FILE, MODEL_FILE
from pdl1es.model.metadata import CutOff
from training.errors import validation_reasons
from training.export import CHECKED_CASES, export_model, model_digest, model_metadata
from training.expression.evaluate import YOUDEN_ON_VALIDATION, YOUDEN_OUT_OF_FOLD
from training.progress import Count
from training.release.bundle import bundle_metadata
from training.release.calibration_claim import CalibrationClaim, calibration_claim
from training.release.card import model_card
from training.release.cut_offs import ModelCutOffs, read_cut_offs
from training.release.reader_words import expression_accuracy, limitations, told
from training.scoring.predictions import OUT_OF_FOLD, judged
from training.statistics.classification import youden_cut_off
from training.statistics.estimability import NotEstimable
from training.train.config import ModelName
from training.train.division import VALIDATION
from training.train.run_folder import NETWORKS, PREDICTIONS_FILE, TrainingError, load_network, read_reach, read_run
from training.train.stages import quiet

SIGNATURE: Final[ModelName] = "PD-L1ES"
CARD_FILE: Final = "MODEL_CARD.md"
PLACEHOLDER: Final = CutOff(
    value=0.66,
    method="placeholder: the paper's value for its own model (X-tile), not found on this model's patients",
    above="high risk",
    below="low risk",
)
SYNTHETIC_USE: Final = (
    "Demonstration of the application and test of an installation. Trained on synthetic phantoms: a demonstration, not "
    "for any decision on a patient."
)
RESEARCH_USE: Final = (
    "Research on PD-L1 expression and progression under first-line pembrolizumab, in stage IV non-small cell lung cancer "
    "before treatment. No substitute for immunohistochemistry, and not for any decision on a patient without validation "
    "at the site."
)


@dataclass(frozen=True, slots=True)
class Released:
    """What was written.

    Attributes
    ----------
    size
        Bytes of the ONNX file.
    difference, cases
        Largest difference of onnxruntime from torch, on how many random cases.
    placeholders
        Missing parts of the model, in sentences that are also among its limitations.
    """

    size: int
    difference: float
    cases: int
    placeholders: tuple[str, ...]


def release(
    run: Path,
    folder: Path,
    *,
    cut_offs_file: Path | None = None,
    name: str = SIGNATURE,
    version: str = "1.0.0",
    cohort: str | None = None,
    cases: int = CHECKED_CASES,
    progress: Count | None = None,
) -> Released:
    """Write ``model.onnx``, ``metadata.json`` and ``MODEL_CARD.md``.

    Parameters
    ----------
    run
        Folder of a finished run.
    folder
        For the model.
    cut_offs_file
        ``cut_offs.json`` of the prognosis, found with this run's own scores. Without it, or where it lacks a part: the
        cut-off of expression is Youden's on patients that the weights were not fitted on, that of progression is marked as a
        placeholder, and there is no Cox model.
    name, version
        The model's.
    cohort
        One sentence of the cohort's origin.
    cases
        Random cases on which torch and onnxruntime are compared.
    progress
        Called with the number of cases compared and in all.

    Returns
    -------
    Released

    Raises
    ------
    TrainingError
        The run is not finished or did not train the signature. The cut-offs were found with another model's scores, or
        do not name their model: such a cut-off puts patients into the wrong group. The model's schema does not allow
        the name, version or sentence.
    CutOffsError
        The file of cut-offs is not one.
    ExportError
        onnxruntime differs from torch by more than 1e-5.
    """
    record, fitted, summary = read_run(run)
    if SIGNATURE not in summary["networks"]:
        raise TrainingError(f"{run} did not train {SIGNATURE}: there is nothing to export")
    summary = {**summary, "config": record.config.model_dump(mode="json")}
    given = ModelCutOffs() if cut_offs_file is None else _own_cut_offs(run, cut_offs_file)
    network = load_network(run / NETWORKS / SIGNATURE, fitted, SIGNATURE, record.config)
    placeholders = _placeholders(given)
    synthetic = record.training_data == "synthetic"
    claim = _calibration(given, synthetic)
    in_words = partial(told, summary=summary, performance=given.performance, synthetic=synthetic)
    try:
        metadata = model_metadata(
            network,
            fitted,
            name=name,
            version=version,
            training_data=record.training_data,
            trained_on=cohort_sentence(summary, synthetic, cohort),
            intended_use=SYNTHETIC_USE if synthetic else RESEARCH_USE,
            limitations=limitations(summary, placeholders, synthetic=synthetic, claim=claim),
            expression_cut_off=in_words(given.expression or _youden(run)),
            progression_cut_off=in_words(given.progression or PLACEHOLDER),
            calibrated=claim.holds,
            clinical_cut_off=None if given.clinical is None else in_words(given.clinical.cut_off),
            fusion_cut_off=None if given.fusion is None else in_words(given.fusion.cut_off),
            training_reach=read_reach(run),
            recipe=record.config.recipe,
            expression_accuracy=expression_accuracy(given.performance, synthetic=synthetic),
        )
    except ValidationError as error:
        raise TrainingError(f"the model cannot be described so: {validation_reasons(error)}") from error
    with quiet():
        difference = export_model(
            network, fitted, metadata, folder / MODEL_FILE, cox=given.cox_terms(), cases=cases, progress=progress
        )
    document = bundle_metadata(
        metadata,
        summary,
        {version: f"exported from training run {record.cohort[:12]}"},
        difference,
        given.performance,
    )
    with_cut_offs = cut_offs_file is not None
    card = model_card(metadata, summary, difference, cases, claim, given.performance, with_cut_offs=with_cut_offs)
    write_atomically(folder / METADATA_FILE, (json.dumps(document, indent=2) + "\n").encode("utf-8"))
    write_digests(folder)
    write_atomically(folder / CARD_FILE, card.encode("utf-8"))
    return Released((folder / MODEL_FILE).stat().st_size, difference, cases, placeholders)


def _own_cut_offs(run: Path, file: Path) -> ModelCutOffs:
    given = read_cut_offs(file)
    own = model_digest(run / NETWORKS / SIGNATURE)
    if given.model != own:
        whose = (
            "do not say whose scores they cut" if given.model is None else f"cut the scores of model {given.model[:12]}"
        )
        raise TrainingError(
            f"the cut-offs in {file.name} {whose}, and this run's {SIGNATURE} is {own[:12]}: make them with `pdl1es prognosis "
            f"PREPARED REPORT --run RUN`, or on patients outside the run with `--model RUN/{NETWORKS}/{SIGNATURE}`"
        )
    return given


def _youden(run: Path) -> CutOff:
    """Find the operating point on patients that the weights were not fitted on."""
    table = judged(pd.read_parquet(run / PREDICTIONS_FILE))
    table = table[(table["model"] == SIGNATURE) & table["probability"].notna()]
    cross_fitted = OUT_OF_FOLD in table and table[OUT_OF_FOLD].notna().any()
    rows = table[table[OUT_OF_FOLD].notna()] if cross_fitted else table[table["split"] == VALIDATION]
    try:
        value = youden_cut_off(rows["label"], rows["probability"]).cut_off
    except ValueError as error:
        where = "from the out-of-fold scores" if cross_fitted else "on the validation patients"
        raise TrainingError(f"no cut-off of expression can be found {where}: {error}") from error
    method = YOUDEN_OUT_OF_FOLD if cross_fitted else YOUDEN_ON_VALIDATION
    return CutOff(value=value, method=method, above="high expression", below="not high expression")


def _calibration(given: ModelCutOffs, synthetic: bool) -> CalibrationClaim:
    untested = NotEstimable(given.not_estimable.get("calibration", "it was exported without cut_offs.json"))
    return calibration_claim(not synthetic, given.calibration or untested)


def _placeholders(given: ModelCutOffs) -> tuple[str, ...]:
    found = []
    if given.progression is None:
        found.append(
            "The cut-off of the risk of progression is a placeholder (the paper's 0.66 for its own model): "
            + given.not_estimable.get("progression", "no prognosis was analysed")
            + "."
        )
    for part, label in (("clinical", "clinical"), ("fusion", "fusion")):
        if getattr(given, part) is None:
            reason = given.not_estimable.get(part, "no prognosis was analysed")
            found.append(f"The file holds no {label} Cox model: {reason}.")
    return tuple(found)


def cohort_sentence(summary: dict[str, Any], synthetic: bool, cohort: str | None) -> str:
    """Return the sentence on a model's cohort.

    Parameters
    ----------
    summary
        Of the training run.
    synthetic
        Whether it was one of phantoms.
    cohort
        What is said of it besides its numbers.

    Returns
    -------
    str
    """
    counts = summary["counts"]
    kind = "synthetic phantoms" if synthetic else "patients"
    numbers = " / ".join(str(counts[split]["patients"]) for split in ("train", "validation", "test"))
    high = sum(count["high"] for count in counts.values())
    everyone = sum(count["patients"] for count in counts.values())
    sentence = f"{everyone} {kind} ({numbers} training / validation / test; {high} with high expression)"
    sentence = f"{sentence}. {cohort}" if cohort else sentence
    if summary["config"].get("recipe") == "label-free":
        sentence += (
            f"{'' if sentence.endswith('.') else '.'} Recipe label-free: no label changed the network's weights."
        )
    return sentence
