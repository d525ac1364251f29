"""The page's tables of expression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from training.expression.results import HELD_OUT, TEST, TRAINING, VALIDATION, Evaluation, ModelInCohort
from training.reporting.tables import Table
from training.scoring.predictions import BAYES, SIGNATURE, VOLUME
from training.statistics.estimability import NotEstimable
from training.statistics.table_one import Categorical, TableOne
from training.statistics.wording import interval, number, p_value, said

RESUBSTITUTION: Final = "resubstitution"


@dataclass(frozen=True, slots=True)
class ExpressionTables:
    """The page's section of expression.

    Attributes
    ----------
    notes
        Notes on optimistic numbers, and on the models that are compared.
    cut_off
        Of high expression, in a sentence.
    discrimination, at_cut_off, calibration, recalibration
        Tables.
    controls
        None where no disturbed inputs were scored.
    characteristics
        Table 1, or the reason why there is none.
    """

    notes: str
    cut_off: str
    discrimination: Table
    at_cut_off: Table
    calibration: Table
    recalibration: Table
    controls: Table | None
    characteristics: Table | str


def expression_tables(evaluation: Evaluation) -> ExpressionTables:
    """Put an evaluation of expression into tables."""
    found = evaluation.characteristics
    return ExpressionTables(
        notes=_notes(evaluation),
        cut_off=(
            f"Cut-off {number(evaluation.cut_off, 3)} ({evaluation.cut_off_source})."
            if isinstance(evaluation.cut_off, float)
            else said(evaluation.cut_off, str)
        ),
        discrimination=_discrimination(evaluation),
        at_cut_off=_at_cut_off(evaluation),
        calibration=_calibration(evaluation),
        recalibration=_recalibration(evaluation),
        controls=_controls(evaluation) if evaluation.controls else None,
        characteristics=said(found, str) if isinstance(found, NotEstimable) else _table_one(found),
    )


def _discrimination(evaluation: Evaluation) -> Table:
    rows = [
        (
            name,
            model,
            str(found.n),
            str(found.unscored) if found.unscored else "",
            _area(found, _remembered(evaluation, name, model)),
            _against(found),
        )
        for name, cohort in evaluation.cohorts.items()
        for model, found in cohort.models.items()
        if found.n  # controls exist for some cohorts only
    ]
    return Table.of(("Cohort", "Model", "n", "no score", "AUC (95 % CI)", "PD-L1ES less this model"), rows)


def _area(found: ModelInCohort, mark: str) -> str:
    return said(found.auc, lambda area: f"{interval(area)}{mark}")


def _remembered(evaluation: Evaluation, name: str, model: str) -> str:
    """Return the mark of an area that is measured on the patients that the model was fitted on."""
    if not evaluation.cohorts[name].fitted_here or model in (BAYES, *evaluation.controls):
        return ""
    return f", {RESUBSTITUTION}" if name == TRAINING else f", partly {RESUBSTITUTION}"


def _at_cut_off(evaluation: Evaluation) -> Table:
    shares = ("sensitivity", "specificity", "positive_predictive_value", "negative_predictive_value", "accuracy")
    rows = [
        (
            name,
            *(
                [said(cohort.classification, str), *[""] * 4]
                if isinstance(cohort.classification, NotEstimable)
                else [interval(getattr(cohort.classification, share)) for share in shares]
            ),
        )
        for name, cohort in evaluation.cohorts.items()
    ]
    return Table.of(("Cohort", "Sensitivity", "Specificity", "PPV", "NPV", "Accuracy"), rows)


def _calibration(evaluation: Evaluation) -> Table:
    rows = [
        (
            name,
            said(found.calibration, lambda c: interval(c.slope)),
            said(found.calibration, lambda c: interval(c.in_the_large)),
            said(found.calibration, lambda c: number(c.observed_to_expected)),
            said(found.calibration, lambda c: f"{c.brier:.3f} ({number(c.scaled_brier)})"),
        )
        for name, cohort in evaluation.cohorts.items()
        for found in [cohort.models[SIGNATURE]]
    ]
    return Table.of(("Cohort", "Slope", "In the large", "Observed / expected", "Brier (scaled)"), rows)


def _recalibration(evaluation: Evaluation) -> Table:
    rows = [
        (
            name,
            said(found, lambda r: said(r.in_the_large, lambda x: f"intercept {number(x.intercept)}")),
            said(found, lambda r: said(r.slope, lambda x: f"intercept {number(x.intercept)}, slope {number(x.slope)}")),
            said(found, lambda r: number(r.brier, 3)),
            said(found, lambda r: said(r.brier_in_the_large, lambda b: number(b, 3))),
            said(found, lambda r: said(r.brier_slope, lambda b: number(b, 3))),
        )
        for name, found in evaluation.recalibration.items()
    ]
    return Table.of(("Cohort", "In the large", "With slope", "Brier", "Brier, in the large", "Brier, with slope"), rows)


def _controls(evaluation: Evaluation) -> Table:
    rows = [
        (
            control,
            name,
            said(found, lambda d: str(d.n)),
            said(found, lambda d: f"{d.mean_change:+.3f} (SD {number(d.standard_deviation, 3)}), {p_value(d.p_value)}"),
            said(found, lambda d: number(d.correlation)),
        )
        for control, cohorts in evaluation.controls.items()
        for name, found in cohorts.items()
        if evaluation.cohorts[name].models[control].n
    ]
    return Table.of(("Control", "Cohort", "n", "Mean change", "Correlation with PD-L1ES"), rows)


def _notes(evaluation: Evaluation) -> str:
    """Say which numbers are optimistic, and which models are compared."""
    fitted = [name for name, cohort in evaluation.cohorts.items() if cohort.fitted_here]
    chosen = [name for name in (VALIDATION, HELD_OUT) if name in evaluation.cohorts]
    models = {model for cohort in evaluation.cohorts.values() for model, found in cohort.models.items() if found.n}
    sentences = ["The last column compares the two models on the patients that both scored."]
    if fitted:
        sentences.append(
            f"Fitted on patients of: {', '.join(fitted)}; the numbers there are marked as {RESUBSTITUTION} and say how well the models "
            "remember, comparators and baselines too: boosted trees can remember every patient."
        )
    if chosen:
        sentences.append(
            "Validation chose the best epoch and the cut-off for high expression, so that the numbers of "
            f"{' and of '.join(chosen)} flatter the models too"
            + ("; only Test is test." if TEST in evaluation.cohorts else ".")
        )
    if VOLUME in models:
        sentences.append(
            "Volume is tumour volume alone, fitted on Training."
            if TRAINING in evaluation.cohorts
            else "Volume is tumour volume alone; nothing is fitted, and a larger one counts as higher expression, so that an "
            "area below 0.50 says that smaller tumours express more."
        )
    sentences += _baselines(evaluation)
    if BAYES in models:
        sentences.append("Bayes is the score that knows the truth of a synthetic cohort.")
    return " ".join(sentences)


def _baselines(evaluation: Evaluation) -> list[str]:
    """Say how the baselines were fitted, and why one is missing."""
    fits = {name: fit for name, fit in evaluation.baselines.items() if not isinstance(fit, NotEstimable)}
    missing = {name: fit.reason for name, fit in evaluation.baselines.items() if isinstance(fit, NotEstimable)}
    sentences = []
    if fits:
        n = next(iter(fits.values())).n
        told = "; ".join(
            f"{name} uses {fit.features} variables"
            + (f" ({', '.join(f'{key} {value:.2g}' for key, value in fit.chosen.items())})" if fit.chosen else "")
            for name, fit in fits.items()
        )
        sentences.append(
            f"Baselines were fitted on the same {n} patients, what had to be chosen by inner cross-validation in five folds: "
            f"{told}. LASSO's penalty is a share of the smallest that leaves no feature."
        )
    reasons = dict.fromkeys(missing.values())
    sentences += [
        f"Not fitted: {', '.join(name for name, told in missing.items() if told == reason)} ({reason})."
        for reason in reasons
    ]
    return sentences


def _against(found: ModelInCohort) -> str:
    if found.comparison is None:
        return ""
    return said(
        found.comparison,
        lambda test: (
            f"{test.difference.value:+.2f} ({number(test.difference.lower)} to {number(test.difference.upper)}), "
            f"DeLong {p_value(test.p_value)}"
        ),
    )


def _table_one(table: TableOne) -> Table:
    cohorts = list(table.n)
    others = [c for c in cohorts if c not in ("Total", table.reference)]
    rows: list[tuple[str, ...]] = []
    for variable in table.variables:
        if isinstance(variable, Categorical):
            tests = [variable.tests.get(c) for c in others]
            rows.append((variable.name, *[""] * len(cohorts), *(number(t.p_value, 3) if t else "–" for t in tests)))
            for k, level in enumerate(variable.levels):
                counts = [f"{variable.counts[c][k]} ({variable.percent(c)[k]:.1f} %)" for c in cohorts]
                rows.append((f"\N{EM SPACE}{level}", *counts, *[""] * len(others)))
        else:
            found = [variable.summaries[c] for c in cohorts]
            words = [
                f"{s.mean:.1f} ± {s.standard_deviation:.1f}" + (f"; {s.missing} unknown" if s.missing else "")
                for s in found
            ]
            rows.append((variable.name, *words, *(number(variable.p_values[c], 3) for c in others)))
    head = ("", *(f"{c} (n = {table.n[c]})" for c in cohorts), *(f"P, {table.reference} against {c}" for c in others))
    return Table.of(head, rows)
