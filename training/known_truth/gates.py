"""Claims about a model on the known truth: each holds or not, with its numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.cohort.prepared import PreparedCohort
from training.expression.results import GATE, Evaluation, ModelInCohort
from training.scoring.predictions import BAYES, COMPARATORS, SIGNATURE
from training.scoring.scored_cohort import ScoredCohort
from training.statistics.arrays import Estimate
from training.statistics.cox import cox
from training.statistics.cox_model import CoxModel
from training.statistics.discrimination import AucComparison
from training.statistics.estimability import NotEstimable, estimated
from training.statistics.wording import interval, p_value, said

LARGEST_LOSS = 0.05
"""Largest allowed difference between the expected areas of the Bayes score and of PD-L1ES, on the same patients."""
LARGEST_P = 0.01
"""DeLong's P of a claim to be above another model lies below it."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One claim: what was found, and whether it holds; None where it could not be tested."""

    claim: str
    found: str
    holds: bool | None


def expression_gates(evaluation: Evaluation, expected: Mapping[str, float] | None = None) -> tuple[Gate, ...]:
    """Return the claims on the further test cases: near the Bayes score, above DLM, RM and CM.

    Parameters
    ----------
    evaluation
        Of a cohort with such cases; without them there is no claim.
    expected
        Of the same cases, by model: `training.known_truth.expected.expected_areas`. The distance from the Bayes score is
        judged by it, because on a thousand cases the labels' own noise moves the observed one by 0.03.

    Returns
    -------
    tuple of Gate
    """
    if GATE not in evaluation.cohorts:
        return ()
    models, expected = evaluation.cohorts[GATE].models, expected or {}
    gates = []
    if BAYES in models:
        known = SIGNATURE in expected and BAYES in expected
        loss = expected[BAYES] - expected[SIGNATURE] if known else None
        foreseen = (
            "the expected areas are not known"
            if loss is None
            else f"expected {expected[SIGNATURE]:.3f} against {expected[BAYES]:.3f}, {loss:.3f} behind"
        )
        gates.append(
            Gate(
                f"Expected AUC of PD-L1ES within {LARGEST_LOSS} of the Bayes score's on the same patients",
                f"{foreseen}; observed {_observed(models[SIGNATURE], models[BAYES])}",
                None if loss is None else loss <= LARGEST_LOSS,
            )
        )
    for name in COMPARATORS:
        if name in models:
            found = models[name].comparison
            gates.append(
                Gate(
                    f"AUC of PD-L1ES above {name}'s (P < {LARGEST_P})",
                    _observed(models[SIGNATURE], models[name]),
                    found.difference.value > 0 and found.p_value < LARGEST_P
                    if isinstance(found, AucComparison)
                    else None,
                )
            )
    return tuple(gates)


def _observed(signature: ModelInCohort, other: ModelInCohort) -> str:
    return f"{said(signature.auc, interval)} against {said(other.auc, interval)}; {_words(other.comparison)}"


def hazard_gate(what: str, found: Estimate | NotEstimable | None, truth: float) -> Gate:
    """Return the claim that a Cox model's 95 % interval holds the true hazard ratio, as 19 of 20 such cohorts' do.

    Parameters
    ----------
    what
        The hazard ratio is of, in words.
    found
        Hazard ratio with its 95 % interval.
    truth
        What the cohort was drawn with.

    Returns
    -------
    Gate
    """
    holds = found.lower <= truth <= found.upper if isinstance(found, Estimate) else None
    return Gate(f"True hazard ratio {truth:.2f} of {what} inside the Cox interval", said(found, interval), holds)


def _words(found: AucComparison | NotEstimable | None) -> str:
    return said(found, lambda test: f"difference {interval(test.difference, 3)}, DeLong {p_value(test.p_value)}")


def true_hazard_gates(scored: ScoredCohort, truth: Mapping[str, float]) -> tuple[Gate, ...]:
    """Return the claims that the hazard ratios which the cohort was drawn with lie inside their Cox intervals.

    Parameters
    ----------
    scored
        Of a synthetic cohort.
    truth
        ``truth.json``.

    Returns
    -------
    tuple of Gate
        One per variable.
    """
    cases = scored.cases
    rows = (cases["split"] == "prognosis").to_numpy() & cases["pfs_days"].notna().to_numpy()
    if scored.true_logit is None or not rows.any():
        return ()
    standardised = (scored.true_logit[rows] - truth["bayes_logit_mean"]) / truth["bayes_logit_sd"]
    model = estimated(
        cox,
        cases["pfs_days"].to_numpy(dtype=np.float64)[rows],
        cases["progressed"].to_numpy(dtype=np.float64)[rows],
        {"bayes": standardised, "age": scored.imputed[rows, 0] / 10},
    )
    found = {name: model.term(name).hazard_ratio if isinstance(model, CoxModel) else model for name in ("bayes", "age")}
    return (
        hazard_gate(
            "one standard deviation of the Bayes logit", found["bayes"], truth["hazard_ratio_per_sd_of_bayes_logit"]
        ),
        hazard_gate("ten years of age", found["age"], truth["hazard_ratio_per_ten_years_of_age"]),
    )


def truth_of(prepared: PreparedCohort) -> dict[str, float] | None:
    """Return ``truth.json`` of a synthetic cohort, or None where it is not beside it."""
    name = prepared.manifest.get("truth")
    if prepared.folder is None or not name or not (prepared.folder / str(name)).is_file():
        return None
    truth: dict[str, float] = json.loads((prepared.folder / str(name)).read_bytes())
    return truth
