"""ROC curves and the areas by stratum (paper, Figure 2 A-C and Supplementary Figure 2)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from training.figures.drawing import BLUE, DASHES, GREY, PALETTE, grid, new_figure, style
from training.statistics.classification import YoudenCutOff
from training.statistics.discrimination import Auc, RocCurve
from training.statistics.strata import Stratification


def roc_figure(
    cohorts: Mapping[str, Mapping[str, tuple[RocCurve, Auc]]], operating_point: YoudenCutOff | None = None
) -> Figure:
    """Draw ROC curves, one panel per cohort, one line per model with its area and interval.

    Parameters
    ----------
    cohorts
        Curve and area by model, by cohort.
    operating_point
        Drawn on the first model's curve of the cohort named ``Validation``, where it was chosen.

    Returns
    -------
    Figure
    """
    with style():
        figure = new_figure(3.5 * len(cohorts), 3.9)
        panels = figure.subplots(1, len(cohorts), squeeze=False)[0]
        for axes, (cohort, models) in zip(panels, cohorts.items(), strict=True):
            axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
            for k, (name, (curve, area)) in enumerate(models.items()):
                label = f"{name} {area.value:.2f} ({area.lower:.2f}–{area.upper:.2f})"
                axes.plot(
                    1 - curve.specificity,
                    curve.sensitivity,
                    color=PALETTE[k % len(PALETTE)],
                    linestyle=DASHES[k % len(DASHES)],
                    linewidth=1.8 if k == 0 else 1.2,
                    label=label,
                    zorder=10 - k,
                )
            if operating_point is not None and cohort == "Validation":
                x, y = 1 - operating_point.specificity, operating_point.sensitivity
                axes.plot(
                    x, y, "o", color="white", markeredgecolor=BLUE, markersize=6, zorder=20, label="cut-off (Youden)"
                )
            first = next(iter(models.values()))[1]
            axes.set(
                xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", xlabel="1 − specificity", ylabel="Sensitivity"
            )
            axes.set_title(f"{cohort} (n = {first.n_positive + first.n_negative})")
            grid(axes)
            axes.legend(loc="lower right", title="AUC (95 % CI)", title_fontsize=8, alignment="right")
        return figure


def strata_figure(stratifications: Sequence[Stratification], whole: Auc) -> Figure:
    """Draw the area of each stratum with its interval as a forest, beside the whole cohort's.

    Strata too small for an area are listed without a mark.

    Parameters
    ----------
    stratifications
        One per variable.
    whole
        Area of all patients.

    Returns
    -------
    Figure
    """
    rows: list[tuple[str, str, Auc | None, bool]] = []
    counts = f"{whole.n_positive} / {whole.n_positive + whole.n_negative}"
    rows.append(("All patients", counts, whole, True))
    for one in stratifications:
        test = "" if one.heterogeneity is None else f"  (P of difference {one.heterogeneity.p_value:.2f})"
        unknown = f", unknown {one.unknown}" if one.unknown else ""
        rows.append((f"{one.name}{unknown}{test}", "", None, True))
        rows += [(f"   {s.level}", f"{s.n_positive} / {s.n}", s.auc, False) for s in one.strata]
    with style():
        height = 1.1 + 0.27 * len(rows)
        figure = new_figure(8.0, height)
        # the text beside the axes needs a fixed place, so no automatic layout
        figure.set_layout_engine("none")
        axes = figure.add_axes((0.5, 0.6 / height, 0.3, 1 - 0.7 / height))
        for k, (label, count, area, bold) in enumerate(rows):
            weight = "bold" if bold else "normal"
            axes.text(-1.62, k, label, va="center", fontweight=weight, transform=axes.get_yaxis_transform())
            axes.text(-0.16, k, count, va="center", ha="center", transform=axes.get_yaxis_transform())
            if area is None:
                if count:
                    axes.text(
                        1.02, k, "too few patients", va="center", color=GREY, transform=axes.get_yaxis_transform()
                    )
                continue
            axes.plot([area.lower, area.upper], [k, k], color=BLUE, linewidth=1.4)
            axes.plot(area.value, k, "s" if not bold else "D", color=BLUE, markersize=5)
            text = f"{area.value:.2f} ({area.lower:.2f}–{area.upper:.2f})"
            axes.text(1.02, k, text, va="center", transform=axes.get_yaxis_transform())
        axes.axvline(0.5, color=GREY, linewidth=0.8, linestyle=":")
        axes.axvline(whole.value, color=BLUE, linewidth=0.8, linestyle="--", alpha=0.6)
        lowest = min(area.lower for _, _, area, _ in rows if area is not None)
        axes.set(
            xlim=(min(0.4, math.floor(10 * lowest) / 10), 1.0),
            ylim=(len(rows) - 0.5, -1.4),
            yticks=[],
            xlabel="AUC (95 % CI)",
        )
        axes.text(-0.16, -1, "high / all", va="center", ha="center", color=GREY, transform=axes.get_yaxis_transform())
        axes.spines["left"].set_visible(False)
        return figure
