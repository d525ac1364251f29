"""The second and third patient of a table: small volumes, which are quick to prepare."""

from __future__ import annotations

from pathlib import Path

from training.cohort.table import CheckedTable, read_cohort


def two(table: Path) -> CheckedTable:
    """Return them as a table without faults."""
    return CheckedTable(read_cohort(table).rows[1:3], (), (), 2, ())
