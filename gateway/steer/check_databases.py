"""What is asked of the databases before the gateway starts: whether they can be reached, used, and are of this version. Read only."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from gateway.database import OtherSchemaError, require_tables
from gateway.settings.file import GatewaySettings

_CONNECT_SECONDS: Final = 10


def existing_folder(folder: Path) -> Path:
    """Return the folder, or the nearest above it that is there."""
    folder = folder.absolute()
    return next((place for place in (folder, *folder.parents) if os.path.exists(place)), Path("/"))  # noqa: PTH110 - Path's raises below a folder that may not be entered


def may_write(folder: Path) -> bool:
    """Tell whether the effective user may make files in a folder."""
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=True)


def faults_of_databases(settings: GatewaySettings) -> Iterator[str]:
    """Ask the databases whether they can be reached and used, and whether the gateway's has a schema that this software knows.

    Parameters
    ----------
    settings
        ``gateway.yaml``, without a fault in itself.

    Yields
    ------
    str
        A key, and what is wrong there. Nothing is made or changed.
    """
    for key, given in (("database", settings.database_url), ("workflow_database", settings.workflow_database_url)):
        url = make_url(given)
        if url.get_backend_name() == "sqlite":
            yield from _faults_of_sqlite(key, Path(url.database or ""))
        else:
            yield from _faults_of_server(key, given)


def _faults_of_sqlite(key: str, file: Path) -> Iterator[str]:
    if not os.path.exists(file):  # noqa: PTH110
        if not (existing_folder(file).is_dir() and may_write(existing_folder(file))):
            yield f"{key}: {file} cannot be made by user {os.geteuid()}"
        return
    if not os.access(file, os.R_OK | os.W_OK, effective_ids=True):
        yield f"{key}: {file} cannot be written to by user {os.geteuid()}"
        return
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=rw", uri=True, timeout=_CONNECT_SECONDS)) as asked:
            asked.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if key == "database":
                with create_engine("sqlite://", creator=lambda: asked, poolclass=StaticPool).connect() as connection:
                    yield from _faults_of_schema(connection)
    except sqlite3.Error as error:
        yield f"{key}: {file}: {error}"


def _faults_of_server(key: str, url: str) -> Iterator[str]:
    """Ask a PostgreSQL whether it lets this user make what the gateway needs: tables, and DBOS a schema of its own."""

    engine = create_engine(url, connect_args={"connect_timeout": _CONNECT_SECONDS})
    asked = (
        "SELECT has_database_privilege(current_database(), 'CREATE')"
        if key == "workflow_database"
        else "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)"
    )
    try:
        with engine.connect() as connection:
            if not connection.execute(text(asked)).scalar_one():
                yield f"{key}: the user may make no {'schema' if key == 'workflow_database' else 'tables'} there: GRANT CREATE"
            if key == "database":
                yield from _faults_of_schema(connection)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()
        yield f"{key}: {reason[0] if reason else type(error).__name__}"
    finally:
        engine.dispose()


def _faults_of_schema(connection: Connection) -> Iterator[str]:
    """Give what keeps a gateway from using the tables that are there; none, and older ones, it makes or changes when it starts."""
    try:
        require_tables(connection)
    except OtherSchemaError as error:
        if error.fault not in {"DATABASE_EMPTY", "DATABASE_OLDER"}:
            yield f"database: {error}"
