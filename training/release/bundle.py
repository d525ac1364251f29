"""A model's metadata in the layout of a MONAI bundle."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

import onnxruntime

from pdl1es.clinical import VARIABLES
from pdl1es.method import PATCH_SIZE, PATCH_SLICES
from pdl1es.model.metadata import ModelMetadata
from pdl1es.model.prediction import CAM_SIZE
from training.release.performance import Performance

REFERENCE: Final = "Tian P, et al. Theranostics 2021; 11(5): 2098-2107. doi:10.7150/thno.48027"
DEMONSTRATION: Final = "DEMONSTRATION MODEL - NOT FOR CLINICAL USE"


def bundle_metadata(
    metadata: ModelMetadata,
    summary: dict[str, Any],
    changelog: dict[str, str],
    difference: float,
    performance: Performance | None = None,
) -> dict[str, Any]:
    """Return ``metadata.json`` with the fields of a MONAI bundle's ``configs/metadata.json``.

    Parameters
    ----------
    metadata
        As the ONNX file holds it.
    summary
        Of the training run.
    changelog
        By version.
    difference
        Largest difference of onnxruntime from torch.
    performance
        Of the analyses; None where the export was given none.

    Returns
    -------
    dict[str, Any]
        Ready for JSON.
    """
    warning = "" if metadata.training_data == "patients" else f"{DEMONSTRATION}. "
    network = summary["networks"]["PD-L1ES"]
    outputs = {
        "pdl1es": _tensor([], "float64", "sigmoid of the mean slice logit"),
        "slice_scores": _tensor(["S"], "float64", "sigmoid of each slice's logit"),
        "cam": _tensor(["S", CAM_SIZE, CAM_SIZE], "float64", "class activation map, log-odds; sums to the deep term"),
        "contributions": _tensor(
            [2 + len(metadata.selected_features) + len(VARIABLES)],
            "float64",
            "bias, deep, each selected feature, each clinical variable; log-odds",
        ),
        "imputed_clinical": _tensor([len(VARIABLES)], "float64", "clinical variables after imputation"),
        "radiomic_z": _tensor([len(metadata.selected_features)], "float64", "selected features, before clipping"),
    }
    if metadata.clinical_cut_off is not None:
        outputs["clinical_risk"] = _tensor([], "float64", "linear predictor of the clinical Cox model, centred")
    if metadata.fusion_cut_off is not None:
        outputs["fusion_risk"] = _tensor([], "float64", "linear predictor of the fusion Cox model, centred")
    return {
        "version": metadata.version,
        "changelog": changelog,
        "monai_version": version("monai"),
        "pytorch_version": summary["versions"]["torch"],
        "numpy_version": summary["versions"]["numpy"],
        "required_packages_version": {"onnxruntime": onnxruntime.__version__},
        "name": metadata.name,
        "task": "PD-L1 expression score of non-small cell lung cancer from chest CT",
        "description": warning + metadata.trained_on,
        "authors": "the PD-L1ES project",
        "copyright": "Apache-2.0",
        "data_source": metadata.trained_on,
        "data_type": "onnx",
        "image_classes": "CT in HU, resampled to 1 mm, patches around the segmented primary tumour",
        "label_classes": "1: TPS of at least 50 %; 0: below",
        "pred_classes": "probability-like score of high PD-L1 expression, 0 to 1",
        "eval_metrics": {f"auc_{split}": area["value"] for split, area in network["auc"].items()},
        "intended_use": metadata.intended_use,
        "references": [REFERENCE],
        "network_data_format": {
            "inputs": {
                "patches": _tensor(
                    ["S", 1, PATCH_SIZE, PATCH_SIZE],
                    "float32",
                    f"HU of the ROI slice and its neighbours (S = {PATCH_SLICES}); windowed inside",
                ),
                "radiomics": _tensor([len(metadata.feature_names)], "float64", "as computed; NaN if missing"),
                "clinical": _tensor([len(VARIABLES)], "float64", ", ".join(VARIABLES) + "; NaN if missing"),
            },
            "outputs": outputs,
        },
        "pdl1es": {
            **described(metadata),
            "training": {
                "counts": summary["counts"],
                "fitted": summary["fitted"],
                "networks": {name: _brief(document) for name, document in summary["networks"].items()},
                "redivisions": {
                    number: {name: _brief(document) for name, document in networks.items()}
                    for number, networks in summary["redivisions"].items()
                },
                "not_trained": summary["not_trained"],
                "config": summary["config"],
            },
            "performance": None if performance is None else performance.model_dump(mode="json"),
            "torch_against_onnxruntime": difference,
        },
    }


def described(metadata: ModelMetadata) -> dict[str, Any]:
    """Return a model's metadata for people: without the long lists, which the ONNX file holds."""
    return metadata.model_dump(
        mode="json", exclude={"feature_names": True, "training_reach": {"centre": True, "whitening": True}}
    )


def _brief(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "history"}


def _tensor(shape: list[int | str], dtype: str, meaning: str) -> dict[str, Any]:
    return {"type": "tensor", "shape": shape, "dtype": dtype, "description": meaning}
