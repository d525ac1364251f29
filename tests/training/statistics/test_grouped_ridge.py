"""The fit is that of scikit-learn, whose one strength becomes one per group where variables are scaled."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from training.statistics.grouped_ridge import HeldOutFold, choose_strengths, fit_grouped_ridge


def _patients(n: int = 60, seed: int = 0):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    groups = {"deep": rng.normal(size=(n, 90)), "clinical": rng.normal(size=(n, 4))}
    logit = 1.5 * groups["clinical"][:, 0] + 0.4 * groups["deep"][:, :5].sum(axis=1) - 0.5
    return groups, (rng.random(n) < expit(logit)).astype(np.float64)


@pytest.mark.parametrize("strengths", [{"deep": 3.0, "clinical": 0.3}, {"deep": 0.05, "clinical": 0.01}])
def test_it_is_scikit_learns_minimum(strengths: dict[str, float]) -> None:
    groups, labels = _patients()
    ours = fit_grouped_ridge(groups, labels, strengths)
    # |w|^2 / (2 C) on values divided by sqrt(strength) is strength * |w|^2 / 2 on the values themselves.
    scaled = np.hstack([values / np.sqrt(strengths[name]) for name, values in groups.items()])
    theirs = LogisticRegression(C=1 / len(labels), tol=1e-12, max_iter=100_000, solver="lbfgs").fit(scaled, labels)
    expected = theirs.coef_[0] / np.sqrt(np.repeat(list(strengths.values()), [v.shape[1] for v in groups.values()]))
    np.testing.assert_allclose(np.concatenate(list(ours.weights.values())), expected, atol=1e-6)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], abs=1e-6)
    np.testing.assert_allclose(ours.logit(groups), theirs.decision_function(scaled), atol=1e-5)


def test_a_group_of_infinite_strength_takes_no_part() -> None:
    groups, labels = _patients()
    both = fit_grouped_ridge(groups, labels, {"deep": 1e9, "clinical": 0.3})
    alone = fit_grouped_ridge({"clinical": groups["clinical"]}, labels, {"clinical": 0.3})
    np.testing.assert_allclose(both.weights["clinical"], alone.weights["clinical"], atol=1e-6)
    assert np.abs(both.weights["deep"]).max() < 1e-6


def test_the_chosen_strengths_are_those_of_the_smallest_deviance_of_held_out_patients() -> None:
    groups, labels = _patients(80)
    rows = np.arange(80) % 4
    folds = [
        HeldOutFold(
            {name: values[rows != number] for name, values in groups.items()},
            labels[rows != number],
            {name: values[rows == number] for name, values in groups.items()},
            labels[rows == number],
        )
        for number in range(4)
    ]
    chosen = choose_strengths(folds, {"deep": (0.3, 3.0), "clinical": (0.1, 1.0)})
    by_hand = {}
    for deep in (0.3, 3.0):
        for clinical in (0.1, 1.0):
            total = 0.0
            for fold in folds:
                model = fit_grouped_ridge(fold.training, fold.labels, {"deep": deep, "clinical": clinical})
                p = expit(model.logit(fold.held_out))
                total -= 2 * np.log(np.where(fold.held_out_labels > 0, p, 1 - p)).sum()
            by_hand[deep, clinical] = total / 80
    best = min(by_hand, key=lambda pair: by_hand[pair])
    assert (chosen.strengths["deep"], chosen.strengths["clinical"]) == best
    assert chosen.deviance == pytest.approx(by_hand[best], rel=1e-9)
    assert [deviance for _, deviance in chosen.tried] == pytest.approx(list(by_hand.values()), rel=1e-9)


def test_classes_that_one_variable_separates_still_have_a_minimum() -> None:
    values = np.linspace(-1, 1, 20)[:, None]
    labels = (values[:, 0] > 0).astype(np.float64)
    model = fit_grouped_ridge({"one": values}, labels, {"one": 1e-4})
    assert np.isfinite(model.weights["one"]).all()
    assert ((model.logit({"one": values}) > 0) == (labels > 0)).all()


@pytest.mark.parametrize(("labels", "strength", "said"), [([1.0, 1.0], 1.0, "one class"), ([0.0, 1.0], 0.0, "above 0")])
def test_what_cannot_be_fitted_is_said(labels: list[float], strength: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit_grouped_ridge({"one": np.ones((2, 1))}, labels, {"one": strength})
