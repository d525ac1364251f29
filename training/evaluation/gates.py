"""What a synthetic cohort's known truth says of a model: claims that hold or do not, with the numbers."""

from __future__ import annotations

from dataclasses import dataclass

from training.evaluation.estimability import NotEstimable
from training.evaluation.evaluate import BAYES, GATE, Evaluation
from training.evaluation.predictions import COMPARATORS, SIGNATURE
from training.evaluation.wording import interval, p_value, said
from training.statistics.arrays import Estimate
from training.statistics.discrimination import AucComparison

LARGEST_LOSS = 0.05
"""How far PD-L1ES's area may stay behind that of the score that knows the truth, on the same patients."""


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
    """Return the claim that a Cox model's 95 % interval holds the true hazard ratio, as 19 of 20 such cohorts' do."""
    holds = found.lower <= truth <= found.upper if isinstance(found, Estimate) else None
    return Gate(f"True hazard ratio {truth:.2f} of {what} inside the Cox interval", said(found, interval), holds)


def _words(found: AucComparison | NotEstimable | None) -> str:
    return said(found, lambda test: f"difference {interval(test.difference, 3)}, DeLong {p_value(test.p_value)}")
