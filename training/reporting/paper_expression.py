"""The paper's values of expression beside the cohort's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from training.attention import NAMED_FEATURES, AttentionSummary
from training.expression.results import EXTERNAL, HELD_OUT, POOLED, TEST, TRAINING, VALIDATION, Evaluation
from training.paper_arithmetic import AGES, TABLE_ONE
from training.reporting.paper_values import (
    NO_COHORT,
    NONE,
    NOT_GIVEN,
    PAPER_AUC,
    PAPER_REDIVISIONS,
    PAPER_STRATA,
    PaperRow,
)
from training.scoring.predictions import COMPARATORS, SIGNATURE
from training.statistics.decision_curves import DecisionCurves
from training.statistics.discrimination import Auc, AucComparison
from training.statistics.estimability import NotEstimable
from training.statistics.strata import Stratification
from training.statistics.table_one import Continuous, TableOne
from training.statistics.wording import NOT_ESTIMABLE, interval, number, p_value, said

_CHARACTERISTICS: Final = {
    "Gender": "Sex",
    "Smoking status": "Smoking status",
    "Family history of cancer": "Family history of cancer",
    "PD-L1 expression": "PD-L1 expression",
}
"""The paper's names of the categorical rows of Table 1, and this project's."""
_AGE: Final = "Age, years"


def discrimination_rows(evaluation: Evaluation, redivisions: Sequence[Mapping[str, float]]) -> list[PaperRow]:
    """Return the areas, their comparison and the random re-divisions.

    Parameters
    ----------
    evaluation
        Of the cohort.
    redivisions
        Area by cohort of each.

    Returns
    -------
    list of PaperRow
    """
    cohorts = evaluation.cohorts
    rows = [
        PaperRow(
            f"AUC, {name.lower()}", paper, _auc(cohorts[name].models[SIGNATURE].auc) if name in cohorts else NO_COHORT
        )
        for name, paper in PAPER_AUC.items()
    ]
    if EXTERNAL in cohorts:
        rows.append(PaperRow("AUC, external", NONE, _auc(cohorts[EXTERNAL].models[SIGNATURE].auc)))
    for name in (POOLED, TRAINING, VALIDATION, TEST, HELD_OUT, EXTERNAL):
        if name not in cohorts:
            continue
        rows += [
            PaperRow(
                f"DeLong against {model}, {name.lower()}",
                "P < 0.0001" if name == POOLED else NOT_GIVEN,
                _difference(cohorts[name].models[model].comparison),
            )
            for model in COMPARATORS
            if model in cohorts[name].models
        ]
    if TRAINING in cohorts:
        for k, paper in enumerate(PAPER_REDIVISIONS):
            found = (
                " / ".join(number(redivisions[k].get(name, float("nan"))) for name in PAPER_AUC)
                if k < len(redivisions)
                else f"not trained: `pdl1es train --redivisions {k + 1}` and `pdl1es evaluate --run`"
            )
            rows.append(PaperRow(f"Random re-division {k + 1}, AUC training / validation / test", paper, found))
    return rows


def decision_and_strata_rows(evaluation: Evaluation) -> list[PaperRow]:
    """Return decision curves and strata."""
    rows = [
        PaperRow(
            f"Decision curves, {name.lower()}",
            "PD-L1ES above DLM, RM and CM",
            said(evaluation.cohorts[name].decision, _decision),
        )
        for name in (POOLED, HELD_OUT, EXTERNAL)
        if name in evaluation.cohorts
    ]
    for name, strata in evaluation.strata.items():
        for key, variable in strata.items():
            title = variable.name if isinstance(variable, Stratification) else key.replace("_", " ")
            rows.append(
                PaperRow(f"Strata, {name.lower()}: {title}", PAPER_STRATA.get(key, NOT_GIVEN), said(variable, _strata))
            )
    return rows


def visualisation_rows(drawn: bool, attention: AttentionSummary | NotEstimable | None) -> list[PaperRow]:
    """Return what Figure 5 shows.

    Parameters
    ----------
    drawn
        Whether the report shows Figure 5.
    attention
        Where the network looks.

    Returns
    -------
    list of PaperRow
    """
    looked = ""
    if isinstance(attention, AttentionSummary):
        looked = (
            f"{100 * attention.share['border']:.0f} % of the attention within 6 pixels of the contour, which is "
            f"{100 * attention.area['border']:.0f} % of the patch ({attention.n} patients)"
        )
    missing = "not drawn: `pdl1es evaluate --run RUN --table COHORT.csv` draws it"
    return [
        PaperRow(
            "Class activation map",
            "attention on the lesion's border",
            "; ".join(part for part in ("Figure 5 of this report" if drawn else missing, looked) if part),
        ),
        PaperRow(
            f"Maps of {' and '.join(NAMED_FEATURES)}",
            "drawn inside the ROI",
            "Figure 5 of this report" if drawn else missing,
        ),
    ]


def table_one_rows(evaluation: Evaluation) -> list[PaperRow]:
    """Return the P values of Table 1."""
    paper = [(_AGE, age.cohort, age.p_value) for age in AGES]
    for row in TABLE_ONE:
        name = _CHARACTERISTICS[row.name]
        paper += [(name, "validation", row.p_validation), (name, "test", row.p_test)]
    return [
        PaperRow(
            f"Table 1, {name}: training against {cohort}",
            f"P = {p:.3f}",
            said(evaluation.characteristics, partial(_characteristic, name, cohort.capitalize())),
        )
        for name, cohort, p in paper
    ]


def _characteristic(name: str, cohort: str, table: TableOne) -> str:
    if table.reference != TRAINING or cohort not in table.n:
        return NO_COHORT
    variable = next(v for v in table.variables if v.name == name)
    if isinstance(variable, Continuous):
        return p_value(variable.p_values[cohort])
    test = variable.tests[cohort]
    return "the same for every patient" if test is None else p_value(test.p_value)


def _auc(area: Auc | NotEstimable) -> str:
    return said(area, interval)


def _difference(found: AucComparison | NotEstimable | None) -> str:
    return said(found, lambda test: f"{test.difference.value:+.2f}, {p_value(test.p_value)}")


def _decision(curves: DecisionCurves) -> str:
    """Say at which share of the useful thresholds PD-L1ES has the highest net benefit."""
    first, *others = (model.net_benefit for model in curves.models)
    rivals = [curves.treat_all, curves.treat_none, *others]
    useful = (curves.thresholds >= 0.1) & (curves.thresholds <= 0.7)
    best = [all(first[k] >= rival[k] for rival in rivals) for k in range(len(first))]
    share = 100 * sum(b for b, u in zip(best, useful, strict=True) if u) / max(int(useful.sum()), 1)
    return f"highest net benefit at {share:.0f} % of the thresholds from 0.10 to 0.70"


def _strata(found: Stratification) -> str:
    parts = [f"{s.level} {_auc(s.auc) if s.auc is not None else 'too few patients'} (n = {s.n})" for s in found.strata]
    if found.heterogeneity is not None:
        parts.append(f"difference {p_value(found.heterogeneity.p_value)}")
    return "; ".join(parts) or NOT_ESTIMABLE
