"""A published radiomics signature: what it is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

EndpointKind = Literal["binary", "survival"]
Link = Literal["logit", "log-hazard", "score"]
LINKS: Final[Mapping[Link, str]] = {
    "logit": "the sum is a log-odds",
    "log-hazard": "the sum is the logarithm of a hazard, without a baseline",
    "score": "the sum orders patients and has no scale",
}


@dataclass(frozen=True, slots=True)
class SignatureFeature:
    """One term of the sum.

    Attributes
    ----------
    name
        As pyradiomics gives it, such as ``wavelet-HLH_glrlm_GrayLevelNonUniformity``.
    coefficient
        Per unit of the standardised feature, or of the feature itself.
    mean, sd
        Of the patients that it was fitted on; 0 and 1 where the published model takes features as they are.
    """

    name: str
    coefficient: float
    mean: float
    sd: float


@dataclass(frozen=True, slots=True)
class SignatureCutOff:
    """Two groups: patients above ``value`` are ``above``, others ``below``; on the scale of ``on``."""

    value: float
    on: Literal["score", "linear predictor"]
    above: str
    below: str


@dataclass(frozen=True, slots=True)
class RadiomicSignature:
    """A signature that can be computed.

    Attributes
    ----------
    name, citation, source
        Of the publication, and where each number came from.
    endpoint, endpoint_kind
        What it was fitted to predict.
    software_version
        Of pyradiomics, as published.
    settings
        pyradiomics' own ``setting`` and ``imageType``; what is not in them has pyradiomics' defaults.
    features
        In the order of the file.
    intercept
        0 where the link has none.
    link
        What the sum is.
    cut_off
        None where the publication gives none.
    """

    name: str
    citation: str
    source: str
    endpoint: str
    endpoint_kind: EndpointKind
    software_version: str
    settings: Mapping[str, Mapping[str, Any]]
    features: tuple[SignatureFeature, ...]
    intercept: float
    link: Link
    cut_off: SignatureCutOff | None

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of its features, in order."""
        return tuple(feature.name for feature in self.features)

    def digest(self) -> str:
        """Return the SHA-256 of everything that decides a score."""
        document = {
            "settings": self.settings,
            "features": [asdict(feature) for feature in self.features],
            "intercept": self.intercept,
            "link": self.link,
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode("utf-8")).hexdigest()

    def features_digest(self) -> str:
        """Return the SHA-256 of everything that decides its features."""
        document = {"settings": self.settings, "names": self.feature_names}
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode("utf-8")).hexdigest()

    def linear_predictor(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of intercept and terms.

        Parameters
        ----------
        values
            float64, shape (N, features): as pyradiomics gives them.

        Returns
        -------
        NDArray[np.float64]
            Shape (N,).
        """
        mean, sd, coefficient = (
            np.array([getattr(feature, field) for feature in self.features]) for field in ("mean", "sd", "coefficient")
        )
        return self.intercept + ((values - mean) / sd * coefficient).sum(axis=1)
