"""The fusion model: one ONNX file that holds everything from HU to score, and its metadata."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pdl1es.clinical import VARIABLES, ClinicalData
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.method import MAX_MISSING_FEATURES, PATCH_SIZE, Z_CLIP, method_digest
from pdl1es.model.folder import MODEL_FILE
from pdl1es.model.provider import CUDA, cuda_obstacle, providers

METADATA_KEY: Final = "pdl1es"
"""Key of the metadata's JSON among the ONNX file's own metadata."""
MAX_MODEL_BYTES: Final = 512 * 1024 * 1024
CAM_SIZE: Final = 3
"""DenseNet121 turns 112 x 112 into 3 x 3 cells."""

TrainingData = Literal["untrained", "synthetic", "patients"]


class CutOff(BaseModel):
    """A cut-off that belongs to the model, never to the code.

    Attributes
    ----------
    value
        On the scale of the quantity it cuts; a value above it (strictly) is the upper group.
    method
        How it was found: ``"Youden on validation"``, ``"X-tile"``...
    above, below
        What the groups mean, as ``"high risk"`` and ``"low risk"``: the direction is the fitted model's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    value: float
    method: str
    above: str
    below: str


class ModelMetadata(BaseModel):
    """What the file says of itself, under the ONNX metadata key ``pdl1es`` as JSON.

    Attributes
    ----------
    schema_version
        Of this document.
    name, version
        The model's.
    training_data
        ``untrained``, ``synthetic`` or ``patients``: anything but the last is a demonstration.
    trained_on, intended_use, limitations
        Sentences for a reader of the report.
    method_digest
        Of the method whose patches and features it was trained on.
    feature_names
        Order of the ``radiomics`` input.
    selected_features
        Those that it uses, in the order of its contributions.
    clinical_names
        Order of the ``clinical`` input.
    window_hu
        HU window of the patch, inside the graph.
    smoker_grade
        Smoking code of a smoker of unknown grade: never's code plus one plus the training share of 'constantly' among
        smokers.
    expression_cut_off, progression_cut_off
        On PD-L1ES: 'high PD-L1 expression', and 'risk of progression'.
    calibrated
        Whether the score's calibration was tested on enough patients and found right, so that it may be called a
        probability.
    clinical_cut_off, fusion_cut_off
        On the Cox models' linear predictors; None where the file has no such output.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    training_data: TrainingData
    trained_on: str
    intended_use: str
    limitations: tuple[str, ...]
    method_digest: str
    feature_names: tuple[str, ...]
    selected_features: tuple[str, ...]
    clinical_names: tuple[str, ...]
    window_hu: tuple[float, float]
    smoker_grade: float = Field(ge=0, le=2)
    expression_cut_off: CutOff
    progression_cut_off: CutOff
    calibrated: bool
    clinical_cut_off: CutOff | None = None
    fusion_cut_off: CutOff | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ModelMetadata:
        unknown = set(self.selected_features) - set(self.feature_names)
        if unknown:
            raise ValueError(f"{len(unknown)} selected features are not among the feature names")
        if len(set(self.selected_features)) != len(self.selected_features):
            raise ValueError("a selected feature is named twice")
        if self.fusion_cut_off is not None and self.clinical_cut_off is None:
            raise ValueError("fusion_cut_off needs clinical_cut_off: the fusion model holds the clinical one")
        return self


@dataclass(frozen=True, slots=True)
class Contribution:
    """One term of the logit, in log-odds."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one tumour.

    Attributes
    ----------
    score
        sigmoid of the mean slice logit, 0 to 1.
    slice_scores
        float64, shape (S,).
    cam
        float64, shape (S, 3, 3): log-odds, the sum over a slice is its deep term.
    bias, deep, radiomic, clinical
        The logit's exact sum: one bias, one deep term, one term per selected feature, one per clinical variable.
    imputed_clinical
        float64, shape (4,): the values after imputation, raw scale.
    imputed
        Names of the clinical variables that were imputed.
    missing_features
        Selected features that were NaN and counted as the training mean.
    clipped_features
        Selected features whose |z| was above 5 and was clipped.
    provider
        onnxruntime's execution provider that ran it.
    clinical_risk, fusion_risk
        Linear predictors of the Cox models, or None where the model has none.
    """

    score: float
    slice_scores: NDArray[np.float64]
    cam: NDArray[np.float64]
    bias: float
    deep: float
    radiomic: tuple[Contribution, ...]
    clinical: tuple[Contribution, ...]
    imputed_clinical: NDArray[np.float64]
    imputed: tuple[str, ...]
    missing_features: tuple[str, ...]
    clipped_features: tuple[str, ...]
    provider: str
    clinical_risk: float | None = None
    fusion_risk: float | None = None

    @property
    def radiomic_total(self) -> float:
        """Sum of the radiomic terms, log-odds."""
        return math.fsum(term.value for term in self.radiomic)

    @property
    def clinical_total(self) -> float:
        """Sum of the clinical terms, log-odds."""
        return math.fsum(term.value for term in self.clinical)

    @property
    def logit(self) -> float:
        """Sum of all terms, log-odds: its sigmoid is `score`."""
        return self.bias + self.deep + self.radiomic_total + self.clinical_total


# onnxruntime's errors have no base of their own below Exception.
_LOADING_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


_ORT_SOURCE = re.compile(r"\S*onnxruntime_src/\S+ (?:\S+ \S+\(.*?\) )?")


class FusionModel:
    """The model as the chain runs it: loaded, checked, and tied to one execution provider.

    Make one with `load`; it is valid from then on.

    Attributes
    ----------
    metadata
        What the file says of itself.
    sha256
        Of the file, hexadecimal.
    provider
        onnxruntime's execution provider.
    """

    def __init__(self, session: onnxruntime.InferenceSession, metadata: ModelMetadata, sha256: str) -> None:
        self._session = session
        self.metadata = metadata
        self.sha256 = sha256

    @property
    def provider(self) -> str:
        """onnxruntime's execution provider that comes first."""
        return str(self._session.get_providers()[0])

    @classmethod
    def load(cls, folder: Path, *, require_gpu: bool = False, threads: int = 2) -> FusionModel:
        """Read and check ``model.onnx``.

        Parameters
        ----------
        folder
            Where ``model.onnx`` lies. Nothing else is read: neither weights nor operators from other files.
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
            MODEL_UNFIT: the file is missing or unreadable, its inputs, outputs or metadata are not the contract's, or
            its feature names or method digest are not those of this version. PROVIDER_UNAVAILABLE: a GPU is required
            and cannot be used.
        """
        content = _read(folder / MODEL_FILE)
        obstacle = cuda_obstacle()
        if require_gpu and obstacle:
            raise Refusal(RefusalCode.PROVIDER_UNAVAILABLE, obstacle)
        session = _session(content, obstacle, threads)
        if require_gpu and session.get_providers()[0] != CUDA:
            raise Refusal(RefusalCode.PROVIDER_UNAVAILABLE, "onnxruntime could not start its CUDA provider")
        metadata = _metadata(session)
        _check_method(metadata)
        _check_contract(session, metadata)
        return cls(session, metadata, hashlib.sha256(content).hexdigest())

    def predict(
        self, patches: NDArray[np.float32], radiomics: NDArray[np.float64], clinical: ClinicalData
    ) -> Prediction:
        """Score one tumour.

        Parameters
        ----------
        patches
            float32 HU, shape (S, 112, 112).
        radiomics
            float64, shape (1316,), in the order of `FEATURE_NAMES`; NaN where a feature could not be computed.
        clinical
            The four variables; missing ones are imputed in the model.

        Returns
        -------
        Prediction

        Raises
        ------
        ValueError
            An array has another shape or type, or a patch holds a value that is not finite.
        Refusal
            RADIOMICS_INCOMPLETE: more than 5 % of the selected features are not finite. SCORE_NOT_FINITE: the score or
            a term of it is not finite.
        """
        _check_array("patches", patches, np.float32, (len(patches), PATCH_SIZE, PATCH_SIZE))
        _check_array("radiomics", radiomics, np.float64, (len(FEATURE_NAMES),))
        if not len(patches):
            raise ValueError("there is no patch")
        if not np.isfinite(patches).all():
            # The window would turn it into air or bone, unseen.
            raise ValueError("a patch holds a value that is not finite")
        names = self.metadata.selected_features
        order = {name: index for index, name in enumerate(FEATURE_NAMES)}
        missing = tuple(name for name in names if not np.isfinite(radiomics[order[name]]))
        if len(missing) > MAX_MISSING_FEATURES * len(names):
            raise Refusal(
                RefusalCode.RADIOMICS_INCOMPLETE,
                f"{len(missing)} of the model's {len(names)} radiomic features are not finite: "
                + ", ".join(missing[:3])
                + (", ..." if len(missing) > 3 else ""),
            )
        outputs = self._run(patches, radiomics, self._codes(clinical))
        terms = outputs["contributions"]
        risks = {name: outputs.get(name) for name in ("clinical_risk", "fusion_risk")}
        for name, value in outputs.items():
            if name != "radiomic_z" and not np.isfinite(value).all():
                raise Refusal(RefusalCode.SCORE_NOT_FINITE, f"the model's output {name} is not finite")
        radiomic_z = outputs["radiomic_z"]
        return Prediction(
            score=float(outputs["pdl1es"]),
            slice_scores=outputs["slice_scores"],
            cam=outputs["cam"],
            bias=float(terms[0]),
            deep=float(terms[1]),
            radiomic=_named(names, terms[2 : 2 + len(names)]),
            clinical=_named(VARIABLES, terms[2 + len(names) :]),
            imputed_clinical=outputs["imputed_clinical"],
            imputed=tuple(
                name for name, value in zip(VARIABLES, clinical.values(), strict=True) if value.value is None
            ),
            missing_features=missing,
            clipped_features=tuple(name for name, z in zip(names, radiomic_z, strict=True) if abs(z) > Z_CLIP),
            provider=self.provider,
            clinical_risk=None if risks["clinical_risk"] is None else float(risks["clinical_risk"]),
            fusion_risk=None if risks["fusion_risk"] is None else float(risks["fusion_risk"]),
        )

    def _codes(self, clinical: ClinicalData) -> NDArray[np.float64]:
        """Return the clinical input: NaN where missing, the model's own grade for a smoker of unknown grade."""
        codes = [np.nan if value.value is None else value.value for value in clinical.values()]
        if clinical.smoking.value is None and not clinical.smoking.graded:
            codes[VARIABLES.index("smoking")] = self.metadata.smoker_grade
        return np.array(codes, dtype=np.float64)

    def _run(
        self, patches: NDArray[np.float32], radiomics: NDArray[np.float64], clinical: NDArray[np.float64]
    ) -> dict[str, NDArray[np.float64]]:
        names = [output.name for output in self._session.get_outputs()]
        feed = {"patches": np.ascontiguousarray(patches[:, None]), "radiomics": radiomics, "clinical": clinical}
        return dict(zip(names, self._session.run(names, feed), strict=True))


def _unfit(found: str) -> Refusal:
    return Refusal(RefusalCode.MODEL_UNFIT, found)


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise _unfit(f"{path.name} has {size} bytes, more than {MAX_MODEL_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise _unfit(f"{path.name} cannot be read from the model's folder ({error.strerror})") from None


def _session(content: bytes, obstacle: str | None, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # Errors come as exceptions; its own log would write to stderr beside ours.
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    # One file holds everything: weights that it claims to have elsewhere are looked for where nothing can be.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers(obstacle), enable_fallback=0)
    except _LOADING_ERRORS as error:
        if not obstacle:
            return _session(content, "the CUDA provider failed", threads)
        # Without onnxruntime's own prefix and the places in its source.
        reason = _ORT_SOURCE.sub("", str(error).splitlines()[0]).rpartition(" : ")[2][:200]
        raise _unfit(f"onnxruntime cannot read {MODEL_FILE}: {reason}") from None


def _metadata(session: onnxruntime.InferenceSession) -> ModelMetadata:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise _unfit(f"{MODEL_FILE} has no metadata under the key {METADATA_KEY!r}")
    try:
        return ModelMetadata.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise _unfit(f"the metadata of {MODEL_FILE} are not valid: {where}: {first['msg']}") from None


def _check_method(metadata: ModelMetadata) -> None:
    """Refuse a model that was made for other features or settings, and say which."""
    if metadata.feature_names != FEATURE_NAMES:
        theirs, ours = metadata.feature_names, FEATURE_NAMES
        if len(theirs) != len(ours):
            raise _unfit(f"the model expects {len(theirs)} radiomic features, this version computes {len(ours)}")
        place = next(i for i, (a, b) in enumerate(zip(theirs, ours, strict=True)) if a != b)
        raise _unfit(
            f"the model expects {theirs[place]!r} as radiomic feature {place}, this version gives {ours[place]!r}"
        )
    if metadata.clinical_names != VARIABLES:
        raise _unfit(
            f"the model expects the clinical variables {metadata.clinical_names}, this version gives {VARIABLES}"
        )
    digest = method_digest()
    if metadata.method_digest != digest:
        raise _unfit(
            f"the model was made for the method {metadata.method_digest[:12]}, this version's is {digest[:12]}: grid, "
            "patches or radiomics settings differ"
        )


def _check_contract(session: onnxruntime.InferenceSession, metadata: ModelMetadata) -> None:
    """Refuse a graph whose inputs or outputs are not the contract's."""
    selected = len(metadata.selected_features)
    inputs = {
        "patches": ("tensor(float)", (None, 1, PATCH_SIZE, PATCH_SIZE)),
        "radiomics": ("tensor(double)", (len(FEATURE_NAMES),)),
        "clinical": ("tensor(double)", (len(VARIABLES),)),
    }
    outputs = {
        "pdl1es": ("tensor(double)", ()),
        "slice_scores": ("tensor(double)", (None,)),
        "cam": ("tensor(double)", (None, CAM_SIZE, CAM_SIZE)),
        "contributions": ("tensor(double)", (2 + selected + len(VARIABLES),)),
        "imputed_clinical": ("tensor(double)", (len(VARIABLES),)),
        "radiomic_z": ("tensor(double)", (selected,)),
        **({"clinical_risk": ("tensor(double)", ())} if metadata.clinical_cut_off else {}),
        **({"fusion_risk": ("tensor(double)", ())} if metadata.fusion_cut_off else {}),
    }
    for kind, expected, found in (("input", inputs, session.get_inputs()), ("output", outputs, session.get_outputs())):
        _check_values(kind, expected, found)


def _check_values(kind: str, expected: dict[str, tuple[str, tuple[int | None, ...]]], found: Sequence[Any]) -> None:
    names = [value.name for value in found]
    if sorted(names) != sorted(expected):
        raise _unfit(f"the model's {kind}s are {', '.join(names)}, expected {', '.join(expected)}")
    for value in found:
        type_, shape = expected[value.name]
        # A size that the file leaves open is a name or None.
        sizes = tuple(size if isinstance(size, int) else None for size in value.shape)
        if value.type != type_ or sizes != shape:
            raise _unfit(f"the model's {kind} {value.name} is {value.type} {sizes}, expected {type_} {shape}")


def _check_array(name: str, array: NDArray[Any], dtype: type, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name} must be {np.dtype(dtype)} of shape {shape}, got {array.dtype} {array.shape}")


def _named(names: Sequence[str], values: NDArray[np.float64]) -> tuple[Contribution, ...]:
    return tuple(Contribution(name, float(value)) for name, value in zip(names, values, strict=True))
