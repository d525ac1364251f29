"""A seeded, untrained model, so that the chain can run before a cohort was trained on: ``python -m training.untrained``.

Its weights are random numbers. Only its scale is sensible: the statistics that standardise its inputs come from phantom
tumours and from the marginals of the paper's Table 1, so that its logits lie within about two of its bias.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydicom.dataset import Dataset

import pdl1es
from pdl1es.atomic import write_atomically
from pdl1es.clinical import VARIABLES
from pdl1es.dicom.geometry import SlicePlane
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.segment_mask import SegmentMask
from pdl1es.dicom.series import CTSeries, CTSlice
from pdl1es.features.extraction import extract_radiomics
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.grid.patches import extract_patches
from pdl1es.grid.placement import place_mask
from pdl1es.grid.resample import TumourVolume, tumour_volume
from pdl1es.model.digests import write_digests
from pdl1es.model.folder import METADATA_FILE, MODEL_FILE
from pdl1es.model.imputation import build_profiles, impute
from pdl1es.model.metadata import CutOff, ModelMetadata
from pdl1es.phantom.anatomy import build_chest, draw_chest, place_tumour
from pdl1es.phantom.scanner import Scan, crop_around, draw_scanner, scan
from pdl1es.phantom.tumour import draw_tumour
from training.export import export_model, model_metadata
from training.network import FusionNetwork
from training.preprocessing import FittedPreprocessing

SEED: Final = 48027
PHANTOMS: Final = 32
COHORT: Final = 750
"""Size of the paper's training cohort."""
CROP_MM: Final = (110.0, 110.0, 110.0)
PREVALENCE: Final = 328 / 939
"""TPS >= 50 % in the paper: the bias."""
SPREAD: Final = {"deep": 0.3, "radiomics": 0.4, "clinical": 0.4}
"""Standard deviation of each part's term over the phantoms, log-odds; real tumours, unlike them, spread about thrice as much."""
DEEP_DIRECTIONS: Final = 8
"""Principal directions of the phantoms' deep features that the deep weights lie in."""
SMOKER_GRADE: Final = 1 + 0.101 / (0.398 + 0.101)
"""From Table 1: 39.8 % occasionally, 10.1 % constantly."""

SELECTED: Final = (
    "original_shape_Sphericity",
    "original_shape_SurfaceVolumeRatio",
    "original_firstorder_Median",
    "original_firstorder_Entropy",
    "original_glcm_JointEntropy",
    "original_gldm_DependenceEntropy",
    "wavelet-LH_glszm_ZoneEntropy",
    "wavelet-HL_glcm_SumEntropy",
    "wavelet-HH_gldm_DependenceNonUniformityNormalized",
    "wavelet-LL_glrlm_GrayLevelNonUniformityNormalized",
    "wavelet-LL_ngtdm_Contrast",
    "log-sigma-1-0-mm-3D_firstorder_InterquartileRange",
    "log-sigma-3-0-mm-3D_glcm_DifferenceEntropy",
    "square_glcm_MaximumProbability",
    "squareroot_firstorder_InterquartileRange",
    "logarithm_glcm_Correlation",
    "exponential_firstorder_Mean",
    "gradient_firstorder_Mean",
    "gradient_glrlm_RunEntropy",
    "lbp-2D_firstorder_Mean",
)
"""Features of every image filter, with the two that the paper names; chosen by hand, not by a test."""

NAME: Final = "PD-L1ES (untrained)"
INTENDED_USE: Final = (
    "Demonstration of the application and test of an installation. Not for any decision on a patient: its weights are "
    "random numbers."
)
TRAINED_ON: Final = (
    "nothing: weights are seeded random numbers; input statistics come from 32 phantom tumours and from numbers drawn "
    "after Table 1 of Tian et al. 2021"
)
LIMITATIONS: Final = (
    "The model was not trained: its score says nothing about PD-L1, nor about progression.",
    "Its cut-offs are placeholders.",
    "The method is meant for stage IV non-small cell lung cancer before first-line treatment, on CT with a sharp kernel.",
)


@dataclass(frozen=True, slots=True)
class PhantomSample:
    """The model's inputs, measured on phantom tumours.

    Attributes
    ----------
    patches
        float32 HU, shape (N, 3, 112, 112).
    radiomics
        float64, shape (N, 1316).
    """

    patches: NDArray[np.float32]
    radiomics: NDArray[np.float64]


def phantom_volume(seed: int) -> TumourVolume:
    """Draw a chest, a tumour and a scanner, scan the tumour's surroundings and resample them as the chain does."""
    rng = np.random.default_rng([SEED, seed])
    chest = draw_chest(rng, female=bool(rng.random() < 1 - 0.613))
    diameter = draw_tumour(rng).diameter_mm
    centre = place_tumour(rng, chest, diameter)
    tumour = draw_tumour(rng, centre, diameter_mm=diameter)
    scanner = draw_scanner(rng)
    scanned = scan(build_chest(chest, tumour), scanner, seed=seed, crop=crop_around(scanner, centre, CROP_MM))
    return _on_grid(scanned)


def _on_grid(scanned: Scan) -> TumourVolume:
    """Resample a scan in memory by the chain's own function."""
    depth, rows, columns = scanned.hu.shape
    x, y, z = scanned.origin
    planes = [
        SlicePlane(
            position=(x, y, z + index * scanned.spacing[2]),
            row_direction=(1.0, 0.0, 0.0),
            column_direction=(0.0, 1.0, 0.0),
            row_spacing=scanned.spacing[1],
            column_spacing=scanned.spacing[0],
            rows=rows,
            columns=columns,
        )
        for index in range(depth)
    ]
    # No file holds the pixels; the reader below takes them from memory by the frame's number.
    instance = Instance(Path(), Dataset())
    slices = tuple(CTSlice(instance, index, plane, 1.0, 0.0) for index, plane in enumerate(planes))
    occupied = [index for index in range(depth) if scanned.mask[index].any()]
    mask = SegmentMask(tuple(planes[index] for index in occupied), scanned.mask[occupied])
    placed = place_mask(mask, CTSeries("", "", "", slices, 0.0))
    return tumour_volume(placed, lambda ct_slice: scanned.hu[ct_slice.frame])


def sample_phantoms() -> PhantomSample:
    """Measure phantom tumours as the chain does, a few seconds each; progress goes to standard error."""
    patches, radiomics = [], []
    for seed in range(PHANTOMS):
        volume = phantom_volume(seed)
        patches.append(extract_patches(volume).hu)
        radiomics.append(extract_radiomics(volume.hu, volume.mask).values)
        print(
            f"\rphantom {seed + 1} of {PHANTOMS}", end="\n" if seed + 1 == PHANTOMS else "", file=sys.stderr, flush=True
        )
    return PhantomSample(np.stack(patches), np.stack(radiomics))


def table_1_cohort() -> NDArray[np.float64]:
    """Draw patients by the marginals of the paper's Table 1, independently; float64, shape (750, 4), NaN where missing."""
    rng = np.random.default_rng([SEED, 1])
    age = np.clip(np.rint(rng.normal(58.8, 10.7, COHORT)), 18, 90)
    sex = (rng.random(COHORT) < 0.613).astype(np.float64)
    smoking = rng.choice((0.0, 1.0, 2.0, np.nan), COHORT, p=(0.461, 0.398, 0.101, 0.04))
    family_history = rng.choice((0.0, 1.0, np.nan), COHORT, p=(0.814, 0.148, 0.038))
    return np.stack([age, sex, smoking, family_history], axis=1)


def fit(radiomics: NDArray[np.float64], cohort: NDArray[np.float64]) -> FittedPreprocessing:
    """Fit what comes before the network.

    Parameters
    ----------
    radiomics
        float64, shape (N, 1316).
    cohort
        float64, shape (M, 4).

    Returns
    -------
    FittedPreprocessing
    """
    selected = tuple(sorted(FEATURE_NAMES.index(name) for name in SELECTED))
    profiles = build_profiles(cohort)
    imputed = np.stack([impute(row, profiles) for row in cohort])
    features = radiomics[:, selected]
    return FittedPreprocessing(
        profiles=profiles,
        clinical_mean=imputed.mean(axis=0),
        clinical_sd=imputed.std(axis=0),
        selected=selected,
        radiomic_mean=np.nanmean(features, axis=0),
        radiomic_sd=np.nanstd(features, axis=0),
        smoker_grade=SMOKER_GRADE,
    )


def untrained_network(sample: PhantomSample, cohort: NDArray[np.float64]) -> tuple[FusionNetwork, FittedPreprocessing]:
    """Make a network with random weights on a sensible scale.

    Convolutions have random signs times He's standard deviation: no more information than normal numbers, but the file
    compresses to a fraction of its size.

    Batch normalisation gets the phantoms' statistics, since random convolutions without them grow without bound. Each
    part's random weights are scaled to `SPREAD` over the phantoms; the deep weights are orthogonal to the mean feature
    vector, so that the deep term is centred.

    Parameters
    ----------
    sample
        Measured phantoms.
    cohort
        float64, shape (M, 4): drawn patients.

    Returns
    -------
    tuple[FusionNetwork, FittedPreprocessing]
        The network, and what was fitted before it.
    """
    fitted = fit(sample.radiomics, cohort)
    torch.manual_seed(SEED)
    network = FusionNetwork(fitted)
    patches = torch.from_numpy(sample.patches.reshape(-1, 1, *sample.patches.shape[2:]))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None
            elif isinstance(module, torch.nn.Conv2d):
                module.weight.copy_(torch.sign(module.weight) * math.sqrt(2 / module.weight[0].numel()))
        network.train()
        network.feature_maps(patches)
        network.eval()
        deep = network.feature_maps(patches).mean((2, 3)).double()
        z, clinical_z = network.preprocess(torch.from_numpy(sample.radiomics), torch.from_numpy(cohort))
        sizes = {"deep": deep.shape[1], "radiomics": z.shape[1], "clinical": clinical_z.shape[1]}
        weights = {part: torch.randn(size, dtype=torch.float64) for part, size in sizes.items()}
        centre = deep.mean(0)
        # Along the phantoms' main directions small weights suffice, so rounding errors stay small.
        main_directions = torch.linalg.svd(deep - centre, full_matrices=False).Vh[:DEEP_DIRECTIONS]
        weights["deep"] = main_directions.T @ weights["deep"][:DEEP_DIRECTIONS]
        weights["deep"] -= (weights["deep"] @ centre) / (centre @ centre) * centre
        for part, inputs in (("deep", deep), ("radiomics", z), ("clinical", clinical_z)):
            weights[part] *= SPREAD[part] / (inputs @ weights[part]).std()
        logit = torch.cat([weights[part] for part in ("deep", "radiomics", "clinical")]).float()
        network.classifier.weight.copy_(torch.stack([-logit / 2, logit / 2]))
        bias = math.log(PREVALENCE / (1 - PREVALENCE))
        network.classifier.bias.copy_(torch.tensor([-bias / 2, bias / 2]))
    return network, fitted


def untrained_metadata(network: FusionNetwork, fitted: FittedPreprocessing) -> ModelMetadata:
    """Describe the untrained model, and say plainly that it is untrained.

    Parameters
    ----------
    network
        Of random weights.
    fitted
        What comes before it.

    Returns
    -------
    ModelMetadata
    """
    return model_metadata(
        network,
        fitted,
        name=NAME,
        version="0.1.0",
        training_data="untrained",
        trained_on=TRAINED_ON,
        intended_use=INTENDED_USE,
        limitations=LIMITATIONS,
        expression_cut_off=CutOff(
            value=0.5,
            method="placeholder: the model is untrained",
            above="high expression",
            below="not high expression",
        ),
        progression_cut_off=CutOff(
            value=0.66,
            method="the paper's value for its own model (X-tile); a placeholder here: the model is untrained",
            above="high risk",
            below="low risk",
        ),
        calibrated=False,
    )


def untrained_bundle(metadata: ModelMetadata, changelog: dict[str, str]) -> dict[str, Any]:
    """Return ``metadata.json`` with the fields of a MONAI bundle's ``configs/metadata.json``.

    Parameters
    ----------
    metadata
        As the ONNX file holds it.
    changelog
        By version.

    Returns
    -------
    dict[str, Any]
        Ready for JSON.
    """
    selected = len(metadata.selected_features)

    def tensor(shape: list[int | str], dtype: str, meaning: str) -> dict[str, Any]:
        return {"type": "tensor", "shape": shape, "dtype": dtype, "description": meaning}

    return {
        "version": metadata.version,
        "changelog": changelog,
        "monai_version": version("monai"),
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": np.__version__,
        "name": metadata.name,
        "task": "PD-L1 expression score of non-small cell lung cancer from chest CT",
        "description": "DEMONSTRATION MODEL - NOT FOR CLINICAL USE. " + metadata.trained_on,
        "authors": "the PD-L1ES project",
        "copyright": "Apache-2.0",
        "data_source": metadata.trained_on,
        "data_type": "onnx",
        "intended_use": metadata.intended_use,
        "references": ["Tian P, et al. Theranostics 2021; 11(5): 2098-2107. doi:10.7150/thno.48027"],
        "network_data_format": {
            "inputs": {
                "patches": tensor(
                    ["S", 1, 112, 112], "float32", "HU of the ROI slice and its neighbours; windowed inside"
                ),
                "radiomics": tensor([len(metadata.feature_names)], "float64", "features as computed; NaN if missing"),
                "clinical": tensor([4], "float64", ", ".join(VARIABLES) + "; NaN if missing"),
            },
            "outputs": {
                "pdl1es": tensor([], "float64", "sigmoid of the mean slice logit"),
                "slice_scores": tensor(["S"], "float64", "sigmoid of each slice's logit"),
                "cam": tensor(["S", 3, 3], "float64", "class activation map, log-odds; sums to a slice's deep term"),
                "contributions": tensor(
                    [2 + selected + 4], "float64", "bias, deep, each selected feature, each clinical variable; log-odds"
                ),
                "imputed_clinical": tensor([4], "float64", "clinical variables after imputation"),
                "radiomic_z": tensor([selected], "float64", "selected features, standardised, before clipping"),
            },
        },
        "pdl1es": metadata.model_dump(mode="json", exclude={"feature_names"}),
    }


def untrained_card(metadata: ModelMetadata, difference: float) -> str:
    """Return the card, in Markdown.

    Parameters
    ----------
    metadata
        As the ONNX file holds it.
    difference
        Largest difference of onnxruntime from torch.

    Returns
    -------
    str
    """
    cut_offs = "\n".join(
        f"| {label} | > {cut.value:g}: {cut.above}; else {cut.below} | {cut.method} |"
        for label, cut in (
            ("PD-L1 expression", metadata.expression_cut_off),
            ("progression", metadata.progression_cut_off),
        )
    )
    limitations = "\n".join(f"- {sentence}" for sentence in metadata.limitations)
    selected = "\n".join(f"- `{name}`" for name in metadata.selected_features)
    low, high = metadata.window_hu
    return f"""# {metadata.name} {metadata.version}

**DEMONSTRATION MODEL - NOT FOR CLINICAL USE.** Training data: **{metadata.training_data}**.

| | |
|---|---|
| Intended use | {metadata.intended_use} |
| Trained on | {metadata.trained_on} |
| Performance | none was measured, and none is to be expected |
| Calibration | not measured: the score is no probability |
| Licence | Apache-2.0 |

## Limits

{limitations}

## What it is

`{MODEL_FILE}` is the whole of Figure 1 of Tian et al. (Theranostics 2021; 11(5): 2098-2107): DenseNet121 on patches of
112 x 112 (HU window {low:g} to {high:g}), {len(metadata.selected_features)} of {len(metadata.feature_names)} radiomic
features and four clinical variables into one linear layer. Imputation, selection, standardisation and the HU window lie
inside the file; inputs and outputs are in `metadata.json`. onnxruntime differed from torch by at most {difference:.0e}
on the export's random cases.

Digest of the method that it belongs to: `{metadata.method_digest}`. The application refuses it where its own differs.

| Cut-off on PD-L1ES | groups | found by |
|---|---|---|
{cut_offs}

## Radiomic features that it uses

Chosen by hand from every image filter, the two that the paper names among them:

{selected}

## How to make it again

`python -m training.untrained models/pdl1es` gives the same file on the same machine and versions.
"""


def main(arguments: list[str] | None = None) -> int:
    """Write ``model.onnx``, ``metadata.json`` and ``MODEL_CARD.md`` into a folder."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m training.untrained FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    network, fitted = untrained_network(sample_phantoms(), table_1_cohort())
    metadata = untrained_metadata(network, fitted)
    difference = export_model(network, fitted, metadata, folder / MODEL_FILE)
    document = untrained_bundle(metadata, {metadata.version: f"untrained export of pdl1es {pdl1es.__version__}"})
    write_atomically(folder / METADATA_FILE, (json.dumps(document, indent=2) + "\n").encode("utf-8"))
    write_digests(folder)
    write_atomically(folder / "MODEL_CARD.md", untrained_card(metadata, difference).encode("utf-8"))
    print(
        f"{folder / MODEL_FILE}: {(folder / MODEL_FILE).stat().st_size} bytes, torch against onnxruntime {difference:.1e}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
