"""The figures of the report: the paper's 2 to 5 and its supplement's, drawn where the cohort holds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from pdl1es.atomic import write_atomically
from training.evaluation.estimability import NotEstimable
from training.evaluation.evaluate import (
    EXTERNAL,
    GATE,
    HELD_OUT,
    POOLED,
    TEST,
    TRAINING,
    VALIDATION,
    Evaluation,
)
from training.evaluation.predictions import COMPARATORS, SIGNATURE
from training.evaluation.prognosis import (
    Grouping,
    Prognosis,
    RiskModelResult,
    panels,
    risk_names,
    upper_is_worse,
)
from training.figures.decision import calibration_figure, decision_figure
from training.figures.discrimination import roc_figure, strata_figure
from training.figures.drawing import png_bytes, svg_bytes
from training.figures.flow_chart import FlowChart, flow_chart_figure
from training.figures.survival import cut_off_figure, group_panel, kaplan_meier_figure, notes_of
from training.statistics.calibration import Calibration
from training.statistics.classification import YoudenCutOff
from training.statistics.decision_curves import DecisionCurves
from training.statistics.discrimination import Auc, RocCurve
from training.statistics.prognosis import GroupComparison
from training.statistics.strata import Stratification
from training.statistics.survival import KaplanMeier
from training.statistics.xtile import CutOffSearch


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure with its title and what a reader should know of it."""

    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True, slots=True)
class Rendered:
    """A figure as bytes, the same for the same results."""

    title: str
    caption: str
    svg: bytes
    png: bytes


def evaluation_figures(evaluation: Evaluation) -> dict[str, Drawn]:
    """Draw ROC and decision curves, calibration, strata and controls, by file name; what is not estimable is left out."""
    drawn: dict[str, Drawn] = {}
    shown = [name for name in (TRAINING, VALIDATION, TEST, EXTERNAL) if name in evaluation.cohorts]
    point = evaluation.operating_point if isinstance(evaluation.operating_point, YoudenCutOff) else None
    rocs = _rocs(evaluation, shown, (SIGNATURE, *COMPARATORS))
    if rocs:
        drawn["figure-2-roc"] = Drawn(
            "Figure 2 A–C: ROC curves",
            "Area with DeLong's 95 % interval. The models were fitted on the training cohort, and the best epoch was "
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
    others = [m for m in _models(evaluation) if m not in COMPARATORS]
    held = [name for name in (HELD_OUT, GATE, EXTERNAL) if name in evaluation.cohorts]
    if len(others) > 1 and (controls := _rocs(evaluation, held, tuple(others))):
        drawn["controls-roc"] = Drawn(
            "Controls",
            "PD-L1ES beside tumour volume alone, beside itself on disturbed inputs, and, where the cohort is synthetic, "
            "beside the score that knows the truth.",
            roc_figure(controls),
        )
    return drawn


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
            # a model tested on other patients may be wrong about which group fares worse
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


def flow_chart(chart: FlowChart) -> dict[str, Drawn]:
    """Draw the patients' way from screening to cohorts."""
    return {
        "supplement-1-flow-chart": Drawn(
            "Supplementary Figure 1: patients", "From the table to the cohorts.", flow_chart_figure(chart)
        )
    }


def render(drawn: Mapping[str, Drawn], progress: Callable[[int, int], None] | None = None) -> dict[str, Rendered]:
    """Turn figures into bytes, by file name; ``progress`` is called with figures done and in all."""
    rendered = {}
    for k, (name, item) in enumerate(drawn.items(), start=1):
        svg, png = svg_bytes(item.figure, item.title), png_bytes(item.figure, item.title)
        rendered[name] = Rendered(item.title, item.caption, svg, png)
        if progress is not None:
            progress(k, len(drawn))
    return rendered


def write_figures(folder: Path, rendered: Mapping[str, Rendered]) -> None:
    """Write each figure as SVG and PNG, whole or not at all."""
    for name, item in rendered.items():
        write_atomically(folder / f"{name}.svg", item.svg)
        write_atomically(folder / f"{name}.png", item.png)


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


def _search(result: RiskModelResult | NotEstimable) -> CutOffSearch | NotEstimable:
    return result if isinstance(result, NotEstimable) else result.fit.search
