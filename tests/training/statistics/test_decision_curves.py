"""Decision curves: dcurves gives the same net benefit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training.statistics.decision_curves import decision_curves, net_benefit_difference


def test_net_benefit_is_that_of_dcurves(reference: Path) -> None:
    data = pd.read_csv(reference / "df_binary.csv")
    table = pd.read_csv(reference / "dcurves_df_binary_netbenefit.csv")
    checked = 0
    for name, rows in table.groupby("model"):
        if name in ("all", "none"):
            continue
        found = decision_curves(data["cancer"], {name: data[name]}, rows["threshold"].to_numpy())
        curve = found.models[0]
        assert np.allclose(curve.net_benefit, rows["net_benefit"], rtol=1e-9, atol=1e-12)
        assert np.allclose(curve.true_positive_rate, rows["tp_rate"], atol=1e-12)
        assert np.allclose(curve.false_positive_rate, rows["fp_rate"], atol=1e-12)
        checked += len(rows)
    assert checked > 0
    for rule in ("all", "none"):
        rows = table[table["model"] == rule]
        found = decision_curves(data["cancer"], {}, rows["threshold"].to_numpy())
        ours = found.treat_all if rule == "all" else found.treat_none
        assert np.allclose(ours, rows["net_benefit"], rtol=1e-9, atol=1e-12)


def test_net_benefit_is_that_of_the_dcurves_package_on_the_same_machine(reference: Path) -> None:
    """Where no score equals a threshold: dcurves counts such a patient as treated, this project does not."""
    dcurves = pytest.importorskip("dcurves", reason="the environment of the training has it")
    data = pd.read_csv(reference / "df_binary.csv")
    rng = np.random.default_rng(4)
    data = data.assign(drawn=1 / (1 + np.exp(-rng.normal(2.0 * data["cancer"] - 2))))
    names = ["famhistory", "cancerpredmarker", "drawn"]
    thresholds = np.round(np.arange(0.01, 0.99, 0.01) + 1e-4, 6)
    assert not np.isin(data[names].to_numpy(), thresholds).any()
    theirs = dcurves.dca(data=data, outcome="cancer", modelnames=names, thresholds=thresholds).set_index("model")
    found = decision_curves(data["cancer"], {name: data[name] for name in names}, thresholds)
    curves = {curve.name: curve.net_benefit for curve in found.models}
    for name, ours in {**curves, "all": found.treat_all, "none": found.treat_none}.items():
        rows = theirs.loc[name].sort_values("threshold")
        assert rows["threshold"].to_numpy() == pytest.approx(thresholds)
        assert ours == pytest.approx(rows["net_benefit"].to_numpy(), abs=1e-12), name


def test_at_threshold_zero_every_rule_treats_everybody() -> None:
    found = decision_curves([0, 1, 0, 1], {"score": [0.1, 0.5, 0.2, 0.9]}, [0.0])
    assert found.treat_all[0] == found.models[0].net_benefit[0] == found.prevalence == 0.5


def test_a_perfect_score_has_the_prevalence_as_net_benefit_everywhere() -> None:
    found = decision_curves([0, 1, 0, 1], {"score": [0.0, 1.0, 0.0, 1.0]}, [0.01, 0.5, 0.99])
    assert found.models[0].net_benefit.tolist() == [0.5, 0.5, 0.5]


def test_difference_is_that_of_the_two_curves_and_its_interval_holds_it() -> None:
    rng = np.random.default_rng(8)
    labels = rng.random(300) < 0.4
    good, bad = 1 / (1 + np.exp(-rng.normal(labels * 2.0 - 1))), rng.random(300)
    limits = np.array([0.2, 0.4, 0.6])
    curves = decision_curves(labels, {"good": good, "bad": bad}, limits)
    found = net_benefit_difference(labels, good, bad, limits, n_resamples=500, seed=1)
    assert np.allclose(found.difference, curves.models[0].net_benefit - curves.models[1].net_benefit)
    assert (found.lower < found.difference).all()
    assert (found.difference < found.upper).all()
    assert found.lower[1] > 0


def test_the_same_seed_gives_the_same_interval() -> None:
    labels, one, two = [0, 1, 0, 1, 1], [0.2, 0.9, 0.4, 0.3, 0.8], [0.5, 0.4, 0.1, 0.6, 0.3]
    first, second = (net_benefit_difference(labels, one, two, [0.3], n_resamples=50, seed=3) for _ in range(2))
    assert first.lower == second.lower
    assert first.upper == second.upper


@pytest.mark.parametrize(
    ("labels", "scores", "thresholds", "message"),
    [
        ([0, 1], [0.1, 0.2], [0.5, 1.0], "from 0 to below 1"),
        ([0, 1], [0.1, 1.2], [0.5], "must be probabilities"),
        ([1, 1], [0.1, 0.2], [0.5], "1 of each class"),
        ([0, 1], [0.1, np.nan], [0.5], "missing or infinite"),
    ],
)
def test_unfit_input_is_refused(labels: list[int], scores: list[float], thresholds: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decision_curves(labels, {"score": scores}, thresholds)
