"""The paper's values of progression beside the cohort's."""

from __future__ import annotations

from functools import partial

from training.progression.results import ClinicalGrouping, ExportedRisk, Grouping, Prognosis, RiskModelResult
from training.reporting.paper_values import (
    NONE,
    NOT_GIVEN,
    PAPER_AGE_CUT_OFF,
    PAPER_LOG_RANK_P,
    PAPER_VARIABLE_P,
    PAPER_X_TILE,
    PaperGroups,
    PaperRow,
)
from training.statistics.concordance import Concordance
from training.statistics.cox_model import CoxModel
from training.statistics.estimability import NotEstimable
from training.statistics.prognosis import CLINICAL_RISK, GroupComparison, SubgroupComparison
from training.statistics.prognosis import SIGNATURE as COX_SIGNATURE
from training.statistics.wording import comparison, days, interval, number, p_value, said
from training.statistics.xtile import CutOffSearch, HeldOutCutOff


def signature_rows(prognosis: Prognosis) -> list[PaperRow]:
    """Return PD-L1ES by each cut-off, and measured PD-L1."""
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


def variable_rows(prognosis: Prognosis) -> list[PaperRow]:
    """Return each clinical variable: beside PD-L1ES, and alone."""
    rows = []
    for name, paper in PAPER_VARIABLE_P.items():
        by_group, as_number = (
            said(models[name], partial(_p_of, name)) for models in (prognosis.with_each, prognosis.with_each_continuous)
        )
        rows.append(
            PaperRow(
                f"PD-L1ES with {_words(name)}: P of {_words(name)}",
                f"P = {paper}",
                by_group if by_group == as_number else f"{by_group} (PD-L1ES by group), {as_number} (as a number)",
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


def risk_model_rows(
    name: str, cut_off: str, paper: PaperGroups, result: RiskModelResult | NotEstimable
) -> list[PaperRow]:
    """Return a Cox model's cut-off, groups and C-index.

    Parameters
    ----------
    name
        Of the model, as ``Clinical``.
    cut_off, paper
        What the paper prints.
    result
        The same model here.

    Returns
    -------
    list of PaperRow
    """
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


def joint_rows(prognosis: Prognosis) -> list[PaperRow]:
    """Return the P values of the fusion model's terms."""

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


def exported_rows(prognosis: Prognosis) -> list[PaperRow]:
    """Return an exported model's Cox models on these patients."""
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


def _grouping(prognosis: Prognosis, name: str) -> Grouping:
    if name in prognosis.groupings:
        return prognosis.groupings[name]
    reason = prognosis.search if isinstance(prognosis.search, NotEstimable) else NotEstimable("there is no cut-off")
    return Grouping(float("nan"), "", reason, reason)


def _words(name: str) -> str:
    return name.replace("_", " ")


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
    test = said(held.test, lambda found: f"log-rank {p_value(found.p_value)}")
    ratio = "" if isinstance(held.hazard_ratio, NotEstimable) else f", HR {interval(held.hazard_ratio)}"
    if not isinstance(held.proportional_hazards, NotEstimable):
        ratio += f", proportional hazards {p_value(held.proportional_hazards.overall.p_value)}"
    return f"{number(held.search.cut_off)}: {test}{ratio} (n = {held.n_lower + held.n_upper}, {held.n_events} events)"


def _hazard_ratio(groups: GroupComparison) -> str:
    return said(groups.hazard_ratio, interval)


def _p_values(groups: GroupComparison) -> str:
    parts = [said(groups.log_rank, lambda found: f"log-rank {p_value(found.test.p_value)}")]
    if not isinstance(groups.model, NotEstimable):
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
        if isinstance(variable.groups, GroupComparison) and not isinstance(variable.groups.log_rank, NotEstimable):
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
