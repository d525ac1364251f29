"""Small CT volumes with a tumour, as files, and a signature that is quick to compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
import yaml

SPACING = (1.5, 1.2, 2.5)
SIGNATURE: dict[str, Any] = {
    "name": "Drawn",
    "citation": "nobody",
    "source": "made for a test",
    "endpoint": {"what": "high expression", "kind": "binary"},
    "pyradiomics": {
        "version": "3.0.1",
        "setting": {"binWidth": 25, "resampledPixelSpacing": [1.0, 1.0, 1.0]},
        "imageType": {"Original": {}, "LoG": {"sigma": [2.0]}},
    },
    "standardisation": "z-score",
    "features": [
        {"name": "original_firstorder_Mean", "coefficient": 0.5, "mean": 20.0, "sd": 40.0},
        {"name": "original_glrlm_GrayLevelNonUniformity", "coefficient": -1.25, "mean": 100.0, "sd": 50.0},
        {"name": "log-sigma-2-0-mm-3D_firstorder_Entropy", "coefficient": 0.75, "mean": 3.0, "sd": 1.5},
    ],
    "intercept": -0.3,
    "link": "logit",
    "cut_off": {"value": 0.4, "on": "score", "above": "high", "below": "low"},
}


def write_signature(folder: Path, **changes: Any) -> Path:
    """Write the signature with some of its keys changed; None leaves a key out."""
    document = {key: value for key, value in {**SIGNATURE, **changes}.items() if value is not None}
    path = folder / "signature.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def write_tumour(folder: Path, name: str, radius_mm: float, seed: int) -> tuple[Path, Path]:
    """Write a noisy ball in lung as ``NAME_ct.nrrd`` and ``NAME_mask.nrrd``."""
    rng = np.random.default_rng(seed)
    shape = (18, 48, 44)
    z, y, x = (np.arange(n) - n / 2 for n in shape)
    distance = np.sqrt((z[:, None, None] * SPACING[2]) ** 2 + (y[:, None] * SPACING[1]) ** 2 + (x * SPACING[0]) ** 2)
    mask = distance < radius_mm
    hu = np.rint(np.where(mask, rng.normal(20, 30, shape), rng.normal(-850, 25, shape))).astype(np.int16)
    paths = folder / f"{name}_ct.nrrd", folder / f"{name}_mask.nrrd"
    for path, array in zip(paths, (hu, mask.astype(np.uint8)), strict=True):
        image = SimpleITK.GetImageFromArray(array)
        image.SetSpacing(SPACING)
        SimpleITK.WriteImage(image, str(path))
    return paths
