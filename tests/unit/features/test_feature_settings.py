"""No value of the radiomics settings is ignored: what the file says is what is computed, or an error."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import SimpleITK
import yaml
from radiomics.featureextractor import RadiomicsFeatureExtractor

from pdl1es.features import extraction
from pdl1es.features.extraction import extract_radiomics
from pdl1es.features.filters import image_filters
from pdl1es.features.names import FEATURE_NAMES, FEATURES_BY_CLASS, IMAGE_TYPES
from pdl1es.features.settings import SETTINGS, parse_settings
from pdl1es.features.settings_file import radiomics_settings_text
from tests.unit.features.tumours import Array, Tumour, assert_same_features

OTHER: dict[tuple[str, ...], Any] = {
    ("setting", "force2D"): False,
    ("setting", "force2Ddimension"): 1,
    ("setting", "binWidth"): 40,
    ("setting", "preCrop"): False,
    ("setting", "padDistance"): 5,
    ("setting", "lbp2DRadius"): 2,
    ("setting", "lbp2DSamples"): 16,
    ("setting", "lbp2DMethod"): "ror",
    ("imageType", "Wavelet", "wavelet"): "haar",
    ("imageType", "Wavelet", "level"): 2,
    ("imageType", "LoG", "sigma"): [1.0, 2.5, 3.0],
}
"""Another sensible value for every value in the file."""
COMPUTED = {path for path in OTHER if path[-1] in {"binWidth", "lbp2DRadius", "lbp2DSamples", "wavelet"}}
"""Those that the extraction reads; of the others it is written for one value."""

Document = dict[str, Any]


@pytest.fixture
def document() -> Document:
    return yaml.safe_load(radiomics_settings_text())


def leaves(document: Document, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every path to a value; an empty mapping and null are values."""
    for key, value in document.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def section(document: Document, path: tuple[str, ...]) -> Document:
    for key in path[:-1]:
        document = document[key]
    return document


def stock(document: Document, tumour: Tumour) -> Array:
    """pyradiomics' own features at these settings."""
    extractor = RadiomicsFeatureExtractor(document, additionalInfo=False)
    found = extractor.execute(
        SimpleITK.GetImageFromArray(tumour.hu), SimpleITK.GetImageFromArray(tumour.mask.astype(np.uint8))
    )
    return np.array([float(found.get(name, np.nan)) for name in FEATURE_NAMES])


def test_every_value_of_the_file_is_tried_below(document: Document) -> None:
    no_values = {("imageType", name) for name, value in document["imageType"].items() if value == {}}
    no_values |= {("featureClass", name) for name in document["featureClass"]}
    assert set(leaves(document)) == set(OTHER) | no_values


@pytest.mark.parametrize("path", sorted(OTHER), ids=".".join)
def test_another_value_gives_pyradiomics_other_features_or_is_refused(
    path: tuple[str, ...], document: Document, tumour: Tumour, monkeypatch: pytest.MonkeyPatch
) -> None:
    section(document, path)[path[-1]] = OTHER[path]
    text = yaml.safe_dump(document)
    if path not in COMPUTED:
        with pytest.raises(ValueError, match=path[-1]):
            parse_settings(text)
        return
    before = extract_radiomics(tumour.hu, tumour.mask).values
    monkeypatch.setattr(extraction, "SETTINGS", parse_settings(text))
    monkeypatch.setattr(extraction, "FILTERS", image_filters(parse_settings(text)))
    after = extract_radiomics(tumour.hu, tumour.mask).values
    assert not np.array_equal(after, before, equal_nan=True)
    assert_same_features(after, stock(document, tumour))


def test_a_key_that_is_not_known_is_refused_wherever_it_stands(document: Document) -> None:
    places = {path[:depth] for path in leaves(document) for depth in range(len(path))}
    places |= {("imageType", name) for name in document["imageType"]}
    assert len(places) == 13
    for place in places:
        changed = copy.deepcopy(document)
        section(changed, (*place, ""))["normalize"] = True
        with pytest.raises(ValueError, match="normalize"):
            parse_settings(yaml.safe_dump(changed))


def test_a_key_that_is_missing_is_refused(document: Document) -> None:
    for path in leaves(document):
        changed = copy.deepcopy(document)
        del section(changed, path)[path[-1]]
        with pytest.raises(ValueError, match=path[-1]):
            parse_settings(yaml.safe_dump(changed))


@pytest.mark.parametrize("feature_class", FEATURES_BY_CLASS)
def test_a_choice_among_a_classs_features_is_refused(feature_class: str, document: Document) -> None:
    document["featureClass"][feature_class] = [FEATURES_BY_CLASS[feature_class][0]]
    with pytest.raises(ValueError, match=feature_class):
        parse_settings(yaml.safe_dump(document))


def test_the_images_and_classes_of_the_file_are_those_of_the_model(document: Document) -> None:
    assert sorted(name for images in image_filters(SETTINGS) for name in images) == sorted(IMAGE_TYPES)
    assert list(document["featureClass"]) == list(FEATURES_BY_CLASS)
