"""The fusion network in torch: its parts, its terms, and the same imputation as the reference."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.impute import KNNImputer
from torch import Tensor

from pdl1es.features.names import FEATURE_NAMES
from pdl1es.model.imputation import ReferenceProfiles, build_profiles, impute
from training.network import CM, DLM, PDL1ES, RM, FusionNetwork, Parts, Preprocessor, ServingGraph, ServingOutputs
from training.preprocessing import CoxTerms, FittedPreprocessing

NAN = float("nan")


@pytest.fixture(scope="module")
def network(fitted: FittedPreprocessing) -> FusionNetwork:
    torch.manual_seed(3)
    return FusionNetwork(fitted).eval()


def patches(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 14, 14, generator=generator) * 900 - 850
    return torch.nn.functional.interpolate(coarse, (112, 112), mode="bilinear").round()


def features(count: int, fitted: FittedPreprocessing, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, len(FEATURE_NAMES)))
    values[:, fitted.selected] = fitted.radiomic_mean + fitted.radiomic_sd * values[:, fitted.selected]
    return torch.from_numpy(values)


CLINICAL = torch.tensor([[61.0, 1.0, 2.0, 0.0], [47.0, NAN, 0.0, NAN], [NAN, NAN, NAN, NAN]], dtype=torch.float64)


def score(
    network: FusionNetwork, index: int, fitted: FittedPreprocessing, cox: CoxTerms | None = None
) -> ServingOutputs:
    """Serve one patient of three slices."""
    graph = ServingGraph(network, cox)
    with torch.inference_mode():
        return ServingOutputs(*graph(patches(3, index), features(3, fitted)[index], CLINICAL[index]))


# --- What training sees is what is served ---


@pytest.mark.parametrize("parts", [PDL1ES, CM, RM, DLM, Parts(deep=False)])
def test_training_and_serving_give_the_same_slice_scores(fitted: FittedPreprocessing, parts: Parts) -> None:
    """The softmax over two outputs that training optimises equals the sigmoid that is served, within 1e-5."""
    torch.manual_seed(4)
    network = FusionNetwork(fitted, parts).eval()
    with torch.inference_mode():
        radiomic_z, clinical_z = network.preprocess(features(3, fitted), CLINICAL)
        for index in range(1 if parts.deep else 3):
            logits = network(patches(3, index), radiomic_z[[index] * 3], clinical_z[[index] * 3])
            trained = logits.softmax(1)[:, 1].double()
            served = score(network, index, fitted).slice_scores
            assert torch.allclose(trained, served, atol=1e-5, rtol=0)


def test_terms_sum_to_the_logit_and_cells_to_the_deep_term(network: FusionNetwork, fitted: FittedPreprocessing) -> None:
    outputs = score(network, 1, fitted)
    assert torch.logit(outputs.pdl1es).item() == pytest.approx(outputs.contributions.sum().item(), abs=1e-9)
    assert outputs.cam.sum((1, 2)).mean().item() == pytest.approx(outputs.contributions[1].item(), abs=1e-12)


@pytest.mark.parametrize(("parts", "silent"), [(CM, slice(1, 23)), (RM, slice(23, 27)), (DLM, slice(2, 27))])
def test_a_part_that_is_off_contributes_nothing(fitted: FittedPreprocessing, parts: Parts, silent: slice) -> None:
    torch.manual_seed(5)
    outputs = score(FusionNetwork(fitted, parts), 0, fitted)
    assert outputs.contributions.shape == (2 + 21 + 4,)
    assert (outputs.contributions[silent] == 0).all()
    assert outputs.cam.shape == (3, 3, 3)


def test_only_a_network_with_its_deep_part_holds_a_densenet(fitted: FittedPreprocessing) -> None:
    sizes = {
        parts: sum(p.numel() for p in FusionNetwork(fitted, parts).parameters()) for parts in (PDL1ES, CM, RM, DLM)
    }
    assert sizes[CM] == 2 * (4 + 1)
    assert sizes[RM] == 2 * (21 + 1)
    assert sizes[DLM] == sizes[PDL1ES] - 2 * (21 + 4)
    assert sizes[DLM] == pytest.approx(6.95e6, rel=0.01)


def test_a_network_without_any_part_is_no_network() -> None:
    with pytest.raises(ValueError, match="at least one part"):
        Parts(deep=False, radiomics=False, clinical=False)


def test_gradients_reach_the_first_convolution(network: FusionNetwork, fitted: FittedPreprocessing) -> None:
    radiomic_z, clinical_z = network.preprocess(features(2, fitted), CLINICAL[:2])
    loss = torch.nn.functional.cross_entropy(network(patches(2), radiomic_z, clinical_z), torch.tensor([0, 1]))
    loss.backward()
    gradient = network.densenet.get_submodule("conv0").get_parameter("weight").grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
    network.zero_grad(set_to_none=True)


# --- HU window ---


def test_hu_beyond_the_window_change_nothing(network: FusionNetwork) -> None:
    image = patches(1)
    below, above = image.clone(), image.clone()
    below[..., :20, :20], above[..., :20, :20] = -1000, 400
    beyond_below, beyond_above = below.clone(), above.clone()
    beyond_below[..., :20, :20], beyond_above[..., :20, :20] = -1024, 3071
    with torch.inference_mode():
        assert torch.equal(network.feature_maps(below), network.feature_maps(beyond_below))
        assert torch.equal(network.feature_maps(above), network.feature_maps(beyond_above))
        assert not torch.equal(network.feature_maps(below), network.feature_maps(above))


def test_a_window_that_does_not_rise_is_refused(fitted: FittedPreprocessing) -> None:
    with pytest.raises(ValueError, match="must rise"):
        FusionNetwork(fitted, CM, window_hu=(400.0, -1000.0))


def test_the_last_block_has_three_by_three_cells(network: FusionNetwork) -> None:
    with torch.inference_mode():
        assert network.feature_maps(patches(2)).shape == (2, 1024, 3, 3)


# --- Radiomic z-scores ---


def test_radiomic_z_scores_are_float64_clipped_at_five_with_the_mean_for_missing(fitted: FittedPreprocessing) -> None:
    """A feature of 1e9 with a spread of 1 keeps its z-score: float32 would have lost it."""
    some = dataclasses.replace(
        fitted, selected=(0, 1, 2, 3, 4), radiomic_mean=np.array([1e9, 0, 0, 0, 0.0]), radiomic_sd=np.ones(5)
    )
    raw = torch.zeros(len(FEATURE_NAMES), dtype=torch.float64)
    raw[:5] = torch.tensor([1e9 + 1.25, NAN, float("inf"), -7.5, 5.0], dtype=torch.float64)
    preprocessor = Preprocessor(some)
    z = preprocessor.radiomic_z(raw)
    assert z[0] == 1.25
    assert z.isnan().tolist() == [False, True, True, False, False]
    assert preprocessor.clipped(z).tolist() == [1.25, 0, 0, -5, 5]


# --- Imputation: the graph against the reference, and both against scikit-learn ---


def queries(seed: int, count: int, whole_years: bool = True) -> np.ndarray:
    rng = np.random.default_rng(seed)
    age = rng.uniform(30, 90, count)
    values = np.stack(
        [
            age.round() if whole_years else age,
            rng.integers(0, 2, count),
            rng.choice((0.0, 1.0, 1.2, 2.0), count),
            rng.integers(0, 2, count),
        ],
        axis=1,
    ).astype(np.float64)
    values[rng.random(values.shape) < 0.35] = NAN
    return values


@pytest.mark.parametrize("min_count", [1, 5])
@pytest.mark.parametrize("whole_years", [True, False])
def test_the_graphs_imputation_is_the_references_on_thousands_of_patients(
    fitted: FittedPreprocessing, min_count: int, whole_years: bool
) -> None:
    """With min_count 1 many profiles have one row, so that the third row decides; whole years give many ties."""
    rng = np.random.default_rng(12)
    table = build_profiles(np.nan_to_num(queries(13, 220), nan=1.0), min_count=min_count)
    table = dataclasses.replace(table, counts=rng.integers(1, 4, len(table.counts)).astype(float))
    preprocessor = Preprocessor(dataclasses.replace(fitted, profiles=table))
    asked = queries(14, 3000, whole_years)
    expected = np.stack([impute(row, table) for row in asked])
    assert np.abs(preprocessor.impute(torch.from_numpy(asked)).numpy() - expected).max() < 1e-11


def test_without_profiles_the_graph_gives_training_means(fitted: FittedPreprocessing) -> None:
    empty = ReferenceProfiles(np.zeros((0, 4)), np.zeros(0), np.array([60.0, 0.6, 0.5, 0.1]))
    filled = Preprocessor(dataclasses.replace(fitted, profiles=empty)).impute(CLINICAL)
    assert filled[1].tolist() == [47.0, 0.6, 0.0, 0.1]
    assert filled[2].tolist() == [60.0, 0.6, 0.5, 0.1]


def test_without_ties_the_rule_is_scikit_learns() -> None:
    """Distances of real-valued rows never tie: there KNNImputer(3, weights='distance') has one answer, and it is ours.

    Within 1e-5: scikit-learn gets distances from scalar products, which costs small ones their last digits.
    """
    rng = np.random.default_rng(15)
    rows = rng.normal((60, 1, 1, 0.5), (10, 1, 1, 1), (150, 4))
    table = ReferenceProfiles(rows, np.ones(150), rows.mean(axis=0))
    asked = rng.normal((60, 1, 1, 0.5), (10, 1, 1, 1), (2000, 4))
    missing = rng.random(asked.shape) < 0.4
    missing[missing.all(axis=1), 0] = False
    asked[missing] = NAN
    theirs = KNNImputer(n_neighbors=3, weights="distance").fit(rows).transform(asked)
    ours = np.stack([impute(row, table) for row in asked])
    assert np.abs(ours - theirs).max() < 1e-5


def test_rows_shared_by_several_patients_count_as_often_in_scikit_learn_too() -> None:
    """A profile of count n is n equal rows; with every count at least three the nearest profile alone is asked."""
    rng = np.random.default_rng(16)
    rows = rng.normal((60, 1, 1, 0.5), (10, 1, 1, 1), (40, 4))
    counts = rng.integers(3, 9, 40)
    table = ReferenceProfiles(rows, counts.astype(float), rows.mean(axis=0))
    theirs_of = KNNImputer(n_neighbors=3, weights="distance").fit(np.repeat(rows, counts, axis=0))
    asked = rng.normal((60, 1, 1, 0.5), (10, 1, 1, 1), (500, 4))
    asked[np.arange(500), rng.integers(0, 4, 500)] = NAN
    ours = np.stack([impute(row, table) for row in asked])
    assert np.abs(ours - theirs_of.transform(asked)).max() < 1e-5


# --- Cox terms ---


def test_risks_are_centred_linear_predictors(network: FusionNetwork, fitted: FittedPreprocessing) -> None:
    cox = CoxTerms(
        clinical_coefficients=np.array([0.02, 0.3, -0.1, 0.5]),
        clinical_means=np.array([60.0, 0.8, 0.9, 0.1]),
        fusion_coefficients=np.array([2.0, 0.7]),
        fusion_means=np.array([0.4, 0.05]),
    )
    outputs = score(network, 0, fitted, cox)
    clinical = 0.02 * (61 - 60) + 0.3 * (1 - 0.8) - 0.1 * (2 - 0.9) + 0.5 * (0 - 0.1)
    assert outputs.clinical_risk is not None
    assert outputs.fusion_risk is not None
    assert outputs.clinical_risk.item() == pytest.approx(clinical, abs=1e-12)
    fusion = 2.0 * (outputs.pdl1es.item() - 0.4) + 0.7 * (clinical - 0.05)
    assert outputs.fusion_risk.item() == pytest.approx(fusion, abs=1e-12)


def test_fusion_coefficients_without_means_are_refused() -> None:
    with pytest.raises(ValueError, match="belong together"):
        CoxTerms(np.zeros(4), np.zeros(4), fusion_coefficients=np.zeros(2))


# --- Fitted parts ---


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"radiomic_sd": np.zeros(21)}, "not positive"),
        ({"clinical_sd": np.array([1.0, 1.0, 0.0, 1.0])}, "not positive"),
        ({"clinical_mean": np.zeros(3)}, "shape"),
        ({"clinical_mean": np.full(4, NAN)}, "not finite"),
        ({"selected": (5, 3)}, "ascending"),
        ({"selected": (3, 3)}, "duplicates"),
        ({"selected": (1316,)}, "0..1315"),
    ],
)
def test_fitted_parts_are_valid_once_made(fitted: FittedPreprocessing, change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        dataclasses.replace(fitted, **change)
