"""Figure 5 of the paper: patch, Grad-CAM and two radiomic features, a row per patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.attention import Portrait, enlarged
from training.figures.drawing import ORANGE, new_figure, style

WINDOW_HU: Final = (-1000.0, 400.0)


def attention_figure(portraits: Sequence[Portrait]) -> Figure:
    """Draw Figure 5: a row per patient; the patch, Grad-CAM, and the maps of the features on one scale for all patients."""
    features = list(portraits[0].feature_maps)
    limits = {name: _limits([one.feature_maps[name] for one in portraits]) for name in features}
    with style():
        figure = new_figure(2.4 * (2 + len(features)), 2.6 * len(portraits))
        panels = figure.subplots(len(portraits), 2 + len(features), squeeze=False)
        for axes, one in zip(panels, portraits, strict=True):
            middle = one.roi.hu.shape[0] // 2
            hu, mask = one.roi.hu[middle], one.roi.mask[middle]
            x_low, y_low, x_high, y_high = one.roi.rectangle
            extent = (-0.5, x_high - x_low + 0.5, y_high - y_low + 0.5, -0.5)
            for panel in axes[:2]:
                panel.imshow(hu, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1])
                panel.contour(mask, levels=[0.5], colors=ORANGE, linewidths=0.9)
            cells = one.attention.maps[middle]
            weight = enlarged(cells[None])[0]
            if weight.max() > 0:
                axes[1].imshow(weight, cmap="inferno", alpha=0.45 * weight / weight.max())
            axes[0].set_title(one.name, fontsize=8)
            axes[1].set_title(f"Grad-CAM, {cells.shape[0]} × {cells.shape[1]} cells", fontsize=8)
            for panel, name in zip(axes[2:], features, strict=True):
                low, high = limits[name]
                image = panel.imshow(one.feature_maps[name], cmap="viridis", extent=extent, vmin=low, vmax=high)
                image_name, _, rest = name.partition("_")
                panel.set_title(f"{image_name}\n{rest.partition('_')[2]}", fontsize=7)
                figure.colorbar(image, ax=panel, shrink=0.7)
            for panel in axes:
                _bare(panel)
        return figure


def _limits(maps: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    known = np.concatenate([values[np.isfinite(values)] for values in maps])
    if known.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.quantile(known, [0.02, 0.98]))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
