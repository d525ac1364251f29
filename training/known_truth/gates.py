"""Claims about a model on the known truth: each holds or not, with its numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.cohort.prepared import PreparedCohort
from training.expression.results import GATE, Evaluation
from training.scoring.predictions import BAYES, COMPARATORS, SIGNATURE
from training.scoring.scored_cohort import ScoredCohort
from training.statistics.arrays import Estimate
from training.statistics.cox import CoxModel, cox
from training.statistics.discrimination import AucComparison
from training.statistics.estimability import NotEstimable, estimated
from training.statistics.wording import interval, p_value, said

LARGEST_LOSS = 0.05
"""Largest allowed difference between the area of the Bayes score and PD-L1ES's, on the same patients."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One claim: what was found, and whether it holds; None where it could not be tested."""

    claim: str
    found: str
    holds: bool | None


def expression_gates(evaluation: Evaluation) -> tuple[Gate, ...]:
    """Return the claims on the further test cases: near the Bayes score, above DLM, RM and CM.

    Empty where the cohort has no such cases.
    """
    if GATE not in evaluation.cohorts:
        return ()
    models = evaluation.cohorts[GATE].models
    gates = []
    if BAYES in models:
        found = models[BAYES].comparison
        gates.append(
            Gate(
                f"AUC of PD-L1ES within {LARGEST_LOSS} of the Bayes score's on the same patients",
                f"{said(models[SIGNATURE].auc, interval)} against {said(models[BAYES].auc, interval)}; {_words(found)}",
                found.difference.value >= -LARGEST_LOSS if isinstance(found, AucComparison) else None,
            )
        )
    for name in COMPARATORS:
        if name in models:
            found = models[name].comparison
            gates.append(
                Gate(
                    f"AUC of PD-L1ES above {name}'s",
                    f"{said(models[SIGNATURE].auc, interval)} against {said(models[name].auc, interval)}; {_words(found)}",
                    found.difference.value > 0 if isinstance(found, AucComparison) else None,
                )
            )
    return tuple(gates)


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
