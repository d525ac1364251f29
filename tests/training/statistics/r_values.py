"""Numbers that R computed, by name."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent / "references"


class RValues:
    """``performance.csv``, which ``performance.R`` beside it writes."""

    def __init__(self) -> None:
        self._table = pd.read_csv(FOLDER / "performance.csv")

    def __getitem__(self, name: str) -> list[float]:
        found = self._table[self._table["name"] == name]["value"].tolist()
        assert found, name
        return found
