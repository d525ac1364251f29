"""Figures with their titles and captions, and as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from pdl1es.atomic import write_atomically
from training.figures.drawing import png_bytes, svg_bytes
from training.progress import Count


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure with its title and caption."""

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


def render(drawn: Mapping[str, Drawn], progress: Count | None = None) -> dict[str, Rendered]:
    """Turn figures into bytes, by file name; ``progress`` is called with figures done and in all.

    Parameters
    ----------
    drawn
        By file name.
    progress
        Called with figures done and in all.

    Returns
    -------
    dict[str, Rendered]
    """
    rendered = {}
    for k, (name, item) in enumerate(drawn.items(), start=1):
        svg, png = svg_bytes(item.figure, item.title), png_bytes(item.figure, item.title)
        rendered[name] = Rendered(item.title, item.caption, svg, png)
        if progress is not None:
            progress(k, len(drawn))
    return rendered


def write_figures(folder: Path, rendered: Mapping[str, Rendered]) -> None:
    """Write each figure as SVG and PNG, whole or not at all.

    Parameters
    ----------
    folder
        Made where it is missing.
    rendered
        By file name.
    """
    for name, item in rendered.items():
        write_atomically(folder / f"{name}.svg", item.svg)
        write_atomically(folder / f"{name}.png", item.png)
