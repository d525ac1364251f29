"""Names of pyradiomics' features: which filter, class and feature a name stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from radiomics import getFeatureClasses

_PREFIXES: Final = {
    "original": "Original",
    "square": "Square",
    "squareroot": "SquareRoot",
    "logarithm": "Logarithm",
    "exponential": "Exponential",
    "gradient": "Gradient",
    "lbp-2D": "LBP2D",
}
_WAVELET: Final = re.compile(r"wavelet\d?-([LH]{2,3})")
_LOG: Final = re.compile(r"log-sigma-(\d+)-(\d+)-mm-3D")
_LBP3D: Final = re.compile(r"lbp-3D-(m\d|k)")


@dataclass(frozen=True, slots=True)
class FilteredImage:
    """The image of a feature.

    Attributes
    ----------
    kind
        pyradiomics' ``imageType``.
    letters
        Of a wavelet's decomposition, else 0.
    sigma
        Of a Laplacian of Gaussian, mm, else 0.
    """

    kind: str
    letters: int = 0
    sigma: float = 0.0


def image_type_of(name: str) -> FilteredImage:
    """Return the image that a feature is computed on.

    Raises
    ------
    ValueError
        pyradiomics has no such filter.
    """
    prefix = name.split("_")[0]
    if prefix in _PREFIXES:
        return FilteredImage(_PREFIXES[prefix])
    if match := _WAVELET.fullmatch(prefix):
        return FilteredImage("Wavelet", letters=len(match[1]))
    if match := _LOG.fullmatch(prefix):
        return FilteredImage("LoG", sigma=float(f"{match[1]}.{match[2]}"))
    if _LBP3D.fullmatch(prefix):
        return FilteredImage("LBP3D")
    raise ValueError(f"it has no filter {prefix!r}")


def feature_fault(name: str) -> tuple[str, list[str]]:
    """Return why a name is no feature of pyradiomics, or an empty text, and names that are like it.

    Shape is known for the unfiltered image alone; deprecated features, such as Compactness1, count as features.
    """
    parts = name.split("_")
    if len(parts) != 3:
        return "a name has a filter, a class and a feature, joined by underscores", []
    prefix, feature_class, feature = parts
    try:
        image_type_of(name)
    except ValueError as error:
        return str(error), []
    classes = getFeatureClasses()
    if feature_class not in classes:
        return f"it has no class {feature_class!r}", [f"{prefix}_{known}_{feature}" for known in classes]
    if feature_class.startswith("shape") and prefix != "original":
        return "shape has no filter", [f"original_{feature_class}_{feature}"]
    names = classes[feature_class].getFeatureNames()
    if feature not in names:
        return f"{feature_class} has no {feature!r}", [f"{prefix}_{feature_class}_{known}" for known in names]
    return "", []
