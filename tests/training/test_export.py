"""The exported file: the same as torch, the same bytes each time, nothing of the machine in it, refused where altered."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import training.export
from pdl1es.clinical import MISSING, ClinicalData, ClinicalValue
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.method_digest import method_digest
from pdl1es.model.digests import write_digests
from pdl1es.model.folder import METADATA_FILE, MODEL_FILE
from pdl1es.model.fusion import FusionModel
from pdl1es.model.imputation import ReferenceProfiles, impute
from pdl1es.model.metadata import METADATA_KEY, CutOff, ModelMetadata
from training.export import INPUT_NAMES, ExportError, export_model, model_metadata, random_cases
from training.network import CM, FusionNetwork, Parts, ServingGraph
from training.preprocessing import CoxTerms, FittedPreprocessing

NAN = float("nan")
CUT = CutOff(value=0.5, method="Youden on validation", above="high", below="low")
COX = CoxTerms(
    clinical_coefficients=np.array([0.02, 0.3, -0.1, 0.5]),
    clinical_means=np.array([60.0, 0.8, 0.9, 0.1]),
    fusion_coefficients=np.array([2.0, 0.7]),
    fusion_means=np.array([0.4, 0.0]),
)
Exported = tuple[FusionNetwork, Path, float]


def described(network: FusionNetwork, fitted: FittedPreprocessing, cox: CoxTerms | None = None) -> ModelMetadata:
    return model_metadata(
        network,
        fitted,
        name="a test's model",
        version="1",
        training_data="untrained",
        trained_on="nothing",
        intended_use="tests",
        limitations=("all",),
        expression_cut_off=CUT,
        progression_cut_off=CUT,
        calibrated=False,
        clinical_cut_off=None if cox is None else CUT,
        fusion_cut_off=None if cox is None or cox.fusion_coefficients is None else CUT,
    )


@pytest.fixture(scope="module")
def whole(fitted: FittedPreprocessing, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Every part and both Cox models, exported once."""
    torch.manual_seed(21)
    network = FusionNetwork(fitted)
    folder = tmp_path_factory.mktemp("whole")
    difference = export_model(network, fitted, described(network, fitted, COX), folder / MODEL_FILE, cox=COX, cases=4)
    return network, folder, difference


@pytest.fixture(scope="module")
def small(fitted: FittedPreprocessing, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Without the deep part, so that its file has kilobytes."""
    torch.manual_seed(22)
    network = FusionNetwork(fitted, Parts(deep=False))
    folder = tmp_path_factory.mktemp("small")
    difference = export_model(network, fitted, described(network, fitted), folder / MODEL_FILE, cases=50)
    return network, folder, difference


# --- The same as torch ---


def test_onnxruntime_gives_what_torch_gives(whole: Exported, small: Exported) -> None:
    assert whole[2] <= 1e-5
    assert small[2] <= 1e-5


def test_the_served_prediction_is_the_networks(whole: Exported, fitted: FittedPreprocessing) -> None:
    """Through the chain's own class, with a missing feature, a missing and an ungraded clinical value."""
    network, folder, _ = whole
    patches, radiomics, _ = next(random_cases(fitted, 1, seed=5))
    radiomics = np.nan_to_num(radiomics)
    radiomics[fitted.selected[0]] = NAN
    clinical = ClinicalData(ClinicalValue(61.0, ""), MISSING, ClinicalValue(None, "", graded=False), MISSING)
    prediction = FusionModel.load(folder).predict(patches[:, 0], radiomics, clinical)
    codes = torch.tensor([61.0, NAN, fitted.smoker_grade, NAN], dtype=torch.float64)
    with torch.inference_mode():
        outputs = ServingGraph(network, COX)(torch.from_numpy(patches), torch.from_numpy(radiomics), codes)
    assert prediction.score == pytest.approx(outputs[0].item(), abs=1e-5)
    assert prediction.cam == pytest.approx(outputs[2].numpy(), abs=1e-5)
    terms = [prediction.bias, prediction.deep, *(t.log_odds for t in (*prediction.radiomic, *prediction.clinical))]
    assert terms == pytest.approx(outputs[3].tolist(), abs=1e-5)
    assert prediction.clinical_risk == pytest.approx(outputs[6].item(), abs=1e-9)
    assert prediction.fusion_risk == pytest.approx(outputs[7].item(), abs=1e-5)
    assert prediction.imputed == ("sex", "smoking", "family_history")
    assert prediction.missing_features == (FEATURE_NAMES[fitted.selected[0]],)


def test_the_file_imputes_as_the_reference_on_thousands_of_patients(
    small: Exported, fitted: FittedPreprocessing
) -> None:
    model = FusionModel.load(small[1])
    rng = np.random.default_rng(31)
    features = np.zeros(len(FEATURE_NAMES))
    patches = np.zeros((1, 112, 112), np.float32)
    for _ in range(3000):
        asked = np.array([rng.integers(30, 90), rng.integers(2), rng.choice((0, 1, 1.2, 2)), rng.integers(2)])
        asked[rng.random(4) < 0.4] = NAN
        served = model._run(patches, features, asked)["imputed_clinical"]
        assert np.abs(served - impute(asked, fitted.profiles)).max() < 1e-11


def test_values_that_float32_cannot_hold_are_standardised_all_the_same(
    small: Exported, fitted: FittedPreprocessing
) -> None:
    features = np.zeros(len(FEATURE_NAMES))
    features[list(fitted.selected[:3])] = (1e300, 1e39, np.inf)
    z = FusionModel.load(small[1])._run(np.zeros((1, 112, 112), np.float32), features, np.zeros(4))["radiomic_z"]
    assert z[:2] == pytest.approx((np.array([1e300, 1e39]) - fitted.radiomic_mean[:2]) / fitted.radiomic_sd[:2])
    assert np.isnan(z[2])


def test_a_table_without_profiles_can_be_exported(fitted: FittedPreprocessing, tmp_path: Path) -> None:
    mean = np.array([60.0, 0.6, 0.5, 0.1])
    lonely = dataclasses.replace(fitted, profiles=ReferenceProfiles(np.zeros((0, 4)), np.zeros(0), mean))
    network = FusionNetwork(lonely, CM)
    export_model(network, lonely, described(network, lonely), tmp_path / MODEL_FILE, cases=5)
    served = FusionModel.load(tmp_path)._run(
        np.zeros((1, 112, 112), np.float32), np.zeros(len(FEATURE_NAMES)), np.array([70.0, NAN, 1.0, NAN])
    )
    assert served["imputed_clinical"].tolist() == [70.0, 0.6, 1.0, 0.1]


def test_a_model_without_cox_models_reports_no_risk(small: Exported, fitted: FittedPreprocessing) -> None:
    patches, radiomics, _ = next(random_cases(fitted, 1))
    clinical = ClinicalData(MISSING, MISSING, MISSING, MISSING)
    prediction = FusionModel.load(small[1]).predict(patches[:, 0], np.nan_to_num(radiomics), clinical)
    assert prediction.clinical_risk is None
    assert prediction.fusion_risk is None


# --- The file itself ---


EXPORTED_GRAPH = training.export.exported_graph
"""As it is, where other tests remember what it gave."""


def test_the_same_network_gives_the_same_bytes(
    small: Exported, fitted: FittedPreprocessing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, folder, _ = small
    monkeypatch.setattr(training.export, "exported_graph", EXPORTED_GRAPH)
    export_model(network, fitted, described(network, fitted), tmp_path / MODEL_FILE, cases=1)
    assert (tmp_path / MODEL_FILE).read_bytes() == (folder / MODEL_FILE).read_bytes()


def test_whoever_waits_for_the_comparison_is_told_how_far_it_is(
    small: Exported, fitted: FittedPreprocessing, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    metadata = described(small[0], fitted)
    export_model(
        small[0], fitted, metadata, tmp_path / MODEL_FILE, cases=3, progress=lambda *counts: told.append(counts)
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_it_is_one_file_of_about_28_megabytes_without_weights_elsewhere(whole: Exported) -> None:
    assert sorted(path.name for path in whole[1].iterdir()) == [METADATA_FILE, MODEL_FILE]
    assert 26e6 < (whole[1] / MODEL_FILE).stat().st_size < 30e6
    model = onnx.load(whole[1] / MODEL_FILE, load_external_data=False)
    assert all(tensor.data_location == TensorProto.DEFAULT for tensor in model.graph.initializer)


def test_nothing_of_source_or_machine_is_in_it(whole: Exported, small: Exported, repository: Path) -> None:
    """torch's exporter writes stack traces with file paths beside every node."""
    for _, folder, _ in (whole, small):
        content = (folder / MODEL_FILE).read_bytes()
        assert re.findall(rb"(?:/[\w.-]+)+\.py\b", content) == []
        for trace in (str(repository), "site-packages", "stack_trace", 'File "'):
            assert trace.encode() not in content
        model = onnx.load_model_from_string(content)
        assert [entry.key for entry in model.metadata_props] == [METADATA_KEY]
        assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


def test_only_standard_operators_are_used(whole: Exported) -> None:
    model = onnx.load(whole[1] / MODEL_FILE)
    assert [entry.domain for entry in model.opset_import if entry.domain] == []
    assert {node.domain for node in model.graph.node} == {""}


def test_the_metadata_say_what_was_exported(whole: Exported, fitted: FittedPreprocessing) -> None:
    metadata = FusionModel.load(whole[1]).metadata
    assert metadata.selected_features == fitted.selected_features
    assert metadata.method_digest == method_digest()
    assert metadata.window_hu == (-1000.0, 400.0)
    assert metadata.smoker_grade == fitted.smoker_grade


# --- What is not written ---


def test_a_file_that_differs_from_torch_is_not_written(
    small: Exported, fitted: FittedPreprocessing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.export, "AGREEMENT", -1.0)
    with pytest.raises(ExportError, match="differs from torch"):
        export_model(small[0], fitted, described(small[0], fitted), tmp_path / MODEL_FILE, cases=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("selected_features", ()), ("smoker_grade", 1.5), ("window_hu", (-500.0, 500.0))],
)
def test_metadata_of_another_network_are_not_written(
    small: Exported, fitted: FittedPreprocessing, tmp_path: Path, field: str, value: object
) -> None:
    metadata = described(small[0], fitted).model_copy(update={field: value})
    with pytest.raises(ValueError, match=field):
        export_model(small[0], fitted, metadata, tmp_path / MODEL_FILE)


def test_fitted_parts_of_another_network_are_not_written(
    small: Exported, fitted: FittedPreprocessing, tmp_path: Path
) -> None:
    other = dataclasses.replace(fitted, clinical_mean=fitted.clinical_mean + 1)
    with pytest.raises(ValueError, match="clinical_mean"):
        export_model(small[0], other, described(small[0], other), tmp_path / MODEL_FILE)


def test_cox_models_without_cut_offs_are_not_written(
    small: Exported, fitted: FittedPreprocessing, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="cut-offs belong together"):
        export_model(small[0], fitted, described(small[0], fitted), tmp_path / MODEL_FILE, cox=COX)


# --- What the chain refuses of a file that someone made or altered ---


def refused(model: onnx.ModelProto, folder: Path) -> str:
    (folder / MODEL_FILE).write_bytes(model.SerializeToString())
    write_digests(folder)
    with pytest.raises(Refusal) as refusal:
        FusionModel.load(folder)
    assert refusal.value.code is RefusalCode.MODEL_UNFIT
    return refusal.value.found


def tiny(metadata: ModelMetadata, change: Callable[[list[onnx.ValueInfoProto]], None]) -> onnx.ModelProto:
    """Make a model that has the contract's inputs and outputs and computes nothing, then change the former."""
    terms = 2 + len(metadata.selected_features) + 4
    values: list[tuple[str, Any, list[str | int | None]]] = [
        ("patches", TensorProto.FLOAT, ["S", 1, 112, 112]),
        ("radiomics", TensorProto.DOUBLE, [1316]),
        ("clinical", TensorProto.DOUBLE, [4]),
    ]
    inputs = [helper.make_tensor_value_info(*value) for value in values]
    change(inputs)
    zeros = {"pdl1es": [], "slice_scores": [3], "cam": [3, 3, 3], "contributions": [terms]}
    zeros |= {"imputed_clinical": [4], "radiomic_z": [len(metadata.selected_features)]}
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.zeros(shape)))
        for name, shape in zeros.items()
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, shape) for name, shape in zeros.items()]
    outputs[1].type.tensor_type.shape.dim[0].dim_param = "S"
    outputs[2].type.tensor_type.shape.dim[0].dim_param = "S"
    graph = helper.make_graph(nodes, "tiny", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {METADATA_KEY: metadata.model_dump_json()})
    return model


def retype(index: int, type_: int) -> Callable[[list[onnx.ValueInfoProto]], None]:
    def change(inputs: list[onnx.ValueInfoProto]) -> None:
        inputs[index].type.tensor_type.elem_type = type_

    return change


def resize(index: int, axis: int, size: int) -> Callable[[list[onnx.ValueInfoProto]], None]:
    def change(inputs: list[onnx.ValueInfoProto]) -> None:
        inputs[index].type.tensor_type.shape.dim[axis].dim_value = size

    return change


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (retype(1, TensorProto.FLOAT), "input radiomics is tensor(float) (1316,), expected tensor(double)"),
        (retype(0, TensorProto.DOUBLE), "input patches is tensor(double)"),
        (resize(0, 0, 3), "expected tensor(float) (None, 1, 112, 112)"),
        (resize(1, 0, 1317), "input radiomics is tensor(double) (1317,)"),
        (resize(2, 0, 5), "input clinical is tensor(double) (5,)"),
        (lambda inputs: inputs.pop(), "inputs are patches, radiomics, expected patches, radiomics, clinical"),
    ],
)
def test_a_graph_with_other_inputs_is_refused(
    small: Exported,
    fitted: FittedPreprocessing,
    tmp_path: Path,
    change: Callable[[list[onnx.ValueInfoProto]], None],
    found: str,
) -> None:
    assert found in refused(tiny(described(small[0], fitted), change), tmp_path)


def test_a_cut_off_without_its_output_is_refused(small: Exported, fitted: FittedPreprocessing, tmp_path: Path) -> None:
    promises = described(small[0], fitted, COX)
    assert "clinical_risk" in refused(tiny(promises, lambda inputs: None), tmp_path)


def test_more_terms_than_features_are_refused(small: Exported, fitted: FittedPreprocessing, tmp_path: Path) -> None:
    metadata = described(small[0], fitted)
    fewer = metadata.model_copy(update={"selected_features": metadata.selected_features[:-1]})
    model = onnx.load(small[1] / MODEL_FILE)
    helper.set_model_props(model, {METADATA_KEY: fewer.model_dump_json()})
    assert "output contributions is tensor(double) (27,), expected tensor(double) (26,)" in refused(model, tmp_path)


def test_weights_in_another_file_are_not_read(small: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither from beside the model, nor from where the program was started."""
    monkeypatch.chdir(tmp_path)
    model = onnx.load(small[1] / MODEL_FILE)
    onnx.save(model, tmp_path / MODEL_FILE, save_as_external_data=True, location="weights.bin", size_threshold=0)
    write_digests(tmp_path)
    assert (tmp_path / "weights.bin").stat().st_size > 0
    with pytest.raises(Refusal, match=r"[Ee]xternal") as refusal:
        FusionModel.load(tmp_path)
    assert refusal.value.code is RefusalCode.MODEL_UNFIT


def test_an_operator_from_elsewhere_is_refused(small: Exported, tmp_path: Path) -> None:
    model = onnx.load(small[1] / MODEL_FILE)
    model.opset_import.append(helper.make_opsetid("elsewhere", 1))
    model.graph.node.append(helper.make_node("Foreign", ["clinical"], ["unused"], domain="elsewhere"))
    assert "elsewhere:Foreign" in refused(model, tmp_path)


def test_the_graphs_inputs_are_the_contracts(small: Exported) -> None:
    model = onnx.load(small[1] / MODEL_FILE)
    assert tuple(value.name for value in model.graph.input) == INPUT_NAMES
