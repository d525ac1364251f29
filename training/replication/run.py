"""Replicates a signature on a cohort's table: features of every patient, ONNX file, scores, evaluation, report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdl1es.atomic import write_atomically
from pdl1es.errors import Refusal
from pdl1es.model.folder import MODEL_FILE
from training.cohort.case import CaseSource, PreparationSettings, content_digest, read_case
from training.cohort.table import CheckedTable, CohortRow
from training.cohort.volumes import VolumeError
from training.errors import UsageError
from training.progress import Count
from training.replication.evaluation import SignatureEvaluation, SignatureOutcomes, evaluate_signature
from training.replication.features import SignatureFeatureError, signature_features, tumour_image
from training.replication.onnx_file import export_signature, score_features
from training.replication.report import replication_json, replication_page
from training.replication.signature import RadiomicSignature

KEPT: Final = "features"
MODEL: Final = "signature"
SCORES_FILE: Final = "scores.csv"
PAGE_FILE: Final = "replication.md"
DOCUMENT_FILE: Final = "replication.json"


class ReplicationError(UsageError):
    """A signature cannot be replicated on a cohort; the message says why."""


@dataclass(frozen=True, slots=True)
class ReplicatedSignature:
    """What was computed.

    Attributes
    ----------
    evaluation
        Beside volume alone.
    scores
        case_id, linear_predictor, score, volume_ml, one column a feature, and ``failure``: why a patient has none.
    difference
        Of onnxruntime from numpy.
    """

    evaluation: SignatureEvaluation
    scores: pd.DataFrame
    difference: float


def replicate_signature(
    signature: RadiomicSignature,
    table: CheckedTable,
    output: Path,
    settings: PreparationSettings,
    progress: Count | None = None,
) -> ReplicatedSignature:
    """Replicate a signature on every patient of a table who has images.

    Parameters
    ----------
    signature
        Complete.
    table
        The cohort; its label and follow-up are used where they are there.
    output
        Folder of the results; made where it is missing. Features of unchanged images that lie there are not computed
        again.
    settings
        By which a patient's CT and tumour are found.
    progress
        Called with patients done and in all.

    Returns
    -------
    ReplicatedSignature

    Raises
    ------
    ReplicationError
        No patient has images, or none could be scored; the reasons are named.
    ExportError
        The ONNX file is not what the signature is.
    """
    rows = [row for row in table.rows if row.ct is not None]
    if not rows:
        raise ReplicationError("no patient of the table has a CT: a signature's features are computed from images")
    difference = export_signature(signature, output / MODEL)
    names = signature.feature_names
    features = np.full((len(rows), len(names)), np.nan)
    volume = np.full(len(rows), np.nan)
    failures: list[str | None] = []
    for place, row in enumerate(rows):
        found = _case(row, signature, output / KEPT, settings)
        failures.append(found if isinstance(found, str) else None)
        if not isinstance(found, str):
            features[place], volume[place] = found
        if progress is not None:
            progress(place + 1, len(rows))
    content = (output / MODEL / MODEL_FILE).read_bytes()
    predictor, score = (score_features(content, features, name) for name in ("linear_predictor", "score"))
    if not np.isfinite(predictor).any():
        reasons = "; ".join(sorted({reason for reason in failures if reason}))
        raise ReplicationError(f"none of {len(rows)} patients could be scored: {reasons}")
    evaluation = evaluate_signature(signature, features, predictor, volume, _outcomes(rows))
    scores = pd.DataFrame({
        "case_id": [row.id for row in rows],
        "linear_predictor": predictor,
        "score": score,
        "volume_ml": volume,
        **{name: features[:, column] for column, name in enumerate(names)},
        "failure": failures,
    })  # fmt: skip
    for name, text in (
        (SCORES_FILE, scores.to_csv(index=False, lineterminator="\n")),
        (DOCUMENT_FILE, replication_json(signature, evaluation)),
        (PAGE_FILE, replication_page(signature, evaluation)),
    ):
        write_atomically(output / name, text.encode("utf-8"))
    return ReplicatedSignature(evaluation, scores, difference)


def _case(
    row: CohortRow, signature: RadiomicSignature, kept: Path, settings: PreparationSettings
) -> tuple[NDArray[np.float64], float] | str:
    """Return a patient's features and volume, or why there are none."""
    source = CaseSource.of(row)
    try:
        key = f"{content_digest(source)[:32]}-{signature.features_digest()[:32]}-{settings.digest()[:16]}"
        file = kept / f"{key}.json"
        known = _kept(file, key, len(signature.features))
        if known is not None:
            return known
        image = tumour_image(read_case(source, settings))
        values = signature_features(image, signature)
    except Refusal as refusal:
        return f"{refusal.code.name}: {refusal.found}"
    except (VolumeError, SignatureFeatureError) as error:
        return str(error)
    except OSError as error:
        return f"its images cannot be read: {error.strerror}"
    document = {"key": key, "features": values.tolist(), "volume_ml": image.volume_ml}
    write_atomically(file, json.dumps(document).encode("utf-8"))
    return values, image.volume_ml


def _kept(file: Path, key: str, number: int) -> tuple[NDArray[np.float64], float] | None:
    """Return what an earlier call computed; None where there is nothing of this patient and signature."""
    if not file.is_file():
        return None
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        values, volume = np.array(document["features"], dtype=np.float64), float(document["volume_ml"])
    except (ValueError, KeyError, TypeError):
        return None
    return (values, volume) if document.get("key") == key and values.shape == (number,) else None


def _outcomes(rows: list[CohortRow]) -> SignatureOutcomes:
    def column(name: str) -> NDArray[np.float64]:
        values = [getattr(row, name) for row in rows]
        return np.array([np.nan if value is None else float(value) for value in values])

    return SignatureOutcomes(column("high_expression"), column("pfs_days"), column("progressed"))
