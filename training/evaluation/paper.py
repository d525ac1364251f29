"""The paper's values beside the cohort's (Tian et al., Theranostics 2021; 11(5): 2098-2107)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from pdl1es.clinical import TREATMENTS
from training.evaluation.attention import NAMED_FEATURES, AttentionSummary
from training.evaluation.estimability import NotEstimable
from training.evaluation.evaluate import (
    EXTERNAL,
    HELD_OUT,
    POOLED,
    TEST,
    TRAINING,
    VALIDATION,
    Evaluation,
)
from training.evaluation.predictions import COMPARATORS, SIGNATURE
from training.evaluation.prognosis import (
    ClinicalGrouping,
    ExportedRisk,
    Grouping,
    Prognosis,
    RiskModelResult,
)
from training.evaluation.wording import NOT_ESTIMABLE, comparison, days, interval, number, p_value, said
from training.paper_arithmetic import AGES, TABLE_ONE
from training.statistics.concordance import Concordance
from training.statistics.cox import CoxModel
from training.statistics.decision_curves import DecisionCurves
from training.statistics.discrimination import Auc, AucComparison
from training.statistics.prognosis import CLINICAL_RISK, GroupComparison, SubgroupComparison
from training.statistics.prognosis import SIGNATURE as COX_SIGNATURE
from training.statistics.strata import Stratification
from training.statistics.table_one import Continuous, TableOne
from training.statistics.xtile import CutOffSearch, HeldOutCutOff


@dataclass(frozen=True, slots=True)
class PaperRow:
    """One value: what it is, what the paper prints, what this cohort gives."""

    what: str
    paper: str
    cohort: str


@dataclass(frozen=True, slots=True)
class PaperGroups:
    """What the paper prints of two groups of patients."""

    hazard_ratio: str
    p_value: str
    c_index: str
    medians: str
    by_treatment: Mapping[str, str]


NOT_GIVEN: Final = "not given"
NONE: Final = "none"
NO_COHORT: Final = "no such cohort here"
FIGURE_5: Final = "figure-5"
ALONE, WITH_CHEMOTHERAPY, _ = TREATMENTS

PAPER_AUC: Final = {TRAINING: "0.78 (0.75 to 0.80)", VALIDATION: "0.71 (0.59 to 0.81)", TEST: "0.76 (0.66 to 0.85)"}
PAPER_REDIVISIONS: Final = ("0.79 / 0.73 / 0.76", "0.77 / 0.74 / 0.75")
PAPER_STRATA: Final = {
    "slice_thickness": "effective at < 5 mm and at >= 5 mm",
    "tube_current": "effective below and from the paper's median, 290 mA",
    "tube_current_at_median": "the paper's median was 290 mA",
    "manufacturer": "effective for each manufacturer",
}
PAPER_X_TILE: Final = PaperGroups(
    "2.57 (1.22 to 5.44)",
    "P = 0.010",
    "0.66 (0.48 to 0.83)",
    "183 (122–257) against 363 (363–) days",
    {ALONE: "P = 0.028", WITH_CHEMOTHERAPY: "P = 0.038; 271 against 248 days"},
)
PAPER_CLINICAL: Final = PaperGroups(
    "2.09 (1.05 to 4.18)",
    "P = 0.032",
    NOT_GIVEN,
    "172 against 257 days",
    {ALONE: "P = 0.068", WITH_CHEMOTHERAPY: "P = 0.054"},
)
PAPER_FUSION: Final = PaperGroups(
    "3.53 (1.86 to 6.72)",
    "P < 0.001",
    NOT_GIVEN,
    "122 against 363 days",
    {ALONE: "P = 0.016", WITH_CHEMOTHERAPY: "P = 0.003"},
)
PAPER_VARIABLE_P: Final = {"family_history": "0.064", "smoking": "0.245", "sex": "0.374", "age": "0.088"}
PAPER_LOG_RANK_P: Final = {"age": "0.028", "family_history": "0.17", "smoking": "0.22", "sex": "0.95"}
PAPER_AGE_CUT_OFF: Final = "63 years"
_CHARACTERISTICS: Final = {
    "Gender": "Sex",
    "Smoking status": "Smoking status",
    "Family history of cancer": "Family history of cancer",
    "PD-L1 expression": "PD-L1 expression",
}
"""The paper's names of the categorical rows of Table 1, and this project's."""
_AGE: Final = "Age, years"


def paper_rows(
    evaluation: Evaluation | None,
    prognosis: Prognosis | None,
    redivisions: Sequence[Mapping[str, float]] = (),
    figures: Collection[str] = (),
    attention: AttentionSummary | NotEstimable | None = None,
) -> tuple[PaperRow, ...]:
    """Return the values that the paper prints beside what the cohort gives, for the analyses that were run.

    Parameters
    ----------
    evaluation, prognosis
        None where they were not run: `not_in_this_report` then says which command runs them.
    redivisions
        Area by cohort of each random re-division of validation and test, retrained.
    figures
        File names of the figures that the report shows.
    attention
        Where the network looks.
    """
    rows: list[PaperRow] = []
    if evaluation is not None:
        rows += _discrimination_rows(evaluation, redivisions)
        rows += _decision_and_strata_rows(evaluation)
    if prognosis is not None:
        rows += _signature_rows(prognosis)
        rows += _variable_rows(prognosis)
        rows += _risk_model_rows("Clinical", "0.05", PAPER_CLINICAL, prognosis.clinical)
        rows += _joint_rows(prognosis)
        rows += _risk_model_rows("Fusion", "1.78", PAPER_FUSION, prognosis.fusion)
        rows += _exported_rows(prognosis)
    if evaluation is not None:
        rows += _visualisation_rows(FIGURE_5 in figures, attention)
        rows += _table_one_rows(evaluation)
    return tuple(rows)


def not_in_this_report(evaluation: Evaluation | None, prognosis: Prognosis | None) -> tuple[str, ...]:
    """Return which of the paper's analyses are missing, and the command that gives them; nothing where both are."""
    if evaluation is None and prognosis is None:
        return ()
    missing = []
    if evaluation is None:
        missing.append(
            "Expression (the paper's Figure 2, Figure 5, Table 1 and strata) is not in this report: `pdl1es evaluate` "
            "gives it."
        )
    if prognosis is None:
        missing.append(
            "Progression (the paper's Figures 3 and 4 and the curves of each clinical variable) is not in this report: "
            "`pdl1es prognosis` gives it."
        )
    return tuple(missing)


def _discrimination_rows(evaluation: Evaluation, redivisions: Sequence[Mapping[str, float]]) -> list[PaperRow]:
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


def _decision_and_strata_rows(evaluation: Evaluation) -> list[PaperRow]:
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


def _signature_rows(prognosis: Prognosis) -> list[PaperRow]:
    by = prognosis.groupings
    x_tile = _grouping(prognosis, "X-tile")
    rows = [
        PaperRow("Cut-off by X-tile", "0.66; no correction given", said(prognosis.search, _search)),
        PaperRow("Cut-off found on one half, tested on the other", NOT_GIVEN, said(prognosis.held_out, _held_out)),
        *_group_rows("Groups by X-tile", PAPER_X_TILE, x_tile),
        PaperRow(
            "PD-L1ES as a number: C-index",
            "not given; its 0.66 may be this one",
            said(prognosis.continuous_concordance, _c_index),
        ),
        PaperRow(
            "Groups by the median",
            "Figure 3's caption says the median, the text 0.66",
            said(_grouping(prognosis, "median").groups, comparison),
        ),
        PaperRow("Groups by the paper's 0.66", "as by X-tile", said(_grouping(prognosis, "paper").groups, comparison)),
    ]
    if "model" in by:
        rows.append(PaperRow("Groups by the exported model's cut-off", NONE, said(by["model"].groups, comparison)))
    rows.append(
        PaperRow(
            "Groups by measured PD-L1 (IHC, >= 50 %)",
            "curves shown",
            said(prognosis.expression, lambda grouping: said(grouping.groups, comparison)),
        )
    )
    return rows


def _variable_rows(prognosis: Prognosis) -> list[PaperRow]:
    rows = []
    for name, paper in PAPER_VARIABLE_P.items():
        by_group, as_number = (
            said(models[name], partial(_p_of, name)) for models in (prognosis.with_each, prognosis.with_each_continuous)
        )
        rows.append(
            PaperRow(
                f"PD-L1ES with {_words(name)}: P of {_words(name)}",
                f"P = {paper}",
                f"{by_group} (PD-L1ES by group), {as_number} (as a number)",
            )
        )
    age = prognosis.clinical_variables["age"]
    rows.append(
        PaperRow(
            "Age: cut-off",
            PAPER_AGE_CUT_OFF,
            said(age.search, lambda found: f"{found.cut_off:g} years by X-tile"),
        )
    )
    for name, paper in PAPER_LOG_RANK_P.items():
        variable = prognosis.clinical_variables[name]
        rows.append(PaperRow(f"{_words(name).capitalize()}: log-rank", f"P = {paper}", _log_rank(name, variable)))
    return rows


def _risk_model_rows(
    name: str, cut_off: str, paper: PaperGroups, result: RiskModelResult | NotEstimable
) -> list[PaperRow]:
    title = f"{name} Cox model"
    grouping = Grouping(float("nan"), "", result, result) if isinstance(result, NotEstimable) else result.grouping
    return [
        PaperRow(f"{title}: cut-off", cut_off, said(result, lambda found: _search(found.fit.search))),
        *_group_rows(title, paper, grouping),
        PaperRow(
            f"{title}: C-index of the linear predictor",
            NOT_GIVEN,
            said(result, lambda found: f"{_c_index(found.fit.concordance)}, on the patients that fitted it"),
        ),
    ]


def _joint_rows(prognosis: Prognosis) -> list[PaperRow]:
    def p(term: str) -> str:
        return said(prognosis.fusion, lambda found: _p_of(term, found.fit.model))

    return [
        PaperRow("Fusion Cox model: P of PD-L1ES", "P = 0.0396", p(COX_SIGNATURE)),
        PaperRow(
            "Fusion Cox model: P of the clinical model",
            "P = 0.010",
            p(CLINICAL_RISK)
            + ("" if isinstance(prognosis.fusion, NotEstimable) else ", too small: it was fitted on these patients"),
        ),
    ]


def _exported_rows(prognosis: Prognosis) -> list[PaperRow]:
    return [
        row
        for name, risk in prognosis.exported.items()
        for row in (
            PaperRow(
                f"Exported {name} Cox model, its cut-off {number(risk.grouping.cut_off)}: groups",
                NONE,
                said(risk.grouping.groups, comparison),
            ),
            PaperRow(f"Exported {name} Cox model: C-index", NONE, said(risk.concordance, _c_index)),
            PaperRow(f"Exported {name} Cox model: calibration slope", NONE, _slope(risk)),
        )
    ]


def _group_rows(title: str, paper: PaperGroups, grouping: Grouping) -> list[PaperRow]:
    """Return one row a value: all patients, then each treatment, then whether treatments differ."""
    found = grouping.groups
    rows = [
        PaperRow(f"{title}: hazard ratio", paper.hazard_ratio, said(found, _hazard_ratio)),
        PaperRow(f"{title}: P", paper.p_value, said(found, _p_values)),
        PaperRow(
            f"{title}: C-index of the groups", paper.c_index, said(found, lambda g: said(g.concordance, _c_index))
        ),
        PaperRow(f"{title}: median PFS", paper.medians, said(found, _medians)),
    ]
    treatments = grouping.by_treatment
    names = list(paper.by_treatment)
    if isinstance(treatments, SubgroupComparison):
        names += [name for name in treatments.groups if name not in names]
    rows += [
        PaperRow(f"{title}, {name}", paper.by_treatment.get(name, NONE), said(treatments, partial(_within, name)))
        for name in names
    ]
    if isinstance(treatments, SubgroupComparison) and treatments.interaction is not None:
        rows.append(
            PaperRow(
                f"{title}: does treatment change it",
                NOT_GIVEN,
                f"interaction {p_value(treatments.interaction.p_value)}",
            )
        )
    return rows


def _visualisation_rows(drawn: bool, attention: AttentionSummary | NotEstimable | None) -> list[PaperRow]:
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


def _table_one_rows(evaluation: Evaluation) -> list[PaperRow]:
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


def _grouping(prognosis: Prognosis, name: str) -> Grouping:
    if name in prognosis.groupings:
        return prognosis.groupings[name]
    reason = prognosis.search if isinstance(prognosis.search, NotEstimable) else NotEstimable("there is no cut-off")
    return Grouping(float("nan"), "", reason, reason)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _auc(area: Auc | NotEstimable) -> str:
    return said(area, interval)


def _difference(found: AucComparison | NotEstimable | None) -> str:
    return said(found, lambda test: f"{test.difference.value:+.2f}, {p_value(test.p_value)}")


def _decision(curves: DecisionCurves) -> str:
    """Say over which share of the useful thresholds PD-L1ES is the best of all."""
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


def _search(found: CutOffSearch) -> str:
    corrected = (
        f"fit and search by fitting anew on each of {found.n_permutations} permutations"
        if found.refitted
        else f"the search by {found.n_permutations} permutations"
    )
    return (
        f"{number(found.cut_off)} (above: {'worse' if found.upper_is_worse else 'better'}); "
        f"{p_value(found.p_permutation)} corrected for {corrected} "
        f"({p_value(found.p_uncorrected)} without; for the search alone Miller-Siegmund "
        f"{p_value(found.p_miller_siegmund)}, Lausen {p_value(found.p_lausen)})"
    )


def _held_out(held: HeldOutCutOff) -> str:
    test = "all on one side" if held.test is None else f"log-rank {p_value(held.test.p_value)}"
    ratio = "" if held.hazard_ratio is None else f", HR {interval(held.hazard_ratio)}"
    if held.proportional_hazards is not None:
        ratio += f", proportional hazards {p_value(held.proportional_hazards.overall.p_value)}"
    return f"{number(held.search.cut_off)}: {test}{ratio} (n = {held.n_lower + held.n_upper}, {held.n_events} events)"


def _hazard_ratio(groups: GroupComparison) -> str:
    return "no finite hazard ratio" if groups.hazard_ratio is None else interval(groups.hazard_ratio)


def _p_values(groups: GroupComparison) -> str:
    parts = ["no event" if groups.log_rank is None else f"log-rank {p_value(groups.log_rank.test.p_value)}"]
    if groups.model is not None:
        parts.append(f"Wald {p_value(groups.model.terms[0].p_value)}")
    return "; ".join(parts)


def _medians(groups: GroupComparison) -> str:
    return f"{days(groups.upper.median)} against {days(groups.lower.median)} days"


def _within(treatment: str, treatments: SubgroupComparison) -> str:
    if treatment not in treatments.groups:
        return "nobody had this treatment"
    groups = treatments.groups[treatment]
    if groups is None:
        return "all in one group"
    return f"{_p_values(groups)}; {_medians(groups)} (n = {groups.upper.n + groups.lower.n})"


def _log_rank(name: str, variable: ClinicalGrouping) -> str:
    if isinstance(variable.levels, NotEstimable):
        return said(variable.levels, str)
    parts = [p_value(variable.levels.test.p_value)]
    if isinstance(variable.search, CutOffSearch):
        parts[0] += " uncorrected, at the cut-off that X-tile found on these patients"
        parts.append(
            f"{p_value(variable.search.p_permutation)} corrected for the search by "
            f"{variable.search.n_permutations} permutations"
        )
    elif name == "age":
        parts[0] += f" {variable.found}"
    elif name == "smoking":
        parts[0] += f" between the levels {', '.join(variable.levels.groups)}"
        if isinstance(variable.groups, GroupComparison) and variable.groups.log_rank is not None:
            parts.append(
                f"{p_value(variable.groups.log_rank.test.p_value)} of {variable.upper} against {variable.lower}, which "
                "the figure shows"
            )
    return "; ".join([*parts, f"{variable.n} patients"])


def _c_index(found: Concordance) -> str:
    return interval(found.c_index)


def _slope(risk: ExportedRisk) -> str:
    return said(
        risk.calibration,
        lambda found: f"{interval(found.slope)} ({p_value(found.p_value)} of 1); n = {risk.n}, {risk.n_events} events",
    )


def _p_of(name: str, model: CoxModel) -> str:
    return p_value(model.term(name).p_value)
