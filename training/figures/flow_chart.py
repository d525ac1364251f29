"""The flow of patients from screening to cohorts (paper, Supplementary Figure 1)."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.figures.drawing import BLUE, GREY, new_figure, style


@dataclass(frozen=True, slots=True)
class FlowChart:
    """Counts of patients.

    Attributes
    ----------
    screened
        Patients in the table.
    exclusions
        Reason and patients, in the order in which they were left out.
    cohorts
        Name and patients of each cohort; together they are all patients that were not excluded.
    """

    screened: int
    exclusions: tuple[tuple[str, int], ...]
    cohorts: tuple[tuple[str, int], ...]

    def __post_init__(self) -> None:
        """Refuse a chart whose numbers do not add up."""
        left = self.screened - sum(n for _, n in self.exclusions)
        total = sum(n for _, n in self.cohorts)
        if min([self.screened, *(n for _, n in (*self.exclusions, *self.cohorts))]) < 0 or left != total:
            raise ValueError(f"{self.screened} screened less the exclusions are {left}, the cohorts hold {total}")


def flow_chart_figure(chart: FlowChart) -> Figure:
    """Draw the chart: excluded patients to the right, remaining ones downwards."""
    steps = len(chart.exclusions)
    left = chart.screened - sum(n for _, n in chart.exclusions)
    included = -(steps + 1.0)
    with style():
        figure = new_figure(7.5, 2.2 + 0.75 * steps)
        axes = figure.subplots()
        axes.set(xlim=(0, 12), ylim=(included - 2.0, 0.5))
        axes.axis("off")
        # arrows run from middle to middle, under the boxes
        _arrow(axes, (_MIDDLE, 0), (_MIDDLE, included + 0.3))
        for k, (reason, n) in enumerate(chart.exclusions, start=1):
            _arrow(axes, (_MIDDLE, -k), (6.55, -k))
            _box(axes, 6.75, -k, reason, n, GREY, characters=44, align="left")
        _box(axes, _MIDDLE, 0, "Screened", chart.screened, BLUE)
        step = min(3.0, 7.6 / max(len(chart.cohorts) - 1, 1))
        for k, (name, n) in enumerate(chart.cohorts):
            x = _MIDDLE + step * (k - (len(chart.cohorts) - 1) / 2)
            _arrow(axes, (_MIDDLE, included), (x, included - 1.2))
            _box(axes, x, included - 1.5, name, n, BLUE, characters=max(8, int(7 * step)))
        _box(axes, _MIDDLE, included, "Included", left, BLUE)
        return figure


_MIDDLE = 4.3


def _box(
    axes: Axes, x: float, y: float, name: str, n: int, colour: str, characters: int = 30, align: str = "center"
) -> None:
    count = f"(n = {n:,})".replace(" ", "\N{NO-BREAK SPACE}")
    lines = textwrap.wrap(f"{name} {count}", characters, break_long_words=False)
    frame = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": colour, "linewidth": 1.1}
    axes.text(x, y, "\n".join(lines), ha=align, va="center", fontsize=8.5, bbox=frame, zorder=5)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    line = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=line)
