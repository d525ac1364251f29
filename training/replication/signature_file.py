"""Reads a signature's file, and says of an incomplete publication everything that is missing and what it prevents."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

import yaml

from training.errors import UsageError
from training.replication.image_types import feature_fault, image_type_of
from training.replication.signature import LINKS, EndpointKind, RadiomicSignature, SignatureCutOff, SignatureFeature

KEYS: Final = (
    "name",
    "citation",
    "source",
    "endpoint",
    "pyradiomics",
    "standardisation",
    "features",
    "intercept",
    "link",
    "cut_off",
)
NONE: Final = "none"
"""What a file says where the publication says that there is none; what it does not say is left out of the file."""


@dataclass(frozen=True, slots=True)
class MissingPart:
    """What a publication does not state, and what cannot be done without it."""

    what: str
    prevents: str

    def __str__(self) -> str:
        return f"{self.what}: without it {self.prevents}"


class IncompleteSignature(UsageError):
    """A publication leaves out what is needed; everything that is missing is named.

    Attributes
    ----------
    missing
        What is missing.
    faults
        What is there and wrong.
    """

    def __init__(self, name: str, missing: tuple[MissingPart, ...], faults: tuple[str, ...]) -> None:
        self.missing, self.faults = missing, faults
        parts = [f"{name} cannot be replicated."]
        if missing:
            parts.append("Missing: " + "; ".join(map(str, missing)) + ".")
        if faults:
            parts.append("Wrong: " + "; ".join(faults) + ".")
        parts.append("Ask its authors, or state in the file where you found it; nothing is guessed.")
        super().__init__(" ".join(parts))


@dataclass(slots=True)
class _Reading:
    """What was found in a file so far."""

    missing: list[MissingPart] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def lacks(self, what: str, prevents: str) -> None:
        self.missing.append(MissingPart(what, prevents))

    def text(self, given: dict[str, Any], key: str, prevents: str) -> str:
        value = given.get(key)
        if value is None:
            self.lacks(f"`{key}`", prevents)
            return ""
        if not isinstance(value, str) or not value.strip():
            self.faults.append(f"`{key}` must be a text, got {value!r}")
            return ""
        return value

    def number(self, value: Any, what: str) -> float:
        # YAML takes 1e-5 for a text
        try:
            found = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError):
            found = math.nan
        if not math.isfinite(found):
            self.faults.append(f"{what} must be a finite number, got {value!r}")
        return found


def read_signature(path: Path) -> RadiomicSignature:
    """Read a published signature.

    Parameters
    ----------
    path
        YAML with the keys of `KEYS`; ``none`` where the publication says that there is none.

    Returns
    -------
    RadiomicSignature

    Raises
    ------
    IncompleteSignature
        Something is missing or wrong; everything is named at once, with what it prevents.
    UsageError
        The file is no YAML with such keys.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path.name} is no YAML that can be read: {error}") from error
    if not isinstance(given, dict):
        raise UsageError(f"{path.name} holds no signature: its keys are {', '.join(KEYS)}")
    found = _Reading()
    found.faults += [f"there is no key {key!r}" for key in given if key not in KEYS]
    endpoint = _section(found, given, "endpoint", "nobody knows what the score should tell, and it cannot be evaluated")
    kind = found.text(endpoint, "kind", "it is not known whether labels or follow-up are needed") if endpoint else ""
    if kind and kind not in get_args(EndpointKind):
        found.faults.append(f"endpoint.kind must be one of {', '.join(get_args(EndpointKind))}, got {kind!r}")
    software = _section(
        found, given, "pyradiomics", "no feature can be computed: bin width, resampling and filters decide their values"
    )
    version, settings = _software(found, software)
    link = found.text(given, "link", "the sum cannot be read: a log-odds, a log-hazard or a mere order")
    if link and link not in LINKS:
        found.faults.append(f"`link` must be one of {', '.join(LINKS)}, got {link!r}")
    features = _features(found, given, settings)
    signature = RadiomicSignature(
        name=found.text(given, "name", "a report cannot name it"),
        citation=found.text(given, "citation", "nobody can check it"),
        source=found.text(given, "source", "nobody can check where the numbers came from"),
        endpoint=found.text(endpoint, "what", "nobody knows what the score should tell") if endpoint else "",
        endpoint_kind=kind,  # type: ignore[arg-type]  # checked above
        software_version=version,
        settings=settings,
        features=features,
        intercept=_intercept(found, given, link),
        link=link,  # type: ignore[arg-type]  # checked above
        cut_off=_cut_off(found, given),
    )
    if found.missing or found.faults:
        raise IncompleteSignature(signature.name or path.name, tuple(found.missing), tuple(found.faults))
    return signature


def _section(found: _Reading, given: dict[str, Any], key: str, prevents: str) -> dict[str, Any]:
    value = given.get(key)
    if value is None:
        found.lacks(f"`{key}`", prevents)
        return {}
    if not isinstance(value, dict):
        found.faults.append(f"`{key}` must hold keys, got {value!r}")
        return {}
    return value


def _software(found: _Reading, software: dict[str, Any]) -> tuple[str, dict[str, dict[str, Any]]]:
    """Return version and settings of the features."""
    if not software:
        return "", {}
    found.faults += [
        f"pyradiomics has no key {key!r}" for key in software if key not in ("version", "setting", "imageType")
    ]
    version = found.text(software, "version", "definitions may differ: they changed between versions")
    setting = software.get("setting") or {}
    images = software.get("imageType") or {}
    if not isinstance(setting, dict) or not isinstance(images, dict):
        found.faults.append("`setting` and `imageType` must hold keys, as in pyradiomics' parameter file")
        return version, {}
    if "binWidth" not in setting and "binCount" not in setting:
        found.lacks("`setting.binWidth` (or binCount)", "texture, entropy and uniformity cannot be computed")
    if "resampledPixelSpacing" not in setting:
        found.lacks(
            "`setting.resampledPixelSpacing` (none where images were not resampled)",
            "no feature but the tumour's shape compares between scanners, and run lengths and sums follow the voxel size",
        )
    if not images:
        found.lacks("`imageType`", "it is not known which filters the features were computed on")
    if setting.get("normalize"):
        found.faults.append("`normalize` scales by everything in the image, table and padding too: it is not supported")
    # pyradiomics spells the absence of resampling as null
    plain = {key: None if value == NONE else value for key, value in setting.items()}
    return version, {"setting": plain, "imageType": {str(key): value or {} for key, value in images.items()}}


def _features(
    found: _Reading, given: dict[str, Any], settings: dict[str, dict[str, Any]]
) -> tuple[SignatureFeature, ...]:
    listed = given.get("features")
    if not isinstance(listed, list) or not listed:
        found.lacks("`features`", "there is nothing to compute")
        return ()
    way = given.get("standardisation")
    if way is None:
        found.lacks(
            "`standardisation` (z-score or none)",
            "a coefficient cannot be multiplied: per unit, or per standard deviation?",
        )
    elif way not in (NONE, "z-score"):
        found.faults.append(f"`standardisation` must be z-score or none, got {way!r}")
    features, unscaled, uncounted = [], [], []
    for place, one in enumerate(listed, start=1):
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            found.faults.append(f"feature {place} has no name")
            continue
        name = one["name"]
        found.faults += [
            f"{name} has no key {key!r}" for key in one if key not in ("name", "coefficient", "mean", "sd")
        ]
        _check_name(found, name, settings)
        if one.get("coefficient") is None:
            uncounted.append(name)
        if way == "z-score" and (one.get("mean") is None or one.get("sd") is None):
            unscaled.append(name)
        complete = one.get("coefficient") is not None and not (way == "z-score" and name in unscaled)
        if not complete:
            continue
        mean, sd = 0.0, 1.0
        if way == "z-score":
            mean, sd = found.number(one["mean"], f"the mean of {name}"), found.number(one["sd"], f"the sd of {name}")
            if sd <= 0:
                found.faults.append(f"the sd of {name} must be above 0, got {sd:g}")
        elif one.get("mean") is not None or one.get("sd") is not None:
            found.faults.append(f"{name} has a mean or sd, but `standardisation` is not z-score")
        features.append(
            SignatureFeature(name, found.number(one["coefficient"], f"the coefficient of {name}"), mean, sd)
        )
    if uncounted:
        found.lacks(f"coefficients of {', '.join(uncounted)}", "no score can be computed")
    if unscaled:
        found.lacks(
            f"mean and sd of {', '.join(unscaled)}",
            "the score of one patient cannot be computed: another cohort's means and deviations make another model",
        )
    names = [one.name for one in features]
    found.faults += [f"{name} occurs twice" for name in sorted({name for name in names if names.count(name) > 1})]
    return tuple(features)


def _check_name(found: _Reading, name: str, settings: dict[str, dict[str, Any]]) -> None:
    fault, known = feature_fault(name)
    if fault:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" (nearest: {near[0]})" if near else ""
        found.faults.append(f"{name!r} is no feature of pyradiomics: {fault}{hint}")
        return
    if not settings:
        return
    image = image_type_of(name)
    if image.kind not in settings["imageType"]:
        found.lacks(f"`imageType.{image.kind}`", f"{name} cannot be computed")
    plane = bool(settings["setting"].get("force2D"))
    if image.kind == "Wavelet" and image.letters != (2 if plane else 3):
        found.faults.append(
            f"{name} has {image.letters} letters, but force2D is {str(plane).lower()}: 2-D wavelets have 2, 3-D have 3"
        )
    sigmas = settings["imageType"].get("LoG", {}).get("sigma")
    if (
        image.kind == "LoG"
        and "LoG" in settings["imageType"]
        and image.sigma not in [float(sigma) for sigma in sigmas or ()]
    ):
        found.lacks(f"sigma {image.sigma:g} in `imageType.LoG.sigma`", f"{name} cannot be computed")


def _intercept(found: _Reading, given: dict[str, Any], link: str) -> float:
    value = given.get("intercept")
    if value is None:
        if link == "logit":
            found.lacks(
                "`intercept`",
                "there is no probability, no calibration and no cut-off (`link: score` asks for the order alone)",
            )
        else:
            found.lacks("`intercept` (none where the model has none, as Cox's)", "the sum has no origin")
        return 0.0
    if value == NONE:
        if link == "logit":
            found.faults.append(
                "a log-odds without an intercept is no probability: write `link: score` for the order alone"
            )
        return 0.0
    return found.number(value, "`intercept`")


def _cut_off(found: _Reading, given: dict[str, Any]) -> SignatureCutOff | None:
    value = given.get("cut_off")
    if value is None:
        found.lacks("`cut_off` (none where the publication gives none)", "patients cannot be put into its groups")
        return None
    if value == NONE:
        return None
    if not isinstance(value, dict) or set(value) != {"value", "on", "above", "below"}:
        found.faults.append(f"`cut_off` has the keys value, on, above and below, got {value!r}")
        return None
    if value["on"] not in ("score", "linear predictor"):
        found.faults.append(f"cut_off.on must be 'score' or 'linear predictor', got {value['on']!r}")
    return SignatureCutOff(
        found.number(value["value"], "cut_off.value"), value["on"], str(value["above"]), str(value["below"])
    )
