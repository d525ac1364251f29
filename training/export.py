"""Exports the trained network as one ONNX file that holds everything from raw inputs to score, and checks it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from pdl1es.atomic import write_atomically
from pdl1es.clinical import VARIABLES
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.method import PATCH_SIZE, PATCH_SLICES
from pdl1es.method_digest import method_digest
from pdl1es.model.digests import sha256_of, write_digests
from pdl1es.model.folder import MODEL_FILE
from pdl1es.model.fusion import FusionModel
from pdl1es.model.metadata import METADATA_KEY, CutOff, ExpressionAccuracy, ModelMetadata, Recipe, TrainingData
from pdl1es.model.training_reach import TrainingReach
from training.errors import FailedError
from training.network import FusionNetwork, Preprocessor, ServingGraph
from training.preprocessing import CoxTerms, FittedPreprocessing
from training.progress import Count

INPUT_NAMES: Final = ("patches", "radiomics", "clinical")
OPSET: Final = 18
AGREEMENT: Final = 1e-5
"""Largest allowed difference between torch and onnxruntime in any output."""
CHECKED_CASES: Final = 100
Case = tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]


class ExportError(FailedError):
    """The exported file and the network give different outputs; nothing was written."""


def model_metadata(
    network: FusionNetwork,
    fitted: FittedPreprocessing,
    *,
    name: str,
    version: str,
    training_data: TrainingData,
    trained_on: str,
    intended_use: str,
    limitations: tuple[str, ...],
    expression_cut_off: CutOff,
    progression_cut_off: CutOff,
    calibrated: bool,
    clinical_cut_off: CutOff | None = None,
    fusion_cut_off: CutOff | None = None,
    training_reach: TrainingReach | None = None,
    expression_accuracy: ExpressionAccuracy | None = None,
    recipe: Recipe = "paper",
) -> ModelMetadata:
    """Describe a network, with this version's method and the fitted values.

    Parameters
    ----------
    network, fitted
        The network, and what comes before it.
    name, version, training_data, trained_on, intended_use, limitations
        As of `ModelMetadata`.
    expression_cut_off, progression_cut_off, clinical_cut_off, fusion_cut_off
        The latter two None where the file holds no such Cox model.
    calibrated
        Whether the score may be called a probability.
    training_reach
        How far the training patients lie; None where it was not measured.
    expression_accuracy
        At the expression cut-off; None where it was not measured.
    recipe
        By which it was trained.

    Returns
    -------
    ModelMetadata

    Raises
    ------
    ValidationError
        pydantic's, where a text is empty or cut-offs do not belong together.
    """
    return ModelMetadata(
        name=name,
        version=version,
        training_data=training_data,
        trained_on=trained_on,
        intended_use=intended_use,
        limitations=limitations,
        method_digest=method_digest(),
        feature_names=FEATURE_NAMES,
        selected_features=fitted.selected_features,
        clinical_names=VARIABLES,
        window_hu=network.window_hu,
        smoker_grade=fitted.smoker_grade,
        expression_cut_off=expression_cut_off,
        progression_cut_off=progression_cut_off,
        calibrated=calibrated,
        clinical_cut_off=clinical_cut_off,
        fusion_cut_off=fusion_cut_off,
        training_reach=training_reach,
        expression_accuracy=expression_accuracy,
        recipe=recipe,
    )


def export_model(
    network: FusionNetwork,
    fitted: FittedPreprocessing,
    metadata: ModelMetadata,
    path: Path,
    *,
    cox: CoxTerms | None = None,
    cases: int = CHECKED_CASES,
    progress: Count | None = None,
) -> float:
    """Write the network as one ONNX file that `pdl1es.model.fusion.FusionModel` serves, and its digest beside it.

    The same network gives the same bytes: torch's notes about the machine and the source are removed.

    Parameters
    ----------
    network
        Trained; left in evaluation mode, on the CPU.
    fitted
        What the network was made with.
    metadata
        As `model_metadata` gives it.
    path
        The file, which is replaced whole or not at all; its SHA-256 is written into the folder's ``metadata.json``.
    cox
        Cox models; exactly those that the metadata have cut-offs for.
    cases
        Random cases on which torch and onnxruntime are compared.
    progress
        Called with the number of cases compared and in all.

    Returns
    -------
    float
        The largest difference that was found between torch and onnxruntime.

    Raises
    ------
    ValueError
        Network, fitted parts, metadata and Cox models do not belong together.
    ExportError
        The file is not valid, or onnxruntime differs from torch by more than 1e-5.
    Refusal
        The chain would refuse the file.
    """
    _check_belonging(network, fitted, metadata, cox)
    graph = ServingGraph(network.cpu(), cox).eval()
    content = _with_metadata(exported_graph(graph), metadata)
    try:
        onnx.checker.check_model(content, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ExportError(f"the exported file is not valid ONNX: {error}") from error
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / MODEL_FILE).write_bytes(content)
        write_digests(Path(folder))
        FusionModel.load(Path(folder))
    difference = largest_difference(graph, content, _counted(random_cases(fitted, cases), cases, progress))
    if not difference <= AGREEMENT:
        raise ExportError(f"onnxruntime differs from torch by {difference:.2g}, more than {AGREEMENT:.0e}")
    write_atomically(path, content)
    write_digests(path.parent)
    return difference


def model_digest(folder: Path) -> str:
    """Return the SHA-256 of the ``model.onnx`` in a folder, by which cut-offs name their model."""
    return sha256_of((folder / MODEL_FILE).read_bytes())


def random_cases(fitted: FittedPreprocessing, count: int, seed: int = 0) -> Iterator[Case]:
    """Draw inputs as a chain may send them: one to five patches of a lesion in lung, wild and missing values.

    Parameters
    ----------
    fitted
        Means and deviations from which the values are drawn.
    count
        Of cases.
    seed
        Of the draw.

    Yields
    ------
    tuple
        The graph's ``patches``, ``radiomics`` and ``clinical``.
    """
    rng = np.random.default_rng(seed)
    selected = np.array(fitted.selected, dtype=int)
    axis = np.linspace(-1.0, 1.0, PATCH_SIZE)
    radius = np.hypot(axis[:, None], axis[None, :])
    for _ in range(count):
        slices = int(rng.choice((1, PATCH_SLICES, 5)))
        texture = gaussian_filter(rng.normal(size=(slices, PATCH_SIZE, PATCH_SIZE)), (0, *rng.uniform(1, 6, 2)))
        border = rng.uniform(0.4, 0.9) + rng.uniform(0, 0.2) * texture / texture.std()
        lesion = 1 / (1 + np.exp((radius - border) / rng.uniform(0.01, 0.1)))
        tissue = rng.normal(30, 30) + rng.uniform(5, 60) * texture / texture.std()
        hu = -850 + (tissue + 850) * lesion + rng.normal(0, rng.uniform(5, 40), texture.shape)
        radiomics = rng.normal(size=len(FEATURE_NAMES))
        radiomics[selected] = fitted.radiomic_mean + fitted.radiomic_sd * 3 * radiomics[selected]
        radiomics[rng.random(len(radiomics)) < 0.02] = np.nan
        clinical = np.array([rng.integers(30, 90), rng.integers(2), rng.integers(3), rng.integers(2)], dtype=np.float64)
        clinical[rng.random(4) < 0.3] = np.nan
        yield np.rint(hu)[:, None].astype(np.float32), radiomics, clinical


def _counted(cases: Iterator[Case], count: int, progress: Count | None) -> Iterator[Case]:
    for done, case in enumerate(cases, start=1):
        yield case
        if progress is not None:
            progress(done, count)


def largest_difference(graph: ServingGraph, content: bytes, cases: Iterator[Case]) -> float:
    """Compare torch with onnxruntime.

    Parameters
    ----------
    graph
        In torch.
    content
        The same as ONNX.
    cases
        Inputs.

    Returns
    -------
    float
        Largest difference of any output: absolute, relative to a value above 1; infinite where one gives NaN and the
        other does not.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = graph.output_names()
    largest = 0.0
    for case in cases:
        served = session.run(list(names), dict(zip(INPUT_NAMES, case, strict=True)))
        with torch.inference_mode():
            trained = [output.numpy() for output in graph(*(torch.from_numpy(array) for array in case))]
        for a, b in zip(trained, served, strict=True):
            if not np.array_equal(np.isnan(a), np.isnan(b)):
                return float("inf")
            scaled = np.abs(a - b) / np.maximum(1.0, np.abs(a))
            largest = max(largest, float(np.nanmax(scaled, initial=0.0)))
    return largest


def _check_belonging(
    network: FusionNetwork, fitted: FittedPreprocessing, metadata: ModelMetadata, cox: CoxTerms | None
) -> None:
    mine = network.preprocessor.state_dict()
    for name, tensor in Preprocessor(fitted).state_dict().items():
        if not torch.equal(mine[name].cpu(), tensor):
            raise ValueError(f"the network was made with another {name} than the fitted parts hold")
    for field, expected in (
        ("selected_features", fitted.selected_features),
        ("smoker_grade", fitted.smoker_grade),
        ("window_hu", network.window_hu),
    ):
        if getattr(metadata, field) != expected:
            raise ValueError(f"the metadata's {field} is not the network's")
    has_fusion = cox is not None and cox.fusion_coefficients is not None
    if (metadata.clinical_cut_off is not None) != (cox is not None) or (
        metadata.fusion_cut_off is not None
    ) != has_fusion:
        raise ValueError("Cox models and their cut-offs belong together: one is given without the other")


def exported_graph(graph: ServingGraph) -> onnx.ModelProto:
    """Return a graph as ONNX without metadata; the same graph gives the same."""
    example = (
        torch.zeros(PATCH_SLICES, 1, PATCH_SIZE, PATCH_SIZE),
        torch.zeros(len(FEATURE_NAMES), dtype=torch.float64),
        torch.zeros(len(VARIABLES), dtype=torch.float64),
    )
    # The exporter warns of every torchvision operator that it cannot export; the network uses none.
    logging.disable(logging.WARNING)
    try:
        program = torch.onnx.export(
            graph,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(INPUT_NAMES),
            output_names=list(graph.output_names()),
            dynamic_shapes={"patches": {0: torch.export.Dim("S", min=1)}, "radiomics": None, "clinical": None},
            external_data=False,
            verbose=False,
        )
    finally:
        logging.disable(logging.NOTSET)
    if program is None:
        raise ExportError("torch.onnx.export gave no program")
    model = program.model_proto
    _strip_provenance(model)
    model.producer_version = torch.__version__.partition("+")[0]
    return model


def _with_metadata(model: onnx.ModelProto, metadata: ModelMetadata) -> bytes:
    entry = model.metadata_props.add()
    entry.key = METADATA_KEY
    entry.value = metadata.model_dump_json()
    return model.SerializeToString(deterministic=True)


def _strip_provenance(message: Any) -> None:
    """Take out of a protobuf message the source lines, stack traces and paths that torch writes beside every node."""
    for field, value in message.ListFields():
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for part in (value,) if hasattr(value, "ListFields") else value:
                _strip_provenance(part)
