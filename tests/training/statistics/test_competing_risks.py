"""Competing risks: R's survfit gives the same incidences and errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.training.statistics.r_values import RValues
from training.statistics.competing_risks import compare_under_competing_risks, cumulative_incidence
from training.statistics.cox_model import CoxModel
from training.statistics.survival import kaplan_meier


@pytest.mark.parametrize("at", [365, 1500, 3000])
def test_incidences_and_errors_are_those_of_r(cirrhosis: pd.DataFrame, r: RValues, at: int) -> None:
    parts = [cirrhosis[cirrhosis["trt"] == k] for k in (1, 2)]
    found = [cumulative_incidence(part["time"], part["kind"]) for part in parts]
    place = [int(np.searchsorted(f.times, at, side="right")) - 1 for f in found]
    assert [f.at(at).value for f in found] == pytest.approx(r[f"incidence {at}"], rel=1e-12)
    errors = [f.standard_error[k] for f, k in zip(found, place, strict=True)]
    assert errors == pytest.approx(r[f"incidence error {at}"], rel=1e-9)


def test_the_cause_specific_model_is_that_of_r(cirrhosis: pd.DataFrame, r: RValues) -> None:
    found = compare_under_competing_risks(cirrhosis["time"], cirrhosis["kind"], cirrhosis["trt"] == 2)
    assert isinstance(found.cause_specific, CoxModel)
    term = found.cause_specific.terms[0]
    assert [term.coefficient, term.standard_error] == pytest.approx(r["cause specific"], rel=1e-7)


def test_without_a_competing_event_the_incidence_is_one_less_kaplan_meier(lung: pd.DataFrame) -> None:
    found = cumulative_incidence(lung["time"], lung["status"])
    curve = kaplan_meier(lung["time"], lung["status"])
    for at in (100, 300, 700):
        assert found.at(at).value == pytest.approx(1 - curve.at(at).value)


def test_censoring_deaths_would_overstate_progression(cirrhosis: pd.DataFrame) -> None:
    """One less Kaplan-Meier with the competing event as censoring adds up to more than happens."""
    found = cumulative_incidence(cirrhosis["time"], cirrhosis["kind"])
    naive = 1 - kaplan_meier(cirrhosis["time"], cirrhosis["kind"] == 1).at(3500).value
    assert naive > found.at(3500).value + 0.005


def test_two_groups_differ_by_what_their_incidences_do(cirrhosis: pd.DataFrame) -> None:
    found = compare_under_competing_risks(cirrhosis["time"], cirrhosis["kind"], cirrhosis["trt"] == 2)
    difference, p_value = found.difference(1500)
    assert difference.value == pytest.approx(0.265919636527416 - 0.238791497875784)
    half = 1.959963984540054 * np.hypot(0.0343416654779137, 0.0361901287705411)
    assert difference.upper - difference.value == pytest.approx(half)
    assert 0.5 < p_value < 0.7


def test_another_status_is_refused() -> None:
    with pytest.raises(ValueError, match="status must be 0, 1 or 2, got 3"):
        cumulative_incidence([1, 2], [1, 3])
