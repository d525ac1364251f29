"""The gateway's database: times keep their instant, tables appear once, and a commit survives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, insert, inspect, select, text, update
from sqlalchemy.exc import OperationalError, StatementError

from gateway.database import METADATA, OtherSchemaError, UtcTime, create_tables, open_database, read_only
from gateway.fetch.notes import FETCHES

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
