"""Size, type and colours of all figures, and their encoding into reproducible bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#6E6E6E"
"""Okabe and Ito's colours, which readers with colour-blindness can tell apart."""

PALETTE = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9", "#000000", GREY)
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), "-", "--")
"""Line styles, so that lines differ in a print in grey as well."""

DOTS_PER_INCH = 200

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "svg.hashsalt": "pdl1es",
    "svg.fonttype": "path",
    "savefig.facecolor": "white",
}


@contextmanager
def style() -> Iterator[None]:
    """Set the type and lines of all figures while one is drawn or written; matplotlib's own settings are restored after it."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure (size in inches) that belongs to no window and needs no closing.

    Parameters
    ----------
    width, height
        Inches.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def grid(axes: Axes) -> None:
    """Draw a faint grid behind the data."""
    axes.grid(color="#E4E4E4", linewidth=0.6)


def svg_bytes(figure: Figure, title: str) -> bytes:
    """Return a figure as SVG, the same bytes every time: fixed identifiers, no date.

    Parameters
    ----------
    figure
        To write.
    title
        Stands in the file.

    Returns
    -------
    bytes
        UTF-8.
    """
    return _bytes(figure, "svg", {"Date": None, "Creator": None, "Title": title})


def png_bytes(figure: Figure, title: str) -> bytes:
    """Return a figure as PNG, the same bytes every time.

    Parameters
    ----------
    figure
        To write.
    title
        Stands in the file.

    Returns
    -------
    bytes
    """
    return _bytes(figure, "png", {"Software": None, "Title": title})


def _bytes(figure: Figure, kind: str, metadata: dict[str, str | None]) -> bytes:
    stream = io.BytesIO()
    with style():
        # a layout that is computed at every writing differs in the last digits
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        figure.savefig(stream, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
    return stream.getvalue()
