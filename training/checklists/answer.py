"""One answer to one item of a checklist."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Met = Literal["yes", "partly", "no", "n/a", "open"]
MET: Final[tuple[Met, ...]] = ("yes", "partly", "no", "n/a", "open")


@dataclass(frozen=True, slots=True)
class ChecklistAnswer:
    """An answer.

    Attributes
    ----------
    met
        ``open`` where nobody has answered.
    where
        Where it is met, or why not.
    points
        On a checklist that gives points; None on others.
    """

    met: Met
    where: str
    points: float | None = None
