"""The gateway's database: one SQLAlchemy engine by URL, SQLite or PostgreSQL, and the metadata that all rooms' tables share.

A room declares its tables on `METADATA` in a module of its own, and `create_tables` makes what is missing. Several processes use
one database; each transaction that writes is short.

A file of SQLite that is gone is never replaced by an empty one, and a connection whose file is no longer the one at its path is not used:
whatever is mounted, moved or restored there later is what the gateway goes on with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    event,
    func,
    insert,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.types import TypeDecorator

METADATA: Final = MetaData()
"""The tables of all rooms."""
WAIT_FOR_WRITER_S: Final = 30.0
"""How long a transaction waits for another process's on SQLite, s."""
_CREATION_LOCK: Final = 7_305_221_119
"""Key of PostgreSQL's advisory lock under which tables are made: any number that nobody else takes."""


class OtherSchemaError(SQLAlchemyError):
    """The database's tables are not those of this version of the software.

    Attributes
    ----------
    fault
        ``DATABASE_NEWER``, ``DATABASE_OLDER``, ``DATABASE_INCOMPLETE`` or ``DATABASE_EMPTY``.
    """

    def __init__(self, fault: str, found: str, remedy: str) -> None:
        """Keep the code.

        Parameters
        ----------
        fault
            As the attribute.
        found
            What is wrong, without a value.
        remedy
            What to do.
        """
        super().__init__(f"{fault}: {found}. Remedy: {remedy}")
        self.fault = fault


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC with its zone: SQLite keeps no zone, and a time without one is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn a time to UTC before it is stored.

        Parameters
        ----------
        value
            A time with its zone, or None.
        dialect
            The database's.

        Returns
        -------
        datetime or None
            In UTC.

        Raises
        ------
        ValueError
            The time has no zone.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without its zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Give a stored time its zone.

        Parameters
        ----------
        value
            As the database gives it.
        dialect
            The database's.

        Returns
        -------
        datetime or None
            In UTC.
        """
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def open_database(url: str) -> Engine:
    """Connect to the gateway's database. What fails there names no value, which may be a study's UID.

    On SQLite the journal is written ahead (WAL), a commit is on the disk when it returns (``synchronous = FULL``), and a transaction
    takes the lock for writing when it begins: one that reads first and writes then would otherwise fail where another process wrote
    in between.

    Parameters
    ----------
    url
        SQLAlchemy's: ``sqlite:////var/lib/pdl1es/gateway.sqlite`` or ``postgresql+psycopg://user@host/name``.

    Returns
    -------
    Engine
        Nothing has been connected yet.

    Raises
    ------
    sqlalchemy.exc.ArgumentError
        The URL is none.
    """
    address = make_url(url)
    if address.get_backend_name() != "sqlite":
        return create_engine(address, pool_pre_ping=True, hide_parameters=True)
    engine = create_engine(address, connect_args={"timeout": WAIT_FOR_WRITER_S}, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_immediate)
    _keep_to_its_file(engine)
    return engine


def open_workflow_database(url: str) -> Engine | None:
    """Connect to DBOS's database where it is a file of SQLite, as DBOS itself does (3.4.0), and keep to that file.

    Parameters
    ----------
    url
        SQLAlchemy's.

    Returns
    -------
    Engine or None
        None for another database: DBOS makes its own engine then.
    """
    address = make_url(url)
    if address.get_backend_name() != "sqlite":
        return None
    engine = create_engine(address, hide_parameters=True)
    event.listen(engine, "connect", _prepare_for_dbos)
    _keep_to_its_file(engine)
    return engine


def _prepare_for_dbos(connection: Any, _record: Any) -> None:
    connection.isolation_level = "IMMEDIATE"
    connection.execute(f"PRAGMA busy_timeout = {WAIT_FOR_WRITER_S * 1000:.0f}")
    connection.execute("PRAGMA foreign_keys = ON")


def _keep_to_its_file(engine: Engine) -> None:
    """Let connections use the file that is at their path, and make it once only: see `made_before`."""
    if engine.url.database in (None, "", ":memory:"):
        return
    path = Path(str(engine.url.database))

    def before_connecting(dialect: Dialect, _record: Any, _args: Any, _named: Any) -> None:
        if not path.exists() and made_before(path).exists():
            raise dialect.loaded_dbapi.OperationalError(f"the database's file {path.name} is gone")

    def connected(_connection: Any, record: Any) -> None:
        record.info["file"] = _identity(path)

    def checked_out(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info.get("file") != _identity(path):
            raise DisconnectionError("another file, or none, is where the database was")

    event.listen(engine, "do_connect", before_connecting)
    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", checked_out)


def made_before(file: Path) -> Path:
    """Return the file that says that a database was made: while it is there, no new one is. Who wants to begin anew removes it."""
    return file.with_name(f"{file.name}.made")


def note_made(engine: Engine) -> None:
    """Note that a database's file was made, so that an empty one never takes its place."""
    if engine.dialect.name == "sqlite" and engine.url.database not in (None, "", ":memory:"):
        made_before(Path(str(engine.url.database))).touch()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def database_fault(error: Exception) -> str:
    """Return what is wrong with a database in words that name no value."""
    return str(error) if isinstance(error, OtherSchemaError) else f"it does not answer ({type(error).__name__})"


def read_only(engine: Engine) -> Engine:
    """Return an engine on the same connections whose transactions only read, and hold nobody up."""
    return engine.execution_options(read_only=True)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins no transaction of its own; `_begin_immediate` does
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    reads = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


@dataclass(frozen=True, slots=True)
class Schema:
    """Which tables the software works with.

    Attributes
    ----------
    version
        Raised by one whenever a release changes a table that an earlier one made.
    steps
        By version: what changes a database of that version to one of the next. It runs in one transaction with all others.
    """

    version: int
    steps: Mapping[int, Callable[[Connection], None]] = field(default_factory=dict)


SCHEMA: Final = Schema(version=1)
"""Of this version of the software."""
SCHEMA_VERSIONS: Final = Table(
    "schema_versions",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("since", UtcTime, nullable=False),
)
"""Which schema the database has, the highest version, and since when it had each."""


def create_tables(engine: Engine, schema: Schema = SCHEMA) -> None:
    """Make the tables that are missing and change those of an older schema, where several processes may start at once.

    All of it is one transaction: where a step fails, the database stays as it was.

    Parameters
    ----------
    engine
        From `open_database`. The modules that declare tables must have been imported.
    schema
        What the tables are to be.

    Raises
    ------
    OtherSchemaError
        The database is a later version's, or a table that is there lacks a column.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATION_LOCK})
        found = schema_version(connection)
        if found is not None:
            _refuse_newer(found, schema)
            for version in range(found, schema.version):
                schema.steps[version](connection)
        METADATA.create_all(connection)
        _refuse_incomplete(connection)
        if not _has_row(connection, schema.version):
            connection.execute(insert(SCHEMA_VERSIONS).values(version=schema.version, since=datetime.now(UTC)))
    note_made(engine)


def require_tables(connection: Connection, schema: Schema = SCHEMA) -> None:
    """Refuse a database whose tables this software cannot use as they are. Nothing is changed.

    Parameters
    ----------
    connection
        A transaction that only reads will do.
    schema
        What the tables are to be.

    Raises
    ------
    OtherSchemaError
        The database has no tables of a gateway, or a later or an earlier version's.
    """
    found = schema_version(connection)
    if found is None:
        raise OtherSchemaError("DATABASE_EMPTY", "it has no tables of a gateway", "start the gateway, which makes them")
    _refuse_newer(found, schema)
    if found < schema.version:
        what = f"its schema is version {found}, and this software works with {schema.version}"
        raise OtherSchemaError("DATABASE_OLDER", what, "start the gateway, which brings it forward")
    _refuse_incomplete(connection)


def schema_version(connection: Connection) -> int | None:
    """Return the version of a database's schema; None where no gateway has made a table there."""
    names = set(inspect(connection).get_table_names())
    if SCHEMA_VERSIONS.name not in names:
        # The first version was there before its record.
        return 1 if names & set(METADATA.tables) else None
    return connection.execute(select(func.coalesce(func.max(SCHEMA_VERSIONS.c.version), 1))).scalar_one()


def _has_row(connection: Connection, version: int) -> bool:
    query = select(SCHEMA_VERSIONS.c.version).where(SCHEMA_VERSIONS.c.version == version)
    return connection.execute(query).first() is not None


def _refuse_newer(found: int, schema: Schema) -> None:
    if found > schema.version:
        raise OtherSchemaError(
            "DATABASE_NEWER",
            f"its schema is version {found}, and this software knows no later one than {schema.version}",
            "install the version of pdl1es that used it last, or restore database and folder as they were backed up before that one",
        )


def _refuse_incomplete(connection: Connection) -> None:
    there = inspect(connection)
    tables = set(there.get_table_names())
    missing: list[str] = []  # a whole table that is missing is made at the next start
    for table in METADATA.sorted_tables:
        if table.name in tables:
            found = {column["name"] for column in there.get_columns(table.name)}
            missing += [f"{table.name}.{column.name}" for column in table.columns if column.name not in found]
    if missing:
        raise OtherSchemaError(
            "DATABASE_INCOMPLETE",
            f"it has no {', '.join(missing)}",
            "restore it from a backup; it was made by a version that was never released, or changed by hand",
        )
