"""The figures of expression: the paper's Figure 2 and the supplement's strata, where the cohort allows them."""

from __future__ import annotations

from collections.abc import Sequence

from training.expression.evaluate import YOUDEN_ON_VALIDATION
from training.expression.results import EXTERNAL, GATE, HELD_OUT, POOLED, TEST, TRAINING, VALIDATION, Evaluation
from training.figures.decision import calibration_figure, decision_figure
from training.figures.discrimination import roc_figure, strata_figure
from training.reporting.figures import Drawn
from training.scoring.predictions import BASELINES, COMPARATORS, SIGNATURE, VOLUME
from training.statistics.calibration import Calibration
from training.statistics.classification import YoudenCutOff
from training.statistics.decision_curves import DecisionCurves
from training.statistics.discrimination import Auc, RocCurve
from training.statistics.strata import Stratification


def evaluation_figures(evaluation: Evaluation) -> dict[str, Drawn]:
    """Draw ROC and decision curves, calibration, strata and controls, by file name; what is not estimable is left out."""
    drawn: dict[str, Drawn] = {}
    shown = [name for name in (TRAINING, VALIDATION, TEST, EXTERNAL) if name in evaluation.cohorts]
    youden = evaluation.operating_point
    # A point that was found on training and validation together lies on neither curve.
    own = evaluation.operating_point_source == YOUDEN_ON_VALIDATION
    point = youden if own and isinstance(youden, YoudenCutOff) else None
    rocs = _rocs(evaluation, shown, (SIGNATURE, *COMPARATORS))
    if rocs:
        drawn["figure-2-roc"] = Drawn(
            "Figure 2 A–C: ROC curves",
            "Area with its 95 % interval. The models were fitted on the training cohort, and the best epoch was "
            "chosen on validation.",
            roc_figure(rocs, point),
        )
    decisions = {
        name: evaluation.cohorts[name].decision
        for name in shown
        if isinstance(evaluation.cohorts[name].decision, DecisionCurves)
    }
    if decisions:
        drawn["figure-2-decision"] = Drawn(
            "Figure 2 D–F: decision curves",
            "Net benefit of acting on each score, against treating everybody and nobody.",
            decision_figure(decisions),  # type: ignore[arg-type]  # filtered above
        )
    calibrations: dict[str, Calibration] = {}
    for name in (*shown, GATE):
        if name in evaluation.cohorts:
            found = evaluation.cohorts[name].models[SIGNATURE].calibration
            if isinstance(found, Calibration):
                calibrations[name] = found
    if calibrations:
        drawn["calibration"] = Drawn(
            "Calibration of PD-L1ES",
            "Groups of equal size with Wilson's intervals. The paper does not report calibration.",
            calibration_figure(calibrations),
        )
    for name in (POOLED, HELD_OUT, EXTERNAL):
        if name not in evaluation.cohorts:
            continue
        whole = evaluation.cohorts[name].models[SIGNATURE].auc
        found_strata = [s for s in evaluation.strata.get(name, {}).values() if isinstance(s, Stratification)]
        if isinstance(whole, Auc) and found_strata:
            drawn[f"supplement-2-strata-{name.lower().replace(' ', '-')}"] = Drawn(
                f"Supplementary Figure 2: strata, {name.lower()}",
                "Area by manufacturer, slice thickness and tube current, and, beyond the paper, by sex and age; P of Cochran's Q.",
                strata_figure(found_strata, whole),
            )
    others = [m for m in _models(evaluation) if m not in (*COMPARATORS, *BASELINES)]
    held = [name for name in (HELD_OUT, GATE, EXTERNAL) if name in evaluation.cohorts]
    fitted = [name for name in (TEST, GATE) if name in evaluation.cohorts]
    if set(BASELINES) & set(_models(evaluation)) and (
        baselines := _rocs(evaluation, fitted, (SIGNATURE, *BASELINES, VOLUME))
    ):
        drawn["baselines-roc"] = Drawn(
            "Baselines",
            "PD-L1ES beside logistic regression of the clinical variables, LASSO and boosting of the radiomic features, and "
            "tumour volume alone. All were fitted on the same patients, and none on these.",
            roc_figure(baselines),
        )
    if len(others) > 1 and (controls := _rocs(evaluation, held, tuple(others))):
        drawn["controls-roc"] = Drawn(
            "Controls",
            "PD-L1ES beside tumour volume alone, beside itself on disturbed inputs, and, where the cohort is synthetic, "
            "beside the score that knows the truth.",
            roc_figure(controls),
        )
    return drawn


def _models(evaluation: Evaluation) -> list[str]:
    return list(next(iter(evaluation.cohorts.values())).models)


def _rocs(
    evaluation: Evaluation, cohorts: Sequence[str], models: tuple[str, ...]
) -> dict[str, dict[str, tuple[RocCurve, Auc]]]:
    found: dict[str, dict[str, tuple[RocCurve, Auc]]] = {}
    for name in cohorts:
        lines: dict[str, tuple[RocCurve, Auc]] = {}
        for model in models:
            entry = evaluation.cohorts[name].models.get(model)
            if entry is not None and isinstance(entry.roc, RocCurve) and isinstance(entry.auc, Auc):
                lines[model] = (entry.roc, entry.auc)
        if SIGNATURE in lines:
            found[name] = lines
    return found
