"""Kaplan-Meier curves with risk tables (paper, Figures 3 and 4, Supplementary Figure 3), and the search for a cut-off."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.figures.drawing import BLUE, GREY, ORANGE, PALETTE, grid, new_figure, style
from training.statistics.estimability import NotEstimable
from training.statistics.prognosis import GroupComparison
from training.statistics.survival import KaplanMeier
from training.statistics.xtile import CutOffSearch

DAYS_BETWEEN_COUNTS: Final = 120
"""Of the risk table, where follow-up is short enough; a multiple of it elsewhere."""
_MOST_INTERVALS: Final = 6
"""Counts and days of more intervals would touch in a panel's width."""


def kaplan_meier_figure(
    panels: Mapping[str, Mapping[str, KaplanMeier]],
    notes: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Draw curves with their intervals, censorings and numbers at risk.

    Parameters
    ----------
    panels
        Curves by group, by panel (the whole cohort, a treatment...).
    notes
        Lines of text in a panel, as of `notes_of`.

    Returns
    -------
    Figure
    """
    with style():
        figure = new_figure(3.9 * len(panels), 4.0)
        most = max(len(groups) for groups in panels.values())
        rows = figure.subplots(
            2, len(panels), squeeze=False, sharex="col", gridspec_kw={"height_ratios": [10, 1.1 * most + 0.9]}
        )
        for k, (title, groups) in enumerate(panels.items()):
            _curves(rows[0][k], groups)
            rows[0][k].set_title(title)
            text = "\n".join((notes or {}).get(title, ()))
            if text:
                paper = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
                # under the legend: curves that end at 0 pass below it
                top = 0.97 - 0.062 * (len(groups) + 0.5)
                rows[0][k].text(
                    0.97,
                    top,
                    text,
                    transform=rows[0][k].transAxes,
                    fontsize=7.5,
                    ha="right",
                    va="top",
                    bbox=paper,
                    zorder=8,
                )
            _risk_table(rows[1][k], groups)
        return figure


def group_panel(
    comparison: GroupComparison, upper: str = "high risk", lower: str = "low risk"
) -> dict[str, KaplanMeier]:
    """Return the two curves of a comparison by name, the lower group first.

    Parameters
    ----------
    comparison
        Two groups.
    upper, lower
        Their names.

    Returns
    -------
    dict[str, KaplanMeier]
    """
    return {lower: comparison.lower, upper: comparison.upper}


def notes_of(comparison: GroupComparison) -> tuple[str, ...]:
    """Return what stands in a panel of two groups: hazard ratio, log-rank P and the medians."""
    lines = []
    ratio = comparison.hazard_ratio
    if isinstance(ratio, NotEstimable):
        lines.append("no finite hazard ratio")
    else:
        lines.append(f"HR {ratio.value:.2f} (95 % CI {ratio.lower:.2f}–{ratio.upper:.2f})")
    if not isinstance(comparison.log_rank, NotEstimable):
        p = comparison.log_rank.test.p_value
        lines.append("log-rank P < 0.001" if p < 0.001 else f"log-rank P = {p:.3f}")
    medians = [_days(curve.median.value) for curve in (comparison.upper, comparison.lower)]
    lines.append(f"median {medians[0]} against {medians[1]}")
    return tuple(lines)


def cut_off_figure(search: CutOffSearch, name: str) -> Figure:
    """Draw the log-rank statistic of every cut-off tried, the chosen cut-off, and its corrected P.

    Parameters
    ----------
    search
        The search.
    name
        Of what was cut.

    Returns
    -------
    Figure
    """
    with style():
        figure = new_figure(4.8, 3.2)
        axes = figure.subplots()
        axes.plot(search.cut_offs, search.statistics, color=BLUE, marker=".", markersize=3, linewidth=1.0)
        axes.axvline(search.cut_off, color=ORANGE, linestyle="--", linewidth=1.2)
        axes.axhline(3.841458820694124, color=GREY, linestyle=":", linewidth=0.9)
        across = axes.get_yaxis_transform()
        axes.text(0.01, 3.86, "P = 0.05 without a search", color=GREY, fontsize=7, va="bottom", transform=across)
        axes.set(xlabel=f"Cut-off on {name}", ylabel="Log-rank chi-square", ylim=(0, None))
        p, steps = search.p_permutation, "fit and search" if search.refitted else "the search"
        axes.set_title(
            f"cut-off {search.cut_off:.2f}: P {search.p_uncorrected:.3g} uncorrected, {p:.3g} after {steps}",
            fontsize=9,
        )
        grid(axes)
        return figure


def _curves(axes: Axes, groups: Mapping[str, KaplanMeier]) -> None:
    for k, (name, curve) in enumerate(groups.items()):
        colour = PALETTE[k % len(PALETTE)]
        label = f"{name} (n = {curve.n}, {curve.n_events} events)"
        axes.step(curve.times, curve.survival, where="post", color=colour, linewidth=1.6, label=label)
        known = ~np.isnan(curve.lower)
        axes.fill_between(
            curve.times[known],
            curve.lower[known],
            curve.upper[known],
            step="post",
            color=colour,
            alpha=0.13,
            linewidth=0,
        )
        lost = curve.censored > 0
        axes.plot(curve.times[lost], curve.survival[lost], "|", color=colour, markersize=6, markeredgewidth=1.0)
    axes.axhline(0.5, color=GREY, linewidth=0.7, linestyle=":")
    axes.set(ylim=(0, 1.03), ylabel="Progression-free survival")
    axes.tick_params(labelbottom=True)
    axes.set_xlabel("Days")
    axes.legend(loc="upper right")


def _risk_table(axes: Axes, groups: Mapping[str, KaplanMeier]) -> None:
    last = max(float(curve.times[-1]) for curve in groups.values())
    at = np.arange(0, last + 1, _days_between_counts(last))
    axes.set(xlim=(-0.02 * last, 1.02 * last), ylim=(len(groups) - 0.4, -1.2), yticks=range(len(groups)))
    axes.set_xticks(at)
    axes.set_yticklabels(list(groups))
    for k, (label, curve) in enumerate(zip(axes.get_yticklabels(), groups.values(), strict=True)):
        label.set_color(PALETTE[k % len(PALETTE)])
        for time in at:
            axes.text(time, k, str(curve.number_at_risk(float(time))), ha="center", va="center", fontsize=8)
    axes.text(0, 1, "Number at risk", transform=axes.transAxes, va="top", fontsize=8, color=GREY)
    axes.tick_params(length=0, labelbottom=False)
    axes.tick_params(axis="y", pad=12)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _days_between_counts(last: float) -> int:
    multiples = (1, 2, 3, 4, 6, 9, 12, 18, 24, 30, 36, 48, 60, 90, 120)
    fitting = (k for k in multiples if last <= k * DAYS_BETWEEN_COUNTS * _MOST_INTERVALS)
    return DAYS_BETWEEN_COUNTS * next(fitting, math.ceil(last / (DAYS_BETWEEN_COUNTS * _MOST_INTERVALS)))


def _days(value: float) -> str:
    return "not reached" if math.isnan(value) else f"{value:.0f} days"
