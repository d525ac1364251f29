"""Another pyradiomics than the one that this was written for is an error."""

from __future__ import annotations

from typing import Any

import pytest
import radiomics
from numpy.typing import NDArray
from radiomics import cMatrices
from radiomics.glcm import RadiomicsGLCM
from radiomics.ngtdm import RadiomicsNGTDM

from pdl1es.features.upstream_check import RELIED_ON, UpstreamChanged, check_upstream


def test_this_pyradiomics_is_accepted() -> None:
    check_upstream()


@pytest.mark.parametrize("version", ["v3.1.0", "3.0", "v3.0.1.post1", "unknown"])
def test_another_version_is_named(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(radiomics, "__version__", version)
    with pytest.raises(UpstreamChanged, match=rf"3\.0\.1 is needed, {version} is installed"):
        check_upstream()


def test_a_missing_method_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RELIED_ON, RadiomicsGLCM, ("_calculateMatrix", "_calculateTensor"))
    with pytest.raises(UpstreamChanged, match="RadiomicsGLCM lacks _calculateTensor"):
        check_upstream()


def test_other_features_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RadiomicsNGTDM, "getRoughnessFeatureValue", lambda self: 0.0, raising=False)
    with pytest.raises(UpstreamChanged, match="RadiomicsNGTDM has other features"):
        check_upstream()


def test_a_compiled_function_that_counts_otherwise_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def doubled(*arguments: Any) -> NDArray[Any]:
        return 2 * original(*arguments)

    original = cMatrices.calculate_gldm
    monkeypatch.setattr(cMatrices, "calculate_gldm", doubled)
    with pytest.raises(UpstreamChanged, match="counts otherwise"):
        check_upstream()
