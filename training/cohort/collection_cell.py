"""What a cell of a public collection's clinical table means."""

from __future__ import annotations

from typing import Final

from training.errors import UsageError

_SMOKING: Final = {
    "never": "never",
    "nonsmoker": "never",
    "never smoker": "never",
    "former": "smoker",
    "current": "smoker",
    "former smoker": "smoker",
    "current smoker": "smoker",
    "smoker": "smoker",
    "ever": "smoker",
}
"""Former and current say nothing of the paper's grades (occasionally, constantly): smokers of unknown grade."""
_ABSENT: Final = frozenset(
    {"", "na", "n/a", "nan", "not collected", "not available", "not recorded in database", "unknown"}
)


class CollectionError(UsageError):
    """A collection's clinical table is not what it should be; the message says where, and what to do."""


class CollectionCellError(ValueError):
    """A cell is not what its column holds; the message says what it should be."""

    def __init__(self, column: str, should_be: str) -> None:
        super().__init__(should_be)
        self.column = column


def given_cell(value: str) -> str | None:
    """Return a cell's text; None where it says that nothing is known."""
    return None if value.strip().lower() in _ABSENT else value.strip()


def lower_cell(value: str) -> str | None:
    """Return a cell's text in lower case; None where it says that nothing is known."""
    given = given_cell(value)
    return None if given is None else given.lower()


def smoking_cell(value: str) -> str | None:
    """Return a cohort's word for a collection's; None for any other word."""
    return _SMOKING.get(value.strip().lower())
