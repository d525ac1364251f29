"""A signature's file is complete, or everything that is missing is named with what it prevents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.replication.drawn_tumours import SIGNATURE, write_signature
from training.errors import UsageError
from training.replication.signature_file import IncompleteSignature, read_signature

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples" / "signatures"


def faults(path: Path) -> IncompleteSignature:
    with pytest.raises(IncompleteSignature) as told:
        read_signature(path)
    return told.value


def test_the_published_example_is_complete() -> None:
    signature = read_signature(EXAMPLES / "aerts-2014-refitted.yaml")
    assert [feature.coefficient for feature in signature.features] == [1.74e-11, -16.5, 4.95e-05, 2.81e-06]
    assert (signature.link, signature.intercept, signature.cut_off) == ("log-hazard", 0.0, None)
    assert signature.settings["setting"] == {"binWidth": 25, "resampledPixelSpacing": [1.0, 1.0, 1.0]}


@pytest.mark.parametrize(
    ("file", "parts"),
    [
        ("incomplete-four-features.yaml", {"`endpoint`", "`pyradiomics`", "`standardisation` (z-score or none)", "`intercept`", "`cut_off` (none where the publication gives none)"}),
        ("incomplete-eight-features.yaml", {"`pyradiomics`", "`standardisation` (z-score or none)", "`cut_off` (none where the publication gives none)"}),
    ],
)  # fmt: skip
def test_what_a_publication_leaves_out_is_named_at_once(file: str, parts: set[str]) -> None:
    told = faults(EXAMPLES / file)
    assert {missing.what for missing in told.missing} == parts
    assert told.faults == ()
    assert all(missing.prevents in str(told) for missing in told.missing)


def test_means_and_deviations_that_are_not_printed_are_named_by_feature(tmp_path: Path) -> None:
    features = [
        {key: value for key, value in one.items() if key not in ("mean", "sd")} for one in SIGNATURE["features"][:2]
    ]
    told = faults(write_signature(tmp_path, features=[*features, SIGNATURE["features"][2]]))
    (missing,) = told.missing
    assert missing.what == "mean and sd of original_firstorder_Mean, original_glrlm_GrayLevelNonUniformity"
    assert "another cohort's means and deviations make another model" in missing.prevents


def changed(**setting: Any) -> dict[str, Any]:
    return {**SIGNATURE["pyradiomics"], "setting": {**SIGNATURE["pyradiomics"]["setting"], **setting}}


def feature(name: str) -> list[dict[str, Any]]:
    return [{"name": name, "coefficient": 1.0, "mean": 0.0, "sd": 1.0}]


WAVELET = {**SIGNATURE["pyradiomics"], "imageType": {"Wavelet": {}}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": feature("original_glrlm_GreyLevelNonUniformity")}, "nearest: original_glrlm_GrayLevelNonUniformity"),
        ({"features": feature("coif_glcm_Contrast")}, "it has no filter 'coif'"),
        ({"features": feature("square_shape_Sphericity")}, "shape has no filter"),
        ({"features": feature("log-sigma-3-0-mm-3D_glcm_Contrast")}, "sigma 3 in `imageType.LoG.sigma`"),
        ({"features": feature("wavelet-HL_glcm_Contrast"), "pyradiomics": WAVELET}, "2-D wavelets have 2, 3-D have 3"),
        ({"features": feature("wavelet-HLL_glcm_Contrast")}, "`imageType.Wavelet`"),
        ({"features": feature("original_glcm_Contrast") * 2}, "original_glcm_Contrast occurs twice"),
        ({"features": [{**SIGNATURE["features"][0], "sd": 0}]}, "must be above 0"),
        ({"pyradiomics": changed(normalize=True)}, "`normalize` scales by everything in the image"),
        ({"pyradiomics": {"version": "3.0.1", "imageType": {"Original": {}, "LoG": {"sigma": [2]}}}}, "texture, entropy and uniformity"),
        ({"intercept": "none"}, "write `link: score` for the order alone"),
        ({"intercept": None}, "no probability, no calibration and no cut-off"),
        ({"link": "probit"}, "`link` must be one of logit, log-hazard, score"),
        ({"standardisation": "none"}, "has a mean or sd, but `standardisation` is not z-score"),
        ({"features": [{**SIGNATURE["features"][0], "coefficient": "high"}]}, "must be a finite number, got 'high'"),
        ({"hazard": 1}, "there is no key 'hazard'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    assert words in str(faults(write_signature(tmp_path, **changes)))


def test_a_file_that_is_no_signature_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "signature.yaml"
    for content in ("- 1\n", "a: [\n"):
        path.write_text(content)
        with pytest.raises(UsageError, match=r"signature\.yaml"):
            read_signature(path)


def test_other_settings_make_another_signature(tmp_path: Path) -> None:
    one = read_signature(write_signature(tmp_path))
    two = read_signature(write_signature(tmp_path, pyradiomics=changed(binWidth=10)))
    assert one.features_digest() != two.features_digest()
    assert one.digest() != two.digest()
