"""The fusion model: one ONNX file that holds everything from HU to score; how it is loaded and run."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from pdl1es.clinical import VARIABLES, ClinicalData
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.method import MAX_MISSING_FEATURES, PATCH_SIZE, Z_CLIP
from pdl1es.model.clinical_range import unknown_values
from pdl1es.model.contract import check_graph, check_method, read_metadata, unfit
from pdl1es.model.digests import check_digest
from pdl1es.model.folder import MODEL_FILE
from pdl1es.model.metadata import ModelMetadata
from pdl1es.model.prediction import Contribution, Prediction
from pdl1es.model.provider import CUDA, cuda_obstacle, providers
from pdl1es.regular_file import read_regular_file

MAX_MODEL_BYTES: Final = 512 * 1024 * 1024

_ORT_ERRORS: Final[tuple[type[Exception], ...]] = (
    RuntimeError,
    UnicodeDecodeError,  # a damaged name, in the message
    # onnxruntime's own errors have no base of their own below Exception.
    *(kind for kind in vars(ort_errors).values() if isinstance(kind, type) and issubclass(kind, Exception)),
)


_ORT_SOURCE = re.compile(r"\S*onnxruntime_src/\S+ (?:\S+ \S+\(.*?\) )?")


class FusionModel:
    """The model as the chain runs it: loaded, checked, and tied to one execution provider.

    Made by `load`.

    Attributes
    ----------
    metadata
        The file's metadata.
    sha256
        Of the file, hexadecimal.
    provider
        onnxruntime's execution provider.
    """

    def __init__(self, session: onnxruntime.InferenceSession, metadata: ModelMetadata, sha256: str) -> None:
        self._session = session
        self.metadata = metadata
        self.sha256 = sha256

    def __repr__(self) -> str:
        return f"FusionModel({self.metadata.name!r}, version {self.metadata.version!r}, {self.provider})"

    @property
    def provider(self) -> str:
        """onnxruntime's execution provider that comes first."""
        return str(self._session.get_providers()[0])

    @classmethod
    def load(cls, folder: Path, *, require_gpu: bool = False, threads: int = 2) -> FusionModel:
        """Read and check ``model.onnx``.

        The file is read and its digest compared at each call. What follows from its bytes alone is kept for the next
        call of this process.

        Parameters
        ----------
        folder
            Where ``model.onnx`` and ``metadata.json`` lie; of the latter, only the digest is read. Nothing else is read:
            neither weights nor operators from other files.
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
            MODEL_CHANGED: the file's SHA-256 is not the one in ``metadata.json``. MODEL_UNFIT: the file is missing or
            unreadable, its inputs, outputs or metadata are not the contract's, or its feature names or method digest
            are not those of this version. PROVIDER_UNAVAILABLE: a GPU is required and cannot be used.
        """
        content = _read(folder / MODEL_FILE)
        sha256 = check_digest(folder, MODEL_FILE, content)
        obstacle = cuda_obstacle()
        if require_gpu and obstacle:
            raise Refusal(RefusalCode.PROVIDER_UNAVAILABLE, obstacle)
        wanted = (sha256, obstacle, require_gpu, threads, os.getpid())
        model = _last_model.get(wanted)
        if model is None:
            model = cls._built(content, sha256, obstacle, require_gpu, threads)
            _last_model.clear()
            _last_model[wanted] = model
        return model

    @classmethod
    def _built(cls, content: bytes, sha256: str, obstacle: str | None, require_gpu: bool, threads: int) -> FusionModel:
        session = _session(content, obstacle, threads)
        if require_gpu and session.get_providers()[0] != CUDA:
            raise Refusal(RefusalCode.PROVIDER_UNAVAILABLE, "onnxruntime could not start its CUDA provider")
        try:
            metadata = read_metadata(session)
            check_method(metadata)
            check_graph(session, metadata)
        except UnicodeDecodeError:
            raise unfit(f"{MODEL_FILE} holds text that is not UTF-8") from None
        return cls(session, metadata, sha256)

    def predict(
        self,
        patches: NDArray[np.float32],
        radiomics: NDArray[np.float64],
        clinical: ClinicalData,
        *,
        with_range: bool = False,
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
        with_range
            Also find the range of scores over the values that missing variables may have: two more runs, of one slice.

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
        score_range = None
        if with_range and (unknown := unknown_values(clinical)):
            score_range = self._range(patches, radiomics, self._codes(clinical), outputs, unknown)
        radiomic_z = outputs["radiomic_z"]
        reach = self.metadata.training_reach
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
            model_sha256=self.sha256,
            clinical_risk=None if risks["clinical_risk"] is None else float(risks["clinical_risk"]),
            fusion_risk=None if risks["fusion_risk"] is None else float(risks["fusion_risk"]),
            training_distance=None if reach is None else reach.distance_of(radiomic_z),
            imputed_range=score_range,
        )

    def _range(
        self,
        patches: NDArray[np.float32],
        radiomics: NDArray[np.float64],
        codes: NDArray[np.float64],
        outputs: dict[str, NDArray[np.float64]],
        unknown: Mapping[int, tuple[float, float]],
    ) -> tuple[float, float]:
        """Return the lowest and highest score over the unknown variables' ranges.

        The logit is linear in each clinical variable, and a variable's term depends on no other input: the extremes lie at
        the ends of the ranges, and one slice suffices to know the terms there.
        """
        columns = list(unknown)
        ends = []
        for end in (0, 1):
            given = codes.copy()
            given[columns] = [unknown[column][end] for column in columns]
            ends.append(self._run(patches[:1], radiomics, given)["contributions"][-len(VARIABLES) :][columns])
        terms = outputs["contributions"]
        rest = math.fsum(terms) - math.fsum(terms[-len(VARIABLES) :][columns])
        lowest, highest = rest + np.minimum(*ends).sum(), rest + np.maximum(*ends).sum()
        return _sigmoid(lowest), _sigmoid(highest)

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
        try:
            outputs = self._session.run(names, feed)
        except _ORT_ERRORS as error:
            raise unfit(f"onnxruntime cannot run {MODEL_FILE}: {_reason(error)}") from None
        return dict(zip(names, outputs, strict=True))


_last_model: Final[dict[tuple[str, str | None, bool, int, int], FusionModel]] = {}
"""The model that this process loaded last, by all that decides it: a file of the same digest is not built again.

By the process as well: the threads of a session do not live on in a fork."""


def _read(path: Path) -> bytes:
    try:
        content = read_regular_file(path, MAX_MODEL_BYTES)
    except OSError as error:
        raise unfit(f"{path.name} cannot be read from the model's folder ({error.strerror})") from None
    if len(content) > MAX_MODEL_BYTES:
        raise unfit(f"{path.name} has more than {MAX_MODEL_BYTES} bytes")
    return content


def _session(content: bytes, obstacle: str | None, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # Errors are raised as exceptions; onnxruntime's own log would write to standard error as well.
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    # Threads that wait for work sleep: spinning takes the core from whatever else runs, and gains nothing on one tumour.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # One file holds everything: external weights are looked for in the null device, where there are none.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers(obstacle), enable_fallback=0)
    except _ORT_ERRORS as error:
        if not obstacle:
            return _session(content, "the CUDA provider failed", threads)
        raise unfit(f"onnxruntime cannot read {MODEL_FILE}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return onnxruntime's message without its own prefix and the places in its source."""
    return _ORT_SOURCE.sub("", (str(error).splitlines() or [type(error).__name__])[0]).rpartition(" : ")[2][:200]


def _sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1.0 + math.exp(logit))


def _check_array(name: str, array: NDArray[Any], dtype: type, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name} must be {np.dtype(dtype)} of shape {shape}, got {array.dtype} {array.shape}")


def _named(names: Sequence[str], values: NDArray[np.float64]) -> tuple[Contribution, ...]:
    return tuple(Contribution(name, float(value)) for name, value in zip(names, values, strict=True))
