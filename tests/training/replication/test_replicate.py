"""A signature gives pyradiomics' own values under its own settings, and is evaluated beside tumour volume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import SimpleITK
from radiomics.featureextractor import RadiomicsFeatureExtractor
from typer.testing import CliRunner

from tests.training.replication.drawn_tumours import SIGNATURE, write_signature, write_tumour
from training.cohort.case import CaseSource, PreparationSettings, read_case
from training.commands.cli import app
from training.replication import run as replication_run
from training.replication.features import signature_features, tumour_image
from training.replication.onnx_file import export_signature, score_features
from training.replication.signature_file import read_signature
from training.statistics.discrimination import compare_paired

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples" / "signatures"


def by_pyradiomics(ct: Path, mask: Path, document: dict[str, Any]) -> list[float]:
    """Return the features that pyradiomics itself gives for two whole files."""
    names = [one["name"] for one in document["features"]]
    classes: dict[str, list[str]] = {}
    for name in names:
        _, feature_class, feature = name.split("_")
        classes.setdefault(feature_class, []).append(feature)
    settings = document["pyradiomics"]
    parameters = {"imageType": settings["imageType"], "setting": settings["setting"], "featureClass": classes}
    found = RadiomicsFeatureExtractor(parameters).execute(str(ct), str(mask))
    return [float(found[name]) for name in names]


def test_features_are_those_that_pyradiomics_gives_for_the_files(tmp_path: Path) -> None:
    ct, mask = write_tumour(tmp_path, "a", 11, seed=5)
    signature = read_signature(write_signature(tmp_path))
    image = tumour_image(read_case(CaseSource("a", ct, mask, {}), PreparationSettings()))
    voxels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(mask))).sum()
    assert image.volume_ml == pytest.approx(voxels * 1.5 * 1.2 * 2.5 / 1000)
    np.testing.assert_allclose(signature_features(image, signature), by_pyradiomics(ct, mask, SIGNATURE), rtol=1e-9)


def test_a_real_tumour_has_pyradiomics_values_too(shared_data: Path, tmp_path: Path) -> None:
    """Lung1, by the published signature: energy, compactness, run lengths, and run lengths of a wavelet."""
    import yaml

    crops = shared_data / "tumour_crops"
    ct, mask = crops / "LUNG1-003_GTV-1_ct.nrrd", crops / "LUNG1-003_GTV-1_mask.nrrd"
    if not ct.is_file():
        pytest.skip("the public tumours are not beside the repository")
    file = EXAMPLES / "aerts-2014-refitted.yaml"
    image = tumour_image(read_case(CaseSource("a", ct, mask, {}), PreparationSettings()))
    found = signature_features(image, read_signature(file))
    np.testing.assert_allclose(found, by_pyradiomics(ct, mask, yaml.safe_load(file.read_text())), rtol=1e-9)


def test_the_onnx_file_is_the_published_sum(tmp_path: Path) -> None:
    """By hand: -0.3 + 0.5 (60 - 20) / 40 - 1.25 (150 - 100) / 50 + 0.75 (4.5 - 3) / 1.5 = -0.3 + 0.5 - 1.25 + 0.75."""
    export_signature(read_signature(write_signature(tmp_path)), tmp_path / "model")
    content = (tmp_path / "model" / "model.onnx").read_bytes()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    outputs = session.run(["linear_predictor", "score", "contributions"], {"features": np.array([60.0, 150.0, 4.5])})
    assert outputs[0] == pytest.approx(-0.3)
    assert outputs[1] == pytest.approx(1 / (1 + np.exp(0.3)))
    np.testing.assert_allclose(outputs[2], [-0.3, 0.5, -1.25, 0.75])
    assert np.isnan(score_features(content, np.array([[np.nan, 1.0, 1.0]]))).all()
    metadata = json.loads((tmp_path / "model" / "metadata.json").read_text())
    assert metadata["settings"]["setting"]["binWidth"] == 25
    assert set(metadata["sha256"]) == {"model.onnx"}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Ten tumours: six with a label and a follow-up that grow with their size, one without voxels in its mask."""
    lines = ["id,ct,seg,pdl1_tps,pfs_days,progressed"]
    for number in range(10):
        ct, mask = write_tumour(tmp_path, f"P{number}", 0.1 if number == 9 else 7 + number * 0.7, seed=number)
        tps = 70 if number in (3, 5, 6, 7, 8) else 5
        lines.append(f"P{number},{ct.name},{mask.name},{tps},{400 - 30 * number},{number % 2}")
    path = tmp_path / "cohort.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_cohort_is_scored_and_compared_with_volume_alone(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    arguments = ["replicate", str(write_signature(tmp_path)), str(table), str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    scores = pd.read_csv(out / "scores.csv")
    assert list(scores["case_id"]) == [f"P{number}" for number in range(10)]
    assert scores["failure"].notna().tolist() == [False] * 9 + [True]
    scored = scores[:9]
    signature = read_signature(write_signature(tmp_path))
    np.testing.assert_allclose(
        scored["linear_predictor"], signature.linear_predictor(scored[list(signature.feature_names)].to_numpy())
    )
    label = np.isin(np.arange(9), (3, 5, 6, 7, 8)).astype(float)
    expected = compare_paired(label, scored["linear_predictor"], scored["volume_ml"])
    found = json.loads((out / "replication.json").read_text())["evaluation"]
    assert found["scored"] == 9
    assert found["expression"]["first"]["value"] == pytest.approx(expected.first.value)
    assert found["expression"]["second"]["value"] == pytest.approx(expected.second.value)
    assert found["expression"]["p_value"] == pytest.approx(expected.p_value)
    # a longer follow-up with a smaller tumour: volume orders every comparable pair right
    assert found["progression"]["second"]["c_index"]["value"] == 1.0
    page = (out / "replication.md").read_text()
    assert "9 of 10 patients could be scored" in page
    assert "P3" not in page

    def computed(*given: object) -> None:
        raise AssertionError("features that are there were computed again")

    monkeypatch.setattr(replication_run, "signature_features", computed)
    (tmp_path / "P9_mask.nrrd").unlink()
    assert CliRunner().invoke(app, arguments).exit_code == 0
    again = pd.read_csv(out / "scores.csv")[:9]
    pd.testing.assert_frame_equal(again.drop(columns="failure"), scored.drop(columns="failure"))


def test_other_settings_compute_other_features(table: Path, tmp_path: Path) -> None:
    """The same name under another bin width is another feature; nothing of the first call is taken for it."""
    gln = "original_glrlm_GrayLevelNonUniformity"
    values = []
    for width in (25, 10):
        settings = SIGNATURE["pyradiomics"]
        changed = {**settings, "setting": {**settings["setting"], "binWidth": width}}
        short = table.with_name("short.csv")
        short.write_text("\n".join(table.read_text().splitlines()[:3]) + "\n")
        arguments = [
            "replicate",
            str(write_signature(tmp_path, pyradiomics=changed)),
            str(short),
            str(tmp_path / "out"),
        ]
        assert CliRunner().invoke(app, arguments).exit_code == 0
        values.append(pd.read_csv(tmp_path / "out" / "scores.csv")[gln].to_numpy())
    assert (np.abs(values[0] - values[1]) > 1).all()


def test_an_incomplete_signature_writes_nothing(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(
        app, ["replicate", str(EXAMPLES / "incomplete-four-features.yaml"), str(table), str(out)]
    )
    assert result.exit_code == 2
    assert "cannot be replicated" in " ".join(result.output.split())
    assert not out.exists()
