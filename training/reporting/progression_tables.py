"""The page's tables of progression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from training.progression.analyse import NO_SCORE
from training.progression.results import Grouping, Prognosis, RiskModelResult
from training.reporting.tables import Table, without_rows
from training.statistics.concordance import Concordance, ConcordanceComparison
from training.statistics.cox_model import CoxModel, CoxTerm
from training.statistics.estimability import NotEstimable
from training.statistics.hazards_check import ProportionalHazards
from training.statistics.prognosis import SIGNATURE as COX_SIGNATURE
from training.statistics.prognosis import GroupComparison, SubgroupComparison
from training.statistics.wording import days, interval, number, p_value, said
from training.statistics.xtile import CutOffSearch

_GROUP_HEAD: Final = (
    "Groups",
    "n, upper / lower",
    "Events",
    "Hazard ratio (95 % CI)",
    "P",
    "C-index (95 % CI)",
    "Median PFS, days",
    "Proportional hazards",
)
_COX_HEAD: Final = (
    "Model",
    "Variable",
    "n",
    "Events",
    "Coefficient",
    "Hazard ratio (95 % CI), Wald P",
    "Proportional hazards",
)


@dataclass(frozen=True, slots=True)
class ExportedTables:
    """Results of an exported model's Cox models on patients that they were not fitted on.

    Attributes
    ----------
    unknown
        Number of patients without a value of a model; empty where there are none.
    models, groups
        A row per model, and a row per model and treatment.
    """

    unknown: str
    models: Table
    groups: Table


@dataclass(frozen=True, slots=True)
class ProgressionTables:
    """The page's section of progression.

    Attributes
    ----------
    n, n_events, follow_up, left_out
        Patients, their median follow-up, and the patients who are left out, with reasons.
    cut_offs, groups, cox, concordance
        Tables.
    resamples
        How the intervals of cut-offs were found.
    without_score
        A sentence in place of the rows that only a score could fill; empty where there is one.
    exported
        None where no exported model was tested.
    """

    n: int
    n_events: int
    follow_up: str
    left_out: str
    cut_offs: Table
    resamples: str
    groups: Table
    cox: Table
    concordance: Table
    without_score: str
    exported: ExportedTables | None


def progression_tables(prognosis: Prognosis) -> ProgressionTables:
    """Put an analysis of progression into tables."""
    tables = {"groups": _groups(prognosis), "Cox models": _cox(prognosis), "concordance": _concordance(prognosis)}
    shown = {name: without_rows(table, NO_SCORE) for name, table in tables.items()}
    folded = {name: len(table.rows) - len(shown[name].rows) for name, table in tables.items()}
    said_once = ", ".join(f"{n} of {name}" for name, n in folded.items() if n)
    return ProgressionTables(
        n=prognosis.n,
        n_events=prognosis.n_events,
        follow_up=said(prognosis.follow_up, lambda e: interval(e, 0)),
        left_out="; ".join(f"{n} {reason}" for reason, n in prognosis.left_out.items() if n),
        cut_offs=_cut_offs(prognosis),
        resamples=f"{prognosis.settings.cut_off_resamples} resamples of the patients, seed {prognosis.settings.seed}",
        groups=shown["groups"],
        cox=shown["Cox models"],
        concordance=shown["concordance"],
        without_score=f"No model has scored these patients, so rows are left out: {said_once}." if said_once else "",
        exported=_exported(prognosis) if prognosis.exported else None,
    )


def _cut_offs(prognosis: Prognosis) -> Table:
    age, (clinical, fusion) = prognosis.clinical_variables["age"].search, (prognosis.clinical, prognosis.fusion)
    searches = {
        "X-tile": ("PD-L1ES, X-tile", prognosis.search),
        "median": ("PD-L1ES, median", None),
        "age": ("Age in years, X-tile", age),
        "clinical": ("Clinical model's linear predictor, X-tile", _search_of(clinical)),
        "fusion": ("Fusion model's linear predictor, X-tile", _search_of(fusion)),
    }
    rows = [
        (
            title,
            said(prognosis.cut_offs[name], interval),
            "" if search is None else said(search, lambda found: p_value(found.p_permutation)),
        )
        for name, (title, search) in searches.items()
    ]
    return without_rows(Table.of(("Cut-off on", "Cut-off (95 % CI)", "P after the search"), rows), NO_SCORE)


def _search_of(result: RiskModelResult | NotEstimable) -> CutOffSearch | NotEstimable:
    return result if isinstance(result, NotEstimable) else result.fit.search


def _groups(prognosis: Prognosis) -> Table:
    groups = [
        *((f"PD-L1ES above {number(g.cut_off)}, {g.source}", g) for g in prognosis.groupings.values()),
        ("Measured PD-L1, high against low", prognosis.expression),
        *(
            (
                f"{_words(name).capitalize()}, {v.upper} against {v.lower}" if v.n else _words(name).capitalize(),
                v.groups,
            )
            for name, v in prognosis.clinical_variables.items()
        ),
        *(
            (f"{name} model above its cut-off", found if isinstance(found, NotEstimable) else found.grouping)
            for name, found in (("Clinical", prognosis.clinical), ("Fusion", prognosis.fusion))
        ),
    ]
    return Table.of(_GROUP_HEAD, (row for name, found in groups for row in _group_rows(name, found)))


def _cox(prognosis: Prognosis) -> Table:
    clinical, fusion = prognosis.clinical, prognosis.fusion
    rows = [
        *_cox_rows("alone", prognosis.univariable, prognosis.univariable_hazards),
        *_cox_rows("PD-L1ES by group, with", prognosis.with_each, prognosis.with_each_hazards, named=True),
        *_cox_rows(
            "PD-L1ES as a number, with",
            prognosis.with_each_continuous,
            prognosis.with_each_continuous_hazards,
            named=True,
        ),
        *_cox_rows("all together", {"": prognosis.multivariable}, {"": prognosis.multivariable_hazards}),
        *_cox_rows("clinical Cox model", {"": _model_of(clinical)}, {"": _hazards_of(clinical)}),
        *_cox_rows("fusion Cox model", {"": _model_of(fusion)}, {"": _hazards_of(fusion)}),
    ]
    return Table.of(_COX_HEAD, rows)


def _concordance(prognosis: Prognosis) -> Table:
    rows = [
        ("PD-L1ES as a number", said(prognosis.continuous_concordance, _c_index)),
        ("clinical model", said(prognosis.clinical, lambda found: _c_index(found.fit.concordance))),
        ("fusion model", said(prognosis.fusion, lambda found: _c_index(found.fit.concordance))),
        ("fusion less clinical model", said(prognosis.fusion_against_clinical, _gain)),
        ("fusion model less PD-L1ES", said(prognosis.fusion_against_signature, _gain)),
    ]
    return Table.of(("", "C-index or difference (95 % CI)"), rows)


def _exported(prognosis: Prognosis) -> ExportedTables:
    head = ("Model", "n", "Events", "C-index (95 % CI)", "Calibration slope (95 % CI)", "Proportional hazards")
    rows = [
        (
            name,
            str(found.n),
            str(found.n_events),
            said(found.concordance, _c_index),
            said(found.calibration, lambda c: f"{interval(c.slope)}, {p_value(c.p_value)} of a slope of 1"),
            said(found.proportional_hazards, lambda test: p_value(test.overall.p_value)),
        )
        for name, found in prognosis.exported.items()
    ]
    unknown = [
        f"{name}: {found.unknown} patients without a risk"
        for name, found in prognosis.exported.items()
        if found.unknown
    ]
    groups = [
        row
        for name, found in prognosis.exported.items()
        for row in _group_rows(
            f"{name}: {found.above} (above {number(found.grouping.cut_off)}) against {found.below}", found.grouping
        )
    ]
    return ExportedTables("; ".join(unknown), Table.of(head, rows), Table.of(_GROUP_HEAD, groups))


def _group_rows(
    name: str, found: Grouping | GroupComparison | SubgroupComparison | NotEstimable | None
) -> list[tuple[str, ...]]:
    """Return a row of all patients and, where they are known, one per treatment."""
    if isinstance(found, Grouping):
        rows = _group_rows(name, found.groups)
        if isinstance(found.by_treatment, SubgroupComparison):
            for treatment, groups in found.by_treatment.groups.items():
                rows += _group_rows(f"\N{EM SPACE}{treatment}", groups)
        return rows
    if not isinstance(found, GroupComparison):
        return [(name, said(found, str) if found else "all in one group", *[""] * 6)]
    return [
        (
            name,
            f"{found.upper.n} / {found.lower.n}",
            f"{found.upper.n_events} / {found.lower.n_events}",
            said(found.hazard_ratio, interval),
            said(found.log_rank, lambda r: f"log-rank {p_value(r.test.p_value)}"),
            said(found.concordance, _c_index),
            f"{days(found.upper.median)} / {days(found.lower.median)}",
            said(found.proportional_hazards, lambda test: p_value(test.overall.p_value)),
        )
    ]


def _cox_rows(
    title: str,
    models: Mapping[str, CoxModel | NotEstimable],
    hazards: Mapping[str, ProportionalHazards | NotEstimable],
    *,
    named: bool = False,
) -> list[tuple[str, ...]]:
    """Return a row per variable of each model, and one of all of them together where there are several."""
    rows: list[tuple[str, ...]] = []
    for name, model in models.items():
        model_name = f"{title} {_words(name)}" if named else title
        if isinstance(model, NotEstimable):
            rows.append((model_name, _words(name), *[""] * 3, said(model, str), ""))
            continue
        check = hazards[name]
        counts = (str(model.n), str(model.n_events))
        for term in model.terms:
            tested = said(check, partial(_checked, term.name))
            rows.append((model_name, _words(term.name), *counts, number(term.coefficient, 4), _hazard(term), tested))
        if len(model.terms) > 1:
            together = f"likelihood ratio {p_value(model.likelihood_ratio_test.p_value)}"
            overall = said(check, lambda test: p_value(test.overall.p_value))
            rows.append((model_name, "all of these", *counts, "", together, overall))
    return rows


def _checked(name: str, test: ProportionalHazards) -> str:
    return p_value(test.by_term[name].p_value)


def _model_of(result: RiskModelResult | NotEstimable) -> CoxModel | NotEstimable:
    return result if isinstance(result, NotEstimable) else result.fit.model


def _hazards_of(result: RiskModelResult | NotEstimable) -> ProportionalHazards | NotEstimable:
    return result if isinstance(result, NotEstimable) else result.fit.proportional_hazards


def _c_index(found: Concordance) -> str:
    return interval(found.c_index)


def _gain(found: ConcordanceComparison) -> str:
    return f"{found.difference.value:+.2f} ({number(found.difference.lower)} to {number(found.difference.upper)}), {p_value(found.p_value)}"


def _hazard(term: CoxTerm) -> str:
    return f"{interval(term.hazard_ratio)}, {p_value(term.p_value)}"


def _words(name: str) -> str:
    return "PD-L1ES" if name == COX_SIGNATURE else name.replace("_", " ")
