"""A study whose CT is not what the method is made for, by what its header says: scored without a group, or refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pytest

from tests.integration.chain_runs import Score

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy


def with_ct(phantom_study: PhantomStudy, folder: Path, **attributes: Any) -> Path:
    """Copy the phantom study with attributes of every CT image replaced."""
    shutil.copytree(phantom_study.folder, folder)
    for path in folder.rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        if ds.Modality == "CT":
            for keyword, value in attributes.items():
                setattr(ds, keyword, value)
            ds.save_as(path)
    return folder


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "AVERAGE"]}, "AVERAGED_IMAGES"),
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 SPI DUAL", "VNC", "IODINE"]}, "SPECTRAL_IMAGES"),
        ({"Manufacturer": "CANON_MEC", "ConvolutionKernel": "FC08"}, "SMOOTH_KERNEL"),
        ({"Manufacturer": "Canon Medical Systems", "ConvolutionKernel": "FC08"}, "SMOOTH_KERNEL"),
        ({"Manufacturer": "GEHC", "ConvolutionKernel": "STANDARD"}, "SMOOTH_KERNEL"),
    ],
)
def test_such_a_ct_has_the_same_score_and_no_group(
    phantom_study: PhantomStudy, score: Score, tmp_path: Path, attributes: dict[str, Any], code: str
) -> None:
    study = with_ct(phantom_study, tmp_path / "study", **attributes)
    plain, changed = score(phantom_study.folder).result, score(study).result
    assert changed["assessment"]["score"] == plain["assessment"]["score"]
    assert {"code": code, "effect": "withhold_group"}.items() <= next(
        warning for warning in changed["warnings"] if warning["code"] == code
    ).items()
    assert changed["assessment"]["groups"]["expression"]["group"] is None
    assert changed["assessment"]["groups"]["risk"]["group"] is None


@pytest.mark.parametrize("word", ["MIP_TRA", "CSA MIP THIN", "MNIP", "ZEFF"])
def test_a_projection_or_a_map_is_refused_with_the_word_that_told(
    phantom_study: PhantomStudy, score: Score, tmp_path: Path, word: str
) -> None:
    study = with_ct(phantom_study, tmp_path / "study", ImageType=["DERIVED", "SECONDARY", "AXIAL", word])
    scored = score(study)
    assert scored.code == "NO_ELIGIBLE_CT"
    assert "Image Type" in str(scored.outcome.refusal)
