"""What a model's file tells the reader of a report: its limits, its accuracy at the cut-off, how its cut-offs were found.

A model of phantoms speaks of phantoms, never of patients. Claims on the known truth stand in the card, not here.
"""

from __future__ import annotations

from typing import Any, Final

from pdl1es.model.metadata import CutOff, ExpressionAccuracy, StatedRate
from training.expression.results import EXTERNAL, GATE, TEST
from training.release.calibration_claim import CalibrationClaim
from training.release.performance import IMMUNOTHERAPY, Performance, Statement
from training.scoring.predictions import SIGNATURE

METHOD_LIMITS: Final = (
    "Meant for stage IV non-small cell lung cancer before first-line treatment, on CT with a sharp kernel and slices of "
    "at most 5 mm.",
    "A score from one contour of one tumour: metastases and other tumours are not looked at.",
)
_COHORTS: Final = {
    EXTERNAL: ("phantoms of another cohort", "patients of another cohort"),
    GATE: ("further synthetic phantoms", "further patients"),
    TEST: ("synthetic test phantoms", "test patients of the same cohort"),
}
"""Words for phantoms and for patients; the farthest from the training first."""


def limitations(
    summary: dict[str, Any], placeholders: tuple[str, ...], *, synthetic: bool, claim: CalibrationClaim
) -> tuple[str, ...]:
    """Return a model's limits, a sentence each.

    Parameters
    ----------
    summary
        Of the training run.
    placeholders
        Sentences on parts that the model lacks.
    synthetic
        Whether it was trained on phantoms.
    claim
        Whether the score may be called a probability.

    Returns
    -------
    tuple of str
    """
    found = []
    if synthetic:
        found.append("Trained on synthetic phantoms: its score says nothing about any patient's PD-L1 or progression.")
    network = summary["networks"][SIGNATURE]
    for split, phantoms, patients in (
        ("gate", "further phantoms", "further patients"),
        ("test", "test phantoms", "test patients of the same cohort"),
    ):
        area = network["auc"].get(split)
        if area is not None:
            found.append(
                f"AUC on {area['patients']} {phantoms if synthetic else patients}: {area['value']:.2f} "
                f"(95 % CI {area['lower']:.2f}-{area['upper']:.2f})."
            )
            break
    if not claim.holds:
        found.append(claim.reason)
    if network.get("epochs", 0) < network.get("epochs_planned", 0):
        found.append(
            f"Trained for {network['epochs']} of {network['epochs_planned']} planned epochs: each learning rate ends when "
            "validation no longer improves."
        )
    return (*found, *placeholders, *METHOD_LIMITS)


def expression_accuracy(performance: Performance | None, *, synthetic: bool) -> ExpressionAccuracy | None:
    """Return sensitivity, specificity and predictive values on the cases that lie farthest from the training.

    Parameters
    ----------
    performance
        Of the analyses.
    synthetic
        Whether the cases are phantoms.

    Returns
    -------
    ExpressionAccuracy or None
        None where no cohort has all four with their intervals.
    """
    if performance is None:
        return None
    for cohort, words in _COHORTS.items():
        rates = [
            _rate(performance, cohort, name)
            for name in ("sensitivity", "specificity", "positive predictive value", "negative predictive value")
        ]
        first = _statement(performance, cohort, "sensitivity")
        if first is None or any(rate is None for rate in rates):
            continue
        sensitivity, specificity, positive, negative = (rate for rate in rates if rate is not None)
        return ExpressionAccuracy(
            cohort=words[0] if synthetic else words[1],
            number=first.patients,
            high=first.events,
            sensitivity=sensitivity,
            specificity=specificity,
            positive_predictive_value=positive,
            negative_predictive_value=negative,
        )
    return None


def told(cut_off: CutOff, summary: dict[str, Any], performance: Performance | None, *, synthetic: bool) -> CutOff:
    """Return a cut-off whose method is told in words that fit the model's cases.

    Parameters
    ----------
    cut_off
        As the analyses found it.
    summary
        Of the training run.
    performance
        Of the analyses.
    synthetic
        Whether the cases are phantoms.

    Returns
    -------
    CutOff
        Of a model of patients, the same.
    """
    if not synthetic:
        return cut_off
    method = cut_off.method
    if method == "Youden on validation":
        method = f"Youden on {summary['counts']['validation']['patients']} validation phantoms"
    elif method == "Youden on out-of-fold scores":
        number = summary["counts"]["train"]["patients"] + summary["counts"]["validation"]["patients"]
        method = f"Youden on out-of-fold scores of {number} phantoms"
    elif method == "X-tile on the immunotherapy cohort":
        with_progression = (
            (s.patients for s in performance.statements if s.cohort == IMMUNOTHERAPY) if performance else ()
        )
        number = next(iter(with_progression), None)
        method = f"X-tile on {f'{number} ' if number is not None else ''}phantoms with simulated progression"
    return cut_off.model_copy(update={"method": method})


def _statement(performance: Performance, cohort: str, name: str) -> Statement | None:
    return next(
        (
            s
            for s in performance.statements
            if s.cohort == cohort and (s.what == name or s.what.startswith(f"{name} at "))
        ),
        None,
    )


def _rate(performance: Performance, cohort: str, name: str) -> StatedRate | None:
    found = _statement(performance, cohort, name)
    if found is None or found.value is None or found.limits is None:
        return None
    return StatedRate(value=found.value, lower=found.limits[0], upper=found.limits[1])
