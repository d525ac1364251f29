"""A signature as one ONNX file: features in, terms and score out; checked against numpy."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pdl1es.atomic import write_atomically
from pdl1es.model.digests import write_digests
from pdl1es.model.folder import METADATA_FILE, MODEL_FILE
from training.export import AGREEMENT, CHECKED_CASES, OPSET, ExportError
from training.replication.signature import RadiomicSignature

METADATA_KEY: Final = "radiomic_signature"
IR_VERSION: Final = 10
INPUT: Final = "features"
OUTPUTS: Final = ("linear_predictor", "score", "contributions")


def signature_graph(signature: RadiomicSignature) -> onnx.ModelProto:
    """Return a signature as ONNX, in float64.

    Parameters
    ----------
    signature
        Any.

    Returns
    -------
    ModelProto
        ``features`` of shape (n,) as pyradiomics gives them -> ``linear_predictor`` (), ``score`` () (the sigmoid of a
        log-odds, else the linear predictor), ``contributions`` (1 + n,): intercept and terms, which add up to it. The
        same signature gives the same bytes.
    """
    columns = {
        name: np.array([getattr(feature, name) for feature in signature.features], dtype=np.float64)
        for name in ("mean", "sd", "coefficient")
    }
    constants = [numpy_helper.from_array(values, name) for name, values in columns.items()]
    constants.append(numpy_helper.from_array(np.array([signature.intercept]), "intercept"))
    score = "Sigmoid" if signature.link == "logit" else "Identity"
    nodes = [
        helper.make_node("Sub", [INPUT, "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "sd"], ["z"]),
        helper.make_node("Mul", ["z", "coefficient"], ["terms"]),
        helper.make_node("Concat", ["intercept", "terms"], ["contributions"], axis=0),
        helper.make_node("ReduceSum", ["contributions"], ["linear_predictor"], keepdims=0),
        helper.make_node(score, ["linear_predictor"], ["score"]),
    ]
    n = len(signature.features)
    shapes: dict[str, list[int]] = {"linear_predictor": [], "score": [], "contributions": [1 + n]}
    graph = helper.make_graph(
        nodes,
        "radiomic_signature",
        [helper.make_tensor_value_info(INPUT, TensorProto.DOUBLE, [n])],
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, shapes[name]) for name in OUTPUTS],
        constants,
    )
    model = helper.make_model(graph, producer_name="pdl1es", opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    entry = model.metadata_props.add()
    entry.key = METADATA_KEY
    entry.value = json.dumps(signature_document(signature), sort_keys=True)
    return model


def signature_document(signature: RadiomicSignature) -> dict[str, Any]:
    """Return everything that a signature is, ready for JSON."""
    return {**asdict(signature), "digest": signature.digest()}


def export_signature(signature: RadiomicSignature, folder: Path) -> float:
    """Write ``model.onnx`` and ``metadata.json`` with its digest.

    Parameters
    ----------
    signature
        Any.
    folder
        Made where it is missing.

    Returns
    -------
    float
        Largest difference of onnxruntime from numpy on random cases, relative to a value above 1.

    Raises
    ------
    ExportError
        The file is not valid, or onnxruntime differs from numpy by more than 1e-5.
    """
    content = signature_graph(signature).SerializeToString(deterministic=True)
    try:
        onnx.checker.check_model(content, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ExportError(f"the exported file is not valid ONNX: {error}") from error
    rng = np.random.default_rng(0)
    mean, sd, coefficient = (
        np.array([getattr(feature, field) for feature in signature.features]) for field in ("mean", "sd", "coefficient")
    )
    # features as they are have no deviation: terms of size one
    scale = np.where((mean == 0) & (sd == 1), 1 / np.maximum(np.abs(coefficient), 1e-300), sd)
    cases = mean + scale * rng.normal(size=(CHECKED_CASES, mean.size))
    served = score_features(content, cases)
    expected = signature.linear_predictor(cases)
    difference = float((np.abs(served - expected) / np.maximum(1, np.abs(expected))).max())
    if not difference <= AGREEMENT:
        raise ExportError(f"onnxruntime differs from numpy by {difference:.2g}, more than {AGREEMENT:.0e}")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / MODEL_FILE, content)
    document = json.dumps(signature_document(signature), indent=2) + "\n"
    write_atomically(folder / METADATA_FILE, document.encode("utf-8"))
    write_digests(folder)
    return difference


def score_features(
    content: bytes, values: NDArray[np.float64], output: str = "linear_predictor"
) -> NDArray[np.float64]:
    """Score patients by an exported signature.

    Parameters
    ----------
    content
        The file's bytes.
    values
        float64, shape (N, features); rows that are not finite give NaN.
    output
        One of `OUTPUTS` with one value a patient.

    Returns
    -------
    NDArray[np.float64]
        Shape (N,).
    """
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = np.full(len(values), np.nan)
    for row, features in enumerate(values):
        if np.isfinite(features).all():
            found[row] = float(session.run([output], {INPUT: features})[0])
    return found
