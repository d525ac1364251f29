"""PostgreSQL as the gateway's database: tables by several processes at once, no deadlock, the whole route, and what the check says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.clock import utc_now
from gateway.database import METADATA, create_tables, open_database
from gateway.objects.index import ObjectIndex
from gateway.records import StoredObject, StudyKey
from gateway.settings.file import validated_gateway
from gateway.steer.check import faults_of_place
from tests.e2e.gateway_site import running_site, study_uid
from tests.e2e.postgres import PostgresServer
from tests.gateway.processes.served import copy_with_other_uids, parts_of
from tests.ports import free_port
from tests.waiting import until

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

RequireTool = Callable[[str], str]

pytestmark = pytest.mark.xdist_group("gateway_postgres")


@pytest.fixture(scope="module")
def server(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """The server, whose password clients find in a file."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in postgres.environment.items():
            patch.setenv(name, value)
        yield postgres


def test_several_processes_may_make_the_tables_at_once(server: PostgresServer) -> None:
    url = server.make_database("tables")
    engines = [open_database(url) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create_tables, engines))
    for engine in engines:
        engine.dispose()
    assert server.tables("tables") == {("public", name) for name in METADATA.tables}


def stored(number: int) -> StoredObject:
    """An object that two receivers get at the same time."""
    return StoredObject(
        sop_instance_uid=f"1.2.840.55.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        series_instance_uid="1.2.840.55",
        study_instance_uid=f"1.2.840.55.1.{number % 3}",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sha256=hashlib.sha256(str(number).encode()).hexdigest(),
        size=1,
        path=Path(f"1/{number}"),
        source="pacs",
        calling_ae_title="PACS",
        received_at=utc_now(),
    )


def test_receivers_that_store_the_same_objects_in_other_orders_do_not_lock_each_other_out(
    server: PostgresServer,
) -> None:
    """A batch holds a lock on each object's row: two batches in opposite orders would each wait for the other."""
    engine = open_database(server.make_database("receivers"))
    create_tables(engine)
    index = ObjectIndex(engine)
    objects = [stored(number) for number in range(400)]

    def receive(turn: int) -> None:
        for start in range(0, len(objects), 100):
            batch = objects[start : start + 100] if turn % 2 else objects[start : start + 100][::-1]
            holders = {(f"pacs:{turn}", StudyKey(one.study_instance_uid)) for one in batch}
            if not index.add(batch, holders):
                index.add_each(batch, holders)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(receive, range(12)))
    assert index.count() == len(objects)
    studies = [StudyKey(f"1.2.840.55.1.{rest}") for rest in range(3)]
    assert sum(len(index.objects_of(study)) for study in studies) == len(objects)
    assert {due.study for due in index.due(utc_now() + timedelta(seconds=1))} == set(studies)
    engine.dispose()


def test_the_whole_route_runs_on_postgresql_and_goes_on_after_its_restart(
    server: PostgresServer,
    phantom_study: PhantomStudy,
    require_tool: RequireTool,
    repository: Path,
    tmp_path: Path,
) -> None:
    one = server.make_database("gateway")  # for both: DBOS keeps a schema of its own in it
    databases: dict[str, Any] = {"database": one, "workflow_database": one}
    (tmp_path / "site").mkdir()
    with running_site(tmp_path / "site", repository, require_tool("Orthanc"), **databases) as site:
        studies = [phantom_study.folder, copy_with_other_uids(phantom_study.folder, tmp_path / "second", 2)]
        for number, folder in enumerate(studies):
            ct, contour = parts_of(folder)
            study = study_uid(ct)
            site.send([*contour, *ct])
            until(lambda study=study: bool(site.reports(study)), 400)  # type: ignore[misc]
            site.settle([study])
            assert site.audit([study]) == ({study: "report"}, [])
            if number == 0:
                server.stop()
                until(lambda: site.gateway.health("ready")[0] == 503)
                server.start()
                until(lambda: site.gateway.health("ready")[0] == 200)
        made = server.tables("gateway")
        assert {name for schema, name in made if schema == "public"} >= set(METADATA.tables)
        assert ("dbos", "workflow_status") in made
        assert not list((site.gateway.folder / "gateway").glob("*.sqlite*"))


def faults(**databases: Any) -> list[str]:
    """What the check says of databases."""
    document = {
        "folder": "/tmp",
        "sources": [{"kind": "dimse", "name": "pacs", "port": free_port()}],
        "storage": {"reserve_bytes": 0},
        "web": {"port": free_port()},
    }
    return faults_of_place(validated_gateway(document | databases, "gateway.yaml"))


def test_the_check_says_why_a_database_cannot_be_used(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.make_database("checked")
    server.make_role("reader")
    assert faults(database=url, workflow_database=url) == []
    foreign = server.url("checked", role="reader")
    assert faults(database=foreign, workflow_database=foreign) == [
        "database: the user may make no tables there: GRANT CREATE",
        "workflow_database: the user may make no schema there: GRANT CREATE",
    ]
    (missing,) = faults(database=server.url("none"))
    assert 'database "none" does not exist' in missing
    monkeypatch.setenv("PGPASSWORD", "another")
    (refused,) = faults(database=url)
    assert "password authentication failed" in refused
