"""The untrained model: random, but on a sensible scale, and honest about itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pdl1es.grid.patches import extract_patches
from training.network import FusionNetwork
from training.preprocessing import FittedPreprocessing
from training.untrained import (
    SELECTED,
    SPREAD,
    PhantomSample,
    main,
    phantom_volume,
    table_1_cohort,
    untrained_metadata,
    untrained_network,
)


@pytest.fixture(scope="module")
def sample() -> PhantomSample:
    """Twelve cases drawn without phantoms, which take too long here."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(-900, 200, (36, 1, 14, 14)).astype(np.float32))
    patches = torch.nn.functional.interpolate(coarse, (112, 112), mode="bilinear").reshape(12, 3, 112, 112)
    return PhantomSample(patches.round().numpy(), rng.normal(100, 20, (12, 1316)))


@pytest.fixture(scope="module")
def made(sample: PhantomSample) -> tuple[FusionNetwork, FittedPreprocessing]:
    return untrained_network(sample, table_1_cohort())


def test_its_cohort_is_the_papers_table_1_within_sampling_error() -> None:
    cohort = table_1_cohort()
    assert cohort.shape == (750, 4)
    assert np.nanmean(cohort[:, 0]) == pytest.approx(58.8, abs=1.2)
    assert np.nanstd(cohort[:, 0]) == pytest.approx(10.7, abs=0.8)
    assert np.nanmean(cohort[:, 1]) == pytest.approx(0.613, abs=0.05)
    shares = [np.mean(cohort[:, 2] == grade) for grade in (0, 1, 2)] + [np.mean(np.isnan(cohort[:, 2]))]
    assert shares == pytest.approx([0.460, 0.398, 0.101, 0.040], abs=0.05)
    assert np.mean(cohort[:, 3] == 1) == pytest.approx(0.148, abs=0.04)


def test_every_parts_term_has_the_spread_that_was_asked_for(
    sample: PhantomSample, made: tuple[FusionNetwork, FittedPreprocessing]
) -> None:
    """Then logits lie within about two of the bias, and no score is stuck at 0 or 1."""
    cohort, network = table_1_cohort(), made[0]
    bias, deep_weight, radiomic_weight, clinical_weight = network.logit_weights()
    with torch.inference_mode():
        maps = network.feature_maps(torch.from_numpy(sample.patches.reshape(-1, 1, 112, 112))).double()
        z, clinical_z = network.preprocess(torch.from_numpy(sample.radiomics), torch.from_numpy(cohort))
    deep = maps.mean((2, 3)) @ deep_weight
    assert deep.std().item() == pytest.approx(SPREAD["deep"], rel=1e-3)
    assert deep.mean().item() == pytest.approx(0, abs=1e-3)
    assert (z @ radiomic_weight).std().item() == pytest.approx(SPREAD["radiomics"], rel=1e-3)
    assert (clinical_z @ clinical_weight).std().item() == pytest.approx(SPREAD["clinical"], rel=1e-3)
    assert torch.sigmoid(bias).item() == pytest.approx(328 / 939, abs=1e-6)


def test_the_same_seed_gives_the_same_weights(
    sample: PhantomSample, made: tuple[FusionNetwork, FittedPreprocessing]
) -> None:
    first, second = made[0].state_dict(), untrained_network(sample, table_1_cohort())[0].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_it_says_untrained_wherever_it_describes_itself(made: tuple[FusionNetwork, FittedPreprocessing]) -> None:
    metadata = untrained_metadata(*made)
    assert metadata.training_data == "untrained"
    assert "untrained" in metadata.name
    for text in (metadata.expression_cut_off.method, metadata.progression_cut_off.method):
        assert "placeholder" in text
    assert set(metadata.selected_features) == set(SELECTED)


def test_a_phantom_case_goes_the_chains_own_way() -> None:
    patches = extract_patches(phantom_volume(0))
    assert patches.hu.shape == (3, 112, 112)
    assert patches.mask[1].any()


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["--help"]])
def test_a_wrong_call_is_told_its_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "usage: python -m training.untrained FOLDER" in capsys.readouterr().err
