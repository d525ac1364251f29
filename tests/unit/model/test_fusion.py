"""The model that ships, as the chain runs it: what it gives, and what it refuses. Neither torch nor onnx is needed."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

import pdl1es.model.fusion
from pdl1es.clinical import MISSING, VARIABLES, ClinicalData, ClinicalValue
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.method_digest import method_digest
from pdl1es.model.digests import write_digests
from pdl1es.model.folder import METADATA_FILE, MODEL_FILE
from pdl1es.model.fusion import FusionModel
from pdl1es.model.metadata import CutOff, ModelMetadata
from pdl1es.model.prediction import Prediction
from pdl1es.model.provider import CPU, CUDA, cuda_obstacle, providers

COMPLETE = ClinicalData(
    *[ClinicalValue(value, "clinical file") for value in (61.0, 1.0, 2.0, 0.0)]  # type: ignore[arg-type]  # the fifth has a default
)
NAN = float("nan")


@pytest.fixture(scope="session")
def folder(repository: Path) -> Path:
    """Folder of the model that ships."""
    return repository / "models" / "pdl1es"


@pytest.fixture(scope="session")
def model(folder: Path) -> FusionModel:
    """The model that ships, loaded once."""
    return FusionModel.load(folder)


def lesion(slices: int = 3) -> NDArray[np.float32]:
    """Draw a grainy disc in lung; whole HU, shape (slices, 112, 112)."""
    axis = np.linspace(-1, 1, 112)
    inside = np.hypot(axis[:, None], axis[None, :]) < 0.7
    grain = np.random.default_rng(0).normal(0, 25, (slices, 112, 112))
    return np.rint(np.where(inside, 35, -850) + grain).astype(np.float32)


@pytest.fixture(scope="session")
def radiomics(model: FusionModel) -> NDArray[np.float64]:
    """Features near the training mean, found through the model's own standardisation."""
    probe = np.ones(len(FEATURE_NAMES))
    z_of_zero = model._run(lesion(), np.zeros(len(FEATURE_NAMES)), np.zeros(4))["radiomic_z"]
    z_of_one = model._run(lesion(), probe, np.zeros(4))["radiomic_z"]
    sd = 1 / (z_of_one - z_of_zero)
    wanted = np.random.default_rng(1).normal(size=len(sd))
    for name, mean, spread, z in zip(model.metadata.selected_features, -z_of_zero * sd, sd, wanted, strict=True):
        probe[FEATURE_NAMES.index(name)] = mean + spread * z
    return probe


def changed(features: NDArray[np.float64], **values: float) -> NDArray[np.float64]:
    """Copy features with some of them replaced, by index ``f123``."""
    copy = features.copy()
    for key, value in values.items():
        copy[int(key[1:])] = value
    return copy


def indices(model: FusionModel) -> list[int]:
    return [FEATURE_NAMES.index(name) for name in model.metadata.selected_features]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# --- What it gives ---


@pytest.mark.parametrize("slices", [1, 3, 5])
def test_the_terms_sum_to_the_logit_whatever_the_number_of_slices(
    model: FusionModel, radiomics: NDArray[np.float64], slices: int
) -> None:
    """score = sigmoid(bias + deep + radiomic terms + clinical terms), within 1e-4 in log-odds."""
    prediction = model.predict(lesion(slices), radiomics, COMPLETE)
    assert prediction.slice_scores.shape == (slices,)
    assert prediction.cam.shape == (slices, 3, 3)
    assert math.log(prediction.score / (1 - prediction.score)) == pytest.approx(prediction.logit, abs=1e-4)
    total = prediction.bias + prediction.deep + prediction.radiomic_total + prediction.clinical_total
    assert prediction.logit == total


def test_the_activation_map_sums_to_the_deep_term_slice_by_slice(
    model: FusionModel, radiomics: NDArray[np.float64]
) -> None:
    prediction = model.predict(lesion(), radiomics, COMPLETE)
    deep = prediction.cam.sum(axis=(1, 2))
    assert deep.mean() == pytest.approx(prediction.deep, abs=1e-4)
    rest = prediction.logit - prediction.deep
    assert prediction.slice_scores == pytest.approx([sigmoid(rest + term) for term in deep], abs=1e-6)


def test_the_score_is_the_sigmoid_of_the_mean_slice_logit(model: FusionModel, radiomics: NDArray[np.float64]) -> None:
    """Not the mean of the slice scores."""
    patches = np.concatenate([lesion(1), np.full((1, 112, 112), -800, np.float32), lesion(1) + 150])
    prediction = model.predict(patches, radiomics, COMPLETE)
    logits = np.log(prediction.slice_scores / (1 - prediction.slice_scores))
    assert np.ptp(logits) > 0.1
    assert prediction.score == pytest.approx(sigmoid(float(logits.mean())), abs=1e-6)


def test_every_term_has_its_name(model: FusionModel, radiomics: NDArray[np.float64]) -> None:
    prediction = model.predict(lesion(), radiomics, COMPLETE)
    assert tuple(term.name for term in prediction.radiomic) == model.metadata.selected_features
    assert tuple(term.name for term in prediction.clinical) == VARIABLES


def test_a_radiomic_term_follows_its_own_feature_alone(model: FusionModel, radiomics: NDArray[np.float64]) -> None:
    before = model.predict(lesion(), radiomics, COMPLETE)
    third = indices(model)[2]
    after = model.predict(lesion(), changed(radiomics, **{f"f{third}": radiomics[third] * 1.05}), COMPLETE)
    moved = [a.name for a, b in zip(before.radiomic, after.radiomic, strict=True) if a.log_odds != b.log_odds]
    assert moved == [FEATURE_NAMES[third]]
    assert (after.bias, after.deep, after.clinical) == (before.bias, before.deep, before.clinical)


def test_the_model_is_offered_the_two_features_that_the_paper_names_and_chooses_for_itself(model: FusionModel) -> None:
    named = {"wavelet-HL_glcm_SumEntropy", "wavelet-LL_glrlm_GrayLevelNonUniformityNormalized"}
    offered, selected = set(model.metadata.feature_names), set(model.metadata.selected_features)
    assert named <= offered
    assert selected < offered


# --- Radiomic features that are missing or wild ---


@pytest.mark.parametrize("value", [NAN, math.inf, -math.inf])
def test_a_feature_that_is_not_finite_counts_as_the_training_mean_and_is_listed(
    model: FusionModel, radiomics: NDArray[np.float64], value: float
) -> None:
    index = indices(model)[4]
    prediction = model.predict(lesion(), changed(radiomics, **{f"f{index}": value}), COMPLETE)
    assert prediction.missing_features == (FEATURE_NAMES[index],)
    assert prediction.radiomic[4].log_odds == 0.0
    assert prediction.clipped_features == ()
    assert math.isfinite(prediction.score)


def test_a_feature_that_the_model_does_not_use_may_be_anything(
    model: FusionModel, radiomics: NDArray[np.float64]
) -> None:
    unused = next(i for i in range(len(FEATURE_NAMES)) if i not in indices(model))
    wild = np.where(np.isin(np.arange(len(FEATURE_NAMES)), indices(model)), radiomics, NAN)
    assert np.isnan(wild[unused])
    with_nan = model.predict(lesion(), wild, COMPLETE)
    assert with_nan.score == model.predict(lesion(), radiomics, COMPLETE).score
    assert with_nan.missing_features == ()


def test_more_than_five_per_cent_of_the_features_missing_is_refused(
    model: FusionModel, radiomics: NDArray[np.float64]
) -> None:
    used = indices(model)
    allowed = math.floor(0.05 * len(used))
    as_many = changed(radiomics, **{f"f{index}": NAN for index in used[:allowed]})
    assert len(model.predict(lesion(), as_many, COMPLETE).missing_features) == allowed
    with pytest.raises(Refusal, match=FEATURE_NAMES[used[0]]) as refusal:
        model.predict(lesion(), changed(as_many, **{f"f{used[allowed]}": NAN}), COMPLETE)
    assert refusal.value.code is RefusalCode.RADIOMICS_INCOMPLETE


@pytest.mark.parametrize("sign", [1, -1])
def test_a_wild_feature_is_clipped_at_five_standard_deviations_and_listed(
    model: FusionModel, radiomics: NDArray[np.float64], sign: int
) -> None:
    index = indices(model)[7]
    wild = [
        model.predict(lesion(), changed(radiomics, **{f"f{index}": sign * value}), COMPLETE) for value in (1e9, 1e300)
    ]
    assert wild[0].radiomic[7] == wild[1].radiomic[7]
    assert all(prediction.clipped_features == (FEATURE_NAMES[index],) for prediction in wild)
    weight_times_z = model.predict(lesion(), radiomics, COMPLETE).radiomic[7].log_odds
    z = model._run(lesion(), radiomics, np.zeros(4))["radiomic_z"][7]
    assert wild[0].radiomic[7].log_odds == pytest.approx(sign * 5 * weight_times_z / z, rel=1e-9)


# --- Clinical data ---


def test_known_clinical_values_go_in_as_they_are(model: FusionModel, radiomics: NDArray[np.float64]) -> None:
    prediction = model.predict(lesion(), radiomics, COMPLETE)
    assert prediction.imputed_clinical.tolist() == [61, 1, 2, 0]
    assert prediction.imputed == ()


def test_missing_clinical_values_are_imputed_inside_the_model(
    model: FusionModel, radiomics: NDArray[np.float64]
) -> None:
    some = ClinicalData(COMPLETE.age, MISSING, COMPLETE.smoking, MISSING)
    prediction = model.predict(lesion(), radiomics, some)
    assert prediction.imputed == ("sex", "family_history")
    age, sex, smoking, family_history = prediction.imputed_clinical
    assert (age, smoking) == (61, 2)
    assert 0 <= sex <= 1
    assert 0 <= family_history <= 1


def test_a_patient_without_clinical_data_gets_a_score(model: FusionModel, radiomics: NDArray[np.float64]) -> None:
    prediction = model.predict(lesion(), radiomics, ClinicalData(MISSING, MISSING, MISSING, MISSING))
    assert prediction.imputed == VARIABLES
    assert 0 < prediction.score < 1


def test_a_smoker_of_unknown_grade_gets_the_models_grade_and_counts_as_imputed(
    model: FusionModel, radiomics: NDArray[np.float64]
) -> None:
    smoker = ClinicalValue(None, "DICOM SmokingStatus (0010,21A0)", graded=False)
    data = ClinicalData(COMPLETE.age, COMPLETE.sex, smoker, COMPLETE.family_history)
    prediction = model.predict(lesion(), radiomics, data)
    assert prediction.imputed_clinical[2] == model.metadata.smoker_grade
    assert 1 < model.metadata.smoker_grade < 2
    assert prediction.imputed == ("smoking",)


# --- Determinism, silence, provider ---


def as_bytes(prediction: Prediction) -> bytes:
    arrays = (prediction.slice_scores, prediction.cam, prediction.imputed_clinical)
    terms = [prediction.score, prediction.bias, prediction.deep]
    terms += [term.log_odds for term in (*prediction.radiomic, *prediction.clinical)]
    return b"".join(array.tobytes() for array in arrays) + np.array(terms).tobytes()


def test_the_same_input_gives_the_same_bytes_again_and_after_a_restart(
    model: FusionModel, folder: Path, radiomics: NDArray[np.float64]
) -> None:
    once = as_bytes(model.predict(lesion(), radiomics, COMPLETE))
    assert as_bytes(model.predict(lesion(), radiomics, COMPLETE)) == once
    assert as_bytes(FusionModel.load(folder).predict(lesion(), radiomics, COMPLETE)) == once


def test_the_score_is_the_same_whatever_the_number_of_threads(
    model: FusionModel, folder: Path, radiomics: NDArray[np.float64]
) -> None:
    scores = [FusionModel.load(folder, threads=n).predict(lesion(), radiomics, COMPLETE).score for n in (1, 2, 4)]
    assert scores == pytest.approx([scores[0]] * 3, abs=1e-6)


def test_loading_and_scoring_print_nothing_and_need_no_torch(folder: Path, repository: Path) -> None:
    """onnxruntime-gpu would complain of missing CUDA libraries on a machine without a GPU."""
    program = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from pdl1es.model.fusion import FusionModel\n"
        "from pdl1es.clinical import ClinicalData, MISSING\n"
        "m = FusionModel.load(Path(sys.argv[1]))\n"
        "p = m.predict(np.zeros((3, 112, 112), np.float32), np.zeros(1316), ClinicalData(*[MISSING] * 4))\n"
        "assert 0 < p.score < 1\n"
        "assert not {'torch', 'monai', 'onnx'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, cwd=repository, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_provider_is_recorded(model: FusionModel, radiomics: NDArray[np.float64]) -> None:
    prediction = model.predict(lesion(), radiomics, COMPLETE)
    assert prediction.provider == model.provider
    assert prediction.provider in ((CPU,) if cuda_obstacle() else (CPU, CUDA))


def test_a_required_gpu_that_is_not_there_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdl1es.model.fusion, "cuda_obstacle", lambda: "there is no NVIDIA driver (libcuda.so.1)")
    with pytest.raises(Refusal, match="no NVIDIA driver") as refusal:
        FusionModel.load(folder, require_gpu=True)
    assert refusal.value.code is RefusalCode.PROVIDER_UNAVAILABLE
    assert FusionModel.load(folder).provider == CPU


def test_the_gpu_is_offered_only_where_nothing_keeps_it_from_running() -> None:
    assert providers("there is no device") == [CPU]
    offered = providers(None)
    assert offered[0][0] == CUDA
    assert offered[-1] == CPU


def test_the_gpu_computes_in_full_float32() -> None:
    """TF32 would move scores by more than the 1e-5 within which training and serving agree."""
    offered = providers(None)[0]
    assert not isinstance(offered, str)
    assert offered[1]["use_tf32"] == "0"


# --- What it refuses ---


def unfit(folder: Path) -> str:
    with pytest.raises(Refusal) as refusal:
        FusionModel.load(folder)
    assert refusal.value.code is RefusalCode.MODEL_UNFIT
    assert str(folder) not in refusal.value.message
    assert "onnxruntime_src" not in refusal.value.message
    return refusal.value.found


def with_replaced(folder: Path, tmp_path: Path, old: bytes, new: bytes) -> Path:
    """Write the model with some text replaced by text of the same length, which keeps the file valid."""
    content = (folder / MODEL_FILE).read_bytes()
    assert len(old) == len(new)
    assert old in content
    (tmp_path / MODEL_FILE).write_bytes(content.replace(old, new))
    write_digests(tmp_path)
    return tmp_path


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    assert "model.onnx cannot be read" in unfit(tmp_path)


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / MODEL_FILE).mkdir()
    assert "model.onnx cannot be read" in unfit(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x00" * 4096])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MODEL_FILE).write_bytes(content)
    write_digests(tmp_path)
    assert "onnxruntime cannot read model.onnx" in unfit(tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_truncated_model_is_refused(folder: Path, tmp_path: Path, share: float) -> None:
    content = (folder / MODEL_FILE).read_bytes()
    (tmp_path / MODEL_FILE).write_bytes(content[: int(share * len(content))])
    write_digests(tmp_path)
    assert unfit(tmp_path)


def test_a_huge_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdl1es.model.fusion, "MAX_MODEL_BYTES", 10)
    (tmp_path / MODEL_FILE).write_bytes(b"x" * 11)
    assert "more than 10 bytes" in unfit(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "device", "link to an endless device", "link to itself"])
def test_what_is_no_regular_file_is_refused_without_waiting_for_it(tmp_path: Path, kind: str) -> None:
    file = tmp_path / MODEL_FILE
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to({"device": "/dev/null", "link to itself": MODEL_FILE}.get(kind, "/dev/zero"))
    assert "model.onnx cannot be read" in unfit(tmp_path)


def copied(folder: Path, tmp_path: Path) -> Path:
    for name in (MODEL_FILE, METADATA_FILE):
        shutil.copy(folder / name, tmp_path / name)
    return tmp_path


def flipped_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1  # among the weights: nothing but the digest can tell
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        (MODEL_FILE, flipped_bit, "model.onnx has the SHA-256"),
        (METADATA_FILE, Path.unlink, "metadata.json cannot be read"),
        (METADATA_FILE, lambda file: file.write_text("{}"), "no JSON object with the key 'sha256'"),
        (METADATA_FILE, lambda file: file.write_text("[" * 100_000), "no JSON object with the key 'sha256'"),
        (METADATA_FILE, lambda file: file.write_text('{"sha256": {}}'), "holds no SHA-256 of model.onnx"),
        (
            METADATA_FILE,
            lambda file: file.write_text('{"sha256": {"model.onnx": 1}}'),
            "holds no SHA-256 of model.onnx",
        ),
    ],
    ids=["bit", "no metadata", "no digests", "depth", "no digest", "number"],
)
def test_a_file_that_is_not_the_exported_one_is_refused(
    folder: Path, tmp_path: Path, name: str, change: Callable[[Path], None], found: str
) -> None:
    change(copied(folder, tmp_path) / name)
    with pytest.raises(Refusal, match=found) as refusal:
        FusionModel.load(tmp_path)
    assert refusal.value.code is RefusalCode.MODEL_CHANGED


def test_the_digests_are_written_again_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    """`python -m pdl1es.model.digests FOLDER`, for whoever changes a file by intention."""
    shipped = json.loads((folder / METADATA_FILE).read_text(encoding="utf-8"))
    flipped_bit(copied(folder, tmp_path) / MODEL_FILE)
    digests = write_digests(tmp_path)
    assert digests == {MODEL_FILE: hashlib.sha256((tmp_path / MODEL_FILE).read_bytes()).hexdigest()}
    assert json.loads((tmp_path / METADATA_FILE).read_text(encoding="utf-8")) == {**shipped, "sha256": digests}


def test_the_model_that_ships_has_the_digests_of_its_files(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    write_digests(tmp_path / "copy")
    assert (tmp_path / "copy" / METADATA_FILE).read_bytes() == (folder / METADATA_FILE).read_bytes()


def score_or_code(folder: Path, radiomics: NDArray[np.float64]) -> float | RefusalCode:
    """Return the lesion's score, or the code of the model's refusal."""
    try:
        return FusionModel.load(folder).predict(lesion(), radiomics, COMPLETE).score
    except Refusal as refusal:
        return refusal.code


def test_a_damaged_model_whose_digest_was_written_again_is_refused_or_gives_a_score(
    folder: Path, tmp_path: Path, radiomics: NDArray[np.float64]
) -> None:
    """Whoever exports with a broken tool gets a refusal, never a defect: 12 files with 64 random bytes each."""
    content = (folder / MODEL_FILE).read_bytes()
    rng = np.random.default_rng(0)
    ends = [*range(0, 400_000, 80_000), *range(len(content) - 400_000, len(content), 60_000)]
    for start in ends:  # graph and metadata lie at the ends
        damaged = bytearray(content)
        for place in rng.integers(start, min(start + 20_000, len(content)), 64):
            damaged[place] = int(rng.integers(256))
        (tmp_path / MODEL_FILE).write_bytes(damaged)
        write_digests(tmp_path)
        found = score_or_code(tmp_path, radiomics)
        if isinstance(found, float):
            assert 0.0 <= found <= 1.0
        else:
            assert found in (RefusalCode.MODEL_UNFIT, RefusalCode.SCORE_NOT_FINITE)


def test_a_model_of_other_features_is_refused_and_the_first_that_differs_is_named(folder: Path, tmp_path: Path) -> None:
    found = unfit(with_replaced(folder, tmp_path, b'"original_shape_Flatness"', b'"original_shape_Fatness_"'))
    assert "'original_shape_Fatness_' as radiomic feature 1" in found


def test_a_model_of_other_settings_is_refused_and_both_digests_are_named(folder: Path, tmp_path: Path) -> None:
    other = "0" * 64
    found = unfit(with_replaced(folder, tmp_path, method_digest().encode(), other.encode()))
    assert other[:12] in found
    assert method_digest()[:12] in found


def test_a_model_of_other_clinical_variables_is_refused(folder: Path, tmp_path: Path) -> None:
    assert "clinical variables" in unfit(with_replaced(folder, tmp_path, b'["age","sex"', b'["sex","age"'))


def test_a_model_without_metadata_is_refused(folder: Path, tmp_path: Path) -> None:
    content = (folder / MODEL_FILE).read_bytes()
    start = content.index(b'{"schema_version"')
    key = content[start - 20 : start].replace(b"pdl1es", b"others")
    (tmp_path / MODEL_FILE).write_bytes(content[: start - 20] + key + content[start:])
    write_digests(tmp_path)
    assert "no metadata under the key 'pdl1es'" in unfit(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        (b'{"schema_version":1', b'{"schema_version":2', "schema_version"),
        (b'"training_data":"synthetic"', b'"training_data":"certified"', "training_data"),
        (b'"calibrated":false', b'"kalibrated":false', "calibrated"),
    ],
)
def test_metadata_that_break_their_schema_are_refused_by_field(
    folder: Path, tmp_path: Path, old: bytes, new: bytes, place: str
) -> None:
    found = unfit(with_replaced(folder, tmp_path, old, new))
    assert "metadata of model.onnx are not valid" in found
    assert place in found


def test_a_model_with_another_output_is_refused(folder: Path, tmp_path: Path) -> None:
    found = unfit(with_replaced(folder, tmp_path, b"imputed_clinical", b"imputed_clinikal"))
    assert "outputs are" in found
    assert "imputed_clinikal" in found


def test_a_score_that_is_not_finite_is_refused(model: FusionModel, radiomics: NDArray[np.float64]) -> None:
    ageless = ClinicalData(ClinicalValue(math.inf, "clinical file"), *COMPLETE.values()[1:])
    with pytest.raises(Refusal, match="not finite") as refusal:
        model.predict(lesion(), radiomics, ageless)
    assert refusal.value.code is RefusalCode.SCORE_NOT_FINITE


@pytest.mark.parametrize(
    ("patches", "features"),
    [
        (np.zeros((3, 112, 111), np.float32), np.zeros(1316)),
        (np.zeros((3, 112, 112)), np.zeros(1316)),
        (np.zeros((0, 112, 112), np.float32), np.zeros(1316)),
        (np.full((3, 112, 112), NAN, np.float32), np.zeros(1316)),
        (np.zeros((3, 112, 112), np.float32), np.zeros(1315)),
        (np.zeros((3, 112, 112), np.float32), np.zeros(1316, np.float32)),
    ],
)
def test_arrays_of_another_shape_or_type_are_an_error(
    model: FusionModel, patches: NDArray[np.float32], features: NDArray[np.float64]
) -> None:
    with pytest.raises(ValueError, match=r"patch|radiomics"):
        model.predict(patches, features, COMPLETE)


# --- What ships ---


def test_the_model_says_that_it_was_not_trained_on_patients(model: FusionModel) -> None:
    assert model.metadata.training_data == "synthetic"
    assert not model.metadata.calibrated
    assert "not for any decision on a patient" in model.metadata.intended_use.lower()
    assert model.metadata.limitations


def test_the_model_belongs_to_this_version(model: FusionModel) -> None:
    assert model.metadata.method_digest == method_digest()
    assert model.metadata.feature_names == FEATURE_NAMES


def test_no_path_of_the_machine_that_made_it_is_in_the_model(folder: Path) -> None:
    content = (folder / MODEL_FILE).read_bytes()
    assert re.findall(rb"(?:/[\w.-]+)+\.py\b", content) == []
    for trace in (b"site-packages", b"stack_trace", b"/home/", str(Path.home()).encode() + b"/", b'File "'):
        assert trace not in content


def test_card_and_bundle_metadata_tell_of_the_same_model(folder: Path, model: FusionModel) -> None:
    bundle = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    # Required of a bundle's metadata by MONAI, and what the application needs beyond.
    for key in ("version", "changelog", "monai_version", "pytorch_version", "numpy_version", "network_data_format"):
        assert bundle[key]
    # Beside the file's own metadata the bundle tells how it was trained and what it reaches.
    own = {name: value for name, value in bundle["pdl1es"].items() if name in ModelMetadata.model_fields}
    reach = model.metadata.training_reach
    assert reach is not None
    own["training_reach"] |= reach.model_dump(include={"centre", "whitening"})  # long lists, which the file alone holds
    assert ModelMetadata.model_validate({**own, "feature_names": FEATURE_NAMES}) == model.metadata
    assert set(bundle["pdl1es"]) - set(own) == {"training", "performance", "torch_against_onnxruntime"}
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "DEMONSTRATION MODEL - NOT FOR CLINICAL USE" in card
    assert model.metadata.method_digest in card
    assert all(sentence in card for sentence in (*model.metadata.limitations, model.metadata.intended_use))


def test_metadata_whose_selected_features_are_no_features_are_refused(model: FusionModel) -> None:
    document = model.metadata.model_dump()
    with pytest.raises(ValidationError, match="not among the feature names"):
        ModelMetadata.model_validate({**document, "selected_features": ("original_shape_Beauty",)})
    with pytest.raises(ValidationError, match="named twice"):
        ModelMetadata.model_validate({**document, "selected_features": FEATURE_NAMES[:1] * 2})


def test_a_fusion_cut_off_needs_a_clinical_one(model: FusionModel) -> None:
    cut = CutOff(value=1.78, method="X-tile", above="high risk", below="low risk")
    with pytest.raises(ValidationError, match="needs clinical_cut_off"):
        ModelMetadata.model_validate({**model.metadata.model_dump(), "clinical_cut_off": None, "fusion_cut_off": cut})


def test_the_range_over_unknown_values_is_that_of_every_patient_they_could_be(
    model: FusionModel, radiomics: NDArray[np.float64]
) -> None:
    """Against scores of each combination of values, of which the extremes are at the ends."""
    patches = lesion()
    known = ClinicalValue(1.0, "clinical file")
    unknown = ClinicalData(MISSING, known, MISSING, MISSING)
    found = model.predict(patches, radiomics, unknown, with_range=True)
    assert found.imputed_range is not None

    def score(age: float, smoking: float, family: float) -> float:
        of_age, smoker, related = (ClinicalValue(value, "clinical file") for value in (age, smoking, family))
        return model.predict(patches, radiomics, ClinicalData(of_age, known, smoker, related)).score

    scores = [
        score(age, smoking, family)
        for age in (40.0, 59.0, 80.0)
        for smoking in (0.0, 1.0, 2.0)
        for family in (0.0, 1.0)
    ]
    assert found.imputed_range == pytest.approx((min(scores), max(scores)), rel=1e-9)
    assert found.imputed_range[0] < found.score < found.imputed_range[1]
    assert found.score == model.predict(patches, radiomics, unknown).score


def test_a_smoker_of_unknown_grade_is_no_never_smoker_in_the_range(
    model: FusionModel, radiomics: NDArray[np.float64]
) -> None:
    values = [ClinicalValue(value, "clinical file") for value in (61.0, 1.0, 2.0, 0.0)]
    ungraded = ClinicalData(values[0], values[1], ClinicalValue(None, "clinical file", graded=False), values[3])
    scores = [
        model.predict(
            lesion(), radiomics, ClinicalData(values[0], values[1], ClinicalValue(grade, "clinical file"), values[3])
        ).score
        for grade in (1.0, 2.0)
    ]
    found = model.predict(lesion(), radiomics, ungraded, with_range=True)
    assert found.imputed_range == pytest.approx((min(scores), max(scores)), rel=1e-9)


def test_where_all_is_known_there_is_no_range(model: FusionModel, radiomics: NDArray[np.float64]) -> None:
    assert model.predict(lesion(), radiomics, COMPLETE, with_range=True).imputed_range is None
