"""Cumulative incidences of progression and of death before it, by group."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.figures.drawing import PALETTE, grid, new_figure, style
from training.statistics.competing_risks import CumulativeIncidence


def incidence_figure(panels: Mapping[str, Mapping[str, CumulativeIncidence]]) -> Figure:
    """Draw cumulative incidences with their pointwise 95 % intervals.

    Parameters
    ----------
    panels
        Curves by group, by event.

    Returns
    -------
    Figure
    """
    with style():
        figure = new_figure(3.9 * len(panels), 3.4)
        row = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for axes, (title, groups) in zip(row, panels.items(), strict=True):
            _curves(axes, groups)
            axes.set_title(title)
            axes.set_xlabel("Days")
            grid(axes)
        row[0].set(ylim=(0, 1.03), ylabel="Cumulative incidence")
        return figure


def _curves(axes: Axes, groups: Mapping[str, CumulativeIncidence]) -> None:
    for k, (name, curve) in enumerate(groups.items()):
        colour = PALETTE[k % len(PALETTE)]
        times = np.append(curve.times, curve.followed_until)
        limits = [curve.at(float(time)) for time in times]
        axes.step(
            times,
            [limit.value for limit in limits],
            where="post",
            color=colour,
            linewidth=1.6,
            label=f"{name} (n = {curve.n}, {curve.n_events} events)",
        )
        axes.fill_between(
            times,
            [limit.lower for limit in limits],
            [limit.upper for limit in limits],
            step="post",
            color=colour,
            alpha=0.13,
            linewidth=0,
        )
    axes.legend(loc="upper left")
