"""The checklists: their items, weights and points, and where each text came from."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

INSTRUMENTS: Final = Path(__file__).parent / "instruments"
KEYS: Final = ("metrics", "rqs", "claim", "clear", "tripod-ai")
Scale = Literal["weight", "points", "met"]


class ChecklistItem(BaseModel):
    """One item.

    Attributes
    ----------
    number
        As printed, such as ``12a``.
    item
        Its text.
    group
        Category or level; empty where the checklist has none.
    most
        Its weight, or the most points that it can give; None on a checklist without a score.
    verified
        False where ``most`` could not be compared with the published table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    number: str
    item: str
    group: str = ""
    most: float | None = Field(default=None, gt=0)
    verified: bool = True


class Checklist(BaseModel):
    """A checklist.

    Attributes
    ----------
    name, citation
        Of the publication.
    source
        Where its items were taken from, and what of them could not be verified.
    scale
        ``weight``: items are met or not, and the score is the share of the weights that apply. ``points``: an item gives
        up to its points. ``met``: no score.
    items
        In their order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    citation: str
    source: str
    scale: Scale
    items: tuple[ChecklistItem, ...]


def checklist(key: str) -> Checklist:
    """Read one of `KEYS`."""
    return Checklist.model_validate(yaml.safe_load((INSTRUMENTS / f"{key}.yaml").read_text(encoding="utf-8")))
