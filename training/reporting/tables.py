"""A table of text, as the page shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from training.statistics.estimability import NotEstimable
from training.statistics.wording import said


@dataclass(frozen=True, slots=True)
class Table:
    """Text in rows; every row has as many cells as the head, which may be empty."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    @classmethod
    def of(cls, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
        """Return a table from any iterable of rows.

        Parameters
        ----------
        head
            Titles of the columns.
        rows
            Any iterable.

        Returns
        -------
        Table
        """
        return cls(tuple(head), [tuple(row) for row in rows])

    @property
    def titled(self) -> bool:
        """Whether any column has a title."""
        return any(self.head)


def without_rows(table: Table, why: NotEstimable) -> Table:
    """Return a table without the rows that say nothing but that something is not estimable, for one reason.

    Parameters
    ----------
    table
        Of text.
    why
        The reason.

    Returns
    -------
    Table
    """
    words = said(why, str)
    return Table(table.head, [row for row in table.rows if words not in row])
