"""Where the images of a table's patients lie, and the settings of the chain that they are read by."""

from __future__ import annotations

from pathlib import Path

from pdl1es.settings import load_settings, settings_file
from training.cohort.case import CaseSource, PreparationSettings
from training.cohort.table import read_cohort


def preparation_settings(config: Path | None = None) -> PreparationSettings:
    """Return what decides a case: selection, protocol and limits of a settings file, by default the application's.

    Raises
    ------
    SettingsError
        The file cannot be used.
    """
    settings = load_settings(settings_file(config))
    return PreparationSettings(
        selection=settings.selection,
        protocol=settings.protocol,
        plausibility=settings.plausibility,
        limits=settings.limits,
    )


def case_sources(table: Path) -> dict[str, CaseSource]:
    """Return the sources of a table's patients who have a CT, by case_id.

    Raises
    ------
    CohortTableError
        The table cannot be read.
    """
    return {row.id: CaseSource.of(row) for row in read_cohort(table).rows if row.ct is not None}
