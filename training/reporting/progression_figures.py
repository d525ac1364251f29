"""The figures of progression: the paper's Figures 3 and 4 and the supplement's, where the cohort allows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from training.figures.incidence import incidence_figure
from training.figures.survival import cut_off_figure, group_panel, kaplan_meier_figure, notes_of
from training.progression.competing import DEATH, PROGRESSION, CompetingRisks
from training.progression.results import Grouping, Prognosis, RiskModelResult, panels, risk_names, upper_is_worse
from training.reporting.figures import Drawn
from training.statistics.competing_risks import CompetingComparison
from training.statistics.estimability import NotEstimable
from training.statistics.prognosis import GroupComparison
from training.statistics.survival import KaplanMeier
from training.statistics.xtile import CutOffSearch

_EVENTS: Final = {PROGRESSION: "Progression", DEATH: "Death without progression"}


def prognosis_figures(prognosis: Prognosis) -> dict[str, Drawn]:
    """Draw Kaplan-Meier curves and the searches for cut-offs, by file name; what is not estimable is left out."""
    drawn: dict[str, Drawn] = {}
    titles = {
        "X-tile": ("figure-3-pdl1es", "Figure 3: PD-L1ES by X-tile's cut-off"),
        "median": ("figure-3-pdl1es-median", "Figure 3: PD-L1ES by its median"),
        "paper": ("pdl1es-paper-cut-off", "PD-L1ES by the paper's cut-off"),
        "model": ("pdl1es-model-cut-off", "PD-L1ES by the exported model's cut-off"),
    }
    for key, (name, title) in titles.items():
        if key in prognosis.groupings:
            grouping = prognosis.groupings[key]
            # in other patients the group that the model expects to do worse may do better
            names = ("above the cut-off", "not above it") if key == "model" else None
            _draw_groups(drawn, name, title, grouping, f"Cut-off {grouping.cut_off:.2f}, {grouping.source}.", names)
    if isinstance(prognosis.expression, Grouping):
        _draw_groups(
            drawn,
            "figure-3-expression",
            "Figure 3: measured PD-L1",
            prognosis.expression,
            f"High against low expression: {prognosis.expression.source}.",
            names=("PD-L1 high", "PD-L1 low"),
        )
    for key, result, title in (
        ("figure-4-clinical", prognosis.clinical, "Figure 4: clinical Cox model"),
        ("figure-4-fusion", prognosis.fusion, "Figure 4: fusion Cox model"),
    ):
        if isinstance(result, RiskModelResult):
            grouping = result.grouping
            caption = (
                f"Cut-off {grouping.cut_off:.2f} on the linear predictor. Model and cut-off were fitted on these patients, so "
                f"that P values and hazard ratios flatter it; P after fit and search {result.fit.search.p_permutation:.3f}."
            )
            _draw_groups(drawn, key, title, grouping, caption)
    for name, exported in prognosis.exported.items():
        _draw_groups(
            drawn,
            f"figure-4-{name}-exported",
            f"The exported {name} Cox model",
            exported.grouping,
            f"Cut-off {exported.grouping.cut_off:.2f} on the linear predictor, both of the exported file; the groups are named "
            "as it names them, whichever fares worse here.",
            names=(exported.above, exported.below),
        )
    _draw_competing(drawn, prognosis)
    for key, search, quantity in (
        ("x-tile-pdl1es", prognosis.search, "PD-L1ES"),
        ("x-tile-clinical", _search(prognosis.clinical), "the clinical linear predictor"),
        ("x-tile-fusion", _search(prognosis.fusion), "the fusion linear predictor"),
    ):
        if isinstance(search, CutOffSearch):
            drawn[key] = Drawn(
                f"X-tile on {quantity}",
                "Every cut-off tried; the P after fit and search is that of shuffled patients, the model fitted anew on each "
                "shuffle."
                if search.refitted
                else "Every cut-off tried; the P after the search is that of permuted scores.",
                cut_off_figure(search, quantity),
            )
    curves: dict[str, Mapping[str, KaplanMeier]] = {}
    notes: dict[str, tuple[str, ...]] = {}
    for variable, grouping_of in prognosis.clinical_variables.items():
        if isinstance(grouping_of.groups, GroupComparison):
            name = variable.replace("_", " ").capitalize()
            curves[name] = group_panel(grouping_of.groups, grouping_of.upper, grouping_of.lower)
            notes[name] = notes_of(grouping_of.groups)
    if curves:
        drawn["supplement-3-clinical-variables"] = Drawn(
            "Supplementary Figure 3: each clinical variable",
            _variables_caption(prognosis),
            kaplan_meier_figure(curves, notes),
        )
    return drawn


def _variables_caption(prognosis: Prognosis) -> str:
    search = prognosis.clinical_variables["age"].search
    age = (
        f" Age is cut by X-tile on these patients, so that its P is too small; {search.p_permutation:.3f} after the search."
        if isinstance(search, CutOffSearch)
        else ""
    )
    return f"Patients of whom the variable was measured.{age} Smoking is ever against never; the table also tests its levels."


def _draw_groups(
    drawn: dict[str, Drawn],
    name: str,
    title: str,
    grouping: Grouping,
    caption: str,
    names: tuple[str, str] | None = None,
) -> None:
    found = panels(grouping.groups, grouping.by_treatment)
    if not found:
        return
    above, below = names or risk_names(upper_is_worse(grouping.groups))
    drawn[name] = Drawn(
        title,
        caption,
        kaplan_meier_figure(
            {panel: group_panel(groups, above, below) for panel, groups in found.items()},
            {panel: notes_of(groups) for panel, groups in found.items()},
        ),
    )


def _draw_competing(drawn: dict[str, Drawn], prognosis: Prognosis) -> None:
    """Draw the incidences of the groups that come first: the exported model's, else X-tile's, else by measured PD-L1."""
    if not isinstance(prognosis.competing, CompetingRisks):
        return
    for name in ("model", "X-tile", "median", "expression"):
        events = prognosis.competing.groupings.get(name, {})
        found = {event: groups for event, groups in events.items() if isinstance(groups, CompetingComparison)}
        if not found:
            continue
        above, below = ("PD-L1 high", "PD-L1 low") if name == "expression" else ("above the cut-off", "not above it")
        source = "High against low expression." if name == "expression" else f"{prognosis.groupings[name].source}."
        drawn["competing-risks"] = Drawn(
            "Progression and death before it",
            f"Cumulative incidence by Aalen and Johansen, with pointwise 95 % intervals. {source[0].upper()}{source[1:]}",
            incidence_figure(
                {_EVENTS[event]: {below: groups.lower, above: groups.upper} for event, groups in found.items()}
            ),
        )
        return


def _search(result: RiskModelResult | NotEstimable) -> CutOffSearch | NotEstimable:
    return result if isinstance(result, NotEstimable) else result.fit.search
