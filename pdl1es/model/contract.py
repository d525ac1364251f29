"""Checks a model's file: its metadata, the method that it was made for, the graph's inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pdl1es.clinical import VARIABLES
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.method import PATCH_SIZE
from pdl1es.method_digest import method_digest
from pdl1es.model.folder import MODEL_FILE
from pdl1es.model.metadata import METADATA_KEY, ModelMetadata
from pdl1es.model.prediction import CAM_SIZE

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def unfit(found: str) -> Refusal:
    """Return the refusal of a model's file."""
    return Refusal(RefusalCode.MODEL_UNFIT, found)


def read_metadata(session: InferenceSession) -> ModelMetadata:
    """Return the file's metadata, or refuse the file."""
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise unfit(f"{MODEL_FILE} has no metadata under the key {METADATA_KEY!r}")
    try:
        return ModelMetadata.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise unfit(f"the metadata of {MODEL_FILE} are not valid: {where}: {first['msg']}") from None


def check_method(metadata: ModelMetadata) -> None:
    """Refuse a model that was made for other features or settings, and say which."""
    if metadata.feature_names != FEATURE_NAMES:
        theirs, ours = metadata.feature_names, FEATURE_NAMES
        if len(theirs) != len(ours):
            raise unfit(f"the model expects {len(theirs)} radiomic features, this version computes {len(ours)}")
        place = next(i for i, (a, b) in enumerate(zip(theirs, ours, strict=True)) if a != b)
        raise unfit(
            f"the model expects {theirs[place]!r} as radiomic feature {place}, this version gives {ours[place]!r}"
        )
    if metadata.clinical_names != VARIABLES:
        raise unfit(
            f"the model expects the clinical variables {metadata.clinical_names}, this version gives {VARIABLES}"
        )
    digest = method_digest()
    if metadata.method_digest != digest:
        raise unfit(
            f"the model was made for the method {metadata.method_digest[:12]}, this version's is {digest[:12]}: grid, "
            "patches or radiomics settings differ"
        )


def check_graph(session: InferenceSession, metadata: ModelMetadata) -> None:
    """Refuse a graph whose inputs or outputs are not the contract's.

    Parameters
    ----------
    session
        The graph, loaded.
    metadata
        Its metadata: the selected features, and the risks that it gives.

    Raises
    ------
    Refusal
        MODEL_UNFIT.
    """
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
        raise unfit(f"the model's {kind}s are {', '.join(names)}, expected {', '.join(expected)}")
    for value in found:
        type_, shape = expected[value.name]
        # A size that the file leaves open is a name or None.
        sizes = tuple(size if isinstance(size, int) else None for size in value.shape)
        if value.type != type_ or sizes != shape:
            raise unfit(f"the model's {kind} {value.name} is {value.type} {sizes}, expected {type_} {shape}")
