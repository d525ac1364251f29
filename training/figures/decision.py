"""Decision curves and calibration (paper, Figure 2 D-F; calibration is this project's addition)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from training.figures.drawing import BLUE, DASHES, GREY, PALETTE, grid, new_figure, style
from training.statistics.calibration import Calibration
from training.statistics.decision_curves import DecisionCurves


def decision_figure(cohorts: Mapping[str, DecisionCurves]) -> Figure:
    """Draw net benefit by threshold, one panel per cohort, with treating everybody and nobody."""
    with style():
        figure = new_figure(3.5 * len(cohorts), 3.4)
        panels = figure.subplots(1, len(cohorts), squeeze=False)[0]
        for axes, (cohort, curves) in zip(panels, cohorts.items(), strict=True):
            axes.plot(curves.thresholds, curves.treat_all, color=GREY, linewidth=1.0, label="treat all")
            axes.plot(curves.thresholds, curves.treat_none, color="black", linewidth=1.0, label="treat none")
            for k, model in enumerate(curves.models):
                axes.plot(
                    curves.thresholds,
                    model.net_benefit,
                    color=PALETTE[k % len(PALETTE)],
                    linestyle=DASHES[k % len(DASHES)],
                    linewidth=1.8 if k == 0 else 1.2,
                    label=model.name,
                    zorder=10 - k,
                )
            # how far a curve lies below zero does not matter
            top = max(curves.prevalence, max((float(m.net_benefit.max()) for m in curves.models), default=0.0))
            axes.set(xlim=(0, float(curves.thresholds.max())), ylim=(-0.25 * top, 1.08 * top))
            axes.set(xlabel="Threshold probability", ylabel="Net benefit", title=cohort)
            grid(axes)
            axes.legend(loc="upper right")
        return figure


def calibration_figure(cohorts: Mapping[str, Calibration]) -> Figure:
    """Draw observed shares against mean scores, one panel per cohort, with the number of patients in each group."""
    with style():
        figure = new_figure(3.5 * len(cohorts), 3.7)
        panels = figure.subplots(1, len(cohorts), squeeze=False)[0]
        for axes, (cohort, found) in zip(panels, cohorts.items(), strict=True):
            score = np.array([b.mean_score for b in found.bins])
            share = np.array([b.observed.value for b in found.bins])
            spread = np.array(
                [[b.observed.value - b.observed.lower, b.observed.upper - b.observed.value] for b in found.bins]
            ).clip(0)  # at a share of 0 or 1 rounding leaves -1e-17
            axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
            axes.errorbar(
                score, share, yerr=spread.T, fmt="o-", color=BLUE, markersize=4, linewidth=1.2, elinewidth=0.9
            )
            text = "\n".join(
                [
                    f"slope {_interval(found.slope.value, found.slope.lower, found.slope.upper)}",
                    f"in the large {_interval(found.in_the_large.value, found.in_the_large.lower, found.in_the_large.upper)}",
                    f"Brier {found.brier:.3f} (scaled {found.scaled_brier:.2f})",
                    f"n = {found.n}, groups of {min(b.observed.denominator for b in found.bins)} or more",
                ]
            )
            axes.text(0.02, 0.98, text, transform=axes.transAxes, va="top", fontsize=7.5)
            axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
            axes.set(xlabel="Mean score", ylabel="Observed share, high PD-L1", title=cohort)
            grid(axes)
        return figure


def _interval(value: float, lower: float, upper: float) -> str:
    return "none finite" if np.isnan(value) else f"{value:.2f} ({lower:.2f} to {upper:.2f})"
