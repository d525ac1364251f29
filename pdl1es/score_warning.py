"""Warnings: what a reader of the report has to know about how a score came about, short of a refusal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Effect = Literal["warn", "withhold_group"]


@dataclass(frozen=True, slots=True)
class ScoreWarning:
    """A warning that goes into result.json and the SR.

    Attributes
    ----------
    code
        Stable, upper-case name, as ``SMOOTH_KERNEL``.
    message
        One sentence for the radiologist; never a patient's name, id or date.
    effect
        ``warn`` only tells; ``withhold_group`` also keeps the risk group out of the report.
    """

    code: str
    message: str
    effect: Effect = "warn"
