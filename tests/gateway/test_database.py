"""The gateway's database: times keep their instant, tables appear once, and a commit survives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, insert, inspect, select, text, update
from sqlalchemy.exc import OperationalError, StatementError

from gateway.database import (
    METADATA,
    SCHEMA,
    SCHEMA_VERSIONS,
    OtherSchemaError,
    Schema,
    UtcTime,
    create_tables,
    open_database,
    read_only,
    require_tables,
)
from gateway.fetch.notes import FETCHES
from gateway.processes.setup import TABLE_MODULES

TABLES = MetaData()
MOMENTS = Table("moments", TABLES, Column("id", Integer, primary_key=True), Column("at", UtcTime))
COUNTER = Table("counter", TABLES, Column("id", Integer, primary_key=True), Column("value", Integer))


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """A database on disk with two tables of this test."""
    engine = open_database(f"sqlite:///{tmp_path / 'gateway.sqlite'}")
    TABLES.create_all(engine)
    return engine


def test_a_time_comes_back_as_the_same_instant_in_utc(engine: Engine) -> None:
    given = datetime(2026, 11, 27, 2, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    with engine.begin() as connection:
        connection.execute(insert(MOMENTS).values(id=1, at=given))
    with read_only(engine).connect() as connection:
        kept = connection.execute(select(MOMENTS.c.at)).scalar_one()
    assert (kept, kept.tzinfo) == (given, UTC)


def test_a_time_without_its_zone_is_refused(engine: Engine) -> None:
    with pytest.raises(StatementError, match="without its zone"), engine.begin() as connection:
        connection.execute(insert(MOMENTS).values(id=1, at=datetime(2026, 11, 27)))


def test_a_commit_is_synchronised_and_the_journal_is_written_ahead(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2  # FULL


def test_transactions_that_read_first_and_write_then_lose_no_update(engine: Engine) -> None:
    """With SQLite's deferred transactions some of these would fail as 'database is locked'."""
    with engine.begin() as connection:
        connection.execute(insert(COUNTER).values(id=1, value=0))

    def raise_by_one(_: int) -> None:
        with engine.begin() as connection:
            value = connection.execute(select(COUNTER.c.value)).scalar_one()
            connection.execute(update(COUNTER).values(value=value + 1))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(raise_by_one, range(100)))
    with read_only(engine).connect() as connection:
        assert connection.execute(select(COUNTER.c.value)).scalar_one() == 100


def test_a_reader_is_not_held_up_by_a_writer(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(COUNTER).values(id=1, value=7))
    with engine.begin() as writer:
        writer.execute(update(COUNTER).values(value=8))
        with read_only(engine).connect() as reader:
            assert reader.execute(select(COUNTER.c.value)).scalar_one() == 7


def test_several_processes_may_make_the_tables_at_once(tmp_path: Path) -> None:
    engines = [open_database(f"sqlite:///{tmp_path / 'gateway.sqlite'}") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(create_tables, engines))
    declared = set(METADATA.tables)
    assert FETCHES.name in declared
    for engine in engines:
        assert set(inspect(engine).get_table_names()) == declared


def test_a_file_that_is_gone_is_not_replaced_by_an_empty_one_and_is_used_when_it_is_back(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'gateway.sqlite'}")
    create_tables(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE kept (value INTEGER)"))
        connection.execute(text("INSERT INTO kept VALUES (7)"))
    (tmp_path / "gateway.sqlite").rename(tmp_path / "moved")
    for _ in range(2):
        with pytest.raises(OperationalError, match="is gone"), engine.begin():
            pass
    assert not (tmp_path / "gateway.sqlite").exists()
    with pytest.raises(OperationalError, match="is gone"):
        create_tables(open_database(f"sqlite:///{tmp_path / 'gateway.sqlite'}"))
    (tmp_path / "moved").rename(tmp_path / "gateway.sqlite")
    with engine.begin() as connection:
        assert connection.execute(text("SELECT value FROM kept")).scalar_one() == 7


def test_a_database_of_another_version_is_told_by_what_it_lacks(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'gateway.sqlite'}")
    create_tables(engine)
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {FETCHES.name} DROP COLUMN last_error"))
    with pytest.raises(OtherSchemaError, match=f"{FETCHES.name}.last_error"):
        create_tables(engine)


def test_what_fails_in_the_database_names_no_value(engine: Engine) -> None:
    """A value may be a study's UID, and the command line shows what fails."""
    with engine.begin() as connection, pytest.raises(OperationalError) as failed:
        connection.execute(text("SELECT * FROM nothing WHERE uid = :uid"), {"uid": "1.2.3.4"})
    assert "1.2.3.4" not in str(failed.value)


def add_a_table(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE added (value INTEGER)"))
    connection.execute(text(f"INSERT INTO added SELECT count(*) FROM {FETCHES.name}"))


def fail(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE added ADD COLUMN more INTEGER"))
    connection.execute(text("no statement"))


def versions(engine: Engine) -> list[int]:
    with read_only(engine).connect() as connection:
        return list(connection.execute(select(SCHEMA_VERSIONS.c.version).order_by(SCHEMA_VERSIONS.c.version)).scalars())


def test_an_older_database_is_brought_forward_step_by_step_and_stays_as_it_was_where_a_step_fails(
    tmp_path: Path,
) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'gateway.sqlite'}")
    create_tables(engine)
    assert versions(engine) == [SCHEMA.version] == [1]
    with engine.begin() as connection:
        connection.execute(insert(FETCHES).values(study_instance_uid="1.2", objects=0, attempts=1, last_error=""))
    with pytest.raises(OperationalError):
        create_tables(engine, Schema(3, {1: add_a_table, 2: fail}))
    assert "added" not in inspect(engine).get_table_names()
    assert versions(engine) == [1]
    create_tables(engine, Schema(2, {1: add_a_table}))
    create_tables(engine, Schema(2, {1: add_a_table}))  # the next process finds it done
    with engine.connect() as connection:
        assert connection.execute(text("SELECT value FROM added")).scalar_one() == 1
    assert versions(engine) == [1, 2]


def test_a_database_from_before_the_record_of_versions_is_the_first_version(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'gateway.sqlite'}")
    create_tables(engine)
    with engine.begin() as connection:
        SCHEMA_VERSIONS.drop(connection)
    create_tables(engine, Schema(2, {1: add_a_table}))
    assert "added" in inspect(engine).get_table_names()


def test_a_later_versions_database_is_refused_with_its_code_and_left_as_it_is(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'gateway.sqlite'}")
    create_tables(engine, Schema(2, {}))
    for asked in (lambda: create_tables(engine), lambda: require(engine)):
        with pytest.raises(OtherSchemaError, match=r"DATABASE_NEWER: .*version 2.*Remedy: install") as refused:
            asked()
        assert refused.value.fault == "DATABASE_NEWER"
    assert versions(engine) == [2]


def require(engine: Engine, schema: Schema = SCHEMA) -> None:
    with read_only(engine).connect() as connection:
        require_tables(connection, schema)


def test_a_command_that_only_looks_changes_no_older_and_no_empty_database(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'gateway.sqlite'}")
    with pytest.raises(OtherSchemaError, match="DATABASE_EMPTY"):
        require(engine)
    assert inspect(engine).get_table_names() == []
    create_tables(engine)
    require(engine)
    with pytest.raises(OtherSchemaError, match="DATABASE_OLDER"):
        require(engine, Schema(2, {1: add_a_table}))
    assert versions(engine) == [1]


def test_every_table_is_made_by_whoever_makes_the_first(repository: Path) -> None:
    """Else a command that asks between two processes' starts would find tables missing."""
    modules = {
        ".".join(file.relative_to(repository).with_suffix("").parts)
        for file in (repository / "gateway").rglob("*.py")
        if "METADATA,\n" in file.read_text(encoding="utf-8")
    }
    assert modules - {"gateway.database"} == set(TABLE_MODULES)
