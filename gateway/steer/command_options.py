"""What the gateway's commands share: their options, and the settings, the database and the study that they name.

Only typer is imported at once; everything else when a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pdl1es.console import ended, usage_error
from pdl1es.exit_code import ExitCode

if TYPE_CHECKING:
    from gateway.settings.file import GatewaySettings
    from gateway.steer.overview import Overview, StudyOverview

Config = Annotated[
    Path,
    typer.Option("--config", envvar="PDL1ES_GATEWAY_CONFIG", help="The gateway's settings.", dir_okay=False),
]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Study Instance UID, or the hash of the log.")]
DEFAULT_CONFIG: Final = Path("gateway.yaml")


def settings_of(config: Path, note: str = "") -> GatewaySettings:
    """Return the settings of a ``gateway.yaml``; a fault in it, or a missing package, ends the command with exit code 2.

    Parameters
    ----------
    config
        The file.
    note
        What else is said where it has a fault.

    Returns
    -------
    gateway.settings.file.GatewaySettings

    Raises
    ------
    typer.Exit
        It has a fault, or a package is missing.
    """
    need_packages()
    from gateway.settings.file import load_gateway_settings
    from pdl1es.settings_file import SettingsError

    try:
        return load_gateway_settings(config)
    except SettingsError as error:
        raise usage_error(f"{error}\n{note}".rstrip()) from error


def need_packages() -> None:
    """End the command with exit code 2 where the extra ``gateway`` is not installed."""
    from gateway.steer.packages import missing_packages

    if missing := missing_packages():
        raise usage_error(
            f"the gateway's packages are not installed: {', '.join(missing)}. Remedy: install the wheel with its extra: pip install 'pdl1es-....whl[gateway]'"
        )


def overview_of(settings: GatewaySettings) -> Overview:
    """Return what the gateway knows; what was never started, or cannot be read, ends the command."""
    from sqlalchemy.exc import SQLAlchemyError

    from gateway.database import database_fault, open_database, read_only, require_tables
    from gateway.logs import StudyHash, read_log_key
    from gateway.processes.setup import RESULTS_FOLDER
    from gateway.steer.overview import Overview

    if not settings.folder.is_dir():
        raise usage_error(f"{settings.folder} is not there: the gateway was never started")
    try:
        engine = open_database(settings.database_url)
        with read_only(engine).connect() as connection:
            require_tables(connection)
        return Overview(engine, settings.folder / RESULTS_FOLDER, StudyHash(read_log_key(settings.folder)))
    except (SQLAlchemyError, OSError) as error:
        raise ended(
            f"the gateway's database or folder cannot be read: {database_fault(error)}", ExitCode.DEFECT
        ) from error


def named_study(overview: Overview, name: str) -> StudyOverview:
    """Return the study of a UID or hash.

    Parameters
    ----------
    overview
        What the gateway knows.
    name
        UID or hash.

    Returns
    -------
    StudyOverview

    Raises
    ------
    typer.Exit
        With exit code 2 where there is no such study.
    """
    from gateway.steer.overview import UnknownStudyError

    try:
        return overview.study(overview.named(name))
    except UnknownStudyError as error:
        raise usage_error(str(error)) from error
