"""Competing risks: R's survfit gives the same incidences and errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.training.statistics.r_values import RValues
from training.statistics.competing_risks import compare_under_competing_risks, cumulative_incidence
from training.statistics.cox import cox
from training.statistics.cox_model import CoxModel, NoFiniteEstimate
from training.statistics.fine_gray import fine_gray
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


@pytest.mark.parametrize(
    ("name", "names", "swapped", "unit"),
    [
        ("fine gray", ("trt",), False, 1),
        ("fine gray of three", ("trt", "age", "bili"), False, 1),
        ("fine gray of a transplant", ("trt", "age", "bili"), True, 1),
        ("fine gray with ties", ("trt", "age", "bili"), False, 100),
    ],
)
def test_fine_and_grays_model_is_that_of_r(
    cirrhosis: pd.DataFrame, r: RValues, name: str, names: tuple[str, ...], swapped: bool, unit: int
) -> None:
    """Robust errors too, with the part that the estimated censoring weights have in them."""
    kind = (3 - cirrhosis["kind"]) % 3 if swapped else cirrhosis["kind"]
    found = fine_gray(np.ceil(cirrhosis["time"] / unit), kind, {column: cirrhosis[column] for column in names})
    assert [term.coefficient for term in found.terms] == pytest.approx(r[name], abs=1e-7)
    assert [term.standard_error for term in found.terms] == pytest.approx(r[f"{name} error"], rel=1e-7)
    assert found.log_likelihood == pytest.approx(r[f"{name} likelihood"][0], rel=1e-12)
    assert (found.n, found.n_events + found.n_competing) == (312, int((kind > 0).sum()))


def test_without_competing_events_and_ties_fine_and_grays_model_is_coxs(lung: pd.DataFrame) -> None:
    known = lung.drop_duplicates("time")
    columns = {"age": known["age"], "sex": known["sex"]}
    found, expected = (fit(known["time"], known["status"], columns) for fit in (fine_gray, cox))
    assert [t.coefficient for t in found.terms] == pytest.approx([t.coefficient for t in expected.terms], abs=1e-8)
    assert found.log_likelihood == pytest.approx(expected.log_likelihood)


def test_a_group_without_the_event_has_no_subdistribution_ratio() -> None:
    time, status, upper = [1, 2, 3, 4, 5, 6], [1, 0, 1, 2, 0, 2], [0, 0, 0, 1, 1, 1]
    with pytest.raises(NoFiniteEstimate, match="no finite hazard ratio of the subdistribution"):
        fine_gray(time, status, {"upper": upper})


def test_nothing_is_said_after_the_end_of_follow_up(cirrhosis: pd.DataFrame) -> None:
    short = cirrhosis[cirrhosis["time"] < 1000]
    found = compare_under_competing_risks(short["time"], short["kind"], short["trt"] == 2)
    assert np.isnan(found.lower.at(1200).value)
    assert np.isnan(found.difference(1200)[0].value)
