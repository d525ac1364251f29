"""The paper's values beside the cohort's (Tian et al., Theranostics 2021; 11(5): 2098-2107)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from training.evaluation.estimability import NotEstimable
from training.evaluation.evaluate import (
    EXTERNAL,
    HELD_OUT,
    PAPER_STRATA,
    POOLED,
    TEST,
    TRAINING,
    VALIDATION,
    Evaluation,
)
from training.evaluation.predictions import COMPARATORS, SIGNATURE
from training.evaluation.prognosis import Grouping, Prognosis, RiskModelResult, panels
from training.evaluation.wording import NOT_ESTIMABLE, comparison, interval, number, p_value, said
from training.statistics.cox import CoxModel
from training.statistics.decision_curves import DecisionCurves
from training.statistics.discrimination import Auc, AucComparison
from training.statistics.prognosis import CLINICAL_RISK, GroupComparison
from training.statistics.prognosis import SIGNATURE as COX_SIGNATURE
from training.statistics.strata import Stratification
from training.statistics.table_one import Categorical, TableOne
from training.statistics.xtile import CutOffSearch


@dataclass(frozen=True, slots=True)
class PaperRow:
    """One value: what it is, what the paper prints, what this cohort gives."""

    what: str
    paper: str
    cohort: str


PAPER_AUC = {TRAINING: "0.78 (0.75 to 0.80)", VALIDATION: "0.71 (0.59 to 0.81)", TEST: "0.76 (0.66 to 0.85)"}
PAPER_VARIABLE_P = {"family_history": 0.064, "smoking": 0.245, "sex": 0.374, "age": 0.088}
PAPER_LOG_RANK_P = {"age": "0.028 (cut-off 63 years)", "family_history": "0.17", "smoking": "0.22", "sex": "0.95"}
PAPER_REDIVISIONS = ("0.79 / 0.73 / 0.76", "0.77 / 0.74 / 0.75")
NOT_RUN = "not run"


def paper_rows(
    evaluation: Evaluation | None, prognosis: Prognosis | None, redivisions: Sequence[Mapping[str, float]] = ()
) -> tuple[PaperRow, ...]:
    """Return every value that the paper prints beside what the cohort gives.

    Parameters
    ----------
    evaluation, prognosis
        None where they were not run.
    redivisions
        Area by cohort of each random re-division of validation and test, retrained.
    """
    rows = _expression_rows(evaluation, redivisions)
    rows += _prognosis_rows(prognosis)
    rows.append(
        PaperRow(
            "Visualisation",
            "class activation map on the lesion's border; maps of two radiomic features",
            "Figure 5 of this report",
        )
    )
    rows.append(_table_one_row(evaluation))
    return tuple(rows)


def _expression_rows(evaluation: Evaluation | None, redivisions: Sequence[Mapping[str, float]]) -> list[PaperRow]:
    rows = []
    cohorts = {} if evaluation is None else evaluation.cohorts
    for name in (TRAINING, VALIDATION, TEST):
        found = cohorts.get(name)
        rows.append(
            PaperRow(f"AUC, {name.lower()}", PAPER_AUC[name], _auc(found.models[SIGNATURE].auc) if found else NOT_RUN)
        )
    if EXTERNAL in cohorts:
        rows.append(PaperRow("AUC, external", "none", _auc(cohorts[EXTERNAL].models[SIGNATURE].auc)))
    for name in (POOLED, TRAINING, VALIDATION, TEST, HELD_OUT):
        if name not in cohorts:
            continue
        against = [
            f"{model} {_difference(cohorts[name].models[model].comparison)}"
            for model in COMPARATORS
            if model in cohorts[name].models
        ]
        rows.append(
            PaperRow(
                f"DeLong against {', '.join(COMPARATORS)}, {name.lower()}",
                "P < 0.0001 against each" if name == POOLED else "not given",
                "; ".join(against) or NOT_RUN,
            )
        )
    for k, paper in enumerate(PAPER_REDIVISIONS):
        found_areas = (
            " / ".join(number(redivisions[k].get(name, float("nan"))) for name in (TRAINING, VALIDATION, TEST))
            if k < len(redivisions)
            else NOT_RUN
        )
        rows.append(PaperRow(f"Random re-division {k + 1}, AUC training / validation / test", paper, found_areas))
    for name in (POOLED, HELD_OUT, EXTERNAL):
        if name in cohorts:
            rows.append(
                PaperRow(
                    f"Decision curves, {name.lower()}",
                    "PD-L1ES above DLM, RM and CM",
                    said(cohorts[name].decision, _decision),
                )
            )
    if evaluation is not None:
        for name, strata in evaluation.strata.items():
            for key, variable in strata.items():
                paper = "effective in every stratum" if key in PAPER_STRATA else "not given"
                title = variable.name if isinstance(variable, Stratification) else key.replace("_", " ")
                rows.append(PaperRow(f"Strata, {name.lower()}: {title}", paper, said(variable, _strata)))
    return rows


def _prognosis_rows(prognosis: Prognosis | None) -> list[PaperRow]:
    if prognosis is None:
        return [PaperRow("Prognosis", "HR 2.57 (1.22 to 5.44)", NOT_RUN)]
    by = prognosis.groupings

    def groups(name: str) -> str:
        return said(by[name].groups, comparison) if name in by else said(_reason(prognosis.search), str)

    rows = [
        PaperRow("Cut-off by X-tile", "0.66, no correction given", said(prognosis.search, _search)),
        PaperRow(
            "Cut-off found on one half, tested on the other",
            "not given",
            said(
                prognosis.held_out,
                lambda held: (
                    f"{number(held.search.cut_off)}: "
                    + ("all on one side" if held.test is None else f"log-rank {p_value(held.test.p_value)}")
                    + ("" if held.hazard_ratio is None else f", HR {interval(held.hazard_ratio)}")
                ),
            ),
        ),
        PaperRow(
            "Groups by X-tile",
            "HR 2.57 (1.22 to 5.44); P = 0.010; C-index 0.66 (0.48 to 0.83); median PFS 183 (122–257) against 363 (363–) days",
            groups("X-tile"),
        ),
        PaperRow("Groups by the median", "Figure 3's caption says the median, the text 0.66", groups("median")),
        PaperRow("Groups by the paper's 0.66", "as by X-tile", groups("paper")),
    ]
    if "model" in by:
        rows.append(PaperRow("Groups by the exported model's cut-off", "none", groups("model")))
    rows.append(
        PaperRow(
            "Groups by measured PD-L1 (IHC)",
            "curves shown",
            said(prognosis.expression, lambda grouping: said(grouping.groups, comparison)),
        )
    )
    for name, p in PAPER_VARIABLE_P.items():
        found = [
            said(models[name], partial(_p_of, name)) for models in (prognosis.with_each, prognosis.with_each_continuous)
        ]
        rows.append(
            PaperRow(
                f"PD-L1ES with {name.replace('_', ' ')}: P of the variable",
                f"P = {p}",
                f"{found[0]} (PD-L1ES by group), {found[1]} (as a number)",
            )
        )
    rows.append(
        PaperRow(
            "Groups by X-tile, by treatment",
            "immunotherapy alone P = 0.028; with chemotherapy P = 0.038 (median 271 against 248 days)",
            _treatments(by.get("X-tile")),
        )
    )
    for name, paper in PAPER_LOG_RANK_P.items():
        variable = prognosis.clinical_variables[name]
        note = "".join(f"; {part}" for part in (variable.found and f"{variable.upper}, {variable.found}",) if part)
        note += f"; {variable.n} patients"
        rows.append(
            PaperRow(
                f"{name.replace('_', ' ').capitalize()}: log-rank",
                f"P = {paper}",
                said(variable.levels, lambda test: p_value(test.test.p_value)) + note,
            )
        )
    rows.append(
        PaperRow(
            "Clinical Cox model",
            "cut-off 0.05: HR 2.09 (1.05 to 4.18); P = 0.032; median PFS 172 against 257 days",
            said(prognosis.clinical, _risk_model),
        )
    )
    rows.append(
        PaperRow(
            "Clinical Cox model, by treatment",
            "P = 0.068 and 0.054",
            said(prognosis.clinical, lambda found: _by_treatment(found)),
        )
    )
    rows.append(
        PaperRow(
            "Fusion Cox model: P of PD-L1ES and of the clinical model",
            "P = 0.0396 and 0.010",
            said(prognosis.fusion, lambda found: _joint(found.fit.model)),
        )
    )
    rows.append(
        PaperRow(
            "Fusion Cox model",
            "cut-off 1.78: HR 3.53 (1.86 to 6.72); P < 0.001; median PFS 122 against 363 days",
            said(prognosis.fusion, _risk_model),
        )
    )
    rows.append(
        PaperRow(
            "Fusion Cox model, by treatment",
            "alone P = 0.016, with chemotherapy P = 0.003",
            said(prognosis.fusion, lambda found: _by_treatment(found)),
        )
    )
    return rows


def _table_one_row(evaluation: Evaluation | None) -> PaperRow:
    what, paper = "Table 1: smallest P between cohorts", "0.408 (eight categorical P values)"
    if evaluation is None:
        return PaperRow(what, paper, NOT_RUN)

    def smallest(table: TableOne) -> str:
        found = [
            test.p_value
            for variable in table.variables
            if isinstance(variable, Categorical)
            for test in variable.tests.values()
            if test is not None
        ]
        return f"{min(found):.3f} of {len(found)}" if found else "one cohort: nothing to compare"

    return PaperRow(what, paper, said(evaluation.characteristics, smallest))


def _reason(search: CutOffSearch | NotEstimable) -> NotEstimable | None:
    return search if isinstance(search, NotEstimable) else None


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
    return (
        f"{number(found.cut_off)} (above: {'worse' if found.upper_is_worse else 'better'}); "
        f"{p_value(found.p_permutation)} corrected for the search by {found.n_permutations} permutations "
        f"({p_value(found.p_uncorrected)} without, Miller-Siegmund {p_value(found.p_miller_siegmund)}, "
        f"Lausen {p_value(found.p_lausen)})"
    )


def _treatments(grouping: Grouping | None) -> str:
    if grouping is None:
        return NOT_ESTIMABLE
    if isinstance(grouping.by_treatment, NotEstimable):
        return said(grouping.by_treatment, str)
    found = [f"{name}: {_short(group)}" for name, group in grouping.by_treatment.groups.items()]
    if grouping.by_treatment.interaction is not None:
        found.append(f"interaction {p_value(grouping.by_treatment.interaction.p_value)}")
    return "; ".join(found) or NOT_ESTIMABLE


def _by_treatment(result: RiskModelResult) -> str:
    drawn = panels(result.fit.groups, result.by_treatment)
    found = [f"{name}: {_short(group)}" for name, group in list(drawn.items())[1:]]
    return "; ".join(found) or said(result.by_treatment, lambda _: NOT_ESTIMABLE)


def _short(group: GroupComparison | None) -> str:
    if group is None:
        return "all in one group"
    test = "no event" if group.log_rank is None else p_value(group.log_rank.test.p_value)
    return (
        f"{test}, median PFS {number(group.upper.median.value, 0)} against {number(group.lower.median.value, 0)} days"
    )


def _risk_model(result: RiskModelResult) -> str:
    search = result.fit.search
    return (
        f"cut-off {number(search.cut_off)}: {comparison(result.fit.groups)}; after the search {p_value(search.p_permutation)}; "
        f"linear predictor C-index {interval(result.fit.concordance.c_index)}"
    )


def _p_of(name: str, model: CoxModel) -> str:
    return p_value(model.term(name).p_value)


def _joint(model: CoxModel) -> str:
    return " and ".join(p_value(model.term(name).p_value) for name in (COX_SIGNATURE, CLINICAL_RISK))
